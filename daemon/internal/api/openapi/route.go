package openapi

import (
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
)

// Route is one method of one path.
type Route struct {
	ID          string // "createTask": the name of the operation
	Tag         string // the group that it is shown in
	Method      string
	Path        string // as http.ServeMux takes it
	Summary     string
	Description string

	Query  []Param
	Body   any  // a zero value of its type; nil: the route takes none
	Option bool // the body may be left out
	Answer any  // a zero value of its type; of a stream, of each piece; nil: see Type
	Type   string
	// Codes are those of its own errors; Errors has those that every route has too.
	Codes []api.Code

	// Role is what the caller needs. With Starter the starters of the task may do
	// it as well, whatever their role.
	Role    api.Role
	Starter bool
	// Action is the word for it in the audit log; empty: it changes nothing.
	Action string
	// Dry: the body has a dry_run, which changes nothing and which a reader may do.
	Dry bool

	// Example is what stands behind the path, and the body, in the example of the
	// documentation.
	Example Example
}

// Example fills in a route.
type Example struct {
	Path string // empty: the route's, with the usual names filled in
	Body string
}

// Stream reports whether the answer comes piece by piece.
func (r *Route) Stream() bool { return r.Type == api.TypeLines || r.Type == api.TypeEvents }

// PathParams are the names of the variable parts of the path, in their order.
func (r *Route) PathParams() (names []string) {
	for part := range strings.SplitSeq(r.Path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			names = append(names, strings.TrimSuffix(strings.TrimSuffix(name, "}"), "..."))
		}
	}
	return names
}

// Errors are the codes that the route may answer, its own first.
func (r *Route) Errors() []api.Code {
	codes := append([]api.Code(nil), r.Codes...)
	if len(r.PathParams()) > 0 {
		codes = append(codes, api.CodeNotFound)
	}
	codes = append(codes, api.CodeInvalid, api.CodeDenied)
	if r.Body != nil {
		codes = append(codes, api.CodeTooLarge)
	}
	if r.Action != "" {
		codes = append(codes, api.CodeDiskFull)
	}
	return append(codes, api.CodeBusy, api.CodeStopping, api.CodeInternal)
}

// Kind is what a parameter takes.
type Kind int

const (
	Plain  Kind = iota // at most api.MaxText bytes
	Word               // one of Param.Words
	Number             // from Param.Min to Param.Max
	Flag               // 1, true, 0 or false
	Time               // an instant as RFC 3339 writes it
)

// Param is a parameter of the URL's query. All may be left out.
type Param struct {
	Name        string
	Kind        Kind
	Words       []string
	Min, Max    int
	Default     int // of a Number
	Description string
}

// PathParam says what stands in a variable part of a path.
func PathParam(name string) string {
	switch name {
	case "name", "task":
		return "Name of a task."
	case "number":
		return "Number of a run of the task, or " + api.Latest + " for its newest."
	case "step":
		return "Name of a step; of a run also PLANNER/STEP for one that was planned."
	}
	return ""
}

// Routes is the table, in the order in which people are shown it.
func Routes() []Route {
	var all []Route
	all = append(all, taskRoutes()...)
	all = append(all, stepRoutes()...)
	all = append(all, runRoutes()...)
	all = append(all, scheduleRoutes()...)
	return append(all, daemonRoutes()...)
}

func paged(params ...Param) []Param {
	return append(params,
		Param{Name: "after", Description: "Where to go on: next of the page before."},
		Param{Name: "limit", Kind: Number, Min: 1, Max: api.MaxPage, Default: api.PageSize, Description: "How many items the page has at most."})
}

func version(description string) Param {
	return Param{Name: "version", Kind: Number, Min: 1, Max: 1<<53 - 1, Description: description}
}
