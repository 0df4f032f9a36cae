package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
)

// shortValue is how wide a value may be that is shown on the line of its path.
const shortValue = 100

// changeLines shows differences between two definitions as a person reads them,
// each with + for what comes, - for what goes and ~ for what becomes another:
//
//	~ steps.tables.settings.mode: recreate -> data_only
//	- max_parallel: 2
//	+ steps.mail:
//	+   controller: sendmail
//
// Of a text of several lines its lines are compared.
func changeLines(p painter, changes []api.Change, indent string) string {
	var b strings.Builder
	for _, c := range renamed(changes) {
		for _, line := range changeOf(c) {
			b.WriteString(strings.TrimRight(indent+p.paint(markColor(line.mark), line.text), " ") + "\n")
		}
	}
	return b.String()
}

// renamed makes one change of two where of a step nothing but the name has
// changed.
func renamed(changes []api.Change) []api.Change {
	gone, came := map[string]string{}, map[string]string{} // paths by what the step is otherwise
	for _, c := range changes {
		switch {
		case c.Op == "removed":
			gone[stepBody(c, c.Old)] = c.Path
		case c.Op == "added":
			came[stepBody(c, c.New)] = c.Path
		}
	}
	var out []api.Change
	for _, c := range changes {
		body := stepBody(c, slices.Concat(c.Old, c.New))
		switch {
		case body == "" || gone[body] == "" || came[body] == "":
			out = append(out, c)
		case c.Path == gone[body]:
			out = append(out, api.Change{Path: c.Path, Op: "renamed", New: json.RawMessage(came[body])})
		case c.Path != came[body]: // one of several that are alike
			out = append(out, c)
		}
	}
	return out
}

// stepBody is what a step is besides its name, "" for a change that is not of a
// whole step.
func stepBody(c api.Change, raw json.RawMessage) string {
	var step map[string]json.RawMessage
	if !strings.HasPrefix(c.Path, "steps.") || c.Op != "added" && c.Op != "removed" || json.Unmarshal(raw, &step) != nil || step["controller"] == nil {
		return ""
	}
	delete(step, "name")
	body, err := json.Marshal(step)
	if err != nil {
		return ""
	}
	return string(body)
}

// line is one of those, with the mark that its colour follows.
type line struct{ mark, text string }

func markColor(mark string) color {
	switch mark {
	case "+":
		return green
	case "-":
		return red
	case "~":
		return yellow
	}
	return ""
}

func changeOf(c api.Change) []line {
	path := printable(c.Path)
	switch c.Op {
	case "moved":
		if string(c.Old) == string(c.New) { // others went around it
			return []line{{"~", "~ " + path + " moved"}}
		}
		return []line{{"~", fmt.Sprintf("~ %s moved from place %s to %s", path, brief(c.Old), brief(c.New))}}
	case "renamed":
		return []line{{"~", "~ " + path + " is " + printable(string(c.New)) + " now"}}
	case "added":
		return whole("+", path, c.New)
	case "removed":
		return whole("-", path, c.Old)
	}
	before, isText := textOf(c.Old)
	after, isTextToo := textOf(c.New)
	if isText && isTextToo && (strings.Contains(before, "\n") || strings.Contains(after, "\n")) {
		out := []line{{"~", "~ " + path + ":"}}
		for _, l := range lineDiff(textLines(before, after)) {
			out = append(out, line{l.mark, strings.TrimRight("    "+l.mark+" "+printable(l.text), " ")})
		}
		return out
	}
	if one := fmt.Sprintf("~ %s: %s -> %s", path, brief(c.Old), brief(c.New)); len(one) <= 2*shortValue && isShort(c.Old) && isShort(c.New) {
		return []line{{"~", one}}
	}
	out := []line{{"~", "~ " + path + ":"}}
	for _, side := range []struct {
		mark string
		raw  json.RawMessage
	}{{"-", c.Old}, {"+", c.New}} {
		for _, text := range yamlOf(side.raw) {
			out = append(out, line{side.mark, "    " + side.mark + " " + printable(text)})
		}
	}
	return out
}

// whole shows something that comes or goes with all that is in it.
func whole(mark, path string, raw json.RawMessage) []line {
	if len(raw) == 0 {
		return []line{{mark, mark + " " + path}}
	}
	if isShort(raw) {
		return []line{{mark, mark + " " + path + ": " + brief(raw)}}
	}
	out := []line{{mark, mark + " " + path + ":"}}
	for _, text := range yamlOf(raw) {
		out = append(out, line{mark, mark + "   " + printable(text)})
	}
	return out
}

// isShort reports whether a value has its place on one line: a scalar, or a
// short list of them.
func isShort(raw json.RawMessage) bool {
	if s, ok := textOf(raw); ok {
		return len(s) <= shortValue && !strings.Contains(s, "\n")
	}
	lines := yamlOf(raw)
	return len(lines) == 1 && len(lines[0]) <= shortValue && !strings.HasPrefix(strings.TrimSpace(string(raw)), "{")
}

// brief is a value on one line: a text as it is unless that could be taken for
// something else.
func brief(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "nothing"
	}
	return printable(strings.Join(yamlOf(raw), " "))
}

func textOf(raw json.RawMessage) (string, bool) {
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil && len(raw) > 0 && raw[0] == '"'
}

// Limits of a comparison line by line.
const (
	mostLines   = 2000 // of both texts; longer ones are shown as changed wholly
	linesAround = 2    // that are the same, beside those that are not
)

// textLines are the lines of two texts. The line end that both have at their ends
// is none more.
func textLines(before, after string) (a, b []string) {
	if strings.HasSuffix(before, "\n") && strings.HasSuffix(after, "\n") {
		before, after = before[:len(before)-1], after[:len(after)-1]
	}
	return strings.Split(before, "\n"), strings.Split(after, "\n")
}

// lineDiff compares two texts line by line: "-" went, "+" came, " " is the same,
// and a line "..." without a mark stands for more of those.
func lineDiff(before, after []string) (out []line) {
	var all []line
	common := make([][]int32, len(before)+1) // lengths of the longest common ends
	compare := len(before)+len(after) <= mostLines
	if compare {
		for i := range common {
			common[i] = make([]int32, len(after)+1)
		}
		for i := len(before) - 1; i >= 0; i-- {
			for j := len(after) - 1; j >= 0; j-- {
				if before[i] == after[j] {
					common[i][j] = common[i+1][j+1] + 1
				} else {
					common[i][j] = max(common[i+1][j], common[i][j+1])
				}
			}
		}
	}
	for i, j := 0, 0; i < len(before) || j < len(after); {
		switch {
		case compare && i < len(before) && j < len(after) && before[i] == after[j]:
			all = append(all, line{" ", before[i]})
			i, j = i+1, j+1
		case i < len(before) && (j == len(after) || !compare || common[i+1][j] >= common[i][j+1]):
			all = append(all, line{"-", before[i]})
			i++
		default:
			all = append(all, line{"+", after[j]})
			j++
		}
	}
	near := make([]bool, len(all))
	for i, l := range all {
		if l.mark != " " {
			for k := max(0, i-linesAround); k <= min(len(all)-1, i+linesAround); k++ {
				near[k] = true
			}
		}
	}
	for i, l := range all {
		switch {
		case near[i]:
			out = append(out, l)
		case i == 0 || near[i-1]:
			out = append(out, line{" ", "..."})
		}
	}
	return out
}
