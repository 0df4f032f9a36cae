package server

import "github.com/stepd/stepd/daemon/internal/api"

func (s *Server) status(r *request) (any, error) {
	if _, err := r.reads(); err != nil {
		return nil, err
	}
	return value(s.backend.Status(r.ctx()))
}

func (s *Server) whoAmI(r *request) (any, error) {
	if _, err := r.reads(); err != nil {
		return nil, err
	}
	who, err := s.backend.WhoAmI(r.ctx(), r.who)
	who.Groups = some(who.Groups)
	return value(who, err)
}

func (s *Server) plugins(r *request) (any, error) {
	if _, err := r.reads(); err != nil {
		return nil, err
	}
	all, err := s.backend.Plugins(r.ctx())
	all.Dirs, all.Plugins = some(all.Dirs), some(all.Plugins)
	return value(all, err)
}

func (s *Server) secrets(r *request) (any, error) {
	if _, err := r.reads(); err != nil {
		return nil, err
	}
	all, err := s.backend.Secrets(r.ctx())
	all.Secrets = some(all.Secrets)
	for i := range all.Secrets {
		all.Secrets[i].UsedBy = some(all.Secrets[i].UsedBy)
	}
	return value(all, err)
}

func (s *Server) audit(r *request) (any, error) {
	q, err := r.reads()
	if err != nil {
		return nil, err
	}
	return list(s.backend.Audit(r.ctx(), api.AuditQuery{
		User: q["user"], Action: q["action"], Target: q["target"], Since: q.time("since"), After: q["after"], Limit: q.limit(),
	}))
}

// value drops the value that comes with an error.
func value[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

// list is value of a page.
func list[T any](page api.Page[T], err error) (any, error) {
	page.Items = some(page.Items)
	return value(page, err)
}

// some makes an empty list of none, so that JSON says [] and not null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
