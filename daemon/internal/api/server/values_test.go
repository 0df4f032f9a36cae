package server_test

import (
	"encoding/json"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

var (
	when     = time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)
	half     = 30.5
	aTask    = api.Task{Name: "backup", Status: "ready", MaxParallel: 1, StepCount: 1, Version: 3, CreatedAt: when, UpdatedAt: when, Settings: json.RawMessage(`{"dir":"<a&b>"}`), Steps: []api.TaskStep{{Name: "tables", Controller: "dumptables"}}}
	aRun     = api.Run{Ref: "backup/42", Task: "backup", Number: 42, Status: "running", Progress: 12.5, ETASeconds: &half, Total: 3, Completed: 1, CreatedAt: when, StartedAt: &when}
	aStep    = api.Step{Name: "tables/actor", Position: "0.17", Controller: "dumptables", Status: "running", Attempt: 2, Counters: map[string]int64{"rows": 7}}
	aDetail  = api.RunDetail{Run: aRun, Steps: []api.Step{aStep}, Outputs: []api.Output{{Step: "archive", Name: "path", Value: json.RawMessage(`"/b/1.tar"`)}}, WorkDir: "/w"}
	aStatus  = api.Status{Version: "1.2", PID: 7, StartedAt: when, DataDir: "/d", Running: 1, MaxRuns: 4, Problems: []string{"no plugins"}}
	aPlugins = api.PluginList{Dirs: []string{"/p"}, Plugins: []api.Plugin{{Name: "http", Path: "/p/http", State: "known"}}}
	aLine    = api.LogLine{Time: when, Level: "info", Step: "tables", Message: "a line\nand another", Fields: json.RawMessage(`{"n":1}`)}
	anEvent  = api.Event{Type: "snapshot", Run: aRun, Active: []api.Step{aStep}}
	aPause   = api.Task{Name: "backup", Status: "paused", Pause: &api.Pause{By: "ada", At: when, Until: &when, Reason: "moving house"}}
	aNext    = api.Upcoming{Task: "backup", Schedule: "nightly", ScheduledFor: when, Due: when.Add(time.Minute), Jitter: "10m0s", Timezone: "Europe/Berlin"}
	aSlot    = api.Slot{Task: "backup", Schedule: "nightly", First: when, Last: when, Count: 1, Outcome: "ran_late", Run: "backup/42", DecidedAt: when, LateSeconds: &half}
	aMeaning = api.Explanation{Spec: "30 2 * * *", Timezone: "Europe/Berlin", Summary: "at 02:30", Times: []api.Occurrence{{At: when, Due: when, Notes: []string{"a gap"}, Excluded: true}}}
	aValid   = api.ValidateResult{Tasks: []api.Valid{{Task: "backup", File: "b.yaml", Steps: 2, Next: &aNext}}}
	anApply  = api.ApplyResult{Tasks: []api.Applied{{Task: "backup", File: "b.yaml", Action: "created", Version: 1, Steps: 1}}}
	priority = 10
	total    = 12

	somePage    = api.Page[api.Task]{Items: []api.Task{aTask}, Next: "backup", Total: &total}
	aChange     = api.Change{Path: "steps.tables.settings.mode", Op: "changed", Old: json.RawMessage(`"recreate"`), New: json.RawMessage(`"data_only"`)}
	aSaved      = api.Saved{Task: aTask, Changes: []api.Change{aChange}}
	aDefinition = api.Definition{Name: "backup", Version: 3, Dir: "/d", Source: "/d/b.yaml", Task: json.RawMessage(`{"name":"backup"}`), YAML: "name: backup\n"}
	aRestart    = api.Run{Ref: "backup/43", Task: "backup", Number: 43, Status: "queued", RestartOf: 42, WaitsFor: "the lock shop-db, held by backup/42", CreatedAt: when}
	aBatch      = api.BatchResult{Batch: "due/x", Runs: []api.Batched{{Task: "backup", Run: &aRun}, {Task: "mail", Reason: "it is disabled"}}}
	aStepDetail = api.StepDetail{Step: aStep, Run: "backup/42", When: "settings.full", Settings: json.RawMessage(`{"mode":"recreate"}`), Outputs: aDetail.Outputs}
	aWho        = api.Who{User: "ada", UID: 1000, GID: 1000, Groups: []string{"ada", "shop"}, Role: api.RoleRunner}
	someSecrets = api.SecretList{Secrets: []api.Secret{{Name: "shop-db", From: "credential", UsedBy: []string{"backup"}}}, Warnings: []string{"others may read /etc/stepd/x"}}
	anEntry     = api.AuditEntry{Time: when, User: "ada", UID: 1000, GID: 1000, PID: 7, Role: api.RoleRunner, Action: "run.start", Target: "backup", Request: `{"task":"backup"}`, Result: "ok", Made: "backup/42"}
)
