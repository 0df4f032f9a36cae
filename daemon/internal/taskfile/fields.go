package taskfile

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Bounds of numbers in a task file.
const (
	maxOrder    = 1_000_000_000
	maxAttempts = 1000
	maxWeight   = 1e9
	maxRuns     = 1000
	maxKept     = 1_000_000 // runs, and days
)

// fields says what reads each key of a mapping.
type fields map[string]func(e entry, path string)

// aTaskFile is what the whole document is called.
const aTaskFile = "a task file"

// ofSchedule are keys of a schedule that are looked for in the task itself.
func ofSchedule(key string) bool {
	switch key {
	case "cron", "at", "every", "timezone", "jitter", "exclude", "missed", "missed_window", "missed_limit", "overlap":
		return true
	}
	return false
}

// scheduleHint shows where a key of a schedule belongs.
func scheduleHint(e entry) string {
	switch value := deref(e.value); {
	case e.name != "cron" && e.name != "at" && e.name != "every":
		return fmt.Sprintf("it belongs into the schedule, as in schedule: {cron: ..., %s: ...}", e.name)
	case value.Kind != yaml.ScalarNode || blank(e.value):
		return fmt.Sprintf("it belongs into the schedule, as in schedule: {%s: ...}", e.name)
	case e.name == "cron":
		return "it belongs into the schedule, as in schedule: {cron: " + quote(value.Value) + "}"
	default:
		return fmt.Sprintf("it belongs into the schedule, as in schedule: {%s: %s}", e.name, shorten(value.Value))
	}
}

// mapping reads a mapping by its fields, and reports what is not one of them.
// It returns nil when n is no mapping.
func (p *parser) mapping(n *yaml.Node, path, what string, known fields) map[string]entry {
	if deref(n).Kind != yaml.MappingNode {
		p.fault(n, path, fmt.Sprintf("%s must be a mapping, found %s", what, describe(n)), "")
		return nil
	}
	seen := make(map[string]entry)
	for _, e := range p.entries(n, path) {
		at := join(path, e.name)
		read, ok := known[e.name]
		if !ok {
			message, hint := fmt.Sprintf("unknown key %s", quote(e.name)), ""
			switch {
			case what == aTaskFile && ofSchedule(e.name):
				hint = scheduleHint(e)
			default:
				names := make([]string, 0, len(known))
				for name := range known {
					names = append(names, name)
				}
				hint = suggest(e.name, names)
			}
			p.fault(e.key, at, message, hint)
			continue
		}
		seen[e.name] = e
		read(e, at)
	}
	return seen
}

// blank reports whether a key stands there without a value.
func blank(n *yaml.Node) bool {
	n = deref(n)
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Value == ""
}

func (p *parser) wrong(e entry, path, want, hint string) {
	node := e.value
	if blank(e.value) {
		node = e.key
	}
	p.fault(node, path, fmt.Sprintf("%s must be %s, found %s", path, want, describe(e.value)), hint)
}

// text takes any scalar as it is written: a name may be 2026 or yes.
func (p *parser) text(e entry, path string) (string, bool) {
	n := deref(e.value)
	if n.Kind != yaml.ScalarNode || blank(e.value) || !knownTag(n) {
		p.wrong(e, path, "text", "")
		return "", false
	}
	return n.Value, true
}

func (p *parser) boolean(to *bool) func(entry, string) {
	return func(e entry, path string) {
		n := deref(e.value)
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" {
			switch strings.ToLower(n.Value) {
			case "true", "false":
				*to = strings.EqualFold(n.Value, "true")
				return
			}
		}
		hint := ""
		if n.Kind == yaml.ScalarNode && yesNo(n.Value) {
			hint = "write true or false"
		}
		p.wrong(e, path, "true or false", hint)
	}
}

func (p *parser) whole(to *int, least, most int) func(entry, string) {
	return func(e entry, path string) {
		want := fmt.Sprintf("a whole number from %d to %d", least, most)
		n := deref(e.value)
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
			if number, whole, ok := parseNumber(n.Value); ok && whole {
				if v, err := strconv.Atoi(string(number)); err == nil && v >= least && v <= most {
					*to = v
					return
				}
			}
		}
		p.wrong(e, path, want, "")
	}
}

func (p *parser) weight(to *float64) func(entry, string) {
	return func(e entry, path string) {
		n := deref(e.value)
		if n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!int" || n.ShortTag() == "!!float") {
			if number, _, ok := parseNumber(n.Value); ok {
				if v, err := number.Float64(); err == nil && v > 0 && v <= maxWeight && !math.IsNaN(v) {
					*to = v
					return
				}
			}
		}
		p.wrong(e, path, "a number above zero", "")
	}
}

func (p *parser) duration(to *time.Duration) func(entry, string) {
	return func(e entry, path string) {
		n := deref(e.value)
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
			hint := ""
			if n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!int" || n.ShortTag() == "!!float") {
				if number, _, ok := parseNumber(n.Value); ok {
					if v, err := number.Float64(); err == nil && v <= 0 {
						p.fault(e.value, path, path+" "+errNotPositive.Error(), notZero(e.name))
						return
					}
				}
				hint = "a duration has a unit: " + shorten(n.Value) + "s are seconds"
			}
			p.wrong(e, path, "a duration such as 30s, 10m, 1h30m or 2d", hint)
			return
		}
		d, err := ParseDuration(n.Value)
		if err != nil {
			hint := ""
			if errors.Is(err, errNotPositive) {
				hint = notZero(e.name)
			}
			p.fault(e.value, path, path+" "+err.Error(), hint)
			return
		}
		*to = d
	}
}

// notZero says what to write for a duration of nothing.
func notZero(key string) string {
	switch key {
	case "every", "rate", "delay":
		return "write how long, as in " + key + ": 15m"
	}
	return "leave it out, or write how long, as in " + key + ": 10m"
}

// missing reports the required keys that are not there.
func (p *parser) missing(n *yaml.Node, path string, seen map[string]entry, what string, required ...string) {
	if seen == nil {
		return
	}
	for _, name := range required {
		if _, ok := seen[name]; !ok {
			hint := map[string]string{"name": "name it, as in name: hello", "controller": listControllers}[name]
			p.fault(n, join(path, name), fmt.Sprintf("%s has no %s", what, name), hint)
		}
	}
}

func (p *parser) task(ctx context.Context, root *yaml.Node, t *task.Task) {
	var settings, steps, schedule, expect entry
	hooks := []*hookList{
		{key: "on_missed", to: &t.OnMissed}, {key: "on_success", to: &t.OnSuccess},
		{key: "on_failure", to: &t.OnFailure}, {key: "on_end", to: &t.OnEnd},
	}
	known := fields{
		"name": func(e entry, path string) { t.Name = p.aName(e, path) },
		"description": func(e entry, path string) {
			if !blank(e.value) {
				t.Description, _ = p.text(e, path)
			}
		},
		"settings":           func(e entry, _ string) { settings = e },
		"steps":              func(e entry, _ string) { steps = e },
		"max_parallel":       p.whole(&t.MaxParallel, 1, task.MaxParallelCap),
		"max_execution_time": p.duration(&t.MaxExecutionTime),
		"disabled":           p.boolean(&t.Disabled),
		"created_by":         p.account(&t.CreatedBy),
		"starter":            func(e entry, path string) { t.Starter = p.starters(e, path) },
		"settable":           func(e entry, path string) { t.Settable = p.settable(e, path) },
		"priority":           p.whole(&t.Priority, -task.MaxPriority, task.MaxPriority),
		"max_runs":           p.whole(&t.MaxRuns, 1, maxRuns),
		"locks":              func(e entry, path string) { t.Locks = p.locks(e, path) },
		"log":                oneOf(p, &t.Log, task.Simple, task.Detailed),
		"keep":               func(e entry, path string) { p.keep(e, path, &t.Keep) },
		"schedule":           func(e entry, _ string) { schedule = e },
		"expect":             func(e entry, _ string) { expect = e },
	}
	for _, h := range hooks {
		known[h.key] = func(e entry, _ string) { h.given = e }
	}
	seen := p.mapping(root, "", aTaskFile, known)
	p.missing(root, "", seen, "the task", "name")
	if seen == nil {
		return
	}
	var shared []entry
	if settings.value != nil && !blank(settings.value) {
		if deref(settings.value).Kind != yaml.MappingNode {
			p.wrong(settings, "settings", "a mapping", "")
		} else {
			shared = p.entries(settings.value, "settings")
		}
	}
	if schedule.value != nil {
		t.Schedules = p.scheduleList(schedule, t.Name)
	}
	if expect.value != nil {
		t.Expect = p.expectation(expect)
	}
	switch onMissed := hooks[0].given; {
	case expect.value != nil && onMissed.value == nil:
		p.fault(expect.key, "expect", "expect needs on_missed: nothing would happen when no run has completed",
			"write the steps to be done then, as in on_missed: [{controller: NAME, settings: {...}}]; "+listControllers)
	case expect.value == nil && onMissed.value != nil:
		p.fault(onMissed.key, "on_missed", "on_missed needs expect: nothing says by when a run is to have completed", `write it, as in expect: {by: "06:00"}`)
	}
	p.name, p.draft = t.Name, steps.value == nil || none(steps)
	var nodes []*stepNode
	if steps.value != nil {
		t.Steps, nodes = p.steps(ctx, steps)
	}
	names := make([]string, len(shared))
	for i, e := range shared {
		names[i] = e.name
	}
	p.scopes(nodes, t.Steps, task.Scope{Settings: names})
	allNodes, all := nodes, t.Steps
	for _, h := range hooks {
		if h.given.value == nil {
			continue
		}
		var of []*stepNode
		*h.to, of = p.hookSteps(ctx, h.given)
		scope := task.Scope{Settings: names}
		if h.to != &t.OnMissed { // that follows no run
			scope.Hook, scope.RunSteps = true, stepNames(t.Steps)
		}
		p.scopes(of, *h.to, scope)
		allNodes, all = slices.Concat(allNodes, of), slices.Concat(all, *h.to)
	}
	if nodes == nil && !p.draft {
		return
	}
	p.conditions(allNodes, all)
	t.Settings = p.allSettings(allNodes, all, shared)
	copy(t.Steps, all)
	rest := all[len(t.Steps):]
	for _, h := range hooks {
		rest = rest[copy(*h.to, rest):]
	}
}

// hookList is a list of steps of the task beside its own.
type hookList struct {
	key   string
	to    *[]task.Step
	given entry
}

// aName reads the name of a task or a step.
func (p *parser) aName(e entry, path string) string {
	name, ok := p.text(e, path)
	if !ok {
		return ""
	}
	if err := task.CheckName(name); err != nil {
		p.fault(e.value, path, printable(err.Error()), "letters, digits, '-', '_' and '.' make a name, as in nightly-backup")
		return ""
	}
	return name
}

const listControllers = "'stepd plugins' lists what there is"

// lookupProblem words the failure of a lookup.
func lookupProblem(name string, err error) (problem, hint string) {
	if errors.Is(err, task.ErrNotFound) {
		return fmt.Sprintf("unknown controller %s: %s", quote(name), firstLine(err)), listControllers
	}
	// What a plugin said last comes behind the first line, and tells more.
	first, rest, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	if rest = strings.Join(strings.Fields(rest), " "); len(rest) > maxSaid {
		rest = "..." + strings.ToValidUTF8(rest[len(rest)-maxSaid:], "")
	}
	return strings.TrimSpace(printable(fmt.Sprintf("the controller %s cannot be used: %s %s", quote(name), first, rest))), ""
}

// maxSaid is how much of a plugin's words, in bytes, a problem repeats.
const maxSaid = 500
