package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

// Auditor keeps what was asked of the daemon.
type Auditor interface {
	// Ready is nil while lines can be kept; else no act is begun, except that runs
	// are cancelled on a full disk, which is an *api.Error with CodeDiskFull.
	Ready() error
	// Keep is durable when it returns nil. It is called from several goroutines.
	Keep(entry api.AuditEntry) error
}

const (
	auditBody   = 8 << 10 // bytes of a request that are kept
	auditError  = 2 << 10
	auditTarget = 500
)

// audited carries out an act, unless refused is an error, and keeps it.
func (s *Server) audited(r *request, refused error, act func() (any, error)) (v any, err error) {
	_, _ = r.body() // whoever needs it finds the error
	if s.opts.Auditor == nil || r.route.Dry && r.dry() {
		if refused != nil {
			return nil, refused
		}
		return act()
	}
	if refused == nil {
		refused = s.auditable(r)
	}
	ended := false
	defer func() {
		if !ended { // in a panic, which goes on
			err = errors.New("it ended in a panic")
		}
		s.keep(r, v, err)
	}()
	s.settle(r)
	if err = refused; err == nil {
		v, err = act()
	}
	ended = true
	return v, err
}

// settle finds out which run is the newest, so that the act is on that one and
// its line says which it was.
func (s *Server) settle(r *request) {
	if r.path("number") != api.Latest {
		return
	}
	if run, err := s.backend.Run(r.ctx(), r.path("task")); err == nil {
		r.number = run.Number
	}
}

// auditable refuses an act of which no line could be kept.
func (s *Server) auditable(r *request) error {
	err := s.opts.Auditor.Ready()
	if err == nil {
		return nil
	}
	known, ok := errors.AsType[*api.Error](err)
	if ok && known.Code == api.CodeDiskFull && r.route.ID == "cancelRun" {
		return nil
	}
	if ok {
		return known
	}
	return fmt.Errorf("the audit log cannot be written, so nothing is changed: %w", err)
}

func (s *Server) keep(r *request, v any, err error) {
	entry := api.AuditEntry{
		Time: time.Now(), User: r.who.Name, UID: r.who.UID, GID: r.who.GID, PID: r.who.PID, ActFor: r.who.ActFor, Role: r.who.Role,
		Action: r.route.Action, Target: r.target(v, err), Request: cut(string(r.raw), auditBody), Result: "ok",
	}
	if query := r.http.URL.RawQuery; query != "" {
		entry.Request = cut("?"+query+"\n"+entry.Request, auditBody)
	}
	switch v := v.(type) {
	case api.Run:
		if r.route.ID == "startRun" || r.route.ID == "restartRun" {
			entry.Made = v.Ref
		}
	case api.BatchResult:
		var made []string
		for _, one := range v.Runs {
			if one.Run != nil {
				made = append(made, one.Run.Ref)
			}
		}
		entry.Made = cut(strings.Join(made, " "), auditTarget)
	}
	if err != nil {
		e := coded(err)
		entry.Result, entry.Error, entry.Made = string(e.Code), cut(e.Error(), auditError), ""
	}
	if err := s.opts.Auditor.Keep(entry); err != nil {
		s.log.Error("an act is missing in the audit log", "error", err, "user", entry.User, "uid", entry.UID, "pid", entry.PID,
			"action", entry.Action, "target", entry.Target, "result", entry.Result)
	}
}

// target is the task or the run that the request is about: by its path, else by
// the answer, else by the body.
func (r *request) target(v any, err error) string {
	if name := r.path("name"); name != "" {
		if step := r.path("step"); step != "" {
			name += " " + step
		}
		return cut(name, auditTarget)
	}
	if name := r.path("task"); name != "" {
		return cut(name+"/"+r.runNumber(), auditTarget)
	}
	var names []string
	if r.route.ID == "applyTasks" {
		return cut(strings.Join(r.applied(v, err), " "), auditTarget)
	}
	var body struct {
		Task  json.RawMessage `json:"task"`
		Tasks []string        `json:"tasks"`
	}
	if json.Unmarshal(r.raw, &body) != nil {
		return ""
	}
	var name string
	var def struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(body.Task, &name) == nil || json.Unmarshal(body.Task, &def) == nil {
		names = append(body.Tasks, name+def.Name)
	}
	return cut(strings.TrimSpace(strings.Join(names, " ")), auditTarget)
}

// applied names the tasks that an apply is about: those that it has changed, or
// all when it has changed none; of one that was refused those that stand against
// it, or what the body says: the files, by their names, and what was to be deleted.
func (r *request) applied(v any, err error) (names []string) {
	result, _ := v.(api.ApplyResult)
	tasks, all := result.Tasks, true
	if fault, ok := errors.AsType[*api.Error](err); ok {
		tasks = fault.Tasks
	} else {
		all = !slices.ContainsFunc(tasks, func(a api.Applied) bool { return a.Action != "unchanged" })
	}
	for _, one := range tasks {
		if all || one.Action != "unchanged" {
			names = append(names, one.Task)
		}
	}
	if len(names) > 0 {
		return names
	}
	var body struct {
		Files []struct {
			Name string `json:"name"`
		} `json:"files"`
		Delete []struct {
			Task string `json:"task"`
		} `json:"delete"`
	}
	if json.Unmarshal(r.raw, &body) != nil {
		return nil
	}
	for _, f := range body.Files {
		names = append(names, f.Name)
	}
	for _, d := range body.Delete {
		names = append(names, d.Task)
	}
	return names
}

func cut(text string, most int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= most {
		return text
	}
	const mark = " [cut]"
	return strings.ToValidUTF8(text[:most-len(mark)], "") + mark
}
