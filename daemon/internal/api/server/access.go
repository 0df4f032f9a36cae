package server

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/stepd/stepd/daemon/internal/api"
)

// Authorizer says what callers may do.
type Authorizer interface {
	// Role is that of a caller of whom all but the role is known. It must be quick:
	// it is asked with each request.
	Role(who api.Caller) api.Role
}

// identify is who asks, with the role. With an error it is as much as is known.
func (s *Server) identify(r *request) (api.Caller, error) {
	who, err := s.caller(r.ctx())
	if err != nil {
		return who, err
	}
	who.Role = api.RoleAdmin
	if s.opts.Authorizer != nil {
		who.Role = s.opts.Authorizer.Role(who)
	}
	names := r.http.Header.Values(api.HeaderActFor)
	if len(names) == 0 {
		return who, nil
	}
	if who.Role != api.RoleAdmin {
		e := who.Denied(api.RoleAdmin)
		e.Message = "to act for others " + strings.TrimPrefix(e.Message, "this ")
		return who, e
	}
	if len(names) > 1 {
		return who, invalid("the header %s is there %d times", api.HeaderActFor, len(names))
	}
	if err := checkUser(names[0]); err != nil {
		return who, err
	}
	who.ActFor = names[0]
	return who, nil
}

// checkUser says what is wrong with the name of a user for whom somebody acts.
// The machine need not know it: it may be one of a shop's own users. The name
// gives no rights.
func checkUser(name string) error {
	bad := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.@+", r)
	}
	if name == "" || len(name) > api.MaxActFor || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) || strings.ContainsAny(name[:1], "-.@+") {
		return &api.Error{Code: api.CodeInvalid, Message: "the header " + api.HeaderActFor + " is no name of a user",
			Hint: "a name begins with a letter or digit, and has letters, digits and - _ . @ + alone, 64 bytes at most"}
	}
	return nil
}

// permit checks the role that the route needs.
func (s *Server) permit(r *request) error {
	need := r.route.Role
	if r.route.Dry && r.dry() {
		need = api.RoleReader
	}
	if r.who.Role.Includes(need) {
		return nil
	}
	if !r.route.Starter {
		return r.who.Denied(need)
	}
	if r.route.Action != "" {
		return nil // the backend knows whose task it is
	}
	name := r.path("name")
	if name == "" {
		name = r.path("task")
	}
	// A task that is not there is denied like one of others: whoever has no role
	// does not learn which there are.
	if t, err := s.backend.Task(r.ctx(), name); err != nil || len(t.Starter) == 0 || !r.who.MayRun(t.Starter) {
		return r.who.Denied(need)
	}
	return nil
}

// dry reports whether the body asks for a look alone.
func (r *request) dry() bool {
	body, err := r.body()
	var asked struct {
		DryRun bool `json:"dry_run"`
	}
	return err == nil && json.Unmarshal(body, &asked) == nil && asked.DryRun
}
