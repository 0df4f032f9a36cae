package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/config"
)

// roles says what callers may do, by the groups that the configuration names.
type roles struct {
	self   uint32
	open   bool     // no groups are named: whoever reaches the socket may do everything
	groups []member // the highest role first
}

// member is a group whose members have a role.
type member struct {
	group string // a name, or a number
	role  api.Role
}

// newRoles looks the groups up. One that does not exist is an error: whoever
// wrote it relies on what it says.
func newRoles(c config.Config) (*roles, error) {
	r := &roles{self: uint32(os.Geteuid())}
	var errs []error
	for _, list := range []struct {
		key    string
		groups []string
		role   api.Role
	}{{"admin_groups", c.AdminGroups, api.RoleAdmin}, {"runner_groups", c.RunnerGroups, api.RoleRunner}, {"reader_groups", c.ReaderGroups, api.RoleReader}} {
		for _, name := range list.groups {
			r.groups = append(r.groups, member{name, list.role})
			other, err := otherName(name)
			switch {
			case err != nil:
				errs = append(errs, fmt.Errorf("%s: %w", list.key, err))
			case other != "":
				r.groups = append(r.groups, member{other, list.role})
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	r.open = len(r.groups) == 0
	return r, nil
}

// otherName is the number of a group's name, or the name of its number. A
// number need have none.
func otherName(name string) (string, error) {
	if _, err := strconv.ParseUint(name, 10, 32); err == nil {
		if g, err := user.LookupGroupId(name); err == nil {
			return g.Name, nil
		}
		return "", nil
	}
	g, err := user.LookupGroup(name)
	if _, unknown := errors.AsType[user.UnknownGroupError](err); unknown {
		return "", fmt.Errorf("there is no group %q: make it with groupadd, or correct its name", name)
	}
	if err != nil {
		return "", fmt.Errorf("look up the group %q: %w", name, err)
	}
	return g.Gid, nil
}

// Role implements server.Authorizer.
func (r *roles) Role(who api.Caller) api.Role {
	if r.open || who.UID == 0 || who.UID == r.self {
		return api.RoleAdmin
	}
	for _, m := range r.groups {
		if slices.Contains(who.Groups, m.group) {
			return m.role
		}
	}
	return api.RoleNone
}

func (b *backend) WhoAmI(_ context.Context, who api.Caller) (api.Who, error) {
	return api.Who{User: who.Name, UID: who.UID, GID: who.GID, Groups: who.Groups, Role: who.Role, ActFor: who.ActFor}, nil
}
