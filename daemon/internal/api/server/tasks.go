package server

import (
	"fmt"
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
)

// maxPath is PATH_MAX of Linux.
const maxPath = 4096

func (s *Server) tasks(r *request) (any, error) {
	q, err := r.reads()
	if err != nil {
		return nil, err
	}
	return list(s.backend.Tasks(r.ctx(), api.TaskQuery{
		Name: q["name"], Status: q["status"], CreatedBy: q["created_by"], Starter: q["starter"], Schedule: q["schedule"],
		Result: q["result"], Sort: q["sort"], After: q["after"], Limit: q.limit(),
	}))
}

func (s *Server) task(r *request) (any, error) {
	if _, err := r.reads(); err != nil {
		return nil, err
	}
	return value(s.backend.Task(r.ctx(), r.path("name")))
}

func (s *Server) createTask(r *request) (any, error) {
	req, err := saving(r)
	if err != nil {
		return nil, err
	}
	if req.Version != 0 {
		return nil, &api.Error{Code: api.CodeInvalid, Message: "version is given, and a task that is made has none yet", Hint: "PUT replaces a task"}
	}
	return value(s.backend.CreateTask(r.ctx(), r.who, req))
}

func (s *Server) replaceTask(r *request) (any, error) {
	req, err := saving(r)
	if err != nil {
		return nil, err
	}
	if req.Version == 0 {
		return nil, &api.Error{Code: api.CodeInvalid, Message: "version is missing, it must be the one that is replaced",
			Hint: "GET the task for it; PATCH changes what is there, whatever its version"}
	}
	return value(s.backend.ReplaceTask(r.ctx(), r.who, r.path("name"), req))
}

func saving(r *request) (req api.SaveRequest, err error) {
	if err := r.takes(&req); err != nil {
		return req, err
	}
	if err := object("task", req.Task); err != nil {
		return req, err
	}
	if err := short("dir", req.Dir, maxPath); err != nil {
		return req, err
	}
	if req.Dir != "" && !strings.HasPrefix(req.Dir, "/") {
		return req, invalid("dir is %q, it must be an absolute path", clip(req.Dir))
	}
	return req, nil
}

func (s *Server) patchTask(r *request) (any, error) {
	req, err := patching(r)
	if err != nil {
		return nil, err
	}
	return value(s.backend.PatchTask(r.ctx(), r.who, r.path("name"), req))
}

func patching(r *request) (req api.PatchRequest, err error) {
	if err := r.takes(&req); err != nil {
		return req, err
	}
	return req, object("patch", req.Patch)
}

func (s *Server) deleteTask(r *request) (any, error) {
	q, err := r.reads()
	if err != nil {
		return nil, err
	}
	return api.Done{}, s.backend.DeleteTask(r.ctx(), r.who, r.path("name"), q.version())
}

func (s *Server) definition(r *request) (any, error) {
	if _, err := r.reads(); err != nil {
		return nil, err
	}
	return value(s.backend.Definition(r.ctx(), r.path("name")))
}

func (s *Server) export(r *request) (any, error) {
	q, err := r.reads()
	if err != nil {
		return nil, err
	}
	return list(s.backend.Export(r.ctx(), q["after"], q.limit()))
}

func (s *Server) setDisabled(disabled bool) handler {
	return func(r *request) (any, error) {
		if _, err := r.reads(); err != nil {
			return nil, err
		}
		return value(s.backend.SetDisabled(r.ctx(), r.who, r.path("name"), disabled))
	}
}

func (s *Server) apply(r *request) (any, error) {
	var req api.ApplyRequest
	if err := r.takes(&req); err != nil {
		return nil, err
	}
	if len(req.Files) == 0 && len(req.Delete) == 0 && len(req.Prune) == 0 {
		return nil, invalid("files is empty, and nothing is to be deleted")
	}
	if len(req.Prune) > 0 && !req.DryRun {
		return nil, &api.Error{Code: api.CodeInvalid, Message: "prune is given without dry_run",
			Hint: "a dry run lists what would go; name that in delete, with the versions, once somebody has confirmed it"}
	}
	for i, dir := range req.Prune {
		if err := short(fmt.Sprintf("prune[%d]", i), dir, maxPath); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(dir, "/") {
			return nil, invalid("prune[%d] is %q, it must be an absolute path", i, clip(dir))
		}
	}
	for i, one := range req.Delete {
		if one.Task == "" || one.Version == 0 {
			return nil, invalid("delete[%d] must have the name of a task and its version", i)
		}
		if err := short(fmt.Sprintf("delete[%d].task", i), one.Task, api.MaxText); err != nil {
			return nil, err
		}
	}
	if err := sources(req.Files); err != nil {
		return nil, err
	}
	result, err := s.backend.Apply(r.ctx(), r.who, req)
	result.Tasks = some(result.Tasks)
	return value(result, err)
}

func (s *Server) validate(r *request) (any, error) {
	var req api.ValidateRequest
	if err := r.takes(&req); err != nil {
		return nil, err
	}
	if len(req.Files) == 0 {
		return nil, invalid("files is empty, it must hold at least one task file")
	}
	if err := sources(req.Files); err != nil {
		return nil, err
	}
	result, err := s.backend.Validate(r.ctx(), req.Files)
	result.Tasks = some(result.Tasks)
	return value(result, err)
}

// sources checks where files say that they come from.
func sources(files []api.TaskFile) error {
	for i, f := range files {
		at := fmt.Sprintf("files[%d].", i)
		for _, one := range [][2]string{{"name", f.Name}, {"dir", f.Dir}, {"path", f.Path}} {
			if err := short(at+one[0], one[1], maxPath); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Server) taskSteps(r *request) (any, error) {
	if _, err := r.reads(); err != nil {
		return nil, err
	}
	return list(s.backend.TaskSteps(r.ctx(), r.path("name")))
}

func (s *Server) taskStep(r *request) (any, error) {
	if _, err := r.reads(); err != nil {
		return nil, err
	}
	return value(s.backend.TaskStep(r.ctx(), r.path("name"), r.path("step")))
}

func (s *Server) addStep(r *request) (any, error) {
	var req api.StepRequest
	if err := r.takes(&req); err != nil {
		return nil, err
	}
	if err := object("step", req.Step); err != nil {
		return nil, err
	}
	if req.Before != "" && req.After != "" {
		return nil, invalid("before and after are both given, one of them says where the step goes")
	}
	if err := texts("before", req.Before, "after", req.After); err != nil {
		return nil, err
	}
	return value(s.backend.AddStep(r.ctx(), r.who, r.path("name"), req))
}

func (s *Server) patchStep(r *request) (any, error) {
	req, err := patching(r)
	if err != nil {
		return nil, err
	}
	return value(s.backend.PatchStep(r.ctx(), r.who, r.path("name"), r.path("step"), req))
}

func (s *Server) deleteStep(r *request) (any, error) {
	q, err := r.reads()
	if err != nil {
		return nil, err
	}
	return value(s.backend.DeleteStep(r.ctx(), r.who, r.path("name"), r.path("step"), q.version()))
}

func (s *Server) orderSteps(r *request) (any, error) {
	var req api.OrderRequest
	if err := r.takes(&req); err != nil {
		return nil, err
	}
	if err := named("steps", req.Steps, 0); err != nil {
		return nil, err
	}
	return value(s.backend.OrderSteps(r.ctx(), r.who, r.path("name"), req))
}
