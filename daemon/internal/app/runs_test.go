package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

// What people can ask for when they start runs, and again when those have ended,
// through the socket of a real daemon.
func TestRunsThatAreAskedFor(t *testing.T) {
	s := openScheduled(t, `name: backup
locks: [db]
steps:
- {name: dump, controller: told, settings: {say: all}}
- {name: ship, controller: told, settings: {read: dump}}`, `name: nightly
schedule: "0 20 * * *"
steps: [{name: n, controller: told}]`, `name: sketch
steps: []`)
	said := func(ref, step string) (text string) {
		t.Helper()
		detail, err := s.Run(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range detail.Outputs {
			if o.Step == step && o.Name == "said" {
				text = string(o.Value)
			}
		}
		return text
	}
	refused := func(request api.RunRequest, code api.Code, says string) {
		t.Helper()
		run, err := s.Start(t.Context(), request)
		if fault, ok := errors.AsType[*api.Error](err); !ok || fault.Code != code || !strings.Contains(fmt.Sprint(fault.Message, fault.Problems), says) {
			t.Errorf("%+v made %s: %v, %+v", request, run.Ref, err, fault)
		}
	}

	later, err := s.Start(t.Context(), api.RunRequest{Task: "backup", At: "2026-11-24T21:00"})
	if err != nil || later.Status != "queued" || later.NotBefore == nil || !later.NotBefore.Equal(evening.Add(time.Hour)) ||
		later.WaitsFor != "its time, 2026-11-24T21:00:00Z" || *later.WaitSeconds != 0 || later.TookSeconds != nil || later.Locks[0] != "db" {
		t.Errorf("a run for later is %+v, %v", later, err)
	}
	refused(api.RunRequest{Task: "backup", At: "2026-11-23"}, api.CodeInvalid, "over already")
	refused(api.RunRequest{Task: "backup", At: "tea time"}, api.CodeInvalid, "no date")
	refused(api.RunRequest{Task: "backup", At: "2026-11-25", In: "2h"}, api.CodeInvalid, "one of them")
	refused(api.RunRequest{Task: "backup", In: "soon"}, api.CodeInvalid, "in ")
	refused(api.RunRequest{Task: "sketch"}, api.CodeState, "no steps yet")
	refused(api.RunRequest{Task: "backup", Step: "x"}, api.CodeNotFound, "x")
	refused(api.RunRequest{Task: "backup", Set: map[string]json.RawMessage{"dump.sya": json.RawMessage(`"x"`)}}, api.CodeInvalid, "sya")

	one, err := s.Start(t.Context(), api.RunRequest{Task: "backup", Step: "dump", Set: map[string]json.RawMessage{"dump.say": json.RawMessage(`"little"`)}})
	if err != nil || one.Only != "dump" || string(one.Set) != `{"dump.say":"little"}` || one.TaskVersion != 1 {
		t.Fatalf("a run of one step with other settings is %+v, %v", one, err)
	}
	if end := s.ends(one.Ref, "incomplete"); said(one.Ref, "dump") != `"little"` || end.Reason != "only step dump was asked for" {
		t.Errorf("it left %s and is %+v", said(one.Ref, "dump"), end)
	}
	again, err := s.Restart(t.Context(), one.Ref, api.AgainRequest{Latest: true})
	if err != nil || string(again.Set) != `{"dump.say":"little"}` {
		t.Fatalf("restarted it is %+v, %v", again, err)
	}
	if s.ends(again.Ref, "incomplete"); said(again.Ref, "dump") != `"little"` {
		t.Errorf("restarted it left %s", said(again.Ref, "dump"))
	}

	due, err := s.StartBatch(t.Context(), api.BatchRequest{Due: true})
	if err != nil || len(due.Runs) != 1 || due.Runs[0].Reason != "no time of its schedules has passed yet" || due.Batch != "" {
		t.Errorf("what is due is %+v, %v", due, err)
	}
	all, err := s.StartBatch(t.Context(), api.BatchRequest{All: true})
	if err != nil || len(all.Runs) != 3 {
		t.Fatalf("all is %+v, %v", all, err)
	}
	for _, made := range all.Runs {
		switch {
		case made.Task == "nightly":
			if made.Run == nil || made.Run.Batch != all.Batch {
				t.Errorf("nightly is %+v", made)
			} else {
				s.ends(made.Run.Ref, "completed")
			}
		case made.Run != nil || made.Reason == "":
			t.Errorf("%s is %+v", made.Task, made)
		}
	}
	s.clock.advance(2 * time.Hour)
	s.ends(later.Ref, "completed")
	if _, err := s.StartBatch(t.Context(), api.BatchRequest{}); err == nil {
		t.Error("a batch of nothing was started")
	}
}
