package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

// report tells a person, or a program with -o json, what went wrong.
func (e *env) report(cmd *cobra.Command, err error) {
	if _, ok := errors.AsType[*runEnd](err); ok || errors.Is(err, errInterrupted) {
		return
	}
	text, hint := parts(err)
	fault, _ := errors.AsType[*api.Error](err)
	if e.json() {
		body := api.Error{Code: codeOf(err), Message: text, Hint: hint}
		if fault != nil {
			body.Problems = fault.Problems
		}
		_ = e.printJSON(struct {
			Error api.Error `json:"error"`
		}{body})
		return
	}
	p := e.painter(e.Stderr)
	what := "stepd"
	if cmd != nil && cmd.HasParent() {
		what += ": " + strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
	}
	if s, ok := errors.AsType[*specFaults](err); ok {
		e.specFaults(what, s)
		return
	}
	if fault != nil && len(fault.Problems) > 0 {
		e.problems(p, fault)
		return
	}
	fmt.Fprintf(e.Stderr, "%s: %s\n", what, p.paint(red, block(text)))
	if hint != "" {
		fmt.Fprintf(e.Stderr, "  %s\n", block(hint))
	}
}

// codeOf is the word for errors that the daemon did not make.
func codeOf(err error) api.Code {
	if fault, ok := errors.AsType[*api.Error](err); ok {
		return fault.Code
	}
	switch exitCode(err) {
	case exitUsage:
		return "usage"
	case exitDenied:
		return api.CodeDenied
	case exitDown:
		return "down"
	}
	if _, ok := errors.AsType[*client.BrokenError](err); ok {
		return "broken_off"
	}
	return "error"
}

// problems shows every fault of task files in its place.
func (e *env) problems(p painter, fault *api.Error) {
	gutter := 1
	for _, pr := range fault.Problems {
		gutter = max(gutter, len(fmt.Sprint(pr.Line)))
	}
	files := map[string]bool{}
	for _, pr := range fault.Problems {
		files[pr.File] = true
		where := printable(pr.File)
		if pr.Line > 0 {
			where += fmt.Sprintf(":%d", pr.Line)
			if pr.Column > 0 {
				where += fmt.Sprintf(":%d", pr.Column)
			}
		}
		fmt.Fprintf(e.Stderr, "%s: %s\n", p.paint(bold, where), p.paint(red, block(pr.Message)))
		if strings.TrimSpace(pr.Excerpt) != "" && pr.Line > 0 {
			line, lead := excerpt(pr.Excerpt, pr.Column)
			fmt.Fprintf(e.Stderr, "  %*d | %s\n", gutter, pr.Line, line)
			if pr.Column > 0 {
				fmt.Fprintf(e.Stderr, "  %*s | %s%s\n", gutter, "", lead, p.paint(green, "^"))
			}
		}
		if pr.Hint != "" {
			fmt.Fprintf(e.Stderr, "  %*s   %s\n", gutter, "", block(pr.Hint))
		}
	}
	fmt.Fprintf(e.Stderr, "\n%s in %s; nothing was saved\n", count(len(fault.Problems), "problem"), count(len(files), "file"))
	if fault.Hint != "" {
		fmt.Fprintf(e.Stderr, "%s\n", block(fault.Hint))
	}
}

// excerpt is a line as it is shown, and what stands above the caret's left: as
// wide on a terminal as the line is before the column, counted in characters
// from 1. A caret never lies beyond the end of the line by more than one.
//
// Of a line that is very long only what is around the column is shown.
func excerpt(line string, column int) (shown, lead string) {
	const most, before = 200, 100 // characters
	var s, l strings.Builder
	runes := []rune(strings.TrimRight(line, "\r\n"))
	from, to := 0, len(runes)
	if len(runes) > most {
		from = max(0, min(column-1-before, len(runes)-most))
		to = from + most
	}
	if from > 0 {
		s.WriteString("...")
		l.WriteString("   ")
	}
	at := 1 + from
	for _, r := range runes[from:to] {
		if r == '\t' {
			s.WriteRune(r)
		} else {
			s.WriteString(printable(string(r)))
		}
		if at < column {
			if r == '\t' {
				l.WriteRune(r) // as wide as the one above it, wherever the stops are
			} else {
				l.WriteString(strings.Repeat(" ", runewidth.StringWidth(printable(string(r)))))
			}
		}
		at++
	}
	if to < len(runes) {
		s.WriteString("...")
	}
	return s.String(), l.String()
}
