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
	if told(err) {
		return
	}
	if errors.Is(err, errDeclined) {
		e.say("%s", errDeclined)
		return
	}
	text, hint := parts(err)
	fault, _ := errors.AsType[*api.Error](err)
	if e.json() {
		body := api.Error{Code: codeOf(err), Message: text, Hint: hint}
		if fault != nil {
			body = *fault
			body.Message, body.Hint = text, hint
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
	if w, ok := errors.AsType[*wordFaults](err); ok {
		e.wordFaults(p, what, w)
		return
	}
	if fault != nil && len(fault.Problems) > 0 {
		e.problems(p, fault)
		return
	}
	fmt.Fprintf(e.Stderr, "%s: %s\n", what, p.paint(red, block(text)))
	if fault != nil {
		e.against(fault)
	}
	if hint != "" {
		fmt.Fprintf(e.Stderr, "  %s\n", block(hint))
	}
}

// told reports whether the person knows of the error: how a run ended that they
// followed, that they interrupted it, what differs.
func told(err error) bool {
	if _, ok := errors.AsType[*runEnd](err); ok {
		return true
	}
	if _, ok := errors.AsType[*reported](err); ok {
		return true
	}
	return errors.Is(err, errInterrupted) || errors.Is(err, errDifferent)
}

// against shows what stands against a request beyond the words of the error:
// what has changed meanwhile, or the tasks that are not the files' own.
func (e *env) against(fault *api.Error) {
	e.conflicts(fault.Tasks)
	if len(fault.Changes) > 0 {
		fmt.Fprintf(e.Stderr, "  what has changed since:\n%s", changeLines(e.painter(e.Stderr), fault.Changes, "    "))
	}
	for _, step := range fault.Steps {
		fmt.Fprintf(e.Stderr, "  %s\n", printable(step))
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

// wordFaults shows the faults of what was typed, each with its place in the
// definition.
func (e *env) wordFaults(p painter, what string, w *wordFaults) {
	for _, pr := range w.fault.Problems {
		where := ""
		if pr.Path != "" && !strings.Contains(pr.Message, pr.Path) {
			where = printable(pr.Path) + ": "
		}
		fmt.Fprintf(e.Stderr, "%s: %s%s\n", what, where, p.paint(red, block(pr.Message)))
		if pr.Hint != "" {
			fmt.Fprintf(e.Stderr, "  %s\n", block(pr.Hint))
		}
	}
}

// tell reports an error at once, so that something can be said behind it.
func (e *env) tell(err error) error {
	if told(err) {
		return err
	}
	e.report(e.cmd, err)
	return &reported{err}
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
