package server

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
)

// Bounds of the texts of requests about schedules, in bytes and items. They keep
// what is echoed in an error, or stored, small.
const (
	maxSpec    = 500
	maxReason  = 1000
	maxExclude = 500
)

func (s *Server) pause(r *request) (any, error) {
	var req api.PauseRequest
	if err := r.post(&req); err != nil {
		return nil, err
	}
	if req.Until != nil && req.For != "" {
		return nil, invalid("until and for are both given, one of them says when the pause ends")
	}
	if req.Until != nil && req.Until.IsZero() {
		return nil, invalid("until is no time")
	}
	if err := short("reason", req.Reason, maxReason); err != nil {
		return nil, err
	}
	if err := short("for", req.For, maxSpec); err != nil {
		return nil, err
	}
	return value(s.backend.Pause(r.ctx(), r.who, r.path("name"), req))
}

func (s *Server) resume(r *request) (any, error) {
	if err := r.post(nil); err != nil {
		return nil, err
	}
	return value(s.backend.Resume(r.ctx(), r.who, r.path("name")))
}

func (s *Server) next(r *request) (any, error) {
	q, n, err := r.paged()
	if err != nil {
		return nil, err
	}
	page, err := s.backend.Next(r.ctx(), q.Get("after"), n)
	page.Items = some(page.Items)
	return value(page, err)
}

func (s *Server) history(r *request) (any, error) {
	q, n, err := r.paged("schedule")
	if err != nil {
		return nil, err
	}
	page, err := s.backend.History(r.ctx(), api.HistoryQuery{Task: r.path("name"), Schedule: q.Get("schedule"), After: q.Get("after"), Limit: n})
	page.Items = some(page.Items)
	return value(page, err)
}

func (s *Server) explain(r *request) (any, error) {
	var req api.ExplainRequest
	if err := r.post(&req); err != nil {
		return nil, err
	}
	if strings.TrimSpace(req.Spec) == "" {
		return nil, &api.Error{Code: api.CodeInvalid, Message: "spec is empty, it must say when something is due",
			Hint: "as 30 2 * * *, @daily, every 15m, after 1h or at 2026-12-24T18:00"}
	}
	texts := map[string]string{"spec": req.Spec, "timezone": req.Timezone, "from": req.From, "jitter": req.Jitter, "start": req.Start, "end": req.End}
	for field, text := range texts {
		if err := short(field, text, maxSpec); err != nil {
			return nil, err
		}
	}
	if len(req.Exclude) > maxExclude {
		return nil, invalid("exclude has %d items, at most %d are allowed", len(req.Exclude), maxExclude)
	}
	for _, day := range req.Exclude {
		if err := short("exclude", day, maxSpec); err != nil {
			return nil, err
		}
	}
	var err error
	if req.Count, err = explainCount(req.Count); err != nil {
		return nil, err
	}
	e, err := s.backend.Explain(r.ctx(), req)
	e.Times = some(e.Times)
	return value(e, err)
}

func (s *Server) explainTask(r *request) (any, error) {
	q, err := r.query("schedule", "count", "from")
	if err != nil {
		return nil, err
	}
	n := 0
	if text := q.Get("count"); text != "" {
		if n, err = strconv.Atoi(text); err != nil || n == 0 {
			n = -1
		}
	}
	if n, err = explainCount(n); err != nil {
		return nil, err
	}
	if err := r.empty(); err != nil {
		return nil, err
	}
	all, err := s.backend.ExplainTask(r.ctx(), api.ExplainQuery{Task: r.path("name"), Schedule: q.Get("schedule"), Count: n, From: q.Get("from")})
	all.Items = some(all.Items)
	for i := range all.Items {
		all.Items[i].Times = some(all.Items[i].Times)
	}
	return value(all, err)
}

func explainCount(n int) (int, error) {
	if n == 0 {
		return api.ExplainCount, nil
	}
	if n < 0 || n > api.MaxExplain {
		return 0, invalid("count must be a number from 1 to %d", api.MaxExplain)
	}
	return n, nil
}

func short(field, text string, most int) error {
	if len(text) > most {
		return invalid("%s is %d bytes long, at most %d are allowed", field, len(text), most)
	}
	return nil
}

// paged checks a request for a page and returns its parameters and its limit.
func (r *request) paged(allowed ...string) (url.Values, int, error) {
	q, err := r.query(append(allowed, "after", "limit")...)
	if err != nil {
		return nil, 0, err
	}
	n, err := limit(q)
	if err != nil {
		return nil, 0, err
	}
	return q, n, r.empty()
}
