package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stepd/stepd/sdk"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type counting struct {
	Upto int    `json:"upto" jsonschema:"required,minimum=1" jsonschema_description:"Where to stop."`
	Mode string `json:"mode,omitempty" jsonschema:"enum=plain,enum=fancy"`
}

// serve is a plugin of one controller.
func serve(t *testing.T, effect sdk.Effect, run func(context.Context, *sdk.Step[counting]) error) *sdktest.Harness {
	t.Helper()
	return sdktest.New(t, sdk.Plugin{Name: "count", Version: "1", Controllers: []sdk.Registration{
		sdk.Controller[counting]{Summary: "Count.", Effect: effect, Defaults: counting{Mode: "plain"}, Run: run},
	}})
}

func TestSettingsAreTypedAndDefaulted(t *testing.T) {
	var got counting
	h := serve(t, sdk.Idempotent, func(_ context.Context, step *sdk.Step[counting]) error {
		got = step.Settings
		step.Message("counted to %d", step.Settings.Upto)
		return nil
	})
	result := h.Execute(t.Context(), sdktest.Start{Settings: map[string]any{"upto": 3}})
	result.RequireCompleted(t)
	if want := (counting{Upto: 3, Mode: "plain"}); got != want {
		t.Errorf("settings are %+v, want %+v", got, want)
	}
	if result.Message != "counted to 3" {
		t.Errorf("message is %q", result.Message)
	}
}

func TestSchemaSaysWhatIsRequiredAllowedAndDefault(t *testing.T) {
	h := serve(t, sdk.Idempotent, func(context.Context, *sdk.Step[counting]) error { return nil })
	controllers := h.Describe(t.Context()).GetControllers()
	if len(controllers) != 1 || controllers[0].GetName() != "count" || controllers[0].GetEffect() != stepdv1.Effect_EFFECT_IDEMPOTENT {
		t.Fatalf("described as %v", controllers)
	}
	var schema struct {
		Type                 string
		Required             []string
		AdditionalProperties *bool
		Properties           map[string]struct {
			Type, Description string
			Enum              []string
			Default           any
		}
	}
	if err := json.Unmarshal(controllers[0].GetSettingsSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	if schema.Type != "object" || fmt.Sprint(schema.Required) != "[upto]" || schema.AdditionalProperties == nil || *schema.AdditionalProperties {
		t.Errorf("schema is %s", controllers[0].GetSettingsSchema())
	}
	if mode := schema.Properties["mode"]; mode.Default != "plain" || fmt.Sprint(mode.Enum) != "[plain fancy]" {
		t.Errorf("mode is described as %+v", mode)
	}
	if schema.Properties["upto"].Description != "Where to stop." {
		t.Errorf("upto is described as %+v", schema.Properties["upto"])
	}
}

func TestResumeGetsTheLastCheckpoint(t *testing.T) {
	h := serve(t, sdk.Resumable, func(ctx context.Context, step *sdk.Step[counting]) error {
		var n int
		if _, err := step.Resume(&n); err != nil {
			return err
		}
		for n < step.Settings.Upto {
			n++
			if err := step.Checkpoint(ctx, n); err != nil {
				return err
			}
		}
		return step.Output("counted", n)
	})
	settings := counting{Upto: 5}
	first := h.Execute(t.Context(), sdktest.Start{Settings: settings, OnCheckpoint: func(n int, _ json.RawMessage) error {
		if n == 3 {
			return errors.New("stale attempt")
		}
		return nil
	}})
	if first.Completed() || !strings.Contains(first.Message, "stale attempt") || len(first.Checkpoints) != 2 {
		t.Fatalf("the refused checkpoint did not end the attempt: %+v", first)
	}
	second := h.Execute(t.Context(), sdktest.Start{Settings: settings, Checkpoint: first.LastCheckpoint(), Attempt: 2})
	second.RequireCompleted(t)
	var counted int
	second.Output(t, "counted", &counted)
	if len(second.Checkpoints) != 3 || counted != 5 {
		t.Errorf("went on with %d checkpoints to %d, want 3 to 5", len(second.Checkpoints), counted)
	}
}

func TestErrorsSayWhetherToTryAgain(t *testing.T) {
	cause := errors.New("the host is down")
	for _, c := range []struct {
		name  string
		err   error
		want  stepdv1.Result_Status
		after time.Duration
	}{
		{"plain", cause, stepdv1.Result_STATUS_FAILED, 0},
		{"permanent", fmt.Errorf("wrapped: %w", sdk.Permanent(cause)), stepdv1.Result_STATUS_FAILED_PERMANENT, 0},
		{"later", sdk.RetryAfter(cause, time.Minute), stepdv1.Result_STATUS_FAILED, time.Minute},
		{"invalid text", errors.New("bad \xff byte"), stepdv1.Result_STATUS_FAILED, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := serve(t, sdk.Idempotent, func(context.Context, *sdk.Step[counting]) error { return c.err })
			result := h.Execute(t.Context(), sdktest.Start{Settings: counting{Upto: 1}})
			if result.Status != c.want || result.RetryAfter != c.after || result.Message == "" {
				t.Errorf("got %v after %v: %q", result.Status, result.RetryAfter, result.Message)
			}
		})
	}
}

func TestPanicFailsTheStepAndKeepsTheProcess(t *testing.T) {
	h := serve(t, sdk.Idempotent, func(_ context.Context, step *sdk.Step[counting]) error {
		if step.Settings.Upto == 1 {
			panic("boom")
		}
		return nil
	})
	result := h.Execute(t.Context(), sdktest.Start{Settings: counting{Upto: 1}})
	if result.Status != stepdv1.Result_STATUS_FAILED || !strings.Contains(result.Message, "panicked: boom") {
		t.Errorf("got %v: %q", result.Status, result.Message)
	}
	h.Execute(t.Context(), sdktest.Start{Settings: counting{Upto: 2}}).RequireCompleted(t)
}

func TestCancelTellsItsCauseAndStillSavesACheckpoint(t *testing.T) {
	for _, want := range []error{sdk.ErrCancelled, sdk.ErrStopping, sdk.ErrDeadline} {
		t.Run(want.Error(), func(t *testing.T) {
			var got error
			h := serve(t, sdk.Resumable, func(ctx context.Context, step *sdk.Step[counting]) error {
				step.Progress(1, 2, "waiting")
				<-ctx.Done()
				got = context.Cause(ctx)
				if err := step.Checkpoint(ctx, "here"); err != nil {
					t.Errorf("checkpoint after cancel: %v", err)
				}
				return ctx.Err()
			})
			cancel := make(chan error, 1)
			result := h.Execute(t.Context(), sdktest.Start{Settings: counting{Upto: 1}, Cancel: cancel,
				OnProgress: func(sdktest.Progress) { cancel <- want }})
			if result.Status != stepdv1.Result_STATUS_CANCELLED || !errors.Is(got, want) || len(result.Checkpoints) != 1 {
				t.Errorf("ended as %v with cause %v and %d checkpoints", result.Status, got, len(result.Checkpoints))
			}
		})
	}
}

func TestLastProgressLogsAndCountersArriveBeforeTheResult(t *testing.T) {
	h := serve(t, sdk.Idempotent, func(_ context.Context, step *sdk.Step[counting]) error {
		step.Count(map[string]int64{"sent": 7})
		for i := range 1000 {
			step.Progress(float64(i+1), 1000, "counting")
		}
		step.Log().Warn("careful", "path", "/tmp/\xff", "err", errors.New("odd"))
		return nil
	})
	result := h.Execute(t.Context(), sdktest.Start{Settings: counting{Upto: 1}})
	result.RequireCompleted(t)
	if len(result.Progress) == 0 || len(result.Progress) > 100 {
		t.Fatalf("%d progress messages for 1000 calls", len(result.Progress))
	}
	last := result.Progress[len(result.Progress)-1]
	if last.Done != 1000 || last.Counters["sent"] != 7 {
		t.Errorf("the last progress is %+v", last)
	}
	if len(result.Lines) != 1 || result.Lines[0].Level != "warn" || result.Lines[0].Fields["err"] != "odd" {
		t.Errorf("lines are %+v", result.Lines)
	}
}

func TestLogFloodDropsAndCounts(t *testing.T) {
	h := serve(t, sdk.Idempotent, func(_ context.Context, step *sdk.Step[counting]) error {
		for i := range 100_000 {
			step.Log().Info("line", "n", i)
		}
		return nil
	})
	result := h.Execute(t.Context(), sdktest.Start{Settings: counting{Upto: 1}})
	result.RequireCompleted(t)
	if len(result.Lines) == 0 {
		t.Fatal("no lines at all")
	}
	// What is said of dropped lines stands where they would have been, perhaps
	// more than once.
	told := 0
	for _, line := range result.Lines {
		if count, _, dropped := strings.Cut(line.Message, " log lines were dropped"); dropped {
			n, err := strconv.Atoi(count)
			if err != nil {
				t.Fatal(err)
			}
			told += n
			continue
		}
		told++
	}
	if told != 100_000 {
		t.Errorf("%d of 100000 lines are accounted for", told)
	}
}

func TestAHookIsToldWhatItFollows(t *testing.T) {
	var got sdk.HookOf
	h := serve(t, sdk.Idempotent, func(_ context.Context, step *sdk.Step[counting]) error {
		got = step.Info.HookOf
		return nil
	})
	for _, want := range []sdk.HookOf{{}, {Ref: "backup/42", Run: 42, Status: "failed", Reason: "no room"}} {
		h.Execute(t.Context(), sdktest.Start{Settings: map[string]any{"upto": 3}, HookOf: want}).RequireCompleted(t)
		if got != want {
			t.Errorf("told %+v, want %+v", got, want)
		}
	}
}

func TestInputsOfEarlierSteps(t *testing.T) {
	var one string
	var all []string
	var missing error
	h := serve(t, sdk.Idempotent, func(ctx context.Context, step *sdk.Step[counting]) error {
		if err := step.Input(ctx, "first", "name", &one); err != nil {
			return err
		}
		missing = step.Input(ctx, "nobody", "name", &one)
		for item, err := range step.Inputs(ctx, "many", "name") {
			if err != nil {
				return err
			}
			all = append(all, item.Step+"="+string(item.Value))
		}
		return nil
	})
	h.Execute(t.Context(), sdktest.Start{Settings: counting{Upto: 1}, Inputs: func(step, name string) []sdk.InputItem {
		switch step {
		case "first":
			return []sdk.InputItem{{Step: "first", Value: json.RawMessage(`"x"`)}}
		case "many":
			return []sdk.InputItem{{Step: "many/a", Value: json.RawMessage(`1`)}, {Step: "many/b", Value: json.RawMessage(`2`)}}
		}
		return nil
	}}).RequireCompleted(t)
	if one != "x" || fmt.Sprint(all) != "[many/a=1 many/b=2]" || !errors.Is(missing, sdk.ErrNoInput) {
		t.Errorf("one %q, all %v, missing %v", one, all, missing)
	}
}

// snapshot is what a plan keeps open in the tests.
type snapshot struct{ closed chan struct{} }

func (s *snapshot) Close() error { close(s.closed); return nil }

func TestSessionLivesForThePlanAndEndsWithTheRun(t *testing.T) {
	kept := &snapshot{closed: make(chan struct{})}
	h := sdktest.New(t, sdk.Plugin{Name: "count", Controllers: []sdk.Registration{sdk.Controller[counting]{
		Effect: sdk.Idempotent,
		Plan: func(_ context.Context, plan *sdk.Plan[counting]) error {
			plan.Keep(kept)
			for i := range plan.Settings.Upto {
				if err := plan.Add(sdk.Planned[counting]{Name: fmt.Sprint("s", i), Settings: counting{Upto: i + 1}, Weight: 2, ETA: time.Second}); err != nil {
					return err
				}
			}
			return nil
		},
		Run: func(_ context.Context, step *sdk.Step[counting]) error {
			if got, ok := sdk.Session[*snapshot](step); !ok || got != kept {
				return errors.New("the session is not the plan's")
			}
			return nil
		},
	}}})
	plan, _ := h.RunPlanned(t.Context(), sdktest.Start{Settings: counting{Upto: 1200}})
	if len(plan.Steps) != 1200 || plan.Steps[1199].Name != "s1199" || plan.Steps[0].Weight != 2 || plan.Steps[0].ETA != time.Second {
		t.Fatalf("planned %d steps, the first %+v", len(plan.Steps), plan.Steps[0])
	}
	h.EndRun(t.Context(), 1)
	<-kept.closed
	after := h.Execute(t.Context(), sdktest.Start{Settings: counting{Upto: 1}, Session: plan.Session})
	if after.Status != stepdv1.Result_STATUS_SESSION_LOST {
		t.Errorf("a step of a lost session ended as %v", after.Status)
	}
}

func TestAControllerCanSayThatItsSessionIsLost(t *testing.T) {
	h := sdktest.New(t, sdk.Plugin{Name: "count", Controllers: []sdk.Registration{sdk.Controller[counting]{
		Effect: sdk.Idempotent,
		Run: func(context.Context, *sdk.Step[counting]) error {
			return fmt.Errorf("read: %w", sdk.SessionLost(errors.New("the server went away")))
		},
	}}})
	got := h.Execute(t.Context(), sdktest.Start{Settings: counting{Upto: 1}})
	if got.Status != stepdv1.Result_STATUS_SESSION_LOST || got.Message != "read: the server went away" {
		t.Errorf("it ended as %v: %s", got.Status, got.Message)
	}
}

func TestAuthorsMistakesAreNamed(t *testing.T) {
	run := func(context.Context, *sdk.Step[counting]) error { return nil }
	for want, p := range map[string]sdk.Plugin{
		"no name":        {},
		"no controllers": {Name: "x"},
		"the effect":     {Name: "x", Controllers: []sdk.Registration{sdk.Controller[counting]{Run: run}}},
		"Run is not set": {Name: "x", Controllers: []sdk.Registration{sdk.Controller[counting]{Effect: sdk.Idempotent}}},
		"must be a struct": {Name: "x", Controllers: []sdk.Registration{sdk.Controller[int]{Effect: sdk.Idempotent,
			Run: func(context.Context, *sdk.Step[int]) error { return nil }}}},
		"contain a slash": {Name: "x", Controllers: []sdk.Registration{sdk.Controller[counting]{Name: "x/y", Effect: sdk.Idempotent, Run: run}}},
		"two controllers": {Name: "x", Controllers: []sdk.Registration{
			sdk.Controller[counting]{Effect: sdk.Idempotent, Run: run}, sdk.Controller[counting]{Effect: sdk.Idempotent, Run: run}}},
	} {
		if _, err := sdk.NewServer(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	secret := sdk.NewSecret("hunter2")
	raw, err := json.Marshal(struct{ Password sdk.Secret }{secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(secret), fmt.Sprintf("%#v %+v", secret, struct{ S sdk.Secret }{secret}), string(raw)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("the secret shows in %s", text)
		}
	}
}
