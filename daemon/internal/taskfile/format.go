package taskfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v4"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Format writes the task as a task file that Parse reads back to the same
// task, given the same controllers and Dir. Settings that a step has as the task
// has them are written once, with the task. What a file does not say (version,
// times, a pause) is left out.
func Format(t task.Task) ([]byte, error) {
	root, err := document(t)
	if err != nil {
		return nil, fmt.Errorf("format task %s: %w", t.Name, err)
	}
	out, err := yaml.Dump(root, yaml.WithV4Defaults(), yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("format task %s: %w", t.Name, err)
	}
	return out, nil
}

// document is the task as the node of its file.
func document(t task.Task) (*yaml.Node, error) {
	root := block()
	root.text("name", t.Name)
	root.text("description", t.Description)
	root.text("created_by", t.CreatedBy)
	root.list("starter", t.Starter)
	root.list("settable", t.Settable)
	root.whole("max_parallel", t.MaxParallel)
	root.whole("max_runs", t.MaxRuns)
	root.whole("priority", t.Priority)
	root.list("locks", t.Locks)
	root.duration("max_execution_time", t.MaxExecutionTime)
	root.text("log", string(t.Log))
	keep := block()
	keep.whole("runs", t.Keep.Runs)
	keep.whole("days", t.Keep.Days)
	if t.Keep.Bytes > 0 {
		keep.text("bytes", FormatSize(t.Keep.Bytes))
	}
	root.inline("keep", keep)
	root.yes("disabled", t.Disabled)
	shared, err := object(t.Settings)
	if err != nil {
		return nil, err
	}
	root.settings(shared)
	if len(t.Schedules) > 0 {
		root.add("schedule", scheduleNodes(t.Schedules))
	}
	if t.Expect != nil {
		root.add("expect", expectNode(*t.Expect))
	}
	for _, list := range stepLists(&t) {
		if list.key != "steps" && len(*list.steps) == 0 {
			continue
		}
		steps, err := stepNodes(*list.steps, shared)
		if err != nil {
			return nil, err
		}
		root.add(list.key, steps)
	}
	return root.node, nil
}

// stepList is one of the lists of steps that a task has.
type stepList struct {
	key   string
	steps *[]task.Step
}

func stepLists(t *task.Task) []stepList {
	return []stepList{{"steps", &t.Steps}, {"on_missed", &t.OnMissed}, {"on_success", &t.OnSuccess}, {"on_failure", &t.OnFailure}, {"on_end", &t.OnEnd}}
}

// stepNodes writes steps without the settings that they share with the task.
func stepNodes(list []task.Step, shared map[string]any) (*yaml.Node, error) {
	steps := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	if len(list) == 0 {
		steps.Style = yaml.FlowStyle
	}
	order := 0
	for _, s := range list {
		step := block()
		step.text("name", s.Name)
		step.text("controller", s.Controller)
		if s.Order != order+1 {
			step.add("order", number(strconv.Itoa(s.Order)))
		}
		order = s.Order
		step.text("when", s.When)
		step.yes("interrupt_on_step_fault", s.InterruptOnStepFault)
		if s.Weight > 0 {
			step.add("weight", number(jsonNumber(s.Weight)))
		}
		retry := block()
		retry.whole("attempts", s.Retry.Attempts)
		retry.duration("backoff", s.Retry.Backoff)
		retry.duration("max_backoff", s.Retry.MaxBackoff)
		step.inline("retry", retry)
		step.duration("max_execution_time", s.Limits.MaxExecutionTime)
		step.duration("attempt_timeout", s.Limits.AttemptTimeout)
		step.duration("progress_timeout", s.Limits.ProgressTimeout)
		step.duration("stuck_after", s.Limits.StuckAfter)
		own, err := object(s.Settings)
		if err != nil {
			return nil, fmt.Errorf("step %s: %w", s.Name, err)
		}
		maps.DeleteFunc(own, func(key string, v any) bool {
			of, inherited := shared[key]
			return inherited && reflect.DeepEqual(of, v)
		})
		step.settings(own)
		steps.Content = append(steps.Content, step.node)
	}
	return steps, nil
}

// mappingNode grows a mapping; zero values are left out.
type mappingNode struct{ node *yaml.Node }

func block() mappingNode {
	return mappingNode{&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}}
}

func (m mappingNode) add(key string, value *yaml.Node) {
	m.node.Content = append(m.node.Content, str(key), value)
}

func (m mappingNode) text(key, value string) {
	if value != "" {
		m.add(key, str(value))
	}
}

func (m mappingNode) list(key string, texts []string) {
	if len(texts) > 0 {
		list := make([]any, len(texts))
		for i, text := range texts {
			list[i] = text
		}
		m.add(key, value(list))
	}
}

// inline adds a mapping, on one line, that has something in it.
func (m mappingNode) inline(key string, of mappingNode) {
	if len(of.node.Content) > 0 {
		of.node.Style = yaml.FlowStyle
		m.add(key, of.node)
	}
}

func (m mappingNode) whole(key string, value int) {
	if value != 0 {
		m.add(key, number(strconv.Itoa(value)))
	}
}

func (m mappingNode) yes(key string, value bool) {
	if value {
		m.add(key, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
	}
}

func (m mappingNode) duration(key string, value time.Duration) {
	if value > 0 {
		m.add(key, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: FormatDuration(value)})
	}
}

func (m mappingNode) settings(of map[string]any) {
	if len(of) > 0 {
		m.add("settings", value(of))
	}
}

// object decodes settings; without any there is an empty one.
func object(raw json.RawMessage) (map[string]any, error) {
	of := make(map[string]any)
	if len(raw) == 0 {
		return of, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&of); err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fmt.Errorf("read settings: more than one value")
	}
	return of, nil
}

func value(v any) *yaml.Node {
	switch v := v.(type) {
	case string:
		return str(v)
	case json.Number:
		return number(string(v))
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)}
	case []any:
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		if flat(v) {
			list.Style = yaml.FlowStyle
		}
		for _, item := range v {
			list.Content = append(list.Content, value(item))
		}
		return list
	case map[string]any:
		m := block()
		if len(v) == 0 || len(v) == 1 && v["secret"] != nil {
			m.node.Style = yaml.FlowStyle
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			m.add(key, value(v[key]))
		}
		return m.node
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
}

// flat says that a list reads well on one line.
func flat(list []any) bool {
	width := 0
	for _, v := range list {
		s, ok := v.(string)
		if _, isNumber := v.(json.Number); !ok && !isNumber {
			return len(list) == 0
		}
		width += len(s) + 4
	}
	return width < 80
}

// number has no tag: YAML finds it by itself, whatever its size.
func number(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: text}
}

// jsonNumber is a finite number as JSON and YAML both read it.
func jsonNumber(f float64) string {
	data, err := json.Marshal(f)
	if err != nil {
		return "1" // not finite, which no task is
	}
	return string(data)
}

// str writes text so that it is read back as text and nothing else: plain only
// where that is beyond doubt.
func str(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch {
	case plainText(s) && !otherMeaning(s):
	case literalText(s):
		n.Style = yaml.LiteralStyle
	default:
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// plainText says that s is words of letters, digits and harmless signs.
func plainText(s string) bool {
	if s == "" || !(s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z' || strings.IndexByte("_./", s[0]) >= 0) {
		return false
	}
	for word := range strings.SplitSeq(s, " ") {
		if word == "" || strings.IndexByte("-*:", word[0]) >= 0 || word[len(word)-1] == ':' {
			return false
		}
		for _, r := range word {
			if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./@+()-*:", r)) {
				return false
			}
		}
	}
	return true
}

// otherMeaning lists the words that some YAML reader takes for no text.
func otherMeaning(s string) bool {
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf":
		return true
	}
	// A dot or a date-like start could be a number.
	return s[0] == '.' && len(s) > 1 && s[1] >= '0' && s[1] <= '9' || strings.HasPrefix(s, "...")
}

// literalText says that s can be written as lines of a block.
func literalText(s string) bool {
	if !strings.Contains(s, "\n") || strings.HasSuffix(s, "\n\n") {
		return false
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(s, "\n"), "\n") {
		if line == "" || line != strings.TrimSpace(line) {
			return false
		}
		for _, r := range line {
			if !unicode.IsPrint(r) {
				return false
			}
		}
	}
	return true
}
