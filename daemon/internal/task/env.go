package task

import (
	"encoding/json"
	"time"
)

// Env is what expressions of a step are evaluated over. Package expression says
// by which names.
type Env struct {
	Task     string
	Settings json.RawMessage // of the task, with what was set for once
	Run      Run
	Step     string
	Attempt  int
	Now      time.Time
	Steps    []EnvStep // those of a lower order, in their order
	// Hook is how the run had ended that a hook follows, with that run's steps;
	// nil in a run that is no hook of an end.
	Hook *EnvHook
}

// EnvStep is an earlier step as expressions see it.
type EnvStep struct {
	Name    string
	Status  StepStatus
	Message string
	Error   string
	// Outputs are read when an expression asks for them.
	Outputs func() (map[string]json.RawMessage, error)
}

// EnvHook is the run whose end a hook follows.
type EnvHook struct {
	Ref    string
	Number uint64
	Status RunStatus
	Reason string
	Steps  []EnvStep
}

// Scope is what can be known of an Env when a task is saved.
type Scope struct {
	Settings []string // keys of the task's settings
	Steps    []string // names of the steps of a lower order
	Later    []string // names of the others: a fault names them as such
	Hook     bool     // of a hook of a run's end: hook is there
	RunSteps []string // names of the steps of the run that a hook follows
}

// ExpressionFault is one fault of an expression.
type ExpressionFault struct {
	Offset  int // in bytes, from the start of the text that was checked
	Message string
	Hint    string
}
