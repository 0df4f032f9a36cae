package secret

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// remembered is how many values of one secret are looked for: the newest ones.
const remembered = 8

// Redactor searches what comes back for values and puts "[secret NAME]" in
// their place. The zero value knows none. Its methods may be called from any
// goroutine; without values they cost next to nothing.
type Redactor struct {
	mu     sync.Mutex
	values map[string][]string // by name, oldest first
	table  atomic.Pointer[table]
}

// Add makes a value known from now on.
func (r *Redactor) Add(name, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.values[name]
	if len(value) < MinValue || slices.Contains(known, value) {
		return
	}
	if r.values == nil {
		r.values = make(map[string][]string)
	}
	r.values[name] = append(known[max(0, len(known)-remembered+1):], value)
	r.table.Store(newTable(r.values))
}

// Text puts the names of secrets in the place of their values.
func (r *Redactor) Text(text string) string {
	t := r.table.Load()
	if t == nil {
		return text
	}
	found := t.find(text)
	if cut, ok := t.cutOff(text); ok {
		found = append(found, cut)
	}
	if len(found) == 0 {
		return text
	}
	return replace(text, found)
}

// Holds reports the name of a secret whose value is in the text.
func (r *Redactor) Holds(text string) (name string, holds bool) {
	if t := r.table.Load(); t != nil {
		if found := t.find(text); len(found) > 0 {
			return found[0].name, true
		}
	}
	return "", false
}

// whole is the name of the secret whose value the text is.
func (r *Redactor) whole(text string) (name string, ok bool) {
	if t := r.table.Load(); t != nil {
		name, ok = t.values[text]
	}
	return name, ok
}

// Mark is what stands in the place of a value.
func Mark(name string) string { return "[secret " + name + "]" }

// table finds all forms of all values in one pass, by their first four bytes.
type table struct {
	values map[string]string // names by values
	starts map[uint32][]pattern
	filter [1 << 10]uint64 // which of their hashes there are
}

type pattern struct{ text, name string }

// span is where a value was found.
type span struct {
	from, to int
	name     string
}

func newTable(values map[string][]string) *table {
	t := &table{values: make(map[string]string), starts: make(map[uint32][]pattern)}
	for name, list := range values {
		for _, value := range list {
			t.values[value] = name
			for _, form := range forms(value) {
				start := head(form)
				t.starts[start] = append(t.starts[start], pattern{form, name})
				word, bit := slot(start)
				t.filter[word] |= bit
			}
		}
	}
	for _, list := range t.starts { // the longest first; of two secrets with one value always the same
		slices.SortFunc(list, func(a, b pattern) int {
			return cmp.Or(cmp.Compare(len(b.text), len(a.text)), strings.Compare(a.name, b.name))
		})
	}
	return t
}

func head(text string) uint32 { return binary.LittleEndian.Uint32([]byte(text[:4])) }

func slot(start uint32) (word int, bit uint64) {
	h := start * 2654435761 >> 16
	return int(h >> 6), 1 << (h & 63)
}

func (t *table) find(text string) (found []span) {
	for i := 0; i+MinValue <= len(text); i++ {
		start := uint32(text[i]) | uint32(text[i+1])<<8 | uint32(text[i+2])<<16 | uint32(text[i+3])<<24
		if word, bit := slot(start); t.filter[word]&bit == 0 {
			continue
		}
		for _, p := range t.starts[start] {
			if strings.HasPrefix(text[i:], p.text) {
				found = append(found, span{i, i + len(p.text), p.name})
				break
			}
		}
	}
	return found
}

// Texts that were cut on their way may end within a value.
const (
	cutMark  = " ..."
	longText = 1000 // bytes from which on a text may have been cut without a mark
)

// cutOff finds the beginning of a value at the end of a text that was cut.
func (t *table) cutOff(text string) (found span, ok bool) {
	body, marked := strings.CutSuffix(text, cutMark)
	if !marked && len(text) < longText || len(body) < MinValue {
		return span{}, false
	}
	end := body[len(body)-MinValue:]
	for _, list := range t.starts {
		for _, p := range list {
			// Where the text could end within the value, the longest part first.
			for from := p.text[:len(p.text)-1]; ; {
				i := strings.LastIndex(from, end)
				n := i + MinValue
				if i < 0 || n <= found.to-found.from {
					break
				}
				if strings.HasSuffix(body, p.text[:n]) {
					found, ok = span{len(body) - n, len(body), p.name}, true
					break
				}
				from = from[:n-1]
			}
		}
	}
	return found, ok
}

// replace treats values that overlap as one place, so that none of either is
// left.
func replace(text string, found []span) string {
	slices.SortFunc(found, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to), strings.Compare(a.name, b.name))
	})
	var b strings.Builder
	at := 0
	for i := 0; i < len(found); {
		b.WriteString(text[at:found[i].from])
		at = found[i].to
		names := []string{found[i].name}
		for i++; i < len(found) && found[i].from < at; i++ {
			at = max(at, found[i].to)
			if !slices.Contains(names, found[i].name) {
				names = append(names, found[i].name)
			}
		}
		for _, name := range names {
			b.WriteString(Mark(name))
		}
	}
	b.WriteString(text[at:])
	return b.String()
}
