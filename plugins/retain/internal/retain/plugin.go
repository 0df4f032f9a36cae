package retain

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stepd/stepd/sdk"
)

// Settings are the settings of the controller retain.
type Settings struct {
	BackupDir    string `json:"backup_dir" jsonschema:"required,minLength=1" jsonschema_description:"Directory of the archives."`
	Task         string `json:"task,omitempty" jsonschema_description:"Task whose archives are meant. Default: the one that this step belongs to."`
	Keep         Rules  `json:"keep,omitzero" jsonschema:"required" jsonschema_description:"What stays; at least one rule. An archive stays when any rule keeps it."`
	Timezone     string `json:"timezone,omitempty" jsonschema_description:"Time zone of the calendar, as Europe/Berlin. Default: the machine's."`
	DryRun       bool   `json:"dry_run,omitempty" jsonschema_description:"Show what would be deleted, and why the rest would stay. Deletes nothing."`
	Verify       bool   `json:"verify" jsonschema_description:"Read the newest good archive and compare its SHA-256 before anything is deleted."`
	DeleteBroken bool   `json:"delete_broken,omitempty" jsonschema_description:"Delete also archives that are not good (no manifest, another size) and older than the newest good one. Default: they stay and are named."`
}

// Plugin is the plugin as it is served.
func Plugin() sdk.Plugin {
	return plugin(tuning{now: time.Now, before: func(string, string) error { return nil }, started: func() {}})
}

// tuning is where tests step in.
type tuning struct {
	now     func() time.Time
	before  func(act, name string) error // see deleter
	started func()                       // in the attempt's goroutine
}

func plugin(t tuning) sdk.Plugin {
	return sdk.Plugin{Name: "retain", Version: "1.0.0", Controllers: []sdk.Registration{
		sdk.Controller[Settings]{
			Summary: "Delete archives that no rule keeps: last, hourly, daily, weekly, monthly, yearly.", Effect: sdk.Idempotent,
			Defaults: Settings{Verify: true}, Run: t.run,
		},
	}}
}

func (t tuning) run(ctx context.Context, step *sdk.Step[Settings]) error {
	t.started()
	s := step.Settings
	if s.Task == "" {
		s.Task = step.Info.Task
	}
	if strings.ContainsAny(s.Task, "/\x00") {
		return sdk.Permanent(fmt.Errorf("task: %q is no name of a task", s.Task))
	}
	if err := s.Keep.check(); err != nil {
		return sdk.Permanent(err)
	}
	zone := time.Local
	if s.Timezone != "" {
		var err error
		if zone, err = time.LoadLocation(s.Timezone); err != nil {
			return sdk.Permanent(fmt.Errorf("timezone: %q is not known: give one as Europe/Berlin or UTC", s.Timezone))
		}
	}
	path := step.Info.Path(s.BackupDir)
	root, err := openDir(path)
	if err != nil {
		return err
	}
	defer root.Close()
	r := &retainer{tuning: t, settings: s, zone: zone, path: path, root: root, log: step.Log(), progress: step.Progress}
	result, err := r.retain(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	step.Message("%s", result.message())
	return step.Output("retained", result)
}
