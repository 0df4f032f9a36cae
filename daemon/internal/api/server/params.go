package server

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/openapi"
)

// params are the parameters of the URL that were given, by their names; what the
// route says of each holds for it.
type params map[string]string

// query checks the parameters of the URL against those of the route.
func (r *request) query() (params, error) {
	q, err := url.ParseQuery(r.http.URL.RawQuery)
	if err != nil {
		return nil, invalid("the query of the URL cannot be read: %v", err)
	}
	given := params{}
	for name, values := range q {
		i := slices.IndexFunc(r.route.Query, func(p openapi.Param) bool { return p.Name == name })
		switch {
		case i < 0:
			return nil, unknownParam(name, r.route.Query)
		case len(values) > 1:
			return nil, invalid("the parameter %q is there %d times", name, len(values))
		case values[0] == "":
			continue
		}
		if err := checkParam(r.route.Query[i], values[0]); err != nil {
			return nil, err
		}
		given[name] = values[0]
	}
	return given, nil
}

func unknownParam(name string, known []openapi.Param) error {
	e := invalid("there is no parameter %q", name)
	if len(known) > 0 {
		var names []string
		for _, p := range known {
			names = append(names, p.Name)
		}
		e.Hint = "there are: " + strings.Join(names, ", ")
	}
	return e
}

func checkParam(p openapi.Param, value string) error {
	switch p.Kind {
	case openapi.Word:
		if !slices.Contains(p.Words, value) {
			return invalid("%s is %q, it must be one of: %s", p.Name, clip(value), strings.Join(p.Words, ", "))
		}
	case openapi.Number:
		if n, err := strconv.Atoi(value); err != nil || n < p.Min || n > p.Max {
			return invalid("%s is %q, it must be a number from %d to %d", p.Name, clip(value), p.Min, p.Max)
		}
	case openapi.Flag:
		if !slices.Contains([]string{"0", "1", "false", "true"}, value) {
			return invalid("%s is %q, it must be 1 or 0", p.Name, clip(value))
		}
	case openapi.Time:
		if _, err := time.Parse(time.RFC3339, value); err != nil {
			return invalid("%s is %q, it must be a time such as 2026-11-24T06:00:00Z or 2026-11-24T06:00:00+01:00", p.Name, clip(value))
		}
	default:
		return short(p.Name, value, api.MaxText)
	}
	return nil
}

// clip keeps what is echoed small.
func clip(text string) string {
	const most = 60
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// number is the parameter, or otherwise its default.
func (p params) number(name string, otherwise int) int {
	if n, err := strconv.Atoi(p[name]); err == nil {
		return n
	}
	return otherwise
}

func (p params) limit() int { return p.number("limit", api.PageSize) }

func (p params) version() uint64 { return uint64(p.number("version", 0)) }

func (p params) flag(name string) bool { return p[name] == "1" || p[name] == "true" }

func (p params) time(name string) time.Time {
	t, _ := time.Parse(time.RFC3339, p[name]) // checked; zero when it was not given
	return t
}

// reads checks a request without a body and returns its parameters.
func (r *request) reads() (params, error) {
	q, err := r.query()
	if err != nil {
		return nil, err
	}
	return q, r.empty()
}

// takes checks the parameters and reads the body into body; a body that may be
// left out may be empty.
func (r *request) takes(body any) error {
	if _, err := r.query(); err != nil {
		return err
	}
	if r.route.Option {
		if raw, err := r.body(); err == nil && len(raw) == 0 {
			return nil
		}
	}
	return r.decode(body)
}
