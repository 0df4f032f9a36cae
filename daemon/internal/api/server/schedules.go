package server

import (
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
)

func (s *Server) pause(r *request) (any, error) {
	var req api.PauseRequest
	if err := r.takes(&req); err != nil {
		return nil, err
	}
	if req.Until != nil && req.For != "" {
		return nil, invalid("until and for are both given, one of them says when the pause ends")
	}
	if req.Until != nil && req.Until.IsZero() {
		return nil, invalid("until is no time")
	}
	if err := short("reason", req.Reason, api.MaxReason); err != nil {
		return nil, err
	}
	if err := short("for", req.For, api.MaxText); err != nil {
		return nil, err
	}
	return value(s.backend.Pause(r.ctx(), r.who, r.path("name"), req))
}

func (s *Server) resume(r *request) (any, error) {
	if _, err := r.reads(); err != nil {
		return nil, err
	}
	return value(s.backend.Resume(r.ctx(), r.who, r.path("name")))
}

func (s *Server) next(r *request) (any, error) {
	q, err := r.reads()
	if err != nil {
		return nil, err
	}
	return list(s.backend.Next(r.ctx(), q["after"], q.limit()))
}

func (s *Server) history(r *request) (any, error) {
	q, err := r.reads()
	if err != nil {
		return nil, err
	}
	return list(s.backend.History(r.ctx(), api.HistoryQuery{Task: r.path("name"), Schedule: q["schedule"], After: q["after"], Limit: q.limit()}))
}

func (s *Server) explain(r *request) (any, error) {
	var req api.ExplainRequest
	if err := r.takes(&req); err != nil {
		return nil, err
	}
	if strings.TrimSpace(req.Spec) == "" {
		return nil, &api.Error{Code: api.CodeInvalid, Message: "spec is empty, it must say when something is due",
			Hint: "as 30 2 * * *, @daily, every 15m, after 1h or at 2026-12-24T18:00"}
	}
	err := texts("spec", req.Spec, "timezone", req.Timezone, "from", req.From, "jitter", req.Jitter, "start", req.Start, "end", req.End)
	if err != nil {
		return nil, err
	}
	if len(req.Exclude) > api.MaxExclude {
		return nil, invalid("exclude has %d items, at most %d are allowed", len(req.Exclude), api.MaxExclude)
	}
	for _, day := range req.Exclude {
		if err := short("exclude", day, api.MaxText); err != nil {
			return nil, err
		}
	}
	if req.Count < 0 || req.Count > api.MaxExplain {
		return nil, invalid("count is %d, it must be a number from 1 to %d", req.Count, api.MaxExplain)
	}
	if req.Count == 0 {
		req.Count = api.ExplainCount
	}
	e, err := s.backend.Explain(r.ctx(), req)
	e.Times = some(e.Times)
	return value(e, err)
}

func (s *Server) explainTask(r *request) (any, error) {
	q, err := r.reads()
	if err != nil {
		return nil, err
	}
	all, err := s.backend.ExplainTask(r.ctx(), api.ExplainQuery{Task: r.path("name"), Schedule: q["schedule"],
		Count: q.number("count", api.ExplainCount), From: q["from"]})
	all.Items = some(all.Items)
	for i := range all.Items {
		all.Items[i].Times = some(all.Items[i].Times)
	}
	return value(all, err)
}
