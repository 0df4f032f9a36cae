package runlog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/stepd/stepd/daemon/internal/runlog"
	"github.com/stepd/stepd/daemon/internal/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var run = task.Run{ID: 7, Task: "backup", Number: 42}

func open(t *testing.T, o runlog.Options) *runlog.Log {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Logger = hclog.NewNullLogger()
	l, err := runlog.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func entry(n int) task.LogEntry {
	return task.LogEntry{Time: time.Unix(int64(n), 0).UTC(), Level: task.LogInfo, Message: fmt.Sprint("line ", n)}
}

func read(t *testing.T, l *runlog.Log, run task.Run) (lines []string) {
	t.Helper()
	err := l.Read(t.Context(), run, runlog.Query{}, func(e task.LogEntry) error {
		lines = append(lines, e.Message)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestLinesAreReadBackAtOnceAndAfterReopening(t *testing.T) {
	dir := t.TempDir()
	l := open(t, runlog.Options{Dir: dir})
	e := entry(1)
	e.Step, e.Attempt, e.Fields = "tables/actor", 2, json.RawMessage(`{"rows":3}`)
	l.Append(run, e)
	var got task.LogEntry
	if err := l.Read(t.Context(), run, runlog.Query{}, func(e task.LogEntry) error { got = e; return nil }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(e) {
		t.Errorf("read %v, wrote %v", got, e)
	}
	l.Close(run)
	l.Append(run, entry(2)) // continued
	l.Stop()
	l = open(t, runlog.Options{Dir: dir})
	defer l.Stop()
	l.Append(run, entry(3))
	if lines := read(t, l, run); fmt.Sprint(lines) != "[line 1 line 2 line 3]" {
		t.Errorf("lines are %v", lines)
	}
	if lines := read(t, l, task.Run{ID: 8, Task: "backup", Number: 4}); len(lines) != 0 {
		t.Errorf("another run's lines are %v", lines)
	}
}

func TestFollowSeesEveryLineAcrossSegmentsUntilClose(t *testing.T) {
	l := open(t, runlog.Options{SegmentBytes: 300, Segments: 1000})
	defer l.Stop()
	const lines = 500
	next := 0
	first := make(chan struct{})
	result := make(chan error, 1)
	l.Append(run, entry(0))
	go func() {
		result <- l.Read(t.Context(), run, runlog.Query{Follow: true}, func(e task.LogEntry) error {
			if want := fmt.Sprint("line ", next); e.Message != want {
				return fmt.Errorf("got %q, want %q", e.Message, want)
			}
			if next++; next == 1 {
				close(first)
			}
			return nil
		})
	}()
	<-first
	for n := 1; n < lines; n++ {
		l.Append(run, entry(n))
	}
	l.Close(run)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if next != lines {
		t.Errorf("followed %d of %d lines", next, lines)
	}
}

func TestFollowEndsWithItsContextAndItsReader(t *testing.T) {
	l := open(t, runlog.Options{})
	defer l.Stop()
	l.Append(run, entry(0))
	ctx, cancel := context.WithCancel(t.Context())
	err := l.Read(ctx, run, runlog.Query{Follow: true}, func(task.LogEntry) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	gone := errors.New("the client is gone")
	if err := l.Read(t.Context(), run, runlog.Query{Follow: true}, func(task.LogEntry) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("ended with %v", err)
	}
}

func TestOldSegmentsGoAndTheReaderIsTold(t *testing.T) {
	dir := t.TempDir()
	l := open(t, runlog.Options{Dir: dir, SegmentBytes: 100, Segments: 3})
	defer l.Stop()
	for n := range 100 {
		l.Append(run, entry(n))
	}
	files, err := filepath.Glob(filepath.Join(dir, "backup", "*"))
	if err != nil || len(files) > 4 {
		t.Errorf("%d segments are left (%v)", len(files), err)
	}
	lines := read(t, l, run)
	if !strings.Contains(lines[0], "older lines") || lines[len(lines)-1] != "line 99" {
		t.Errorf("lines are %v", lines)
	}
}

func TestCutLineIsMendedAndGarbageIsShown(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "backup", "42.0001.jsonl")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"message":"whole","level":"info","time":"2026-01-01T00:00:00Z"}`+"\n"+`{"mess`), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, runlog.Options{Dir: dir})
	defer l.Stop()
	l.Append(run, entry(1))
	lines := read(t, l, run)
	if len(lines) != 3 || lines[0] != "whole" || !strings.Contains(lines[1], "unreadable") || lines[2] != "line 1" {
		t.Errorf("lines are %q", lines)
	}
}

func TestRemoveDeletesOneRunOnly(t *testing.T) {
	l := open(t, runlog.Options{})
	defer l.Stop()
	other := task.Run{ID: 8, Task: "backup", Number: 4} // a prefix of 42
	l.Append(run, entry(1))
	l.Append(other, entry(2))
	if err := l.Remove(other); err != nil {
		t.Fatal(err)
	}
	if lines := read(t, l, run); len(lines) != 1 {
		t.Errorf("the run's lines are %v", lines)
	}
	if lines := read(t, l, other); len(lines) != 0 {
		t.Errorf("the removed run's lines are %v", lines)
	}
}
