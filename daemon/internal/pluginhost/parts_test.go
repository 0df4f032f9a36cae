package pluginhost

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestBreaker(t *testing.T) {
	at := func(minutes float64) time.Time {
		return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(minutes * float64(time.Minute)))
	}
	fresh := func() *breaker {
		return &breaker{limit: 3, window: 10 * time.Minute, pause: time.Minute, base: time.Second, max: 3 * time.Second}
	}
	isOpen := func(b *breaker, now time.Time) bool { _, open := b.open(now); return open }

	b := fresh()
	for _, m := range []float64{0, 1} {
		b.died(at(m))
	}
	if isOpen(b, at(1)) {
		t.Error("open after two")
	}
	b.died(at(2))
	if !isOpen(b, at(2)) || !isOpen(b, at(2.9)) || isOpen(b, at(3)) {
		t.Error("must be open for one minute after the third")
	}
	b.died(at(3))
	if !isOpen(b, at(3.5)) {
		t.Error("one death while half-open must open it again")
	}
	b.worked(at(3.6))
	if !isOpen(b, at(3.7)) {
		t.Error("an old result must not close it before the pause is over")
	}
	b.worked(at(4.5))
	b.died(at(5))
	if isOpen(b, at(5)) {
		t.Error("must count anew once a probe worked")
	}

	b = fresh()
	for _, m := range []float64{0, 6, 12, 18, 24} {
		b.died(at(m))
		if isOpen(b, at(m)) {
			t.Errorf("open at %v: never three within ten minutes", m)
		}
	}

	b = fresh()
	b.limit = 10
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second} {
		b.died(at(0))
		if got := b.wait(at(0)); got != want {
			t.Errorf("wait after %d deaths: %v, want %v", i+1, got, want)
		}
	}
	if got := b.wait(at(11)); got != 0 {
		t.Errorf("wait when all is long ago: %v", got)
	}
}

func TestPump(t *testing.T) {
	var lines []string
	now := time.Unix(0, 0)
	p := newPump(func(line string) string { return line }, func(line string) { lines = append(lines, line) })
	p.now = func() time.Time { return now }
	w := &lineWriter{pump: p}
	write := func(text string) {
		if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	write("one\r\ntw")
	write("o\n\nbad \xff\x00 bytes\n")
	write(strings.Repeat("x", maxLine*3))
	write("yyy\nafter\nno end")
	w.close()
	want := []string{"one", "two", "", "bad \uFFFD\uFFFD bytes", "", "after", "no end"}
	if len(lines) != len(want) {
		t.Fatalf("%d lines: %.200q", len(lines), lines)
	}
	for i, line := range want {
		if i == 4 {
			if len(lines[i]) > maxLine || !strings.HasSuffix(lines[i], " ...") {
				t.Errorf("the long line has %d bytes", len(lines[i]))
			}
		} else if lines[i] != line {
			t.Errorf("line %d: %q, want %q", i, lines[i], line)
		}
	}

	lines = nil
	for range 10_000 {
		write("flood\n")
	}
	if len(lines) > pumpBurst {
		t.Errorf("%d lines came through at once", len(lines))
	}
	came := len(lines)
	now = now.Add(time.Second)
	write("later\n")
	if len(lines) != came+2 || !strings.Contains(lines[came], "lines dropped") || lines[came+1] != "later" {
		t.Errorf("afterwards: %q", lines[came:])
	}
	for range 10_000 {
		write("flood\n")
	}
	p.flush()
	if last := lines[len(lines)-1]; !strings.Contains(last, "dropped") {
		t.Errorf("flush: %q", last)
	}
	if tail := p.last(); len(tail) != tailLines || tail[tailLines-1] != "flood" {
		t.Errorf("tail: %q", tail)
	}
}

func TestCut(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("é", 100), strings.Repeat("世", 100), strings.Repeat("x", 51)} {
		if got := cut(text, 50); len(got) > 50 || !utf8.ValidString(got) || len(text) <= 50 && got != text {
			t.Errorf("cut %q: %q", text, got)
		}
	}
}
