package store_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// crashWriter commits numbered steps from several goroutines and prints each
// number once it is acknowledged, until it is killed.
func crashWriter(dir string) int {
	s, err := store.Open(options(dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("open")
	const writers = 4
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := w; ; n += writers {
				id := task.RunID(os.Getpid())
				step := task.RunStep{Position: task.Position{Top: uint32(n)}, Name: strconv.Itoa(n)}
				err := s.Update(context.Background(), func(tx *store.Tx) error {
					if err := tx.PutCheckpoint(id, step.Position, make([]byte, n%5000)); err != nil {
						return err
					}
					return tx.PutStep(id, step)
				})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				fmt.Println(n)
			}
		})
	}
	wg.Wait()
	return 1
}

func TestAcknowledgedSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[task.RunID][]uint32{}
	total := 0
	for range 20 {
		cmd := child("writer")(dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != "open" {
			t.Fatalf("the writer did not open the store: %q", lines.Text())
		}
		kill := time.AfterFunc(time.Duration(rand.Int64N(int64(60*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		for lines.Scan() {
			n, err := strconv.ParseUint(lines.Text(), 10, 32)
			if err != nil {
				break // cut in the middle
			}
			id := task.RunID(cmd.Process.Pid)
			acknowledged[id] = append(acknowledged[id], uint32(n))
			total++
		}
		_ = cmd.Wait()
		kill.Stop()

		s, err := store.Open(options(dir))
		if err != nil {
			t.Fatal(err)
		}
		view(t, s, func(tx *store.Tx) error {
			for id, numbers := range acknowledged {
				for _, n := range numbers {
					pos := task.Position{Top: n}
					if _, err := tx.Step(id, pos); err != nil {
						t.Errorf("acknowledged and lost: %v", err)
					}
					if data, err := tx.Checkpoint(id, pos); err != nil || len(data) != int(n%5000) {
						t.Errorf("half of what was acknowledged is lost: %d bytes, %v", len(data), err)
					}
				}
			}
			return nil
		})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
	if total < 100 {
		t.Errorf("only %d records were acknowledged: the test shows nothing", total)
	}
}
