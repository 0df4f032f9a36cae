package server

import (
	"context"

	"github.com/stepd/stepd/daemon/internal/api"
)

// done is the answer to what has none of its own.
type done struct{}

func (s *Server) status(r *request) (any, error) {
	if err := r.get(); err != nil {
		return nil, err
	}
	return value(s.backend.Status(r.ctx()))
}

func (s *Server) plugins(r *request) (any, error) {
	if err := r.get(); err != nil {
		return nil, err
	}
	list, err := s.backend.Plugins(r.ctx())
	list.Dirs, list.Plugins = some(list.Dirs), some(list.Plugins)
	return value(list, err)
}

func (s *Server) validate(r *request) (any, error) {
	var req api.ValidateRequest
	if err := r.post(&req); err != nil {
		return nil, err
	}
	if err := filled(req.Files); err != nil {
		return nil, err
	}
	result, err := s.backend.Validate(r.ctx(), req.Files)
	result.Tasks = some(result.Tasks)
	return value(result, err)
}

func (s *Server) apply(r *request) (any, error) {
	var req api.ApplyRequest
	if err := r.post(&req); err != nil {
		return nil, err
	}
	if err := filled(req.Files); err != nil {
		return nil, err
	}
	result, err := s.backend.Apply(r.ctx(), r.who, req)
	result.Tasks = some(result.Tasks)
	return value(result, err)
}

func filled(files []api.TaskFile) error {
	if len(files) == 0 {
		return invalid("files is empty, it must hold at least one task file")
	}
	return nil
}

func (s *Server) tasks(r *request) (any, error) {
	q, err := r.query("after", "limit")
	if err != nil {
		return nil, err
	}
	n, err := limit(q)
	if err != nil {
		return nil, err
	}
	if err := r.empty(); err != nil {
		return nil, err
	}
	page, err := s.backend.Tasks(r.ctx(), api.TaskQuery{After: q.Get("after"), Limit: n})
	page.Items = some(page.Items)
	return value(page, err)
}

func (s *Server) task(r *request) (any, error) {
	if err := r.get(); err != nil {
		return nil, err
	}
	return value(s.backend.Task(r.ctx(), r.path("name")))
}

func (s *Server) deleteTask(r *request) (any, error) {
	if err := r.post(nil); err != nil {
		return nil, err
	}
	return done{}, s.backend.DeleteTask(r.ctx(), r.who, r.path("name"), 0)
}

func (s *Server) setDisabled(disabled bool) handler {
	return func(r *request) (any, error) {
		if err := r.post(nil); err != nil {
			return nil, err
		}
		return value(s.backend.SetDisabled(r.ctx(), r.who, r.path("name"), disabled))
	}
}

func (s *Server) start(r *request) (any, error) {
	var req api.RunRequest
	if err := r.post(&req); err != nil {
		return nil, err
	}
	if req.Task == "" {
		return nil, invalid("task is empty, it must name the task to run")
	}
	return value(s.backend.Start(r.ctx(), r.who, req))
}

func control[R any](act func(ctx context.Context, who api.Caller, ref string, request R) (api.Run, error)) handler {
	return func(r *request) (any, error) {
		ref, err := r.ref()
		if err != nil {
			return nil, err
		}
		var req R
		if err := r.maybe(&req); err != nil {
			return nil, err
		}
		return value(act(r.ctx(), r.who, ref, req))
	}
}

func (s *Server) runs(r *request) (any, error) {
	q, err := r.query("task", "status", "after", "limit")
	if err != nil {
		return nil, err
	}
	n, err := limit(q)
	if err != nil {
		return nil, err
	}
	if err := r.empty(); err != nil {
		return nil, err
	}
	page, err := s.backend.Runs(r.ctx(), api.RunQuery{Task: q.Get("task"), Status: q.Get("status"), After: q.Get("after"), Limit: n})
	page.Items = some(page.Items)
	return value(page, err)
}

func (s *Server) run(r *request) (any, error) {
	ref, err := r.ref()
	if err != nil {
		return nil, err
	}
	if err := r.get(); err != nil {
		return nil, err
	}
	detail, err := s.backend.Run(r.ctx(), ref)
	detail.Steps = some(detail.Steps)
	return value(detail, err)
}

func (s *Server) steps(r *request) (any, error) {
	ref, err := r.ref()
	if err != nil {
		return nil, err
	}
	q, err := r.query("after", "limit")
	if err != nil {
		return nil, err
	}
	n, err := limit(q)
	if err != nil {
		return nil, err
	}
	if err := r.empty(); err != nil {
		return nil, err
	}
	page, err := s.backend.Steps(r.ctx(), ref, api.StepQuery{After: q.Get("after"), Limit: n})
	page.Items = some(page.Items)
	return value(page, err)
}

// get checks a request that is its path alone.
func (r *request) get() error {
	if _, err := r.query(); err != nil {
		return err
	}
	return r.empty()
}

// post checks a request without parameters and reads its body into body, or
// makes sure that there is none.
func (r *request) post(body any) error {
	if _, err := r.query(); err != nil {
		return err
	}
	if body == nil {
		return r.empty()
	}
	return r.decode(body)
}

// maybe is post with a body that may be left out.
func (r *request) maybe(body any) error {
	if r.http.ContentLength == 0 {
		return r.post(nil)
	}
	return r.post(body)
}

// value drops the value that comes with an error.
func value[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

// some makes an empty list of none, so that JSON says [] and not null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
