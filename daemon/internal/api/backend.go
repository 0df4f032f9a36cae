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

	// Validate returns an *Error with the problems of all files, if there are any.
	Validate(ctx context.Context, files []TaskFile) (ValidateResult, error)
	Apply(ctx context.Context, who Caller, request ApplyRequest) (ApplyResult, error)
	Tasks(ctx context.Context, after string, limit int) (Page[Task], error)
	Task(ctx context.Context, name string) (Task, error)
	DeleteTask(ctx context.Context, who Caller, name string) error
	SetDisabled(ctx context.Context, who Caller, name string, disabled bool) (Task, error)
	Pause(ctx context.Context, who Caller, name string, request PauseRequest) (Task, error)
	Resume(ctx context.Context, who Caller, name string) (Task, error)

	// Next pages through the runs that schedules will make, the earliest first:
	// one for each schedule, its next.
	Next(ctx context.Context, after string, limit int) (Page[Upcoming], error)
	History(ctx context.Context, query HistoryQuery) (Page[Slot], error)
	// Explain says what a spec means. A faulty one is an *Error with a Problem,
	// whose Path is the field of the request.
	Explain(ctx context.Context, request ExplainRequest) (Explanation, error)
	ExplainTask(ctx context.Context, query ExplainQuery) (Explanations, error)

	Start(ctx context.Context, who Caller, request RunRequest) (Run, error)
	Cancel(ctx context.Context, who Caller, ref string) (Run, error)
	Continue(ctx context.Context, who Caller, ref string) (Run, error)
	Restart(ctx context.Context, who Caller, ref string) (Run, error)
	Runs(ctx context.Context, query RunQuery) (Page[Run], error)
	Run(ctx context.Context, ref string) (RunDetail, error)
	// Steps pages through all steps of a run, planned ones too.
	Steps(ctx context.Context, ref, after string, limit int) (Page[Step], error)

	// Watch sends events until ctx ends or send fails: of one run, until it has
	// ended too (ref set), or of all. send is never called concurrently.
	Watch(ctx context.Context, ref string, send func(Event) error) error
	// Logs sends the lines of a run, with follow until the run has ended.
	Logs(ctx context.Context, ref string, follow bool, send func(LogLine) error) error
}

// Caller is who asks: the peer's credentials on the socket.
type Caller struct {
	UID  uint32
	GID  uint32
	PID  int32
	Name string // user name, or the uid in digits
}

// RunQuery selects runs, newest first.
type RunQuery struct {
	Task   string
	Status string
	After  string // Page.Next of the page before
	Limit  int    // 0 means 50, at most 500
}
