package retain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/sdk"
)

// retainer is one attempt in one directory.
type retainer struct {
	tuning
	settings Settings
	zone     *time.Location
	path     string // for people
	root     *os.Root
	log      hclog.Logger
	progress func(done, total float64, note string)
}

// plan is what shall happen to the archives.
type plan struct {
	newest *archive   // the newest good one
	keep   []*archive // newest first, each with its reasons
	remove []*archive // newest first
	going  []string
}

func (r *retainer) retain(ctx context.Context) (Retained, error) {
	found, err := list(r.root, newArchiveName(r.settings.Task), r.now())
	if err != nil {
		return Retained{}, err
	}
	for _, name := range found.odd {
		r.log.Warn("left alone: it is named like an archive and is no file", "path", name)
	}
	for i, a := range found.archives {
		r.progress(float64(i), float64(len(found.archives)), "looking at "+a.name)
		if err := a.inspect(ctx, r.root, r.settings.Task); err != nil {
			return Retained{}, fmt.Errorf("look at %s: %w", a.name, err)
		}
	}
	p, err := r.plan(found)
	if err != nil {
		return Retained{}, err
	}
	result := newRetained(r.settings, r.path)
	for _, a := range p.keep {
		result.keep(a, r.zone)
		r.log.Info(r.word("kept", "would keep"), "archive", a.name, "why", strings.Join(a.reasons, ", "))
	}
	for _, a := range p.remove {
		result.remove(a, r.zone)
	}
	if r.settings.DryRun {
		for _, a := range p.remove {
			r.log.Info("would delete", "archive", a.name, "bytes", a.info.Size())
		}
		for _, name := range p.going {
			r.log.Info("would end the deletion of what an earlier attempt has begun to delete", "archive", name)
		}
		return result, nil
	}
	if len(p.remove)+len(p.going) == 0 {
		return result, nil
	}
	if err := r.prove(ctx, p.newest); err != nil {
		return Retained{}, err
	}
	return result, r.carryOut(ctx, p)
}

func (r *retainer) word(done, dry string) string {
	if r.settings.DryRun {
		return dry
	}
	return done
}

// plan decides; nothing was changed yet when it returns.
func (r *retainer) plan(found listing) (plan, error) {
	p := plan{going: found.going}
	var good []*archive
	var times []time.Time
	future := 0
	for _, a := range found.archives {
		switch {
		case a.future:
			future++
		case a.fault == "":
			good, times = append(good, a), append(times, a.at)
		}
	}
	if len(good) == 0 {
		return p, r.noneGood(found, future)
	}
	p.newest = good[0]
	for i, reasons := range r.settings.Keep.reasons(times, r.zone) {
		good[i].reasons = reasons
	}
	if len(p.newest.reasons) == 0 { // no rule does without it; were one to, it stays all the same
		p.newest.reasons = []string{"newest good one"}
	}
	older := false // than the newest good one
	for _, a := range found.archives {
		switch {
		case a.future:
			a.reasons = []string{"its time is yet to come: not counted, not deleted"}
			r.log.Warn("an archive is of a time that is yet to come: is the clock right, and was it then?", "archive", a.name)
		case a.fault != "" && !(r.settings.DeleteBroken && older && !a.foreign):
			a.reasons = []string{"not good, so neither counted nor deleted: " + a.fault}
			r.log.Warn("an archive is not good", "archive", a.name, "fault", a.fault)
		}
		if len(a.reasons) > 0 {
			p.keep = append(p.keep, a)
		} else {
			p.remove = append(p.remove, a)
		}
		older = older || a == p.newest
	}
	return p, nil
}

// noneGood is nil where there is nothing at all: a task's first day.
func (r *retainer) noneGood(found listing, future int) error {
	count := len(found.archives)
	if count == 0 && len(found.going) == 0 {
		return nil
	}
	text := fmt.Sprintf("no good archive of task %s in %s, so nothing is deleted", r.settings.Task, r.path)
	if count == 0 {
		return sdk.Permanent(fmt.Errorf("%s; .%s%s and perhaps others wait for their deletion", text, found.going[0], goingSuffix))
	}
	if future > 0 {
		text += fmt.Sprintf("; of %s %d would be of a later time than now (%s): is the clock right?",
			sdk.Count(int64(count), "archive"), future, r.now().UTC().Format(time.RFC3339))
	}
	if at := slices.IndexFunc(found.archives, func(a *archive) bool { return a.fault != "" }); at >= 0 {
		text += fmt.Sprintf("; %s: %s", found.archives[at].name, found.archives[at].fault)
	}
	return sdk.Permanent(errors.New(text))
}

func (r *retainer) prove(ctx context.Context, newest *archive) error {
	if !r.settings.Verify {
		return nil
	}
	fault, err := newest.prove(ctx, r.root, r.progress)
	if err != nil {
		return err
	}
	if fault != "" {
		return sdk.Permanent(fmt.Errorf("the newest archive %s is damaged, so nothing is deleted: %s", newest.name, fault))
	}
	r.log.Info("the newest archive has the SHA-256 that its manifest says", "archive", newest.name)
	return nil
}

// carryOut deletes the oldest first, so that it is always the newest that are
// still there.
func (r *retainer) carryOut(ctx context.Context, p plan) error {
	dir, err := r.root.Open(".")
	if err != nil {
		return readError(err)
	}
	defer dir.Close()
	d := &deleter{root: r.root, dir: dir, before: r.before}
	for _, name := range p.going {
		if err := d.finish(name); err != nil {
			return err
		}
		r.log.Info("ended the deletion of what an earlier attempt has begun to delete", "archive", name)
	}
	for i, a := range slices.Backward(p.remove) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := d.remove(a); err != nil {
			return err
		}
		done := len(p.remove) - i
		r.progress(float64(done), float64(len(p.remove)), "deleted "+a.name)
		r.log.Info("deleted", "archive", a.name, "bytes", a.info.Size())
	}
	return nil
}
