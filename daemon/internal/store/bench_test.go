package store_test

import (
	"encoding/json"
	"testing"

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
