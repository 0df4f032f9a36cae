package app

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/config"
	"github.com/stepd/stepd/daemon/internal/task"
)

// skewed is the bubble's clock, set forward and back by the test.
type skewed struct {
	mu   sync.Mutex
	skew time.Duration
}

func (c *skewed) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew).Round(0)
}

func (c *skewed) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }

func (c *skewed) set(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew += by
}

// stage is the controllers "idem" and "once": an attempt is under way until the
// test says how it ends, or somebody wants it to end.
type stage struct {
	mu   sync.Mutex
	acts map[string]act
}

type act struct {
	attempt int
	end     chan task.Outcome
}

func (s *stage) Lookup(_ context.Context, name string) (task.ControllerInfo, error) {
	info := task.ControllerInfo{Name: name, Plugin: "stage", Effect: task.Idempotent,
		Schema: []byte(`{"type":"object","properties":{"say":{"type":"string"}},"additionalProperties":false}`)}
	switch name {
	case "idem":
	case "once":
		info.Effect = task.AtMostOnce
	default:
		return info, fmt.Errorf("controller %s: %w", name, task.ErrNotFound)
	}
	return info, nil
}

func (s *stage) Plan(context.Context, task.Work, task.Reporter, func([]task.PlannedStep) error) task.Outcome {
	return task.Outcome{Kind: task.OutcomeFailed, Message: "it plans nothing"}
}

func (s *stage) Execute(ctx context.Context, w task.Work, _ task.Reporter) task.Outcome {
	key := fmt.Sprintf("%s/%d %s", w.Task, w.RunNumber, w.Step)
	mine := act{w.Attempt.Number, make(chan task.Outcome)}
	s.mu.Lock()
	s.acts[key] = mine
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.acts, key)
	}()
	select {
	case outcome := <-mine.end:
		return outcome
	case <-ctx.Done():
		return task.Outcome{Kind: task.OutcomeCancelled}
	}
}

func (s *stage) EndRun(task.RunID) {}

// under lists the attempts that are under way: "a/1 s1 #2".
func (s *stage) under() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, a := range s.acts {
		list = append(list, fmt.Sprintf("%s #%d", key, a.attempt))
	}
	slices.Sort(list)
	return list
}

// finish ends an attempt.
func (s *stage) finish(key string, outcome task.Outcome) {
	s.mu.Lock()
	one := s.acts[key]
	s.mu.Unlock()
	one.end <- outcome
}

// machine is a daemon without its socket, and the model of what it must be.
type machine struct {
	*rapid.T
	model
	root string // a directory for each life
	life int

	clock        *skewed
	stage        *stage
	app          *App
	backend      *backend
	scheduled    <-chan error
	endSchedules func()
}

const modelMaxRuns = 3

func newMachine(t *rapid.T, root string) *machine {
	m := &machine{T: t, root: root, clock: &skewed{}, model: newModel()}
	m.open()
	return m
}

func (m *machine) dir() string { return filepath.Join(m.root, fmt.Sprint(m.life)) }

// open begins a life of the daemon on what is in its directory.
func (m *machine) open() {
	m.stage = &stage{acts: map[string]act{}}
	a, err := New(Options{
		Config: config.Config{
			DataDir: m.dir(), Socket: filepath.Join(m.root, "socket"), PluginDirs: []string{m.root},
			MaxRuns: modelMaxRuns, LogFormat: config.FormatText, Grace: time.Second, LogSize: 1 << 20,
		},
		Version: "model", Stderr: io.Discard, clock: m.clock, controllers: m.stage,
	})
	if err != nil {
		m.Fatalf("open: %v", err)
	}
	m.app, m.backend = a, &backend{a}
	if err := a.engine.Start(); err != nil {
		m.Fatalf("start: %v", err)
	}
	m.scheduled, m.endSchedules = a.goSchedules(true)
	synctest.Wait()
}

// shut ends a life of the daemon as SIGTERM does.
func (m *machine) shut() {
	m.endSchedules()
	if err := <-m.scheduled; err != nil {
		m.Fatalf("schedules: %v", err)
	}
	if err := m.app.engine.Stop(context.Background()); err != nil {
		m.Fatalf("stop: %v", err)
	}
	if err := m.app.listener.Close(); err != nil {
		m.Fatal(err)
	}
	if err := m.app.host.Close(context.Background()); err != nil {
		m.Fatal(err)
	}
	m.app.runlog.Stop()
	if err := m.app.audit.Close(); err != nil {
		m.Fatal(err)
	}
	if err := m.app.store.Close(); err != nil {
		m.Fatalf("close: %v", err)
	}
	synctest.Wait()
}

// crash goes on with what the disk had at this moment. What the life that ends
// still does is not seen any more.
func (m *machine) crash() {
	next := filepath.Join(m.root, fmt.Sprint(m.life+1))
	if err := os.MkdirAll(next, 0o700); err != nil {
		m.Fatal(err)
	}
	if err := m.app.store.Backup(context.Background(), filepath.Join(next, "stepd.db")); err != nil {
		m.Fatalf("keep what the disk has: %v", err)
	}
	m.shut()
	if err := os.RemoveAll(m.dir()); err != nil {
		m.Fatal(err)
	}
	m.life++
	m.open()
}
