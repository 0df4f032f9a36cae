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

	// Validate returns nil or an *Error with the problems of all files.
	Validate(ctx context.Context, files []TaskFile) error
	Apply(ctx context.Context, who Caller, request ApplyRequest) (ApplyResult, error)
	Tasks(ctx context.Context, after string, limit int) (Page[Task], error)
	Task(ctx context.Context, name string) (Task, error)
	DeleteTask(ctx context.Context, who Caller, name string) error
	SetDisabled(ctx context.Context, who Caller, name string, disabled bool) (Task, error)

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
