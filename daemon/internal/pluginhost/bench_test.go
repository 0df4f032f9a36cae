package pluginhost

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

func benchRig(b *testing.B) *rig {
	r := newRig(b, nil, "misbehave")
	r.Host.cfg.StrayDelay = 250 * time.Millisecond
	if _, err := r.Lookup(context.Background(), "misbehave"); err != nil {
		b.Fatal(err)
	}
	return r
}

type silent struct{}

func (silent) Log(task.LogLevel, string, json.RawMessage)                {}
func (silent) Progress(task.Progress)                                    {}
func (silent) Checkpoint([]byte) error                                   { return nil }
func (silent) Output(string, json.RawMessage) error                      { return nil }
func (silent) Inputs(_, _, _ string) (_ []task.Input, _ string, _ error) { return nil, "", nil }

// BenchmarkExecute is a step of nothing through the host, one after another
// and 64 at a time.
func BenchmarkExecute(b *testing.B) {
	r := benchRig(b)
	w := work("misbehave", "none", 0)
	step := func() {
		ctx, cancel := context.WithCancelCause(context.Background())
		defer cancel(nil)
		if got := r.Execute(ctx, w, silent{}); got.Kind != task.OutcomeCompleted {
			b.Errorf("%+v", got)
		}
	}
	bothWays(b, step)
}

// BenchmarkBare is the same exchange without the host, on the same connection:
// one stream for each step.
func BenchmarkBare(b *testing.B) {
	r := benchRig(b)
	pl, _, err := r.resolve("misbehave")
	if err != nil {
		b.Fatal(err)
	}
	api := pl.proc.api
	w := work("misbehave", "none", 0)
	bothWays(b, func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		stream, err := api.Execute(ctx)
		if err != nil {
			b.Error(err)
			return
		}
		if err := stream.Send(&stepdv1.ExecuteRequest{Body: &stepdv1.ExecuteRequest_Start{Start: &stepdv1.Start{Controller: "run", Settings: w.Settings}}}); err != nil {
			b.Error(err)
			return
		}
		if m, err := stream.Recv(); err != nil || m.GetResult() == nil {
			b.Error(m, err)
		}
	})
}

// BenchmarkUnary is a plain call, the least that gRPC takes.
func BenchmarkUnary(b *testing.B) {
	r := benchRig(b)
	pl, _, err := r.resolve("misbehave")
	if err != nil {
		b.Fatal(err)
	}
	api := pl.proc.api
	bothWays(b, func() {
		if _, err := api.EndRun(context.Background(), &stepdv1.EndRunRequest{}); err != nil {
			b.Error(err)
		}
	})
}

func bothWays(b *testing.B, step func()) {
	b.Run("sequential", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			step()
		}
	})
	b.Run("parallel64", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(32) // times two processors
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				step()
			}
		})
	})
}
