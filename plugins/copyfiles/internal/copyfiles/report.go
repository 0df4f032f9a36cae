package copyfiles

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stepd/stepd/sdk"
)

// Limits of a list of paths: it goes into checkpoints and outputs, which are
// limited themselves. The counts beside it are exact, and the log has all.
const (
	maxListed      = 100
	maxListedBytes = 14 << 10 // as JSON
)

// Report says what was copied and what was not. It is the output "report".
type Report struct {
	Files     int64 `json:"files"`
	Bytes     int64 `json:"bytes"`     // of those files
	Unchanged int64 `json:"unchanged"` // of those files: were there already
	Linked    int64 `json:"linked"`    // of those files: are hard links to another one of them
	Dirs      int64 `json:"dirs"`
	Links     int64 `json:"links"`
	Skipped   int64 `json:"skipped"` // devices, sockets, named pipes

	VanishedCount   int64 `json:"vanished_count"`
	UnreadableCount int64 `json:"unreadable_count"`
	ChangedCount    int64 `json:"changed_count"`
	// The first ones of each.
	Vanished   []string `json:"vanished"`
	Unreadable []string `json:"unreadable"`
	Changed    []string `json:"changed"`

	// Unmatched are patterns of include that nothing in the source matches, as
	// they were written. They are known at the end alone.
	Unmatched []string `json:"unmatched"`
	unmatched int      // also those that are not listed
}

// state is the checkpoint: all that is known about the entries up to and
// including Position.
type state struct {
	// Position is the path of the last entry that is done, in the order of the
	// walk. Bytes, as names need not be UTF-8.
	Position   []byte `json:"position,omitempty"`
	MadeTarget bool   `json:"made_target,omitempty"` // the target's own mode is ours to set
	// Matched are the patterns of include, by their place in the list, that an
	// entry up to Position has matched, or one soon after it.
	Matched []int `json:"matched,omitempty"`
	// Indexed: names before Position are in the index of hard links, see index.
	Indexed bool `json:"indexed,omitempty"`
	// Partial is the file at hand, if it is a large one.
	Partial *partial `json:"partial,omitempty"`
	// Retryable: at least one unreadable file may be readable next time.
	Retryable bool   `json:"retryable,omitempty"`
	Report    Report `json:"report"`
}

func newState() state {
	return state{Report: Report{Vanished: []string{}, Unreadable: []string{}, Changed: []string{}, Unmatched: []string{}}}
}

// listed appends text while the list is within its limits.
func listed(list []string, text string) []string {
	if len(list) >= maxListed {
		return list
	}
	size := encodedSize(text)
	for _, other := range list {
		size += encodedSize(other)
	}
	if size > maxListedBytes {
		return list
	}
	return append(list, text)
}

func encodedSize(text string) int {
	raw, err := json.Marshal(text)
	if err != nil {
		return maxListedBytes // strings always encode
	}
	return len(raw) + 1
}

func (r Report) message() string {
	var b strings.Builder
	fmt.Fprintf(&b, "copied %s, %s", sdk.Count(r.Files, "file"), sdk.Bytes(r.Bytes))
	if r.Linked > 0 {
		fmt.Fprintf(&b, ", %d of them hard links to others", r.Linked)
	}
	if r.Unchanged > 0 {
		fmt.Fprintf(&b, " (%d were there already)", r.Unchanged)
	}
	skipped := "devices, sockets or pipes skipped"
	if r.Skipped == 1 {
		skipped = "device, socket or pipe skipped"
	}
	for _, part := range []struct {
		count int64
		word  string
	}{{r.VanishedCount, "vanished"}, {r.ChangedCount, "changed while they were copied"}, {r.Skipped, skipped}} {
		if part.count > 0 {
			fmt.Fprintf(&b, "; %d %s", part.count, part.word)
		}
	}
	if r.unmatched > 0 {
		fmt.Fprintf(&b, "; nothing matches %s", shownPatterns(r.Unmatched, r.unmatched))
	}
	return b.String()
}

// shownPatterns names a few of so many patterns.
func shownPatterns(patterns []string, of int) string {
	shown := patterns[:min(len(patterns), 5)]
	text := strings.Join(shown, ", ")
	if rest := of - len(shown); rest > 0 {
		text += fmt.Sprintf(" and %d more (see the log)", rest)
	}
	return text
}
