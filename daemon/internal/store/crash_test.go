package store_test

import (
	"bufio"
	"context"
	"errors"
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

const crashWriters = 4

// crashWriter commits numbered steps from several goroutines, each with a
// decision of a schedule that it moves on, and prints each number once it is
// acknowledged, until it is killed.
func crashWriter(dir string) int {
	s, err := store.Open(options(dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("open")
	var wg sync.WaitGroup
	for w := range crashWriters {
		wg.Go(func() {
			for n := w; ; n += crashWriters {
				id := task.RunID(os.Getpid())
				step := task.RunStep{Position: task.Position{Top: uint32(n)}, Name: strconv.Itoa(n)}
				err := s.Update(context.Background(), func(tx *store.Tx) error {
					if err := tx.PutCheckpoint(id, step.Position, make([]byte, n%5000)); err != nil {
						return err
					}
					if err := decide(tx, id, w, n); err != nil {
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

// crashSchedule names what one goroutine of a writer moves on.
func crashSchedule(id task.RunID, w int) (name, schedule string) {
	return fmt.Sprint("task-", id), fmt.Sprint("cron-", w)
}

func decide(tx *store.Tx, id task.RunID, w, n int) error {
	name, schedule := crashSchedule(id, w)
	cursor := cursorOf(name, schedule)
	cursor.Last = noon.Add(time.Duration(n) * time.Second)
	cursor.Due = cursor.Last.Add(time.Hour)
	if err := tx.PutCursor(cursor); err != nil {
		return err
	}
	return tx.PutSlot(slotOf(name, schedule, cursor.Last))
}

// checkDecisions holds that each acknowledged decision has its slot, and that
// the cursors stand where their newest slots are: there is no half of one.
func checkDecisions(t *testing.T, tx *store.Tx, id task.RunID, numbers []uint32) {
	t.Helper()
	decided := map[int64]bool{}
	cursors, due := 0, 0
	for w := range crashWriters {
		name, schedule := crashSchedule(id, w)
		var newest time.Time
		err := tx.Slots(name, schedule, time.Time{}, func(s task.Slot) bool {
			newest = later(newest, s.First)
			decided[int64(s.First.Sub(noon)/time.Second)] = true
			return true
		})
		if err != nil {
			t.Error(err)
		}
		cursor, err := tx.Cursor(name, schedule)
		if newest.IsZero() && errors.Is(err, task.ErrNotFound) {
			continue
		}
		if cursors++; err != nil || !cursor.Last.Equal(newest) {
			t.Errorf("the cursor stands at %s, its newest slot is of %s (%v)", cursor.Last, newest, err)
		}
	}
	for _, n := range numbers {
		if !decided[int64(n)] {
			t.Errorf("the slot %d was acknowledged and is lost", n)
		}
	}
	err := tx.DueCursors(nil, func(c task.Cursor) bool {
		if name, _ := crashSchedule(id, 0); c.Task == name {
			due++
		}
		return true
	})
	if err != nil || due != cursors {
		t.Errorf("%d of %d cursors are due (%v)", due, cursors, err)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func TestAcknowledgedSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[task.RunID][]uint32{}
	for round := range 20 {
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
		// Behind more commits each time, however slow they are, and anywhere in what follows.
		var kill *time.Timer
		for seen := 0; ; seen++ {
			if seen == 4*round {
				moment := time.Duration(rand.Int64N(int64(5 * time.Millisecond)))
				kill = time.AfterFunc(moment, func() { _ = cmd.Process.Kill() })
			}
			if !lines.Scan() {
				break
			}
			n, err := strconv.ParseUint(lines.Text(), 10, 32)
			if err != nil {
				break // cut in the middle
			}
			id := task.RunID(cmd.Process.Pid)
			acknowledged[id] = append(acknowledged[id], uint32(n))
		}
		_ = cmd.Wait()
		if kill == nil {
			t.Fatal("the writer ended by itself")
		}
		kill.Stop()

		s, err := store.Open(options(dir))
		if err != nil {
			t.Fatal(err)
		}
		view(t, s, func(tx *store.Tx) error {
			for id, numbers := range acknowledged {
				checkDecisions(t, tx, id, numbers)
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
}
