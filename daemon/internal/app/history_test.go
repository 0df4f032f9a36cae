package app

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/api"
)

// Conditions and outputs in settings, over the socket, with a real plugin, and
// what is kept of them when the daemon has been away.
func TestDataFlowAndHistoryOverTheSocket(t *testing.T) {
	s := openScheduled(t, `name: shop
settings: {say: "", mode: full}
log: detailed
on_end: [{name: mail, controller: told, when: hook.status == "failed", settings: {say: "${{ hook.ref }} ${{ hook.status }}: ${{ hook.steps.count.outputs.said }}"}}]
steps:
- {name: count, controller: told, settings: {say: 42 tables}}
- {name: no, controller: told, when: steps.count.outputs.said == "none"}
- {name: ship, controller: told, when: "steps.no.status == 'skipped'", settings: {say: "${{ steps.count.outputs.said }} of ${{ run.ref }}", fail: "${{ settings.mode == 'broken' }}"}}
- {name: wrong, controller: told, settings: {say: "${{ steps.count.outputs.nothing ?? 5 }}"}}`)
	ref := begin(t, s.Client, "shop")
	s.ends(ref, "failed")
	look := func() {
		t.Helper()
		ship, err := s.Step(t.Context(), ref, "ship")
		if err != nil || ship.Status != "completed" || ship.When == "" || !strings.Contains(string(ship.Settings), "${{ steps.count.outputs.said }}") {
			t.Errorf("ship is %+v, %v", ship, err)
		}
		said := ""
		for _, o := range ship.Outputs {
			if o.Name == "said" {
				said = string(o.Value)
			}
		}
		if said != `"42 tables of shop/1"` {
			t.Errorf("it said %s", said)
		}
		if no, err := s.Step(t.Context(), ref, "no"); err != nil || no.Status != "skipped" || no.Reason != "condition" || !strings.Contains(no.Message, "none") {
			t.Errorf("no is %+v, %v", no, err)
		}
		if wrong, err := s.Step(t.Context(), ref, "wrong"); err != nil || wrong.Reason != "settings" || !strings.Contains(wrong.Error, "say: got number, want string") {
			t.Errorf("wrong is %+v, %v", wrong, err)
		}
		skipped, err := s.Steps(t.Context(), ref, api.StepQuery{Status: "skipped"})
		if err != nil || len(skipped.Items) != 1 || skipped.Items[0].Name != "no" || skipped.Next != "" {
			t.Errorf("skipped are %+v, %v", skipped, err)
		}
		lines := func(q api.LogQuery) (list []string) {
			t.Helper()
			if err := s.Logs(t.Context(), ref, q, func(l api.LogLine) error { list = append(list, l.Step+": "+l.Message); return nil }); err != nil {
				t.Error(err)
			}
			return list
		}
		if got := lines(api.LogQuery{Step: "ship", Level: "info"}); !slices.Equal(got, []string{"ship: completed"}) {
			t.Errorf("ship's lines are %q", got)
		}
		if got := lines(api.LogQuery{Step: "ship", Level: "debug"}); !slices.Contains(got, "ship: attempt 1 begins") || !slices.Contains(got, "ship: output said, 21 bytes") {
			t.Errorf("ship's lines are %q", got)
		}
		if got := lines(api.LogQuery{Tail: 1}); len(got) != 1 || !strings.Contains(got[0], "on_end follows: shop/2") {
			t.Errorf("the last line is %q", got)
		}
	}
	look()
	s.ends("shop/2", "completed")
	mail, err := s.Step(t.Context(), "shop/2", "mail")
	if err != nil || !slices.ContainsFunc(mail.Outputs, func(o api.Output) bool { return string(o.Value) == `"shop/1 failed: 42 tables"` }) {
		t.Errorf("mail is %+v, %v", mail, err)
	}
	s.stop()
	s.start()
	look()
	for _, q := range []api.LogQuery{{Level: "loud"}, {Step: "shp"}} {
		err := s.Logs(t.Context(), ref, q, func(api.LogLine) error { return nil })
		if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeInvalid && e.Code != api.CodeNotFound {
			t.Errorf("%+v: %v", q, err)
		}
	}
	if _, err := s.Steps(t.Context(), ref, api.StepQuery{Status: "skiped"}); err == nil || !strings.Contains(err.Error(), "must be one of") {
		t.Errorf("a faulty status: %v", err)
	}
	if _, err := s.Step(t.Context(), ref, "shp"); err == nil {
		t.Error("a step that is not there")
	}
}
