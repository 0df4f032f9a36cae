package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"

	"github.com/stepd/stepd/daemon/internal/api"
)

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// printJSON writes one object to stdout.
func (e *env) printJSON(v any) error {
	text, err := api.Marshal(v)
	if err != nil {
		return err
	}
	return e.print(string(text) + "\n")
}

// print writes data. A reader that has seen enough is an error like any other:
// the command must not go on as if it had been heard.
func (e *env) print(text string) error {
	if _, err := io.WriteString(e.Stdout, text); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// say tells a person something that is not data.
func (e *env) say(format string, args ...any) {
	if !e.quiet && !e.json() {
		fmt.Fprintf(e.Stderr, format+"\n", args...)
	}
}

type color string

const (
	bold   color = "1"
	dim    color = "2"
	red    color = "31"
	green  color = "32"
	yellow color = "33"
	cyan   color = "36"
)

type painter struct{ on bool }

// painter colours what goes to w, when somebody is there to see it.
func (e *env) painter(w io.Writer) painter {
	return painter{on: isTerminal(w) && !e.noColor && e.Getenv("NO_COLOR") == "" && e.Getenv("TERM") != "dumb"}
}

func (p painter) paint(c color, s string) string {
	if !p.on || s == "" || c == "" {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

func statusColor(status string) color {
	switch status {
	case "completed", "ready", "scheduled", "known", "ran", "met":
		return green
	case "failed", "broken", "refused", "unmet":
		return red
	case "running":
		return cyan
	case "incomplete", "cancelled", "interrupted", "waiting", "disabled", "paused",
		"ran_late", "overlapped", "missed", "outside_window":
		return yellow
	}
	return ""
}

func (p painter) status(s string) string { return p.paint(statusColor(s), printable(s)) }

// when shows a time: to people how long ago, to programs exactly.
func (e *env) when(t time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case isTerminal(e.Stdout):
		return ago(t, e.Now())
	}
	return t.UTC().Format(time.RFC3339)
}

func (e *env) whenPtr(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return e.when(*t)
}

// room is how many columns there are for data, 0 when it does not go to a
// terminal: nothing is cut then.
func (e *env) room() int {
	if f, ok := e.Stdout.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return 0
}

// table lines cells up. On a terminal long cells are cut, so that no row needs
// two lines.
func (e *env) table(head []string, rows [][]cell) error {
	return e.print(layTable(e.painter(e.Stdout), e.room(), head, rows))
}

// pairs writes names and values below each other. Pairs without a value are
// left out. On a terminal the names take a third of it at most.
func (e *env) pairs(list [][2]string) string {
	width := 0
	for _, p := range list {
		if p[1] != "" {
			width = max(width, runewidth.StringWidth(p[0]))
		}
	}
	if room := e.room(); room > 0 {
		width = min(width, max(10, room/3))
	}
	var b strings.Builder
	for _, p := range list {
		if p[1] != "" {
			fmt.Fprintf(&b, "  %s  %s\n", pad(clipName(p[0], width), width), p[1])
		}
	}
	return b.String()
}
