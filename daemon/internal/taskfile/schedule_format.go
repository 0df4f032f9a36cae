package taskfile

import (
	"go.yaml.in/yaml/v4"

	"github.com/stepd/stepd/daemon/internal/task"
)

// scheduleNodes writes schedules as scheduleList reads them.
func scheduleNodes(list []task.Schedule) *yaml.Node {
	again := make([]task.Schedule, len(list))
	for i, s := range list {
		s.Name = ""
		again[i] = s
	}
	nameSchedules(again)
	named := false // by the file, not by their kind
	for i := range list {
		named = named || list[i].Name != again[i].Name
	}
	all := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, s := range list {
		m := block()
		m.node.Style = yaml.FlowStyle
		if named {
			m.text("name", s.Name)
		}
		m.text("cron", s.Cron)
		m.text("at", s.At)
		switch {
		case s.Rate > 0 && s.Anchor == "":
			m.duration("every", s.Rate)
		case s.Rate > 0 || s.Delay > 0:
			every := block()
			every.node.Style = yaml.FlowStyle
			every.duration("rate", s.Rate)
			every.duration("delay", s.Delay)
			every.text("anchor", s.Anchor)
			m.add("every", every.node)
		}
		m.text("timezone", s.Timezone)
		m.text("start", s.Start)
		m.text("end", s.End)
		m.duration("jitter", s.Jitter)
		m.list("exclude", s.Exclude)
		standard := task.Schedule{}.WithDefaults()
		if s.Missed != standard.Missed {
			m.text("missed", string(s.Missed))
		}
		if s.MissedWindow != standard.MissedWindow {
			m.duration("missed_window", s.MissedWindow)
		}
		if s.MissedLimit != standard.MissedLimit {
			m.whole("missed_limit", s.MissedLimit)
		}
		if s.Overlap != standard.Overlap {
			m.text("overlap", string(s.Overlap))
		}
		all.Content = append(all.Content, m.node)
	}
	if len(all.Content) == 1 {
		return all.Content[0]
	}
	return all
}

func expectNode(e task.Expect) *yaml.Node {
	m := block()
	m.node.Style = yaml.FlowStyle
	m.text("by", e.By)
	m.text("days", e.Days)
	m.text("timezone", e.Timezone)
	return m.node
}
