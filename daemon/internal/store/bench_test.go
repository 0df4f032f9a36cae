package store_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// BenchmarkPlan is the life of a large plan: 100,000 steps are appended, then
// each changes twice, in order. What it leaves on the disk is what the fill of
// pages is chosen by.
func BenchmarkPlan(b *testing.B) {
	const steps, batch = 100_000, 500
	for b.Loop() {
		s := open(b, options(b.TempDir()))
		for _, status := range []task.StepStatus{task.StepReady, task.StepRunning, task.StepCompleted} {
			for from := 0; from < steps; from += batch {
				update(b, s, func(tx *store.Tx) error {
					for n := from; n < from+batch; n++ {
						step := task.RunStep{Position: task.Position{Top: 1, Sub: uint32(n + 1)}, Name: "table", Status: status,
							Settings: json.RawMessage(`{"table":"film_actor","mode":"recreate"}`), Weight: 1}
						if status != task.StepReady {
							step.Attempt, step.StartedAt, step.AttemptAt = 1, noon, noon
						}
						if status == task.StepCompleted {
							step.Message, step.EndedAt = "112 rows, 4096 bytes", noon
						}
						if err := tx.PutStep(1, step); err != nil {
							return err
						}
					}
					return nil
				})
			}
		}
		stats, err := s.Stats()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(stats.UsedBytes)/steps, "bytes/step")
		b.ReportMetric(float64(stats.FreePages), "free-pages")
	}
}

// manyCursors has 100,000 schedules, of which 1,000 are due each second.
func manyCursors(b *testing.B) *store.Store {
	const all, batch = 100_000, 1000
	s := open(b, options(b.TempDir()))
	for from := 0; from < all; from += batch {
		update(b, s, func(tx *store.Tx) error {
			for n := from; n < from+batch; n++ {
				c := cursorOf(fmt.Sprintf("task-%05d", n*7919%all), "cron")
				c.Next = noon.Add(time.Duration(from/batch) * time.Second)
				c.Due = c.Next
				if err := tx.PutCursor(c); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return s
}

// BenchmarkDueCursors asks which schedule is due next.
func BenchmarkDueCursors(b *testing.B) {
	s := manyCursors(b)
	for b.Loop() {
		view(b, s, func(tx *store.Tx) error {
			n := 0
			err := tx.DueCursors(nil, func(task.Cursor) bool { n++; return false })
			if n != 1 {
				b.Errorf("%d are due", n)
			}
			return err
		})
	}
}

// BenchmarkPutCursor is a second in which 1,000 schedules of 100,000 are due:
// each is decided on and moved behind all others, in one transaction.
func BenchmarkPutCursor(b *testing.B) {
	const fires = 1000
	s := manyCursors(b)
	before, err := s.Stats()
	if err != nil {
		b.Fatal(err)
	}
	transactions := 0
	for b.Loop() {
		transactions++
		update(b, s, func(tx *store.Tx) error {
			due := make([]task.Cursor, 0, fires)
			err := tx.DueCursors(nil, func(c task.Cursor) bool { due = append(due, c); return len(due) < fires })
			if err != nil {
				return err
			}
			for _, c := range due {
				c.Last = c.Next
				c.Next = c.Next.Add(100 * time.Second)
				c.Due = c.Next
				if err := tx.PutCursor(c); err != nil {
					return err
				}
			}
			return nil
		})
	}
	after, err := s.Stats()
	if err != nil {
		b.Fatal(err)
	}
	cursors := float64(transactions * fires)
	b.ReportMetric(float64(b.Elapsed().Microseconds())/cursors, "us/cursor")
	b.ReportMetric(float64(after.Records-before.Records)/cursors, "writes/cursor")
}
