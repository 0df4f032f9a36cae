package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/stepd/stepd/daemon/internal/api"
)

const (
	maxBars    = 8 // of steps; the others are counted
	nameWidth  = 28
	barWidth   = 20
	narrow     = 60 // columns below which bars are half as long
	priorityN  = 1 << 20
	priorityIn = priorityN + 1 // the run's own bar comes last
)

// barView draws a bar for the run and one for each step that runs, with the
// steps that ended as lines above them.
type barView struct {
	*env
	lines stepLines
	p     painter
	ascii bool

	progress *mpb.Progress
	own      *mpb.Bar // of the run
	rest     *mpb.Bar // "and 12 more"
	bars     map[string]*mpb.Bar
	next     int // priority of the next bar, so that they stay in their order

	mu    sync.Mutex // what follows is read while drawing
	run   api.Run
	steps map[string]api.Step // by position, those with a bar
	more  int
	names int // width of the names' column
}

func newBarView(e *env) *barView {
	p := e.painter(e.Stderr)
	locale := e.Getenv("LC_ALL") + e.Getenv("LC_CTYPE") + e.Getenv("LANG")
	return &barView{
		env: e, p: p, lines: stepLines{p: p},
		ascii:    !strings.Contains(strings.ToLower(strings.ReplaceAll(locale, "-", "")), "utf8"),
		progress: mpb.New(mpb.WithOutput(e.Stderr)),
		bars:     map[string]*mpb.Bar{}, steps: map[string]api.Step{},
	}
}

func (v *barView) event(ev api.Event) error {
	if line := v.lines.of(ev); line != "" {
		v.note(line)
	}
	v.mu.Lock()
	v.run = ev.Run
	v.names = max(v.names, min(nameWidth, runewidth.StringWidth(ev.Run.Ref)))
	v.mu.Unlock()
	if v.own == nil {
		v.own = v.add(priorityIn, v.drawRun)
	}
	switch {
	case ev.Type == "snapshot" || ev.Type == "progress":
		v.show(ev.Active)
	case ev.Step != nil && ev.Step.Status != "running":
		v.drop(ev.Step.Position)
	}
	return nil
}

func (v *barView) add(priority int, draw func(width int) string) *mpb.Bar {
	fill := mpb.BarFillerFunc(func(w io.Writer, st decor.Statistics) error {
		_, err := io.WriteString(w, draw(st.AvailableWidth-1)) // a full last column makes some terminals wrap
		return err
	})
	bar, err := v.progress.Add(0, fill, mpb.BarPriority(priority), mpb.BarFillerTrim())
	if err != nil {
		return nil // it is done drawing
	}
	return bar
}

// show makes the bars those of the steps that run now. Steps that have a bar
// keep it and its place.
func (v *barView) show(active []api.Step) {
	now := map[string]api.Step{}
	for _, s := range active {
		if s.Status == "running" {
			now[s.Position] = s
		}
	}
	for pos := range v.bars {
		if _, ok := now[pos]; !ok {
			v.drop(pos)
		}
	}
	for _, s := range active {
		if _, ok := now[s.Position]; !ok {
			continue
		}
		if _, has := v.bars[s.Position]; !has && len(v.bars) >= maxBars {
			continue
		}
		v.mu.Lock()
		v.steps[s.Position] = s
		v.names = max(v.names, min(nameWidth, runewidth.StringWidth(printable(s.Name))))
		v.mu.Unlock()
		if _, has := v.bars[s.Position]; !has {
			v.next++
			pos := s.Position
			if bar := v.add(v.next, func(width int) string { return v.drawStep(pos, width) }); bar != nil {
				v.bars[pos] = bar
			}
		}
	}
	v.mu.Lock()
	v.more = len(now) - len(v.bars)
	more := v.more
	v.mu.Unlock()
	switch {
	case more > 0 && v.rest == nil:
		v.rest = v.add(priorityN, v.drawRest)
	case more <= 0 && v.rest != nil:
		v.rest.Abort(true)
		v.rest = nil
	}
}

func (v *barView) drop(pos string) {
	if bar := v.bars[pos]; bar != nil {
		bar.Abort(true)
		delete(v.bars, pos)
	}
}

func (v *barView) note(line string) {
	if _, err := fmt.Fprintln(v.progress, line); err != nil {
		fmt.Fprintln(v.Stderr, line) // it is done drawing
	}
}

func (v *barView) close() {
	for pos := range v.bars {
		v.drop(pos)
	}
	for _, bar := range []*mpb.Bar{v.rest, v.own} {
		if bar != nil {
			bar.Abort(true)
		}
	}
	v.progress.Wait()
}

func (v *barView) drawRun(width int) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := &v.run
	info := []string{tally(r)}
	if r.CancelRequested {
		info = append(info, "being cancelled")
	}
	if r.Status == "queued" {
		info = []string{"waits for its turn"}
	} else if r.ETASeconds != nil {
		info = append(info, left(*r.ETASeconds))
	}
	return v.line(r.Ref, bold, r.Progress, strings.Join(info, ", "), width)
}

func (v *barView) drawStep(pos string, width int) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.steps[pos]
	var info []string
	add := func(text string) {
		if text != "" {
			info = append(info, text)
		}
	}
	if s.ETASeconds != nil {
		add(left(*s.ETASeconds))
	}
	if s.Attempt > 1 {
		add(fmt.Sprintf("attempt %d", s.Attempt))
	}
	add(counters(s.Counters))
	add(printable(s.Note))
	return v.line(printable(s.Name), "", s.Progress, strings.Join(info, ", "), width)
}

func (v *barView) drawRest(width int) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.p.paint(dim, clip(fmt.Sprintf("and %s more", number(int64(v.more))), width))
}

// line is a name, a bar, a percentage and what else there is to say, in no more
// than width columns.
func (v *barView) line(name string, c color, progress float64, info string, width int) string {
	length := barWidth
	if width < narrow {
		length /= 2
	}
	names := max(4, min(v.names, width-length-8))
	name = pad(clip(name, names), names)
	full, empty := "━", "─"
	if v.ascii {
		full, empty = "#", "-"
	}
	done := min(length, max(0, int(progress/100*float64(length))))
	head := v.p.paint(c, name) + "  " + v.p.paint(cyan, strings.Repeat(full, done)) + v.p.paint(dim, strings.Repeat(empty, length-done)) +
		fmt.Sprintf(" %5s", percent(progress))
	used := names + 2 + length + 6
	if used > width {
		return clip(name, width)
	}
	if info = clip(info, width-used-2); info != "" {
		head += "  " + info
	}
	return head
}
