package server

import (
	"context"

	"github.com/stepd/stepd/daemon/internal/api"
)

func (s *Server) start(r *request) (any, error) {
	var req api.RunRequest
	if err := r.takes(&req); err != nil {
		return nil, err
	}
	if req.Task == "" {
		return nil, invalid("task is empty, it must name the task to run")
	}
	if req.At != "" && req.In != "" {
		return nil, invalid("at and in are both given, one of them says when the run starts")
	}
	if err := texts("task", req.Task, "at", req.At, "in", req.In, "step", req.Step); err != nil {
		return nil, err
	}
	if len(req.Set) > api.MaxSet {
		return nil, invalid("set has %d settings, at most %d are allowed", len(req.Set), api.MaxSet)
	}
	for name := range req.Set {
		if name == "" {
			return nil, invalid("set has a setting without a name")
		}
		if err := short("a name in set", name, api.MaxText); err != nil {
			return nil, err
		}
	}
	if p := req.Priority; p != nil && (*p < -api.MaxPriority || *p > api.MaxPriority) {
		return nil, invalid("priority is %d, it must be a number from %d to %d", *p, -api.MaxPriority, api.MaxPriority)
	}
	return value(s.backend.Start(r.ctx(), r.who, req))
}

func (s *Server) startBatch(r *request) (any, error) {
	var req api.BatchRequest
	if err := r.takes(&req); err != nil {
		return nil, err
	}
	given := 0
	for _, is := range []bool{req.Tasks != nil, req.Due, req.All} {
		if is {
			given++
		}
	}
	if given != 1 {
		return nil, invalid("one of tasks, due and all must be given, and no other of them")
	}
	if req.Tasks != nil {
		if err := named("tasks", req.Tasks, api.MaxBatch); err != nil {
			return nil, err
		}
	}
	result, err := s.backend.StartBatch(r.ctx(), r.who, req)
	result.Runs = some(result.Runs)
	return value(result, err)
}

func (s *Server) cancel(r *request) (any, error) {
	ref, err := r.ref()
	if err != nil {
		return nil, err
	}
	var req api.CancelRequest
	if err := r.takes(&req); err != nil {
		return nil, err
	}
	if err := short("step", req.Step, api.MaxText); err != nil {
		return nil, err
	}
	return value(s.backend.Cancel(r.ctx(), r.who, ref, req))
}

func again(act func(ctx context.Context, who api.Caller, ref string, request api.AgainRequest) (api.Run, error)) handler {
	return func(r *request) (any, error) {
		ref, err := r.ref()
		if err != nil {
			return nil, err
		}
		var req api.AgainRequest
		if err := r.takes(&req); err != nil {
			return nil, err
		}
		if err := short("from", req.From, api.MaxText); err != nil {
			return nil, err
		}
		return value(act(r.ctx(), r.who, ref, req))
	}
}

func (s *Server) runs(r *request) (any, error) {
	q, err := r.reads()
	if err != nil {
		return nil, err
	}
	return list(s.backend.Runs(r.ctx(), api.RunQuery{
		Task: q["task"], Status: q["status"], Trigger: q["trigger"], StartedBy: q["started_by"], Schedule: q["schedule"], Batch: q["batch"],
		Since: q.time("since"), Until: q.time("until"), After: q["after"], Limit: q.limit(),
	}))
}

// run checks a request for something of a run.
func (r *request) run() (ref string, q params, err error) {
	if ref, err = r.ref(); err != nil {
		return "", nil, err
	}
	q, err = r.reads()
	return ref, q, err
}

func (s *Server) run(r *request) (any, error) {
	ref, _, err := r.run()
	if err != nil {
		return nil, err
	}
	detail, err := s.backend.Run(r.ctx(), ref)
	detail.Steps = some(detail.Steps)
	return value(detail, err)
}

func (s *Server) steps(r *request) (any, error) {
	ref, q, err := r.run()
	if err != nil {
		return nil, err
	}
	return list(s.backend.Steps(r.ctx(), ref, api.StepQuery{Status: q["status"], After: q["after"], Limit: q.limit()}))
}

func (s *Server) step(r *request) (any, error) {
	ref, _, err := r.run()
	if err != nil {
		return nil, err
	}
	if r.path("step") == "" {
		return nil, invalid("the name of the step is missing behind the last slash")
	}
	return value(s.backend.Step(r.ctx(), ref, r.path("step")))
}
