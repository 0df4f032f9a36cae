package runlog_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/runlog"
	"github.com/stepd/stepd/daemon/internal/task"
)

func query(t testing.TB, l *runlog.Log, q runlog.Query) (lines []task.LogEntry) {
	t.Helper()
	err := l.Read(t.Context(), run, q, func(e task.LogEntry) error {
		lines = append(lines, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func messages(lines []task.LogEntry) (all []string) {
	for _, e := range lines {
		all = append(all, e.Message)
	}
	return all
}

func isGone(e task.LogEntry) bool { return strings.Contains(string(e.Fields), "first_segment") }

// Each query gives what sieving all lines gives, whatever segments they are in.
func TestQueriesGiveWhatASieveGives(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		place, err := os.MkdirTemp(dir, "")
		if err != nil {
			rt.Fatal(err)
		}
		l := open(t, runlog.Options{Dir: place, SegmentBytes: int64(rapid.SampledFrom([]int{50, 400, 100_000}).Draw(rt, "segment")), Segments: rapid.SampledFrom([]int{2, 5, 1000}).Draw(rt, "segments")})
		defer l.Stop()
		count := rapid.IntRange(0, 120).Draw(rt, "count")
		for n := range count {
			e := entry(n)
			e.Step = rapid.SampledFrom([]string{"", "a", "a/x", "ab", "b"}).Draw(rt, "step")
			e.Level = rapid.SampledFrom([]task.LogLevel{task.LogDebug, task.LogInfo, task.LogWarn, task.LogError}).Draw(rt, "level")
			if rapid.IntRange(0, 40).Draw(rt, "long") == 0 {
				e.Message = strings.Repeat("long ", 15_000)
			}
			l.Append(run, e)
			if rapid.IntRange(0, 30).Draw(rt, "close") == 0 {
				l.Close(run)
			}
		}
		all := query(t, l, runlog.Query{})
		q := runlog.Query{
			Tail: rapid.IntRange(0, 30).Draw(rt, "tail"), Step: rapid.SampledFrom([]string{"", "a", "b", "none"}).Draw(rt, "of"),
			Level: rapid.SampledFrom([]task.LogLevel{"", task.LogInfo, task.LogError}).Draw(rt, "from"),
		}
		if rapid.Bool().Draw(rt, "since") {
			q.Since = time.Unix(int64(rapid.IntRange(0, 130).Draw(rt, "at")), 0).UTC()
		}
		var want []string
		left := 0
		for _, e := range all {
			if isGone(e) {
				continue
			}
			left++
			if (q.Since.IsZero() || !e.Time.Before(q.Since)) && (q.Step == "" || e.Step == q.Step || strings.HasPrefix(e.Step, q.Step+"/")) &&
				(q.Level == "" || e.Level == q.Level || q.Level == task.LogInfo && e.Level != task.LogDebug) {
				want = append(want, e.Message)
			}
		}
		if q.Tail > 0 {
			want = want[max(0, len(want)-q.Tail):]
		}
		got := messages(slices.DeleteFunc(query(t, l, q), isGone))
		if !slices.Equal(got, want) {
			rt.Fatalf("%+v gives\n%.300q, want\n%.300q", q, got, want)
		}
		gone := 0
		if len(all) > 0 && isGone(all[0]) {
			if _, err := fmt.Sscanf(all[0].Message, "%d older lines", &gone); err != nil {
				rt.Fatal(err)
			}
		}
		if gone+left != count {
			rt.Fatalf("%d lines are gone and %d are left, of %d", gone, left, count)
		}
	})
}

func TestALogIsKeptToItsSize(t *testing.T) {
	dir := t.TempDir()
	o := runlog.Options{Dir: dir, SegmentBytes: 4000, Segments: 4}
	l := open(t, o)
	for n := range 3000 {
		l.Append(run, entry(n))
		if n%500 == 499 { // the daemon goes and comes back
			l.Stop()
			l = open(t, o)
		}
	}
	defer l.Stop()
	query(t, l, runlog.Query{}) // writes out what is in memory
	var total int64
	files, _ := filepath.Glob(filepath.Join(dir, "backup", "*"))
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 4*4000+1000 || total < 3*4000 {
		t.Errorf("%d bytes in %d files", total, len(files))
	}
	if size, err := l.Size(run); err != nil || size > total || size < total-1000 {
		t.Errorf("Size says %d, %v; it is %d", size, err, total)
	}
	lines := query(t, l, runlog.Query{})
	var gone int
	if _, err := fmt.Sscanf(lines[0].Message, "%d older lines", &gone); err != nil || gone+len(lines)-1 != 3000 || lines[1].Message != fmt.Sprint("line ", gone) {
		t.Errorf("%q, and %d lines from %q on", lines[0].Message, len(lines)-1, lines[1].Message)
	}
	if !strings.Contains(lines[0].Message, "the log of a run is kept to 15 KiB") || lines[0].Level != task.LogWarn || lines[0].Time.Unix() != int64(gone-1) {
		t.Errorf("%+v", lines[0])
	}
	if err := l.Remove(run); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "backup", "*")); len(files) != 0 {
		t.Errorf("left are %v", files)
	}
}

// What a reader is about to read goes: it is told, and reads on.
func TestASlowFollowerIsToldWhatWentMeanwhile(t *testing.T) {
	l := open(t, runlog.Options{SegmentBytes: 1000, Segments: 3})
	defer l.Stop()
	l.Append(run, entry(0))
	var lines []task.LogEntry
	first, release := make(chan struct{}), make(chan struct{})
	result := make(chan error, 1)
	go func() {
		result <- l.Read(t.Context(), run, runlog.Query{Follow: true, Tail: 1}, func(e task.LogEntry) error {
			if lines = append(lines, e); len(lines) == 1 {
				close(first)
				<-release
			}
			return nil
		})
	}()
	<-first
	for n := 1; n < 300; n++ {
		l.Append(run, entry(n))
	}
	close(release)
	l.Close(run)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	told := slices.IndexFunc(lines, isGone)
	if told < 1 || lines[len(lines)-1].Message != "line 299" {
		t.Fatalf("followed %v", messages(lines))
	}
	numbers := messages(slices.DeleteFunc(slices.Clone(lines), isGone))
	if !slices.IsSortedFunc(numbers, func(a, b string) int { return number(a) - number(b) }) {
		t.Errorf("out of order: %v", numbers)
	}
}

func number(line string) (n int) {
	if _, err := fmt.Sscanf(line, "line %d", &n); err != nil {
		return -1
	}
	return n
}

func TestFollowSievesToo(t *testing.T) {
	l := open(t, runlog.Options{SegmentBytes: 500, Segments: 1000})
	defer l.Stop()
	for n := range 50 {
		l.Append(run, entry(n))
	}
	first := make(chan struct{})
	var got []string
	result := make(chan error, 1)
	go func() {
		result <- l.Read(t.Context(), run, runlog.Query{Follow: true, Tail: 2, Level: task.LogInfo}, func(e task.LogEntry) error {
			if got = append(got, e.Message); len(got) == 2 {
				close(first)
			}
			return nil
		})
	}()
	<-first
	for n := 50; n < 60; n++ {
		e := entry(n)
		if n%2 == 0 {
			e.Level = task.LogDebug
		}
		l.Append(run, e)
	}
	l.Close(run)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if want := "[line 48 line 49 line 51 line 53 line 55 line 57 line 59]"; fmt.Sprint(got) != want {
		t.Errorf("followed %v", got)
	}
}

// A tail that nothing fits yet begins with what comes.
func TestATailOfNothingFollows(t *testing.T) {
	l := open(t, runlog.Options{})
	defer l.Stop()
	l.Append(run, entry(0))
	stop := errors.New("enough")
	result := make(chan error, 1)
	go func() {
		result <- l.Read(t.Context(), run, runlog.Query{Follow: true, Tail: 5, Level: task.LogError}, func(e task.LogEntry) error {
			if e.Message != "line 1" {
				t.Errorf("got %q", e.Message)
			}
			return stop
		})
	}()
	e := entry(1)
	e.Level = task.LogError
	l.Append(run, e)
	if err := <-result; !errors.Is(err, stop) || err.Error() != "enough" {
		t.Errorf("ended with %v", err)
	}
}

// Logs from before the first segment stayed are read as well.
func TestALogWithoutItsFirstSegment(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "backup"), 0o700); err != nil {
		t.Fatal(err)
	}
	for n := 4; n < 7; n++ {
		line := fmt.Sprintf(`{"time":"2026-01-01T00:00:0%dZ","level":"info","message":"line %d"}`+"\n", n, n)
		if err := os.WriteFile(filepath.Join(dir, "backup", fmt.Sprintf("42.%04d.jsonl", n)), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, runlog.Options{Dir: dir})
	defer l.Stop()
	if got := fmt.Sprint(read(t, l, run)); got != "[older lines are gone: the log had grown too large line 4 line 5 line 6]" {
		t.Errorf("read %s", got)
	}
	continued := run
	continued.QueuedAt = time.Unix(1, 0)
	l.Append(continued, entry(7))
	if got := fmt.Sprint(messages(query(t, l, runlog.Query{Tail: 2}))); got != "[line 6 line 7]" {
		t.Errorf("read %s", got)
	}
	if err := l.Remove(run); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "backup", "*")); len(files) != 0 {
		t.Errorf("left are %v", files)
	}
}

// A million bytes before the end are not read for the last line.
func BenchmarkTail(b *testing.B) {
	l, err := runlog.New(runlog.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Stop()
	for n := range 200_000 {
		l.Append(run, entry(n))
	}
	for b.Loop() {
		if lines := query(b, l, runlog.Query{Tail: 10}); len(lines) != 10 {
			b.Fatal(len(lines))
		}
	}
}
