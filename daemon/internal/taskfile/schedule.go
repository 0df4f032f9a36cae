package taskfile

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Schedules is what a parser needs to know of schedules: when they are due is
// not its business.
type Schedules interface {
	// Timezone is that of schedules and expectations which name none.
	Timezone() string
	// Check says what is wrong with a schedule of the task of that name, whose
	// name, time zone and policies are filled in. That its time has passed is
	// no fault of one that the saved task has too. The name is empty when it
	// could not be read.
	Check(taskName string, s task.Schedule) []task.ScheduleFault
	CheckExpect(e task.Expect) []task.ScheduleFault
}

// places knows where the fields of a schedule or an expectation stand.
type places struct {
	path   string
	node   *yaml.Node
	fields map[string]fieldPlace
	items  []*yaml.Node // of exclude
	// noKind: which kind of schedule it is could not be found out, and was
	// complained of.
	noKind bool
}

type fieldPlace struct {
	path string
	node *yaml.Node
	bad  bool // complained of already
}

func newPlaces(path string, n *yaml.Node) *places {
	return &places{path: path, node: n, fields: make(map[string]fieldPlace)}
}

// scheduleList reads the value of the key schedule: one, or a list of them.
func (p *parser) scheduleList(e entry, taskName string) []task.Schedule {
	list := []*yaml.Node{e.value}
	whole := deref(e.value)
	path := func(int) string { return "schedule" }
	if whole.Kind == yaml.SequenceNode {
		list, path = whole.Content, func(i int) string { return item("schedule", i) }
	}
	if blank(e.value) || len(list) == 0 {
		p.fault(e.key, "schedule", "schedule is empty", `write when it is due, as in schedule: "30 2 * * *", or leave it out`)
		return nil
	}
	if len(list) > task.MaxSchedules {
		p.fault(list[task.MaxSchedules], path(task.MaxSchedules), fmt.Sprintf("a task has at most %d schedules, these are %d", task.MaxSchedules, len(list)), "")
		return nil
	}
	schedules := make([]task.Schedule, 0, len(list))
	var at []*places
	names := make(map[string]*yaml.Node)
	for i, n := range list {
		if !p.spend(n) {
			return nil
		}
		s, where := p.schedule(n, path(i))
		if name, given := where.fields["name"]; given && !name.bad {
			if first, taken := names[s.Name]; taken {
				p.fault(name.node, name.path, fmt.Sprintf("the schedule name %s is used twice%s", quote(s.Name), line(": first at line", first)),
					"each schedule of a task has a name of its own")
			} else {
				names[s.Name] = name.node
			}
		}
		schedules, at = append(schedules, s), append(at, where)
	}
	nameSchedules(schedules)
	for i, s := range schedules {
		p.scheduleFaults(at[i], p.schedules.Check(taskName, s))
	}
	return schedules
}

// nameSchedules gives those without a name one of their kind: cron, cron-2.
func nameSchedules(list []task.Schedule) {
	taken := make(map[string]bool)
	for _, s := range list {
		taken[s.Name] = true
	}
	for i := range list {
		s := &list[i]
		if s.Name != "" {
			continue
		}
		kind := "cron"
		switch {
		case s.At != "":
			kind = "at"
		case s.Rate > 0:
			kind = "every"
		case s.Delay > 0:
			kind = "after"
		}
		s.Name = unique(kind, taken)
	}
}

// unique is the word, or word-2 and so on, whichever is not taken, and takes it.
func unique(word string, taken map[string]bool) string {
	name := word
	for n := 2; taken[name]; n++ {
		name = word + "-" + strconv.Itoa(n)
	}
	taken[name] = true
	return name
}

// schedule reads one schedule: a mapping, or the text of a cron spec.
func (p *parser) schedule(n *yaml.Node, path string) (task.Schedule, *places) {
	at := newPlaces(path, n)
	s := task.Schedule{Timezone: p.schedules.Timezone()}.WithDefaults()
	node := deref(n)
	if node.Kind == yaml.ScalarNode && !blank(n) && knownTag(node) {
		e := entry{name: "cron", key: n, value: n}
		p.placed(at, fields{"cron": p.someText(&s.Cron)})["cron"](e, path)
		at.noKind = at.fields["cron"].bad
		return s, at
	}
	kinds := 0
	kind := func(read func(entry, string)) func(entry, string) {
		return func(e entry, path string) {
			kinds++
			read(e, path)
		}
	}
	text := func(to *string) func(entry, string) { return p.someText(to) }
	known := fields{
		"name":          func(e entry, path string) { s.Name = p.aName(e, path) },
		"cron":          kind(text(&s.Cron)),
		"at":            kind(text(&s.At)),
		"every":         kind(func(e entry, path string) { p.every(e, path, &s, at) }),
		"timezone":      text(&s.Timezone),
		"start":         text(&s.Start),
		"end":           text(&s.End),
		"jitter":        p.duration(&s.Jitter),
		"exclude":       func(e entry, path string) { s.Exclude, at.items = p.texts(e, path) },
		"missed":        oneOf(p, &s.Missed, task.MissedOnce, task.MissedSkip, task.MissedAll),
		"missed_window": p.duration(&s.MissedWindow),
		"missed_limit":  p.whole(&s.MissedLimit, 1, task.MaxMissedLimit),
		"overlap":       oneOf(p, &s.Overlap, task.OverlapSkip, task.OverlapQueue, task.OverlapReplace, task.OverlapAllow),
	}
	seen := p.mapping(n, path, path, p.placed(at, known))
	switch {
	case seen == nil:
		at.noKind = true
	case kinds == 0:
		p.fault(n, path, path+" does not say when it is due", `write one of cron: "30 2 * * *", at: 2026-12-24T18:00, every: 15m`)
		at.noKind = true
	case kinds > 1:
		p.fault(n, path, path+" has more than one of cron, at and every", "a task may have several schedules: write a list of them")
		at.noKind = true
	}
	for _, name := range []string{"cron", "at", "every"} {
		at.noKind = at.noKind || at.fields[name].bad
	}
	return s, at
}

// placed makes the readers of fields remember where these stand, and whether
// something was wrong with them.
func (p *parser) placed(at *places, known fields) fields {
	out := make(fields, len(known))
	for name, read := range known {
		out[name] = func(e entry, path string) {
			at.fields[name] = fieldPlace{path: path, node: e.value}
			problems := len(p.problems)
			read(e, path)
			of := at.fields[name]
			of.bad = of.bad || len(p.problems) > problems
			at.fields[name] = of
		}
	}
	return out
}

// someText reads a scalar as it is written, which must not be blank.
func (p *parser) someText(to *string) func(entry, string) {
	return func(e entry, path string) {
		text, ok := p.text(e, path)
		if ok && strings.TrimSpace(text) == "" {
			p.fault(e.value, path, path+" is empty", "")
		}
		*to = text
	}
}

// every reads the value of every: a fixed rate, or a mapping that says which.
func (p *parser) every(e entry, path string, s *task.Schedule, at *places) {
	if deref(e.value).Kind != yaml.MappingNode {
		p.duration(&s.Rate)(e, path)
		return
	}
	seen := p.mapping(e.value, path, path, p.placed(at, fields{
		"rate":   p.duration(&s.Rate),
		"delay":  p.duration(&s.Delay),
		"anchor": p.someText(&s.Anchor),
	}))
	_, rate := seen["rate"]
	_, delay := seen["delay"]
	anchor, anchored := seen["anchor"]
	switch {
	case rate && delay:
		p.fault(e.value, path, path+" has both rate and delay", "rate counts from one due time to the next, delay from the end of a run: write one of them")
	case !rate && !delay:
		p.fault(e.value, path, path+" has neither rate nor delay", "rate counts from one due time to the next, delay from the end of a run: write one of them")
	case delay && anchored:
		p.fault(anchor.key, path+".anchor", path+".anchor is there for a rate only", "a delay is counted from the end of the run before it")
	}
}

// texts reads a list of texts, with the node of each.
func (p *parser) texts(e entry, path string) (list []string, nodes []*yaml.Node) {
	node := deref(e.value)
	if node.Kind != yaml.SequenceNode {
		hint := ""
		if node.Kind == yaml.ScalarNode && !blank(e.value) {
			hint = "write a list, even of one: [" + shorten(node.Value) + "]"
		}
		p.wrong(e, path, "a list", hint)
		return nil, nil
	}
	for i, n := range node.Content {
		if !p.spend(n) {
			return nil, nil
		}
		text, ok := p.text(entry{key: n, value: n}, item(path, i))
		if !ok {
			return nil, nil
		}
		list, nodes = append(list, text), append(nodes, n)
	}
	return list, nodes
}

// oneOf reads a word of a few.
func oneOf[W ~string](p *parser, to *W, words ...W) func(entry, string) {
	return func(e entry, path string) {
		var known []string
		text := ""
		if n := deref(e.value); n.Kind == yaml.ScalarNode && !blank(e.value) {
			text = n.Value
		}
		for _, w := range words {
			if string(w) == text {
				*to = w
				return
			}
			known = append(known, string(w))
		}
		hint := suggest(text, known)
		if !strings.HasPrefix(hint, "did") {
			hint = ""
		}
		p.wrong(e, path, "one of: "+strings.Join(known, ", "), hint)
	}
}

// expectation reads the value of the key expect.
func (p *parser) expectation(e entry) *task.Expect {
	x := task.Expect{Timezone: p.schedules.Timezone()}
	at := newPlaces("expect", e.value)
	text := func(to *string) func(entry, string) { return p.someText(to) }
	if deref(e.value).Kind != yaml.MappingNode {
		p.wrong(e, "expect", "a mapping", `write a time of day, as in expect: {by: "06:00"}`)
		return nil
	}
	seen := p.mapping(e.value, "expect", "expect", p.placed(at, fields{"by": text(&x.By), "days": text(&x.Days), "timezone": text(&x.Timezone)}))
	if _, ok := seen["by"]; !ok {
		p.fault(e.key, "expect.by", "expect has no by", `write a time of day, as in expect: {by: "06:00"}`)
		at.fields["by"] = fieldPlace{path: "expect.by", node: e.value, bad: true}
	}
	p.scheduleFaults(at, p.schedules.CheckExpect(x))
	return &x
}

// scheduleFaults reports what a check has found, each fault where it stands.
func (p *parser) scheduleFaults(at *places, faults []task.ScheduleFault) {
	for _, f := range faults {
		of, given := at.fields[f.Field]
		switch f.Field {
		case "rate", "delay", "after":
			if !given {
				of, given = at.fields["every"]
			}
			fallthrough
		case "", "cron", "at", "every":
			if at.noKind {
				continue
			}
		}
		if of.bad {
			continue
		}
		node, path := of.node, of.path
		if !given { // it has what was filled in
			if node, path = at.node, at.path; f.Field != "" {
				path = join(at.path, f.Field)
			}
		}
		if f.Field == "exclude" && f.Index >= 0 && f.Index < len(at.items) {
			node, path = at.items[f.Index], item(path, f.Index)
		}
		p.within(node, f.Offset, path, path+" "+f.Message, f.Hint)
	}
}
