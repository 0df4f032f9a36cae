package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
)

// mayAsk reports whether there is somebody to answer a question.
func (e *env) mayAsk() bool {
	return e.yes || !e.json() && isTerminal(e.Stdin) && isTerminal(e.Stderr)
}

// confirm asks on a terminal; elsewhere it takes --yes to go on.
func (e *env) confirm(ctx context.Context, question string) (bool, error) {
	if e.yes {
		return true, nil
	}
	if !e.mayAsk() {
		return false, withHint(usageError("this needs a confirmation, and there is nobody to ask"), "add --yes when you are sure")
	}
	fmt.Fprintf(e.Stderr, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // ends with the process when nobody answers
		answer <- firstLine(e.Stdin)
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(e.Stderr)
		return false, ctx.Err()
	case line := <-answer:
		line = strings.ToLower(strings.TrimSpace(line))
		return line == "y" || line == "yes", nil
	}
}

// firstLine reads a line and nothing behind it, which an editor or the next
// question is to have.
func firstLine(r io.Reader) string {
	line, _ := bufio.NewReaderSize(oneByte{r}, 16).ReadString('\n')
	return line
}

type oneByte struct{ io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.Reader.Read(p[:min(1, len(p))]) }
