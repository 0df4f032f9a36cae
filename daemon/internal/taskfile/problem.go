package taskfile

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"

	"github.com/stepd/stepd/daemon/internal/task"
)

// MaxProblems is how many problems of one file are kept; the rest is counted.
const MaxProblems = 50

const (
	excerptWidth = 110 // columns of a line that are shown
	excerptLead  = 60  // of these before the caret, when the line is longer
)

// Problem is one fault of a task file. Line and Column count from 1, columns in
// characters; they are 0 in a document that is no file (Source.JSON). Excerpt is the line that it stands in, as it is in the file but
// for plain secrets, which are blotted out.
type Problem struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path,omitempty"` // steps[0].settings.mode
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Excerpt string `json:"excerpt,omitempty"`
}

// Errors are all faults of one task file in the order of their positions. It
// wraps task.ErrInvalid.
type Errors struct {
	File     string    `json:"file"`
	Problems []Problem `json:"problems"`
	More     int       `json:"more,omitempty"` // problems beyond MaxProblems
}

// Error is what Render writes, without colour.
func (e *Errors) Error() string {
	var b bytes.Buffer
	_ = e.Render(&b, false) // a buffer takes everything
	return strings.TrimRight(b.String(), "\n")
}

// Unwrap makes errors.Is(err, task.ErrInvalid) true.
func (e *Errors) Unwrap() error { return task.ErrInvalid }

// Render writes the problems for people, each with the line that it stands in
// and a caret under the place. The first error of w is returned.
func (e *Errors) Render(w io.Writer, color bool) error {
	paint := func(code, s string) string {
		if !color || s == "" {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	var b strings.Builder
	gutter := 3
	for _, p := range e.Problems {
		gutter = max(gutter, len(fmt.Sprint(p.Line)))
	}
	for _, p := range e.Problems {
		where := fmt.Sprintf("%s:%d:%d:", printable(e.File), p.Line, p.Column)
		if p.Line == 0 {
			where = printable(e.File) + ":"
			if p.Path != "" && !strings.HasPrefix(p.Message, p.Path) {
				where += " " + printable(p.Path) + ":"
			}
		}
		fmt.Fprintf(&b, "%s %s\n", paint("1", where), paint("31", printable(p.Message)))
		if strings.TrimSpace(p.Excerpt) != "" {
			line, lead := window(p.Excerpt, p.Column)
			fmt.Fprintf(&b, "%*d | %s\n", gutter, p.Line, line)
			fmt.Fprintf(&b, "%*s | %s%s\n", gutter, "", lead, paint("1;32", "^"))
		}
		if p.Hint != "" {
			fmt.Fprintf(&b, "%*s   %s %s\n", gutter, "", paint("36", "hint:"), printable(p.Hint))
		}
	}
	switch {
	case e.More == 1:
		fmt.Fprintf(&b, "%s: 1 more problem\n", printable(e.File))
	case e.More > 1:
		fmt.Fprintf(&b, "%s: %d more problems\n", printable(e.File), e.More)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// window cuts a line to what fits around the column and returns with it the
// blank space that brings the caret there: tabs stay tabs, because only the
// terminal knows how wide they are.
func window(line string, column int) (shown, lead string) {
	runes := []rune(line)
	at := min(max(column-1, 0), len(runes))
	from, to := 0, len(runes)
	if len(runes) > excerptWidth {
		from = max(0, min(at-excerptLead, len(runes)-excerptWidth))
		to = min(len(runes), from+excerptWidth)
	}
	var s, l strings.Builder
	if from > 0 {
		s.WriteString("...")
		l.WriteString("   ")
	}
	for i := from; i < to; i++ {
		r := runes[i]
		if r != '\t' && !unicode.IsPrint(r) {
			r = '?'
		}
		s.WriteRune(r)
		switch {
		case i >= at:
		case r == '\t':
			l.WriteByte('\t')
		default:
			l.WriteString(strings.Repeat(" ", runewidth.RuneWidth(r)))
		}
	}
	if to < len(runes) {
		s.WriteString("...")
	}
	return s.String(), l.String()
}

// printable keeps what a file says from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		if unicode.IsSpace(r) {
			return ' '
		}
		return '?'
	}, s)
}

// ordered sorts, drops repetitions (two steps that inherit one bad setting)
// and caps.
func ordered(file string, problems []Problem) *Errors {
	problems = slices.Clone(problems)
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	seen := make(map[[4]any]bool, len(problems))
	kept := problems[:0]
	for _, p := range problems {
		key := [4]any{p.Line, p.Column, p.Path, p.Message}
		if !seen[key] {
			seen[key] = true
			kept = append(kept, p)
		}
	}
	e := &Errors{File: file, Problems: kept}
	if len(kept) > MaxProblems {
		e.Problems, e.More = kept[:MaxProblems], len(kept)-MaxProblems
	}
	return e
}
