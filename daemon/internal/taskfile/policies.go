package taskfile

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"github.com/stepd/stepd/daemon/internal/task"
)

// maxAccount is how long the name of a user or a group may be, in bytes; Linux
// itself has 32, directory services have more.
const maxAccount = 256

// checkAccount says what is wrong with the name of a user or a group. Whether
// there is one is not asked: accounts come and go.
func checkAccount(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case len(name) > maxAccount:
		return fmt.Errorf("is %d bytes long, at most %d are allowed", len(name), maxAccount)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) || unicode.IsSpace(r) || strings.ContainsRune(":,/", r) {
			return fmt.Errorf("contains %q, which no account's name can have", r)
		}
	}
	return nil
}

// account reads the name of a user.
func (p *parser) account(to *string) func(entry, string) {
	return func(e entry, path string) {
		if blank(e.value) { // as it is
			return
		}
		name, ok := p.text(e, path)
		if !ok {
			return
		}
		err := checkAccount(name)
		if strings.HasPrefix(name, "@") {
			err = errors.New("is a group")
		}
		if err != nil {
			p.fault(e.value, path, path+" "+err.Error(), "write the name of a user")
			return
		}
		*to = name
	}
}

// starters reads who may start runs of the task.
func (p *parser) starters(e entry, path string) []string {
	return p.words(e, path, func(name string) (problem, hint string) {
		hint = "write names of users, and of groups with an @: [www-data, \"@shop\"]"
		group, isGroup := strings.CutPrefix(name, "@")
		if err := checkAccount(group); err != nil {
			if isGroup && group == "" {
				return "names no group", hint
			}
			return err.Error(), hint
		}
		return "", ""
	})
}

// settable reads which settings may be otherwise for one run.
func (p *parser) settable(e entry, path string) []string {
	return p.words(e, path, func(name string) (problem, hint string) {
		hint = "write a setting as mode, one of a step as tables.mode, or \"*\" for all"
		switch {
		case name == "":
			return "is empty", hint
		case len(name) > 2*task.MaxNameLen || strings.ContainsFunc(name, unicode.IsControl):
			return "is no name of a setting", hint
		}
		return "", ""
	})
}

// locks reads the names of the locks that runs of the task hold.
func (p *parser) locks(e entry, path string) []string {
	list := p.words(e, path, func(name string) (problem, hint string) {
		if err := task.CheckName(name); err != nil {
			return "is no name of a lock: " + printable(err.Error()), "letters, digits, '-', '_' and '.' make a name, as in shop-db"
		}
		return "", ""
	})
	if len(list) > task.MaxLocks {
		p.fault(e.value, path, fmt.Sprintf("a task has at most %d locks, these are %d", task.MaxLocks, len(list)), "")
		return nil
	}
	return list
}

// words reads a list of texts, each of which has to pass the check and stands
// there once.
func (p *parser) words(e entry, path string, check func(string) (problem, hint string)) []string {
	if blank(e.value) {
		return nil
	}
	list, nodes := p.texts(e, path)
	kept := make([]string, 0, len(list))
	for i, word := range list {
		at := item(path, i)
		switch problem, hint := check(word); {
		case problem != "":
			p.fault(nodes[i], at, at+" "+problem, hint)
		case slices.Contains(kept, word):
			p.fault(nodes[i], at, fmt.Sprintf("%s lists %s twice", path, quote(word)), "remove one of the two")
		default:
			kept = append(kept, word)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}

// keep reads which ended runs are kept.
func (p *parser) keep(e entry, path string, to *task.Keep) {
	if blank(e.value) {
		return
	}
	if deref(e.value).Kind != yaml.MappingNode {
		p.wrong(e, path, "a mapping", "write it as in keep: {runs: 30, days: 90, bytes: 10GiB}")
		return
	}
	p.mapping(e.value, path, path, fields{
		"runs":  p.whole(&to.Runs, 1, maxKept),
		"days":  p.whole(&to.Days, 1, maxKept),
		"bytes": p.size(&to.Bytes),
	})
}

// units of sizes, the largest first.
func units() []struct {
	name  string
	bytes int64
} {
	return []struct {
		name  string
		bytes int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}
}

const aSize = "a size with its unit, such as 512MiB, 10GiB or 1TiB"

// size reads a number of bytes.
func (p *parser) size(to *int64) func(entry, string) {
	return func(e entry, path string) {
		n := deref(e.value)
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
			hint := ""
			if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
				hint = "a size has a unit: " + shorten(n.Value) + "B are bytes"
			}
			p.wrong(e, path, aSize, hint)
			return
		}
		size, err := ParseSize(n.Value)
		if err != nil {
			p.fault(e.value, path, path+" "+err.Error(), "")
			return
		}
		*to = size
	}
}

// ParseSize reads a number of bytes as task files have it: "10GiB", "1.5TiB". A
// size of nothing is refused.
func ParseSize(text string) (int64, error) {
	for _, unit := range units() {
		number, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		switch {
		case err != nil || strings.Trim(strings.TrimSpace(number), "0123456789.") != "":
		case n*float64(unit.bytes) < 1:
			return 0, errors.New("must be more than nothing")
		case n*float64(unit.bytes) >= math.MaxInt64:
			return 0, errors.New("is too large")
		default:
			if whole, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64); err == nil {
				return whole * unit.bytes, nil // beyond what a float holds exactly
			}
			return int64(n * float64(unit.bytes)), nil
		}
		break
	}
	return 0, fmt.Errorf("must be %s, found %s", aSize, quote(text))
}

// FormatSize writes the shortest text with a whole number that ParseSize reads
// back as the same.
func FormatSize(bytes int64) string {
	for _, unit := range units() {
		if bytes%unit.bytes == 0 {
			return strconv.FormatInt(bytes/unit.bytes, 10) + unit.name
		}
	}
	return ""
}
