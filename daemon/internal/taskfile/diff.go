package taskfile

import (
	"encoding/json"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Diff is what is different between two definitions, in the order and the words
// of a task file. Steps and schedules go by their names: one that has another
// name was removed and added. What a file does not say (version, times, a pause)
// is no difference, but the directory is, under "dir": relative paths start there.
//
// Two definitions without a difference are the same to whoever carries them out.
func Diff(old, now task.Task) []task.Change {
	d := &differ{orders: make(map[*yaml.Node]int)}
	d.mappings("", d.document(old), d.document(now))
	if old.Dir != now.Dir {
		d.add("dir", jsonText(old.Dir), jsonText(now.Dir))
	}
	return d.changes
}

// document is that of the task with its lists of schedules and steps as mappings
// of their names.
func (d *differ) document(t task.Task) *yaml.Node {
	root, err := document(t)
	if err != nil { // settings that are no object: no task that was saved has them
		return block().node
	}
	lists, orders := make(map[string][]string), make(map[string][]int)
	for _, list := range stepLists(&t) {
		for _, s := range *list.steps {
			lists[list.key] = append(lists[list.key], s.Name)
			orders[list.key] = append(orders[list.key], s.Order)
		}
	}
	for _, s := range t.Schedules {
		lists["schedule"] = append(lists["schedule"], s.Name)
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i].Value, root.Content[i+1]
		names, ok := lists[key]
		if !ok {
			continue
		}
		items := value.Content
		if value.Kind == yaml.MappingNode { // the only schedule
			items = []*yaml.Node{value}
		}
		named := &yaml.Node{Kind: yaml.MappingNode, Tag: namedList}
		for j, name := range names {
			one := withoutName(items[j])
			if key != "schedule" {
				d.orders[one] = orders[key][j]
			}
			named.Content = append(named.Content, str(name), one)
		}
		root.Content[i+1] = named
	}
	return root
}

// namedList marks a list whose items go by their names.
const namedList = "!named"

func withoutName(n *yaml.Node) *yaml.Node {
	out := *n
	out.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "name" {
			out.Content = append(out.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &out
}

type differ struct {
	changes []task.Change
	orders  map[*yaml.Node]int // of steps, also where they do not say it
}

func (d *differ) add(path string, old, now json.RawMessage) {
	op := task.Changed
	switch {
	case old == nil:
		op = task.Added
	case now == nil:
		op = task.Removed
	}
	d.changes = append(d.changes, task.Change{Path: path, Op: op, Old: old, New: now})
}

// mappings compares two mappings key by key: those of the old one that are
// changed or gone, each with what is new behind it.
func (d *differ) mappings(path string, old, now *yaml.Node) {
	was, isStep := d.orders[old]
	is := d.orders[now]
	for _, key := range bothKeys(old, now) {
		if isStep && key == "order" { // what only follows from another step's is no difference
			if was != is && string(nodeText(valueOf(old, key))) != string(nodeText(valueOf(now, key))) {
				d.add(join(path, key), json.RawMessage(strconv.Itoa(was)), json.RawMessage(strconv.Itoa(is)))
			}
			continue
		}
		d.values(join(path, key), key, valueOf(old, key), valueOf(now, key))
	}
}

func (d *differ) values(path, key string, old, now *yaml.Node) {
	empty := block().node
	isMapping := func(n *yaml.Node) bool { return n != nil && n.Kind == yaml.MappingNode }
	isNamed := func(n *yaml.Node) bool { return n != nil && n.Tag == namedList }
	switch {
	case isNamed(old) || isNamed(now):
		if !isNamed(old) {
			old = empty
		}
		if !isNamed(now) {
			now = empty
		}
		d.mappings(path, old, now)
		d.moved(path, keysOf(old), keysOf(now))
	case isMapping(old) && isMapping(now):
		d.mappings(path, old, now)
	case key == "settings" && isMapping(old) && now == nil:
		d.mappings(path, old, empty)
	case key == "settings" && old == nil && isMapping(now):
		d.mappings(path, empty, now)
	default:
		was, is := nodeText(old), nodeText(now)
		if string(was) != string(is) {
			d.add(path, was, is)
		}
	}
}

// moved tells the fewest of those in both lists that have to change their place
// to bring the others into their new order.
func (d *differ) moved(path string, old, now []string) {
	place := make(map[string]int, len(old))
	for i, name := range old {
		place[name] = i
	}
	var stay []int // indices in now, of those that are in both
	for i, name := range now {
		if _, both := place[name]; both {
			stay = append(stay, i)
		}
	}
	fixed := make(map[int]bool)
	for _, i := range longestRise(stay, func(i int) int { return place[now[i]] }) {
		fixed[i] = true
	}
	for _, i := range stay {
		if !fixed[i] {
			d.changes = append(d.changes, task.Change{Path: join(path, now[i]), Op: task.Moved,
				Old: json.RawMessage(strconv.Itoa(place[now[i]] + 1)), New: json.RawMessage(strconv.Itoa(i + 1))})
		}
	}
}

// longestRise is a longest part of the list, in its order, whose keys rise.
func longestRise(list []int, key func(int) int) []int {
	var ends []int // positions in list: the least end of a rise of each length
	before := make([]int, len(list))
	for at, item := range list {
		length, _ := slices.BinarySearchFunc(ends, key(item), func(end, k int) int { return key(list[end]) - k })
		before[at] = -1
		if length > 0 {
			before[at] = ends[length-1]
		}
		if length == len(ends) {
			ends = append(ends, at)
		} else {
			ends[length] = at
		}
	}
	if len(ends) == 0 {
		return nil
	}
	var rise []int
	for at := ends[len(ends)-1]; at >= 0; at = before[at] {
		rise = append(rise, list[at])
	}
	slices.Reverse(rise)
	return rise
}

func keysOf(n *yaml.Node) []string {
	keys := make([]string, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		keys = append(keys, n.Content[i].Value)
	}
	return keys
}

// bothKeys are the keys of both: each new one behind its neighbour in now, and
// behind what is gone there.
func bothKeys(old, now *yaml.Node) []string {
	left, added := keysOf(old), keysOf(now)
	stays, known := make(map[string]bool, len(added)), make(map[string]int, len(left))
	for _, key := range added {
		stays[key] = true
	}
	for i, key := range left {
		known[key] = i
	}
	keys, at := make([]string, 0, len(left)), 0 // so many of left are in keys
	upTo := func(end int) {
		for ; at < end; at++ {
			keys = append(keys, left[at])
		}
	}
	for _, key := range added {
		if i, both := known[key]; both {
			upTo(i + 1)
			continue
		}
		for at < len(left) && !stays[left[at]] {
			upTo(at + 1)
		}
		keys = append(keys, key)
	}
	upTo(len(left))
	return keys
}

func valueOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func nodeText(n *yaml.Node) json.RawMessage {
	if n == nil {
		return nil
	}
	if n.Tag == namedList {
		n = block().node
	}
	return nodeJSON(n)
}

func jsonText(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return nodeJSON(str(s))
}
