package cli

import "strings"

// reasons remembers why steps failed, so that a reason is told once in full. A
// retry that fails alike, the planner of the step and the run itself would
// repeat it otherwise.
type reasons struct {
	by map[string]string // first line of a reason: the step that told it
	in map[string]bool   // whole reasons
}

// shortReason is how long a reason, in bytes, may be that is told each time: what
// would stand in its place is no shorter.
const shortReason = 24

func newReasons() *reasons { return &reasons{by: map[string]string{}, in: map[string]bool{}} }

// tell is the reason as it is to be shown for a step (or a run, with no name):
// in full the first time, then short.
func (r *reasons) tell(step, text string) string {
	first, _, more := strings.Cut(strings.TrimSpace(text), "\n")
	by, told := r.by[first]
	switch {
	case len(first) <= shortReason:
		return text
	case told && (!more || r.in[text]) && by == step:
		return "as before"
	case told && (!more || r.in[text]):
		return "the same as " + by
	}
	r.by[first], r.in[text] = step, true
	if more {
		return text
	}
	// "2 of 3 planned steps failed, the first: step load/actor failed: no space"
	// names the step that told the end of it.
	for at := strings.Index(text, ": "); at >= 0; {
		if _, told := r.by[text[at+2:]]; told {
			return text[:at]
		}
		next := strings.Index(text[at+2:], ": ")
		if next < 0 {
			break
		}
		at += 2 + next
	}
	return text
}
