package store_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

func putStep(n int) func(tx *store.Tx) error {
	return func(tx *store.Tx) error {
		return tx.PutStep(1, task.RunStep{Position: task.Position{Top: uint32(n)}})
	}
}

func TestFailuresDoNotTouchTheOthersOfTheirCommit(t *testing.T) {
	s := open(t, options(t.TempDir()))
	broken := errors.New("broken")
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			for i := range 20 {
				n := g*1000 + i + 1
				err := s.Update(t.Context(), func(tx *store.Tx) error {
					if n%7 == 1 {
						return broken // without having written
					}
					if err := putStep(n)(tx); err != nil {
						return err
					}
					switch n % 7 {
					case 2:
						return broken
					case 3:
						panic("broken too")
					}
					return nil
				})
				switch n % 7 {
				case 1, 2:
					if err != broken {
						t.Errorf("step %d: got %v, want its own error as it is", n, err)
					}
				case 3:
					if p, ok := errors.AsType[*store.PanicError](err); !ok || p.Value != "broken too" {
						t.Errorf("step %d: got %v, want its panic", n, err)
					}
				default:
					if err != nil {
						t.Errorf("step %d: %v", n, err)
					}
				}
			}
		})
	}
	wg.Wait()
	view(t, s, func(tx *store.Tx) error {
		for g := range 32 {
			for i := range 20 {
				n := g*1000 + i + 1
				_, err := tx.Step(1, task.Position{Top: uint32(n)})
				if want := n%7 < 1 || n%7 > 3; (err == nil) != want {
					t.Errorf("step %d is there: %t, want %t", n, err == nil, want)
				}
			}
		}
		return nil
	})
}

// gate holds the first commit until it is opened.
type gate struct {
	reached, open chan struct{}
	once          sync.Once
}

func newGate() *gate { return &gate{reached: make(chan struct{}), open: make(chan struct{})} }

func (g *gate) wrap(commit func() error) error {
	g.once.Do(func() { close(g.reached); <-g.open })
	return commit()
}

func TestWhoWaitsSharesOneCommit(t *testing.T) {
	o, g := options(t.TempDir()), newGate()
	o.WrapCommit = g.wrap
	s := open(t, o)
	var wg sync.WaitGroup
	wg.Go(func() { update(t, s, putStep(1)) })
	<-g.reached
	const waiting = 600 // more than one batch takes
	for n := range waiting {
		wg.Go(func() { update(t, s, putStep(n+2)) })
	}
	store.AwaitQueue(s, waiting)
	close(g.open)
	wg.Wait()
	stats, err := s.Stats()
	if err != nil || stats.Commits != 3 || stats.Updates != waiting+1 || stats.Records != waiting+1 {
		t.Errorf("%d updates came in %d commits with %d records (%v)", stats.Updates, stats.Commits, stats.Records, err)
	}
}

func TestCancelledWhileWaiting(t *testing.T) {
	o, g := options(t.TempDir()), newGate()
	o.WrapCommit = g.wrap
	s := open(t, o)
	var wg sync.WaitGroup
	wg.Go(func() { update(t, s, putStep(1)) })
	<-g.reached
	ctx, cancel := context.WithCancel(t.Context())
	var called atomic.Bool
	result := make(chan error, 1)
	wg.Go(func() {
		result <- s.Update(ctx, func(tx *store.Tx) error { called.Store(true); return putStep(2)(tx) })
	})
	store.AwaitQueue(s, 1)
	cancel()
	wantErr(t, "cancelled", <-result, context.Canceled) // before the commit under way has ended
	close(g.open)
	wg.Wait()
	wantErr(t, "cancelled before", s.Update(ctx, putStep(3)), context.Canceled)
	if called.Load() {
		t.Error("its function was called")
	}
	// In the middle of its commit it is too late.
	ctx, cancel = context.WithCancel(t.Context())
	if err := s.Update(ctx, func(tx *store.Tx) error { cancel(); return putStep(4)(tx) }); err != nil {
		t.Errorf("committed, but the caller was told %v", err)
	}
}

func TestUnknownOutcomeEndsTheStore(t *testing.T) {
	for name, wrap := range map[string]func(commit func() error) error{
		"nothing written": func(func() error) error { return syscall.EIO },
		"all written":     func(commit func() error) error { return errors.Join(commit(), syscall.EIO) },
		"full after the meta page": func(commit func() error) error {
			return errors.Join(commit(), syscall.ENOSPC)
		},
		"panic": func(func() error) error { panic("page 7 already freed") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := options(dir)
			var on atomic.Bool
			o.WrapCommit = func(commit func() error) error {
				if on.Load() {
					return wrap(commit)
				}
				return commit()
			}
			s := open(t, o)
			update(t, s, putStep(1))
			on.Store(true)
			wantErr(t, "the write", s.Update(t.Context(), putStep(2)), task.ErrStoreFailed)
			on.Store(false)
			wantErr(t, "the next write", s.Update(t.Context(), putStep(3)), task.ErrStoreFailed)
			select {
			case <-s.Failed():
			default:
				t.Error("nobody is told")
			}
			wantErr(t, "Err", s.Err(), task.ErrStoreFailed)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			s = open(t, options(dir)) // checked, since the end was not clean
			view(t, s, func(tx *store.Tx) error {
				_, err := tx.Step(1, task.Position{Top: 1})
				_, err3 := tx.Step(1, task.Position{Top: 3})
				wantErr(t, "a write after the failure", err3, task.ErrNotFound)
				return err
			})
		})
	}
}

func TestEndedGoroutineDoesNotHoldUpTheOthers(t *testing.T) {
	o, g := options(t.TempDir()), newGate()
	o.WrapCommit = g.wrap
	s := open(t, o)
	var wg sync.WaitGroup
	wg.Go(func() { update(t, s, putStep(1)) })
	<-g.reached
	results := make(chan error, 8)
	wg.Go(func() {
		_ = s.Update(t.Context(), func(tx *store.Tx) error { _ = putStep(2)(tx); runtime.Goexit(); return nil })
	})
	store.AwaitQueue(s, 1)
	for n := range cap(results) {
		wg.Go(func() { results <- s.Update(t.Context(), putStep(n+3)) })
	}
	store.AwaitQueue(s, 9)
	close(g.open)
	wg.Wait()
	for range cap(results) {
		if err := <-results; err == nil || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("got %v", err)
		}
	}
	update(t, s, putStep(99)) // somebody leads again
}

func TestClose(t *testing.T) {
	o, g := options(t.TempDir()), newGate()
	o.WrapCommit = g.wrap
	s := open(t, o)
	var wg sync.WaitGroup
	wg.Go(func() { update(t, s, putStep(1)) })
	<-g.reached
	wg.Go(func() { update(t, s, putStep(2)) })
	store.AwaitQueue(s, 1)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	store.AwaitClosing(s)
	if err := s.Update(t.Context(), putStep(3)); err == nil {
		t.Error("an update after Close began")
	}
	close(g.open)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := s.View(func(*store.Tx) error { return nil }); err == nil {
		t.Error("a view after Close")
	}
}

func BenchmarkUpdate(b *testing.B) {
	transition := func(n int) func(tx *store.Tx) error {
		id := task.RunID(n%64 + 1)
		run := task.Run{ID: id, Task: fmt.Sprint("task-", id), Number: 1, Status: task.RunRunning, DefinitionVersion: 1, Total: 1000, Completed: n}
		step := task.RunStep{Position: task.Position{Top: 1, Sub: uint32(n)}, Name: "table", Status: task.StepCompleted, Attempt: 1, Message: "112 rows"}
		next := step
		next.Position.Sub++
		next.Status = task.StepRunning
		return func(tx *store.Tx) error {
			return errors.Join(tx.PutStep(id, step), tx.PutStep(id, next), tx.PutRun(run))
		}
	}
	b.Run("sequential", func(b *testing.B) {
		s := open(b, options(b.TempDir()))
		for n := 0; b.Loop(); n++ {
			update(b, s, transition(n))
		}
		report(b, s)
	})
	b.Run("parallel64", func(b *testing.B) {
		s := open(b, options(b.TempDir()))
		var n atomic.Int64
		b.SetParallelism(32) // of 2 processors
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := s.Update(context.Background(), transition(int(n.Add(1)))); err != nil {
					b.Error(err)
				}
			}
		})
		report(b, s)
	})
}

func report(b *testing.B, s *store.Store) {
	stats, err := s.Stats()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(stats.Updates)/float64(stats.Commits), "updates/commit")
	b.ReportMetric(float64(stats.Updates)/b.Elapsed().Seconds(), "updates/s")
}
