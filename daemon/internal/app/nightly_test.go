package app

import (
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/api"
)

// TestNightlyExample holds that the nightly backup of the example is due each
// night, makes an archive that restores, and lets older ones go.
func TestNightlyExample(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	p := newPlace(t, pluginDir(t, "dumptables", "copyfiles", "compress", "retain"))
	d := p.start(t)
	c := d.Client
	s.apply(t, c)
	apply(t, c, s.dir, strings.Replace(readFile(t, "../../../examples/backup/nightly.yaml"), "last: 3, daily: 7, weekly: 4, monthly: 12", "last: 1", 1))
	saved, err := c.Task(t.Context(), "nightly")
	if err != nil {
		t.Fatal(err)
	}
	if saved.Status != "scheduled" || saved.NextDue == nil {
		t.Errorf("the nightly backup is %s, next at %v", saved.Status, saved.NextDue)
	}
	// Should this be the night: it is for the test to start it.
	if _, err := c.Pause(t.Context(), "nightly", api.PauseRequest{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantCompleted(t, c, await(t, c, begin(t, c, "nightly")))
	}
	s.comesBack(t, c) // from the one archive that is there
	d.stop(t)
}
