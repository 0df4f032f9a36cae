package api

import "context"

// Backend is all that the server needs of the daemon: submit, control, query
// and watch. Errors are *Error, or the context's; everything else is answered as
// internal. A ref is "backup/42", or "backup" for the newest run.
//
// It is narrow on purpose: another engine can stand behind it.
type Backend interface {
	Status(ctx context.Context) (Status, error)
	Plugins(ctx context.Context) (PluginList, error)

	WhoAmI(ctx context.Context, who Caller) (Who, error)
	Secrets(ctx context.Context) (SecretList, error)
	Audit(ctx context.Context, query AuditQuery) (Page[AuditEntry], error)

	// Validate returns an *Error with the problems of all files, if there are any.
	Validate(ctx context.Context, files []TaskFile) (ValidateResult, error)
	Apply(ctx context.Context, who Caller, request ApplyRequest) (ApplyResult, error)

	Tasks(ctx context.Context, query TaskQuery) (Page[Task], error)
	Task(ctx context.Context, name string) (Task, error)
	Definition(ctx context.Context, name string) (Definition, error)
	// Export pages through the definitions of all tasks in the order of names.
	Export(ctx context.Context, after string, limit int) (Page[Definition], error)
	CreateTask(ctx context.Context, who Caller, request SaveRequest) (Saved, error)
	ReplaceTask(ctx context.Context, who Caller, name string, request SaveRequest) (Saved, error)
	PatchTask(ctx context.Context, who Caller, name string, request PatchRequest) (Saved, error)
	// DeleteTask deletes whatever version is there for version 0.
	DeleteTask(ctx context.Context, who Caller, name string, version uint64) error
	SetDisabled(ctx context.Context, who Caller, name string, disabled bool) (Task, error)
	Pause(ctx context.Context, who Caller, name string, request PauseRequest) (Task, error)
	Resume(ctx context.Context, who Caller, name string) (Task, error)

	TaskSteps(ctx context.Context, name string) (Page[TaskStep], error)
	TaskStep(ctx context.Context, name, step string) (TaskStep, error)
	AddStep(ctx context.Context, who Caller, name string, request StepRequest) (Saved, error)
	PatchStep(ctx context.Context, who Caller, name, step string, request PatchRequest) (Saved, error)
	OrderSteps(ctx context.Context, who Caller, name string, request OrderRequest) (Saved, error)
	DeleteStep(ctx context.Context, who Caller, name, step string, version uint64) (Saved, error)

	// Next pages through the runs that schedules will make, the earliest first:
	// one for each schedule, its next.
	Next(ctx context.Context, after string, limit int) (Page[Upcoming], error)
	History(ctx context.Context, query HistoryQuery) (Page[Slot], error)
	// Explain says what a spec means. A faulty one is an *Error with a Problem,
	// whose Path is the field of the request.
	Explain(ctx context.Context, request ExplainRequest) (Explanation, error)
	ExplainTask(ctx context.Context, query ExplainQuery) (Explanations, error)

	Start(ctx context.Context, who Caller, request RunRequest) (Run, error)
	StartBatch(ctx context.Context, who Caller, request BatchRequest) (BatchResult, error)
	Cancel(ctx context.Context, who Caller, ref string, request CancelRequest) (Run, error)
	Continue(ctx context.Context, who Caller, ref string, request AgainRequest) (Run, error)
	Restart(ctx context.Context, who Caller, ref string, request AgainRequest) (Run, error)
	Runs(ctx context.Context, query RunQuery) (Page[Run], error)
	Run(ctx context.Context, ref string) (RunDetail, error)
	Steps(ctx context.Context, ref string, query StepQuery) (Page[Step], error)
	// Step is one step: "tables", or "tables/actor" for a planned one.
	Step(ctx context.Context, ref, step string) (StepDetail, error)

	// Watch sends events until ctx ends or send fails: of one run, until it has
	// ended too (ref set), or of all. send is never called concurrently.
	Watch(ctx context.Context, ref string, send func(Event) error) error
	// Logs sends the lines of a run, with follow until the run has ended.
	Logs(ctx context.Context, ref string, query LogQuery, send func(LogLine) error) error
}
