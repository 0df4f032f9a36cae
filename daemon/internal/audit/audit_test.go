package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// entry is the i-th of a test.
func entry(i int) Entry {
	return Entry{Time: start.Add(time.Duration(i) * time.Second), User: "ann", UID: 1000, GID: 100, PID: int32(i), Role: "runner",
		Action: "run.start", Target: "backup/" + strconv.Itoa(i), Request: "{\"task\":\"<backup>\n\"}", Result: "ok"}
}

func open(t *testing.T, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func keep(t *testing.T, l *Log, entries ...Entry) {
	t.Helper()
	for _, e := range entries {
		if err := errors.Join(l.Ready(), l.Keep(e)); err != nil {
			t.Fatal(err)
		}
	}
}

// pages reads all that match, page by page, as the numbers of the entries.
func pages(t *testing.T, l *Log, q Query) (numbers []int) {
	t.Helper()
	for {
		entries, next, err := l.Read(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) > q.Limit || len(entries) == 0 && next != "" {
			t.Fatalf("a page of %d lines, then %q", len(entries), next)
		}
		for _, e := range entries {
			numbers = append(numbers, int(e.PID))
		}
		if next == "" {
			return numbers
		}
		q.After = next
	}
}

func down(from, to int) (list []int) {
	for i := from; i >= to; i-- {
		list = append(list, i)
	}
	return list
}

func TestLinesComeBackNewestFirst(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	l := open(t, Options{Dir: dir})
	if got := pages(t, l, Query{Limit: 3}); got != nil {
		t.Errorf("of an empty log: %v", got)
	}
	for i := range 7 {
		keep(t, l, entry(i))
	}
	entries, _, err := l.Read(t.Context(), Query{Limit: 1})
	if err != nil || len(entries) != 1 || entries[0] != entry(6) {
		t.Errorf("got %+v, %v", entries, err)
	}
	for limit := 1; limit < 9; limit++ {
		if got := pages(t, l, Query{Limit: limit}); !slices.Equal(got, down(6, 0)) {
			t.Errorf("in pages of %d: %v", limit, got)
		}
	}
	// A page stays where it was while lines are added.
	_, next, err := l.Read(t.Context(), Query{Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	keep(t, l, entry(7))
	if got := pages(t, l, Query{Limit: 2, After: next}); !slices.Equal(got, down(4, 0)) {
		t.Errorf("the next page: %v", got)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "000001.jsonl"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	for _, after := range []string{"x", "1", "1.x", "-1.0", "1.-1", "1.2.3"} {
		if _, _, err := l.Read(t.Context(), Query{Limit: 1, After: after}); !errors.Is(err, ErrPlace) {
			t.Errorf("after %q: %v", after, err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := l.Read(cancelled, Query{Limit: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
}

func TestFilters(t *testing.T) {
	l := open(t, Options{Dir: t.TempDir()})
	keep(t, l,
		Entry{PID: 0, Time: start, User: "ann", Action: "run.start", Target: "shop/1", Result: "ok"},
		Entry{PID: 1, Time: start, User: "root", ActFor: "ann", Action: "task.change", Target: "shop tables", Result: "ok"},
		Entry{PID: 2, Time: start.Add(time.Minute), User: "bob", Action: "run.cancel", Target: "shop2/1", Result: "denied"},
		Entry{PID: 3, Time: start.Add(time.Hour), User: `o"é`, Action: "runner", Target: "mail shop", Result: "ok"},
	)
	for _, c := range []struct {
		q    Query
		want []int
	}{
		{Query{}, down(3, 0)}, {Query{User: "ann"}, down(1, 0)}, {Query{User: "an"}, nil}, {Query{User: `o"é`}, down(3, 3)},
		{Query{Action: "run"}, []int{2, 0}}, {Query{Action: "run.cancel"}, []int{2}}, {Query{Action: "cancel"}, nil},
		{Query{Target: "shop"}, []int{3, 1, 0}}, {Query{Target: "shop/1"}, []int{0}}, {Query{Target: "shop2"}, []int{2}},
		{Query{Since: start.Add(time.Minute)}, []int{3, 2}}, {Query{Since: start.Add(2 * time.Hour)}, nil},
		{Query{User: "ann", Action: "task"}, []int{1}},
	} {
		for limit := 1; limit < 3; limit++ {
			c.q.Limit = limit
			if got := pages(t, l, c.q); !slices.Equal(got, c.want) {
				t.Errorf("%+v: %v, want %v", c.q, got, c.want)
			}
		}
	}
}

// Lines longer than what is read at once, and those at its edges.
func TestLinesOfAllLengths(t *testing.T) {
	l := open(t, Options{Dir: t.TempDir()})
	for i := range 60 {
		e := entry(i)
		e.Request = strings.Repeat("x", i*i*90%(3*chunk))
		keep(t, l, e)
	}
	for _, limit := range []int{1, 7, 100} {
		if got := pages(t, l, Query{Limit: limit}); !slices.Equal(got, down(59, 0)) {
			t.Errorf("in pages of %d: %v", limit, got)
		}
	}
}

func TestOldFilesGoBySize(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir, Size: 16 << 10})
	size := func() (total int64, files int) {
		paths, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		return total, len(paths)
	}
	_, place, _ := l.Read(t.Context(), Query{Limit: 1})
	for i := range 1000 {
		keep(t, l, entry(i))
		if total, files := size(); total > 17<<10 || files > 10 {
			t.Fatalf("after %d lines: %d bytes in %d files", i+1, total, files)
		}
		if i == 1 {
			if _, place, _ = l.Read(t.Context(), Query{Limit: 1}); place == "" {
				t.Fatal("no next page")
			}
		}
	}
	got := pages(t, l, Query{Limit: 10})
	if total, files := size(); total < 12<<10 || files < 2 || len(got) < 60 || !slices.Equal(got, down(999, 1000-len(got))) {
		t.Errorf("%d bytes in %d files, %d lines: %v", total, files, len(got), got)
	}
	if got := pages(t, l, Query{Limit: 10, After: place}); got != nil {
		t.Errorf("from a file that went: %v", got)
	}
	// It goes on where it was.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, Options{Dir: dir, Size: 16 << 10})
	keep(t, again, entry(1000))
	if now := pages(t, again, Query{Limit: 10}); now[0] != 1000 || now[1] != 999 {
		t.Errorf("after a restart: %v", now[:2])
	}
}

func TestALineThatWasCutOff(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	keep(t, l, entry(0), entry(1))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "000001.jsonl")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	second := bytes.IndexByte(whole, '\n') + 1
	for _, tail := range [][]byte{whole[:second+1], whole[:len(whole)-1], append(slices.Clone(whole), 0, 0, 0), append(slices.Clone(whole), '\n')} {
		if err := os.WriteFile(path, tail, 0o644); err != nil {
			t.Fatal(err)
		}
		l := open(t, Options{Dir: dir})
		keep(t, l, entry(2))
		got := pages(t, l, Query{Limit: 1})
		if want := []int{2, 1, 0}; len(tail) == second+1 && !slices.Equal(got, []int{2, 0}) || len(tail) != second+1 && !slices.Equal(got, want) {
			t.Errorf("with %q at the end: %v", tail[max(0, len(tail)-5):], got)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoRoom(t *testing.T) {
	fails := false
	l := open(t, Options{Dir: t.TempDir(), allocate: func(f *os.File, offset, size int64) error {
		if fails {
			return unix.ENOSPC
		}
		return allocate(f, offset, size)
	}})
	keep(t, l, entry(0))
	fails = true
	// What is held is enough for those that were begun.
	big := entry(1)
	big.Request = strings.Repeat("x", ahead/2)
	keep(t, l, big)
	if err := l.Ready(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("ready: %v", err)
	}
	if err := l.Keep(entry(2)); err != nil {
		t.Errorf("one that was begun: %v", err)
	}
	fails = false
	keep(t, l, entry(3))
	if got := pages(t, l, Query{Limit: 9}); !slices.Equal(got, down(3, 0)) {
		t.Errorf("got %v", got)
	}
}

// A file that cannot be written to is left, and the log goes on in another one.
func TestAFaultLeavesNoHalfLine(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	keep(t, l, entry(0))
	l.mu.Lock()
	good := l.out
	readOnly, err := os.Open(good.Name())
	if err != nil {
		t.Fatal(err)
	}
	l.out = readOnly
	l.mu.Unlock()
	if err := l.Keep(entry(1)); err == nil {
		t.Fatal("it was written to a file that cannot be")
	}
	if err := good.Close(); err != nil {
		t.Fatal(err)
	}
	keep(t, l, entry(2)) // in a new file
	if got := pages(t, l, Query{Limit: 9}); !slices.Equal(got, []int{2, 0}) {
		t.Errorf("got %v", got)
	}
	if paths, _ := filepath.Glob(filepath.Join(dir, "*")); len(paths) != 2 {
		t.Errorf("files: %v", paths)
	}
}

func TestManyAtOnce(t *testing.T) {
	l := open(t, Options{Dir: t.TempDir(), Size: 512 << 10})
	var all sync.WaitGroup
	for w := range 16 {
		all.Go(func() {
			for i := range 40 {
				e := entry(w*100 + i)
				if err := errors.Join(l.Ready(), l.Keep(e)); err != nil {
					t.Error(err)
				}
				// What was answered is there.
				found, _, err := l.Read(t.Context(), Query{Target: e.Target, Limit: 5})
				if err != nil || len(found) != 1 || found[0] != e {
					t.Errorf("%s: %+v, %v", e.Target, found, err)
				}
			}
		})
	}
	all.Wait()
	if l.newest() < 2 {
		t.Error("no file was begun meanwhile")
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: file}); err == nil || !strings.Contains(err.Error(), "open the audit log") {
		t.Errorf("a file in the place of its directory: %v", err)
	}
	dir := t.TempDir()
	if err := os.Symlink(file, filepath.Join(dir, "000001.jsonl")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); err == nil {
		t.Error("a link in the place of its file is followed")
	}
	l := open(t, Options{Dir: t.TempDir()})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l.Ready() == nil || l.Keep(entry(0)) == nil {
		t.Error("it takes lines after its end")
	}
}

func BenchmarkKeep(b *testing.B) {
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			l, err := Open(Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			b.SetParallelism(callers)
			e := entry(1)
			if callers == 1 {
				for b.Loop() {
					if err := errors.Join(l.Ready(), l.Keep(e)); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := errors.Join(l.Ready(), l.Keep(e)); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkReadWithoutAMatch(b *testing.B) {
	l, err := Open(Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	// Written past Keep, which syncs each line.
	var lines bytes.Buffer
	for i := range 20_000 {
		fmt.Fprintf(&lines, `{"time":"2026-03-01T12:00:00Z","user":"ann","uid":1000,"gid":100,"pid":%d,"role":"runner","action":"run.start","target":"backup/%d","request":"{\"task\":\"backup\"}","result":"ok"}`+"\n", i, i)
	}
	if err := l.commit(lines.Bytes()); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(lines.Len()))
	for b.Loop() {
		if found, _, err := l.Read(b.Context(), Query{User: "bob", Limit: 50}); err != nil || len(found) > 0 {
			b.Fatal(found, err)
		}
	}
}
