package engine

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/stepd/stepd/daemon/internal/task"
)

// A place in a list of tasks is the key that its last row is sorted by: the
// order, the time and the name. What comes and goes before it meanwhile moves no
// other task onto the next page or off it.

func (l *taskList) order() string {
	if l.down {
		return "-" + l.by
	}
	return l.by
}

func (l *taskList) place(row taskRow) string {
	at := strconv.FormatInt(row.at, 10)
	return base64.RawURLEncoding.EncodeToString([]byte(l.order() + " " + at + " " + row.name))
}

func readPlace(text, order string) (*taskRow, error) {
	wrong := fmt.Errorf("%w: %q is no place to go on from", task.ErrInvalid, text)
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, wrong
	}
	parts := strings.SplitN(string(raw), " ", 3)
	if len(parts) != 3 {
		return nil, wrong
	}
	if parts[0] != order {
		return nil, fmt.Errorf("%w: the place to go on from is one in the order of %s, not of %s", task.ErrInvalid, parts[0], order)
	}
	at, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return nil, wrong
	}
	return &taskRow{name: parts[2], at: at}, nil
}

// nameMatches reports whether the name has the text as a part, or is what the
// pattern describes: * stands for any letters, ? for one.
func nameMatches(pattern, name string) bool {
	if !strings.ContainsAny(pattern, "*?") {
		return strings.Contains(name, pattern)
	}
	p, n := []rune(pattern), []rune(name)
	star, back := -1, 0 // the newest star, and where the rest behind it was tried last
	i, j := 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, back = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[j]):
			i, j = i+1, j+1
		case star >= 0:
			back++
			i, j = star+1, back
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
