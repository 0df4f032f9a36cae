package pluginhost

import (
	"fmt"
	"sync"
	"testing"
)

// A scan that has looked before a plugin was there must not remove it again
// from what another one has found since.
func TestScansDoNotUndoEachOther(t *testing.T) {
	r := newRig(t, nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					r.Scan()
				}
			}
		})
	}
	for i := range 60 {
		name := fmt.Sprintf("new%d", i)
		r.install(name)
		r.Scan()
		if r.info(name).Name == "" {
			t.Errorf("%s is not known after a scan", name)
			break
		}
	}
	close(stop)
	wg.Wait()
}
