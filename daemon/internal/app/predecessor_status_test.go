package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

func (l *legacy) log(ref string, q api.LogQuery) (lines []api.LogLine) {
	l.Helper()
	q.Follow = true // to its end: the last lines come behind the end of the run
	err := l.Logs(l.Context(), ref, q, func(line api.LogLine) error { lines = append(lines, line); return nil })
	if err != nil {
		l.Fatal(err)
	}
	return lines
}

func logLevel(l *legacy) {
	l.makes(`{"name":"simple","steps":[` + toldStep("one", `,"settings":{"say":"gossip"}`) + `]}`)
	l.makes(`{"name":"detailed","log":"detailed","steps":[` + toldStep("one", `,"settings":{"say":"gossip"}`) + `]}`)
	text := func(name string) string {
		encoded, err := json.Marshal(l.log(l.runs(name).Ref, api.LogQuery{}))
		if err != nil {
			l.Fatal(err)
		}
		return string(encoded)
	}
	l.wants("a simple log has the settings", strings.Contains(text("simple"), "gossip"), false)
	l.wants("a detailed log has the settings", strings.Contains(text("detailed"), "gossip"), true)
}

func runLog(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `,` + toldStep("two", `,"settings":{"fail":true}`) + `]}`)
	run := l.runs("backup")
	all := l.log(run.Ref, api.LogQuery{})
	if len(all) < 3 {
		l.Fatalf("the log has %d lines", len(all))
	}
	l.wants("the last two", fmt.Sprint(l.log(run.Ref, api.LogQuery{Tail: 2})), fmt.Sprint(all[len(all)-2:]))
	for _, line := range l.log(run.Ref, api.LogQuery{Step: "two"}) {
		l.wants("a line of the step", line.Step, "two")
	}
	faults := l.log(run.Ref, api.LogQuery{Level: "error"})
	if len(faults) == 0 || faults[0].Step != "two" || faults[0].Attempt != 1 || faults[0].Time.IsZero() {
		l.Errorf("the errors are %+v", faults)
	}
}

func answers(l *legacy) {
	l.makes(`{"name":"backup","steps":[{"name":"good","controller":"told/answer","settings":{"say":"12 tables"}},` + toldStep("bad", `,"settings":{"fail":true}`) + `]}`)
	run := l.runs("backup")
	steps := l.detail(run.Ref).Steps
	l.wants("the good one", steps[0].Status+" "+steps[0].Message, "completed 12 tables")
	l.wants("the bad one", steps[1].Status+" "+steps[1].Error, "failed "+os.ErrInvalid.Error())
}

func progress(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `,` + toldStep("two", "") + `,` + toldStep("three", "") + `]}`)
	ref := begin(l, l.Client, "backup")
	last := 0.0
	err := l.Watch(l.Context(), ref, func(e api.Event) error {
		if e.Run.Progress < last {
			l.Errorf("progress fell from %g to %g", last, e.Run.Progress)
		}
		last = e.Run.Progress
		if (last == 100) != (e.Run.Completed == e.Run.Total) {
			l.Errorf("progress is %g with %d of %d steps", last, e.Run.Completed, e.Run.Total)
		}
		return nil
	})
	if err != nil {
		l.Fatal(err)
	}
	l.wants("at the end", fmt.Sprint(last, l.detail(ref).Progress), "100 100")
}

func completionHook(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `],"on_success":[` + toldStep("cheer", "") + `]}`)
	run := l.runs("backup")
	l.wants("its hook", fmt.Sprint(run.Hooks), "[2]")
	l.wants("was carried out", l.ends("backup/2", "completed").Trigger, "on_success")
}

func statusRunning(l *legacy) {
	release := l.hold("pipe")
	l.makes(`{"name":"backup","max_runs":1,"steps":[` + toldStep("one", `,"settings":{"hold":"pipe"}`) + `]}`)
	first := begin(l, l.Client, "backup")
	l.carries(first)
	second := begin(l, l.Client, "backup")
	waiting := l.detail(second)
	l.wants("the next one", waiting.Status, "queued")
	if !strings.Contains(waiting.WaitsFor, first) && !strings.Contains(waiting.WaitsFor, "max_runs") {
		l.Errorf("it waits for %q", waiting.WaitsFor)
	}
	page, err := l.Tasks(l.Context(), api.TaskQuery{Status: "running"})
	if err != nil || len(page.Items) != 1 {
		l.Errorf("tasks that run: %+v, %v", page, err)
	}
	release()
	await(l, l.Client, first)
	release()
	await(l, l.Client, second)
}

func statusFailed(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", `,"settings":{"fail":true}`) + `]}`)
	run := l.runs("backup")
	l.wants("the run", run.Status, "failed")
	if !strings.Contains(run.Reason, "one") {
		l.Errorf("the reason is %q", run.Reason)
	}
}

func statusCompleted(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `,` + toldStep("two", `,"when":"steps.one.status == \"failed\""`) + `]}`)
	run := l.runs("backup")
	l.wants("the run", run.Status+": "+l.statuses(run.Ref), "completed: one completed, two skipped")
}

func statusIncomplete(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `,` + toldStep("two", "") + `]}`)
	run, err := l.Start(l.Context(), api.RunRequest{Task: "backup", Step: "one"})
	if err != nil {
		l.Fatal(err)
	}
	ended := await(l, l.Client, run.Ref)
	l.wants("the run", ended.Status, "incomplete")
	l.wants("a reason", ended.Reason != "", true)
}

func statusStuck(l *legacy) {
	release := l.hold("pipe")
	l.makes(`{"name":"backup","steps":[` + toldStep("one", `,"stuck_after":"5m","settings":{"hold":"pipe"}`) + `]}`)
	ref := begin(l, l.Client, "backup")
	l.carries(ref)
	eventually(l, "the step has said all that it says", func() bool { return l.detail(ref).Steps[0].LastSaid != "" })
	l.wants("at first", l.detail(ref).Stuck, false)
	l.clock.advance(6 * time.Minute)
	eventually(l, "it is shown as stuck", func() bool { return l.detail(ref).Stuck })
	step := l.detail(ref).Steps[0]
	if !step.Stuck || step.IdleSince == nil || !step.IdleSince.Before(l.clock.Now()) {
		l.Errorf("the step is %+v", step)
	}
	page, err := l.Runs(l.Context(), api.RunQuery{Status: "stuck"})
	if err != nil || len(page.Items) != 1 {
		l.Errorf("stuck runs: %+v, %v", page.Items, err)
	}
	release()
	l.wants("it ends all the same", await(l, l.Client, ref).Status, "completed")
}

func stepStatus(l *legacy) {
	release := l.hold("pipe")
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `,` + toldStep("two", `,"settings":{"fail":true}`) + `,` + toldStep("three", `,"settings":{"hold":"pipe"}`) + `,` + toldStep("four", "") + `]}`)
	ref := begin(l, l.Client, "backup")
	eventually(l, "the third runs", func() bool {
		return l.statuses(ref) == "one completed, two failed, three running, four ready"
	})
	release()
	await(l, l.Client, ref)
}

func runningIsStored(l *legacy) {
	release := l.hold("pipe")
	l.makes(`{"name":"backup","steps":[` + toldStep("one", `,"settings":{"hold":"pipe"}`) + `]}`)
	ref := begin(l, l.Client, "backup")
	l.carries(ref)
	eventually(l, "the step is stored as running", func() bool { return l.statuses(ref) == "one running" })
	release()
	await(l, l.Client, ref)
}

func resultsAreKept(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", `,"settings":{"say":"kept"}`) + `,` + toldStep("two", `,"settings":{"fail":true}`) + `]}`)
	ref := l.runs("backup").Ref
	l.stop()
	l.start()
	one, err := l.Step(l.Context(), ref, "one")
	if err != nil {
		l.Fatal(err)
	}
	l.wants("outputs", len(one.Outputs) > 0 && slices.ContainsFunc(one.Outputs, func(o api.Output) bool { return string(o.Value) == `"kept"` }), true)
	two, err := l.Step(l.Context(), ref, "two")
	if err != nil {
		l.Fatal(err)
	}
	l.wants("the error", two.Error, os.ErrInvalid.Error())
}

func copyIntoItself(l *legacy) {
	l.stop()
	install(l, l.plugins, "copyfiles", "copyfiles")
	l.start()
	writeFile(l, filepath.Join(l.dir, "shop", "image.png"), "png")
	l.makes(`{"name":"backup","steps":[{"name":"files","controller":"copyfiles","settings":{"source":"./shop","target":"./shop/backup"}}]}`)
	for range 2 {
		l.wants("the run", l.runs("backup").Status, "completed")
	}
	var copied []string
	root := filepath.Join(l.dir, "shop", "backup")
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			copied = append(copied, strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
	l.wants("copied", copied, "[/image.png]")

	l.makes(`{"name":"inside","steps":[{"name":"files","controller":"copyfiles","settings":{"source":"./shop/backup","target":"./shop"}}]}`)
	run := l.runs("inside")
	if said := l.detail(run.Ref).Steps[0].Error; run.Status != "failed" || said == "" {
		l.Errorf("a source inside its target: the run is %s: %s", run.Status, said)
	}
}

func closedBrowser(l *legacy) {
	release := l.hold("pipe")
	l.makes(`{"name":"backup","steps":[` + toldStep("one", `,"settings":{"hold":"pipe"}`) + `,` + toldStep("two", "") + `]}`)
	ref := begin(l, l.Client, "backup")
	gone := errors.New("the window is closed")
	if err := l.Watch(l.Context(), ref, func(api.Event) error { return gone }); !errors.Is(err, gone) {
		l.Fatal(err)
	}
	release()
	l.wants("nobody watched", await(l, l.Client, ref).Status, "completed")
	_, err := l.Continue(l.Context(), ref, api.AgainRequest{})
	l.refuses(err, api.CodeState, "completed")
}
