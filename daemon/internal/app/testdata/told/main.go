// Told is a plugin for tests of schedules and hooks: its step outputs what it was told of
// its run, and ends when it may.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/stepd/stepd/sdk"
)

type settings struct {
	Hold string `json:"hold,omitempty" jsonschema_description:"A named pipe: the step ends when somebody has written to it."`
	Fail bool   `json:"fail,omitempty"`
	Say  string `json:"say,omitempty" jsonschema_description:"What it leaves as said."`
	Read string `json:"read,omitempty" jsonschema_description:"A step whose said it leaves as read."`
}

func main() {
	sdk.Serve(sdk.Plugin{Name: "told", Version: "1.0.0", Controllers: []sdk.Registration{
		sdk.Controller[settings]{Summary: "Say what it was told.", Effect: sdk.Idempotent, Run: run},
		sdk.Controller[settings]{Name: "answer", Summary: "Say it as its message.", Effect: sdk.Idempotent, Run: answer},
		sdk.Controller[settings]{Name: "once", Summary: "Say it, and never twice.", Effect: sdk.AtMostOnce, Run: run},
	}})
}

func answer(_ context.Context, step *sdk.Step[settings]) error {
	step.Message("%s", step.Settings.Say)
	return nil
}

func run(ctx context.Context, step *sdk.Step[settings]) error {
	told := "nothing"
	if at := step.Info.ScheduledFor; !at.IsZero() {
		told = at.UTC().Format(time.RFC3339)
	}
	if err := step.Output("scheduled_for", told); err != nil {
		return err
	}
	if of := step.Info.HookOf; of.Run > 0 {
		if err := step.Output("hook_of", fmt.Sprintf("%s (%d) %s: %s", of.Ref, of.Run, of.Status, of.Reason)); err != nil {
			return err
		}
	}
	if say := step.Settings.Say; say != "" {
		if err := step.Output("said", say); err != nil {
			return err
		}
	}
	if from := step.Settings.Read; from != "" {
		var said string
		if err := step.Input(ctx, from, "said", &said); err != nil {
			return err
		}
		if err := step.Output("read", said); err != nil {
			return err
		}
	}
	if step.Settings.Fail {
		return sdk.Permanent(os.ErrInvalid)
	}
	if step.Settings.Hold == "" {
		return nil
	}
	step.Log().Debug("all is told, it waits") // nothing more is heard of it
	opened := make(chan error, 1)
	go func() {
		f, err := os.Open(step.Info.Path(step.Settings.Hold)) // blocks until there is a writer
		if err == nil {
			err = f.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
