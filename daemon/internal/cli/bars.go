package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/stepd/stepd/daemon/internal/api"
)

const maxBars = 8 // of steps; the others are counted

// barView draws a bar for the run and one for each step that runs, with the
// steps that ended as lines above them.
//
// To the library it is one bar with rows above it that may be empty: a bar of
// its own could only be taken away a frame after its end, below the line that
// tells the end.
type barView struct {
	*env
	lines stepLines
	p     painter
	ascii bool

	progress *mpb.Progress
	own      *mpb.Bar
	slots    int // rows above the run's own

	mu     sync.Mutex // what follows is read while drawing
	run    api.Run
	steps  []api.Step // that run, each where it was before
	more   int        // that run and are not shown
	layout layout
	frame  []string // rows of the frame that is being drawn
}

func newBarView(e *env, told *reasons) *barView {
	p := e.painter(e.Stderr)
	locale := e.Getenv("LC_ALL") + e.Getenv("LC_CTYPE") + e.Getenv("LANG")
	v := &barView{
		env: e, p: p, lines: stepLines{p: p, told: told},
		ascii:    !strings.Contains(strings.ToLower(strings.ReplaceAll(locale, "-", "")), "utf8"),
		progress: mpb.New(mpb.WithOutput(e.Stderr)),
		slots:    maxBars + 1,
	}
	if f, ok := e.Stderr.(*os.File); ok {
		if _, height, err := term.GetSize(int(f.Fd())); err == nil && height > 0 {
			v.slots = min(v.slots, max(1, height-3))
		}
	}
	return v
}

func (v *barView) event(ev api.Event) error {
	line := v.lines.of(ev)
	v.mu.Lock()
	v.run = ev.Run
	switch {
	case ev.Type == "snapshot" || ev.Type == "progress":
		v.show(ev.Active)
	case ev.Step != nil && ev.Step.Status != "running":
		v.steps = slices.DeleteFunc(v.steps, func(s api.Step) bool { return s.Position == ev.Step.Position })
	}
	v.mu.Unlock()
	if line != "" {
		v.note(line)
	}
	if v.own == nil {
		v.draw()
	}
	return nil
}

// show makes the bars those of the steps that run now. Steps that have a bar
// keep their order.
func (v *barView) show(active []api.Step) {
	now := slices.DeleteFunc(slices.Clone(active), func(s api.Step) bool { return s.Status != "running" })
	var steps []api.Step
	for _, old := range v.steps {
		if i := slices.IndexFunc(now, func(s api.Step) bool { return s.Position == old.Position }); i >= 0 {
			steps = append(steps, now[i])
			now = slices.Delete(now, i, i+1)
		}
	}
	room := v.slots
	if len(steps)+len(now) > room {
		room-- // for the line that counts the others
	}
	steps = append(steps, now...)
	shown := min(len(steps), room)
	v.steps, v.more = steps[:shown], len(steps)-shown
}

// draw begins to draw, until close.
func (v *barView) draw() {
	var rows []mpb.BarFiller
	for i := range v.slots {
		rows = append(rows, mpb.BarFillerFunc(func(w io.Writer, st decor.Statistics) error {
			v.mu.Lock()
			defer v.mu.Unlock()
			if i == 0 { // the first that is drawn: all rows are of one moment
				v.frame = v.rows(st.AvailableWidth - 1)
			}
			if i >= len(v.frame)-1 {
				return nil
			}
			_, err := fmt.Fprintln(w, v.frame[i])
			return err
		}))
	}
	slices.Reverse(rows) // the library draws them from the last to the first
	last := mpb.BarFillerFunc(func(w io.Writer, _ decor.Statistics) error {
		v.mu.Lock()
		defer v.mu.Unlock()
		_, err := io.WriteString(w, v.frame[len(v.frame)-1])
		return err
	})
	bar, err := v.progress.Add(0, last, mpb.BarTopExtender(rows...), mpb.BarFillerTrim())
	if err == nil { // else it is done drawing
		v.own = bar
	}
}

func (v *barView) note(line string) {
	if _, err := fmt.Fprintln(v.progress, line); err != nil {
		fmt.Fprintln(v.Stderr, line) // it is done drawing
	}
}

func (v *barView) close() {
	v.mu.Lock()
	v.steps, v.more = nil, 0
	v.mu.Unlock()
	if v.own != nil {
		v.own.Abort(true)
	}
	v.progress.Wait()
}

// rows are the lines of one frame, the run's own last. A full last column makes
// some terminals wrap, so width is one less than there is.
func (v *barView) rows(width int) []string {
	bars := make([]bar, 0, len(v.steps)+1)
	for i := range v.steps {
		bars = append(bars, stepBar(&v.steps[i]))
	}
	own := runBar(&v.run)
	for _, b := range append(bars, own) {
		v.layout.see(b)
	}
	c := v.layout.columns(width)
	var rows []string
	for _, b := range bars {
		rows = append(rows, v.line(b, c))
	}
	if v.more > 0 {
		rows = append(rows, v.p.paint(dim, clip(fmt.Sprintf("and %s more", number(int64(v.more))), width)))
	}
	return append(rows, v.line(own, c))
}

// bar is what a line with a bar says.
type bar struct {
	name     string
	color    color
	progress float64
	left     string // how long it still takes
	details  string
}

func runBar(r *api.Run) bar {
	b := bar{name: printable(r.Ref), color: bold, progress: r.Progress, details: tally(r)}
	if r.CancelRequested {
		b.details += ", being cancelled"
	}
	if r.Status == "queued" {
		b.details = "waits for its turn"
		if later(r, time.Now()) {
			b.details = "starts " + stamp(*r.NotBefore, "")
		} else if r.WaitsFor != "" {
			b.details = "waits for " + printable(r.WaitsFor)
		}
	} else if r.ETASeconds != nil {
		b.left = left(*r.ETASeconds)
	}
	return b
}

func stepBar(s *api.Step) bar {
	b := bar{name: printable(s.Name), progress: s.Progress}
	if s.ETASeconds != nil {
		b.left = left(*s.ETASeconds)
	}
	var details []string
	if s.Stuck {
		details = append(details, "stuck")
	}
	if s.Attempt > 1 {
		details = append(details, fmt.Sprintf("attempt %d", s.Attempt))
	}
	for _, text := range []string{counters(s.Counters), printable(s.Note)} {
		if text != "" {
			details = append(details, text)
		}
	}
	b.details = strings.Join(details, ", ")
	return b
}

// line draws a bar in no more columns than the layout gives it.
func (v *barView) line(b bar, c columns) string {
	full, empty := "━", "─"
	if v.ascii {
		full, empty = "#", "-"
	}
	said := fmt.Sprintf("%5s", percent(b.progress))
	if c.name == 0 {
		return clip(strings.TrimSpace(said), c.width)
	}
	out := v.p.paint(b.color, pad(clipName(b.name, c.name), c.name))
	if c.bar > 0 {
		done := min(c.bar, max(0, int(b.progress/100*float64(c.bar))))
		out += "  " + v.p.paint(cyan, strings.Repeat(full, done)) + v.p.paint(dim, strings.Repeat(empty, c.bar-done))
	}
	out += " " + said
	info := ""
	if c.left > 0 {
		info = b.left
	}
	room := c.info - runewidth.StringWidth(info)
	if info != "" && b.details != "" {
		info, room = info+", ", room-2
	}
	if runewidth.StringWidth(b.details) <= room || room >= 6 { // a lone … says nothing
		info += clip(b.details, room)
	}
	if info = strings.TrimSuffix(info, ", "); info != "" {
		out += "  " + info
	}
	return out
}
