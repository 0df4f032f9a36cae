package api

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Caller is who asks: the peer's credentials on the socket, and what follows
// from them. The server has checked the role that a route needs, except for
// starting and controlling runs, which the task's starters may do as well: there
// the backend decides, by MayRun.
type Caller struct {
	UID    uint32
	GID    uint32
	PID    int32
	Name   string   // user name, or the uid in digits
	Groups []string // names of all its groups, or their numbers
	Role   Role
	ActFor string // set by administrators alone
}

// By is the name under which the act is kept.
func (c Caller) By() string {
	if c.ActFor != "" {
		return c.ActFor
	}
	return c.Name
}

// MayRun reports whether the caller may start and control runs of a task with
// these starters (Task.Starter).
func (c Caller) MayRun(starter []string) bool {
	switch {
	case c.Role == RoleAdmin:
		return true
	case len(starter) == 0:
		return c.Role == RoleRunner
	}
	for _, one := range starter {
		group, isGroup := strings.CutPrefix(one, "@")
		if isGroup && slices.Contains(c.Groups, group) || !isGroup && one == c.Name {
			return true
		}
	}
	return false
}

// Who is how the daemon sees who asks.
type Who struct {
	User   string   `json:"user"` // name, or the uid in digits
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []string `json:"groups"` // names, or the gids in digits
	Role   Role     `json:"role"`
	ActFor string   `json:"act_for,omitempty"` // user for whom is asked
}

// Role is what a caller may do: each includes those before it.
type Role string

const (
	RoleNone   Role = "none"          // only tasks that list the caller as a starter
	RoleReader Role = "reader"        // see everything
	RoleRunner Role = "runner"        // start, cancel, continue and restart runs
	RoleAdmin  Role = "administrator" // change tasks, act for others, read the audit log
)

// Roles lists all of them, each before those that include it.
func Roles() []Role { return []Role{RoleNone, RoleReader, RoleRunner, RoleAdmin} }

// Includes reports whether whoever has the role may do what the other one may.
func (r Role) Includes(other Role) bool {
	return slices.Index(Roles(), r) >= slices.Index(Roles(), other)
}

// Denied says that the caller would need the role for it.
func (c Caller) Denied(needs Role) *Error {
	e := &Error{Code: CodeDenied, Message: fmt.Sprintf("this needs the role %s, and %s has the role %s", needs, c.Name, c.Role),
		Hint: "ask an administrator for membership in one of the groups that the daemon's " + needs.setting() + " lists"}
	if c.Role == RoleNone || c.Role == "" {
		e.Message = fmt.Sprintf("this needs the role %s, and %s has none", needs, c.Name)
	}
	return e
}

// DeniedRun says that the caller may not start and control runs of the task with
// these starters (MayRun).
func (c Caller) DeniedRun(task string, starter []string) *Error {
	if len(starter) == 0 {
		return c.Denied(RoleRunner)
	}
	return &Error{Code: CodeDenied,
		Message: fmt.Sprintf("%s may not run the task %s: its starters are %s", c.Name, task, strings.Join(starter, ", ")),
		Hint:    "ask one of them, or an administrator, who may start it too and may change the list"}
}

// setting is the key of the daemon's configuration that gives the role.
func (r Role) setting() string {
	switch r {
	case RoleReader:
		return "reader_groups"
	case RoleRunner:
		return "runner_groups"
	}
	return "admin_groups"
}

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	Time    time.Time `json:"time"` // when the act had ended
	User    string    `json:"user"`
	UID     uint32    `json:"uid"`
	GID     uint32    `json:"gid"`
	PID     int32     `json:"pid"`
	ActFor  string    `json:"act_for,omitempty"` // user for whom was asked
	Role    Role      `json:"role"`
	Action  string    `json:"action"`            // run.start, task.change ...
	Target  string    `json:"target,omitempty"`  // name of a task, or a run as TASK/NUMBER
	Request string    `json:"request,omitempty"` // the body as it came, cut to 8 KiB
	Result  string    `json:"result"`            // ok, or the code of an error
	Error   string    `json:"error,omitempty"`   // its message
	Made    string    `json:"made,omitempty"`    // the run that was started, or several
}

// AuditQuery selects lines of the audit log, newest first.
type AuditQuery struct {
	User   string
	Action string // or its part before the dot
	Target string
	Since  time.Time
	After  string
	Limit  int
}

// Secret is a name that settings may refer to. Its value never leaves the daemon
// but to the controller.
type Secret struct {
	Name   string   `json:"name"`
	From   string   `json:"from"`            // "credential", "file /etc/stepd/shop.pw", "directory /etc/stepd/secrets"
	Error  string   `json:"error,omitempty"` // why it cannot be had now
	UsedBy []string `json:"used_by"`         // names of tasks
}

// SecretList is all secrets that are there or referred to.
type SecretList struct {
	Secrets  []Secret `json:"secrets"`
	Warnings []string `json:"warnings,omitempty"` // what is wrong with files and directories
}
