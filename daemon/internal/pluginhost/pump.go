package pluginhost

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	maxLine   = 16 << 10 // bytes of one line that are kept
	tailLines = 20       // last lines kept for errors
	tailLine  = 300      // bytes of each of those

	pumpRate, pumpBurst           = 500, 2000          // lines a second
	pumpByteRate, pumpBytesAtOnce = 512 << 10, 2 << 20 // bytes a second
)

// pump takes what a plugin writes to its standard streams. It never blocks
// the plugin for long, passes lines on at a bounded rate, counts those that it
// drops, and remembers the last ones.
type pump struct {
	redact func(line string) string
	sink   func(line string)
	now    func() time.Time

	mu      sync.Mutex
	lines   limiter
	bytes   limiter
	dropped int
	tail    [tailLines]string
	seen    int
}

func newPump(redact func(string) string, sink func(string)) *pump {
	return &pump{redact: redact, sink: sink, now: time.Now,
		lines: newLimiter(pumpRate, pumpBurst), bytes: newLimiter(pumpByteRate, pumpBytesAtOnce)}
}

// line takes one line without its end. Secrets go before it is shortened: the
// beginning of one says much of it.
func (p *pump) line(raw []byte) {
	line := p.redact(clean(raw, maxLine))
	p.mu.Lock()
	p.tail[p.seen%tailLines] = cut(line, tailLine)
	p.seen++
	now := p.now()
	if !p.bytes.allow(now, float64(len(raw))) || !p.lines.allow(now, 1) {
		p.dropped++
		p.mu.Unlock()
		return
	}
	dropped := p.dropped
	p.dropped = 0
	p.mu.Unlock()
	if dropped > 0 {
		p.sink(droppedText(dropped))
	}
	p.sink(line)
}

// flush reports lines that were dropped and not reported yet.
func (p *pump) flush() {
	p.mu.Lock()
	dropped := p.dropped
	p.dropped = 0
	p.mu.Unlock()
	if dropped > 0 {
		p.sink(droppedText(dropped))
	}
}

// last returns the newest lines, oldest first.
func (p *pump) last() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	for i := max(0, p.seen-tailLines); i < p.seen; i++ {
		lines = append(lines, p.tail[i%tailLines])
	}
	return lines
}

func droppedText(n int) string { return fmt.Sprintf("(%d lines dropped: too many at once)", n) }

// clean makes text of bytes: valid UTF-8 of at most limit bytes, without NUL.
func clean(raw []byte, limit int) string {
	return cut(strings.ReplaceAll(strings.ToValidUTF8(string(raw[:min(len(raw), limit+8)]), "\uFFFD"), "\x00", "\uFFFD"), limit)
}

// cut shortens text to at most limit bytes, between characters, and shows it.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const mark = " ..."
	return strings.ToValidUTF8(text[:limit-len(mark)], "") + mark
}

// lineWriter splits one stream into lines for a pump. A line over maxLine is
// cut and its rest thrown away. It is not safe for concurrent use.
type lineWriter struct {
	pump *pump
	buf  []byte
	skip bool // the rest of an overlong line
}

func (w *lineWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		part := b
		if i >= 0 {
			part = b[:i]
			b = b[i+1:]
		} else {
			b = nil
		}
		if !w.skip {
			room := maxLine - len(w.buf)
			w.buf = append(w.buf, part[:min(len(part), room)]...)
			if len(part) > room {
				w.emit(" ...")
				w.skip = true
			}
		}
		if i >= 0 {
			if !w.skip {
				w.emit("")
			}
			w.skip = false
		}
	}
	return n, nil
}

// close passes on a last line that has no end.
func (w *lineWriter) close() {
	if len(w.buf) > 0 {
		w.emit("")
	}
}

func (w *lineWriter) emit(mark string) {
	line := w.buf
	if mark != "" {
		line = append(line[:min(len(line), maxLine-len(mark))], mark...)
	}
	w.pump.line(bytes.TrimSuffix(line, []byte{'\r'}))
	w.buf = w.buf[:0]
}
