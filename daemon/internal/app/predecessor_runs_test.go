package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

func readySteps(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", `,"settings":{"fail":true},"interrupt_on_step_fault":true`) + `,` + toldStep("two", "") + `,` + toldStep("three", "") + `]}`)
	run := l.runs("backup")
	page, err := l.Steps(l.Context(), run.Ref, api.StepQuery{Status: "ready"})
	if err != nil {
		l.Fatal(err)
	}
	var names []string
	for _, s := range page.Items {
		names = append(names, s.Name)
	}
	l.wants("what is left", names, "[two three]")
}

// batch starts several runs and says what became of each task.
func (l *legacy) batch(r api.BatchRequest) (refs []string, left map[string]string) {
	l.Helper()
	result, err := l.StartBatch(l.Context(), r)
	if err != nil {
		l.Fatal(err)
	}
	left = map[string]string{}
	for _, one := range result.Runs {
		if one.Run == nil {
			left[one.Task] = one.Reason
			continue
		}
		refs = append(refs, one.Run.Ref)
	}
	slices.Sort(refs)
	return refs, left
}

// oneByOne holds that no two of the runs were carried out at once.
func (l *legacy) oneByOne(refs []string) {
	l.Helper()
	var all []api.Run
	for _, ref := range refs {
		await(l, l.Client, ref)
		all = append(all, l.detail(ref).Run)
	}
	slices.SortFunc(all, func(a, b api.Run) int { return a.StartedAt.Compare(*b.StartedAt) })
	for i := range all[:len(all)-1] {
		if all[i].EndedAt.After(*all[i+1].StartedAt) {
			l.Errorf("%s began before %s had ended", all[i+1].Ref, all[i].Ref)
		}
	}
}

func runDue(l *legacy) {
	nightly := `"schedule":{"cron":"0 22 * * *","timezone":"UTC","missed":"skip"}`
	l.makes(`{"name":"due","steps":[` + toldStep("one", "") + `],` + nightly + `}`)
	l.makes(`{"name":"failing","steps":[` + toldStep("one", `,"settings":{"fail":true}`) + `],` + nightly + `}`)
	l.makes(`{"name":"never","steps":[` + toldStep("one", "") + `]}`)
	refs, _ := l.batch(api.BatchRequest{Due: true})
	if len(refs) > 0 {
		l.Fatalf("%v were due at once", refs)
	}
	l.stop()
	l.clock.advance(25 * time.Hour) // nobody was there at 22:00
	l.start()
	l.outcomes("due", "", 1)
	refs, _ = l.batch(api.BatchRequest{Due: true})
	l.wants("started", refs, "[due/1 failing/1]")
	l.oneByOne(refs)
	l.wants("the one before did not stop it", l.detail("failing/1").Status+" "+l.detail("due/1").Status, "failed completed")
	refs, _ = l.batch(api.BatchRequest{Due: true})
	l.wants("due again: what has not completed", refs, "[failing/2]")
	await(l, l.Client, "failing/2")
}

func runAll(l *legacy) {
	l.makes(`{"name":"one","steps":[` + toldStep("one", "") + `]}`)
	l.makes(`{"name":"two","steps":[` + toldStep("one", "") + `]}`)
	l.makes(`{"name":"three","disabled":true,"steps":[` + toldStep("one", "") + `]}`)
	l.makes(`{"name":"four","steps":[]}`)
	refs, left := l.batch(api.BatchRequest{All: true})
	l.wants("started", refs, "[one/1 two/1]")
	if !strings.Contains(left["three"], "disabled") || !strings.Contains(left["four"], "no steps") {
		l.Errorf("left out: %v", left)
	}
	l.oneByOne(refs)
}

func runTask(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `]}`)
	l.wants("the run", l.runs("backup").Status, "completed")
	_, err := l.Start(l.Context(), api.RunRequest{Task: "bakcup"})
	l.refuses(err, api.CodeNotFound)
}

func runLater(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `]}`)
	at := evening.Add(2 * time.Hour)
	run, err := l.Start(l.Context(), api.RunRequest{Task: "backup", At: at.Format(time.RFC3339)})
	if err != nil {
		l.Fatal(err)
	}
	if run.NotBefore == nil || !run.NotBefore.Equal(at) || run.Status != "queued" || run.WaitsFor == "" {
		l.Fatalf("the run is %+v", run)
	}
	l.stop()
	l.clock.advance(time.Hour)
	l.start()
	l.wants("an hour later", l.detail(run.Ref).Status, "queued")
	l.clock.advance(time.Hour)
	l.wants("at its time", await(l, l.Client, run.Ref).Status, "completed")
	_, err = l.Start(l.Context(), api.RunRequest{Task: "backup", At: "at noon"})
	l.refuses(err, api.CodeInvalid, "at noon")
}

func interval(l *legacy) {
	l.makes(`{"name":"hourly","steps":[` + toldStep("one", "") + `],"schedule":{"every":"1h"}}`)
	l.clock.advance(59 * time.Minute)
	l.wants("before its time", len(l.refs("hourly")), 0)
	l.clock.advance(time.Minute)
	l.wants("when the interval has passed", l.ends("hourly/1", "completed").Trigger, "schedule")
	l.clock.advance(time.Hour)
	l.ends("hourly/2", "completed")
}

func runStep(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", `,"interrupt_on_step_fault":true`) + `,` + toldStep("two", "") + `,` + toldStep("three", "") + `]}`)
	run, err := l.Start(l.Context(), api.RunRequest{Task: "backup", Step: "two"})
	if err != nil {
		l.Fatal(err)
	}
	ended := await(l, l.Client, run.Ref)
	l.wants("the run", ended.Status+": "+l.statuses(run.Ref), "incomplete: one ready, two completed, three ready")
	if !strings.Contains(ended.Reason, "two") {
		l.Errorf("the reason is %q", ended.Reason)
	}
	if _, err := l.Continue(l.Context(), run.Ref, api.AgainRequest{}); err != nil {
		l.Fatal(err)
	}
	l.wants("continued", await(l, l.Client, run.Ref).Status, "completed")

	if _, err := l.PatchStep(l.Context(), "backup", "one", api.PatchRequest{Patch: json.RawMessage(`{"settings":{"fail":true}}`)}); err != nil {
		l.Fatal(err)
	}
	l.wants("the next", l.runs("backup").Status, "failed")
	_, err = l.Start(l.Context(), api.RunRequest{Task: "backup", Step: "two"})
	l.refuses(err, api.CodeState, "one", "failed")
	_, err = l.Start(l.Context(), api.RunRequest{Task: "backup", Step: "one"})
	if err != nil {
		l.Errorf("the failed step itself may be run: %v", err)
	}
	_, err = l.Start(l.Context(), api.RunRequest{Task: "backup", Step: "four"})
	l.refuses(err, api.CodeNotFound, "four")
}

func lastStep(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", `,"settings":{"fail":true}`) + `,` + toldStep("two", "") + `]}`)
	run := l.runs("backup")
	l.wants("the run", run.Status+": "+l.statuses(run.Ref), "failed: one failed, two completed")
	if !strings.Contains(run.Reason, "one") {
		l.Errorf("the reason is %q: the last step decided", run.Reason)
	}
}

func restart(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `,` + toldStep("two", "") + `]}`)
	run := l.runs("backup")
	again, err := l.Restart(l.Context(), run.Ref, api.AgainRequest{})
	if err != nil {
		l.Fatal(err)
	}
	l.wants("a new run", again.Ref, "backup/2")
	await(l, l.Client, again.Ref)
	l.wants("of all steps", l.statuses(again.Ref), "one completed, two completed")
	l.wants("the old one stays", l.detail(run.Ref).Status, "completed")
}

func continues(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", `,"interrupt_on_step_fault":true`) + `,` +
		toldStep("two", `,"interrupt_on_step_fault":true,"settings":{"fail":true}`) + `,` + toldStep("three", "") + `]}`)
	run := l.runs("backup")
	l.wants("at first", l.statuses(run.Ref), "one completed, two failed, three ready")
	first := l.detail(run.Ref).Steps[0]
	if _, err := l.Continue(l.Context(), run.Ref, api.AgainRequest{}); err != nil {
		l.Fatal(err)
	}
	await(l, l.Client, run.Ref)
	detail := l.detail(run.Ref)
	l.wants("the completed one", fmt.Sprint(detail.Steps[0].Attempt, detail.Steps[0].EndedAt), fmt.Sprint(first.Attempt, first.EndedAt))
	l.wants("the failed one", fmt.Sprint(detail.Steps[1].Attempt > 1), "true")
}

func abort(l *legacy) {
	release := l.hold("pipe")
	l.makes(`{"name":"backup","steps":[` + toldStep("one", `,"settings":{"hold":"pipe"}`) + `,` + toldStep("two", "") + `]}`)
	ref := begin(l, l.Client, "backup")
	l.carries(ref)
	if _, err := l.Cancel(l.Context(), ref, api.CancelRequest{}); err != nil {
		l.Fatal(err)
	}
	ended := await(l, l.Client, ref)
	l.wants("the run", ended.Status+": "+l.statuses(ref), "cancelled: one cancelled, two ready")

	ref = begin(l, l.Client, "backup")
	l.carries(ref)
	if _, err := l.Cancel(l.Context(), ref, api.CancelRequest{Step: "one"}); err != nil {
		l.Fatal(err)
	}
	ended = await(l, l.Client, ref)
	l.wants("of a step alone", ended.Status+": "+l.statuses(ref), "incomplete: one cancelled, two completed")
	_ = release
}

func limits(l *legacy) {
	l.hold("pipe")
	l.makes(`{"name":"backup","steps":[` + toldStep("one", `,"max_execution_time":"5m","settings":{"hold":"pipe"}`) + `]}`)
	ref := begin(l, l.Client, "backup")
	l.carries(ref)
	l.clock.advance(5 * time.Minute)
	run := await(l, l.Client, ref)
	step := l.detail(ref).Steps[0]
	l.wants("the run", run.Status+" "+step.Reason, "failed timed_out")
}

func settings(l *legacy) {
	l.makes(`{"name":"backup","settings":{"say":"task"},"steps":[` + toldStep("one", "") + `,` + toldStep("two", `,"settings":{"say":"step"}`) + `]}`)
	said := func(ref string) string {
		l.Helper()
		var all []string
		for _, o := range l.detail(ref).Outputs {
			if o.Name == "said" {
				all = append(all, string(bytes.Trim(o.Value, `"`)))
			}
		}
		return strings.Join(all, " ")
	}
	l.wants("said", said(l.runs("backup").Ref), "task step")
	run, err := l.Start(l.Context(), api.RunRequest{Task: "backup", Set: map[string]json.RawMessage{"say": json.RawMessage(`"once"`), "two.say": json.RawMessage(`"too"`)}})
	if err != nil {
		l.Fatal(err)
	}
	await(l, l.Client, run.Ref)
	l.wants("with other settings for once", said(run.Ref), "once too")
	l.wants("and then as before", said(l.runs("backup").Ref), "task step")
	_, err = l.Start(l.Context(), api.RunRequest{Task: "backup", Set: map[string]json.RawMessage{"say": json.RawMessage(`[7]`)}})
	l.refuses(err, api.CodeInvalid)
	_, err = l.Start(l.Context(), api.RunRequest{Task: "backup", Set: map[string]json.RawMessage{"sya": json.RawMessage(`"x"`)}})
	l.refuses(err, api.CodeInvalid, "sya")
}

func interrupt(l *legacy) {
	l.makes(`{"name":"stops","steps":[` + toldStep("one", `,"settings":{"fail":true},"interrupt_on_step_fault":true`) + `,` + toldStep("two", "") + `]}`)
	l.makes(`{"name":"goes-on","steps":[` + toldStep("one", `,"settings":{"fail":true}`) + `,` + toldStep("two", "") + `]}`)
	l.wants("with the flag", l.statuses(l.runs("stops").Ref), "one failed, two ready")
	l.wants("without", l.statuses(l.runs("goes-on").Ref), "one failed, two completed")
}

func noBlindRepeat(l *legacy) {
	l.makes(`{"name":"mailing","steps":[{"name":"send","controller":"told/once","settings":{"fail":true}}]}`)
	run := l.runs("mailing")
	step := l.detail(run.Ref).Steps[0]
	l.wants("one attempt", fmt.Sprint(step.Status, " ", step.Attempt), "failed 1")
	_, err := l.Continue(l.Context(), run.Ref, api.AgainRequest{})
	fault := l.refuses(err, api.CodeConfirm)
	l.wants("the steps in question", fault.Steps, "[send]")
	if _, err := l.Continue(l.Context(), run.Ref, api.AgainRequest{Again: true}); err != nil {
		l.Fatal(err)
	}
	await(l, l.Client, run.Ref)
	l.wants("with a person's word", l.detail(run.Ref).Steps[0].Attempt, 2)
}
