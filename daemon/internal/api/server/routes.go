package server

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/openapi"
)

// handler answers a request: a value becomes a JSON object, an error an
// api.ErrorBody.
type handler func(r *request) (any, error)

// endpoint is how a route is answered; one of the three is set.
type endpoint struct {
	answer handler
	stream func(r *request) (source, error)
	text   func() ([]byte, error) // the same for all
}

// endpoints has one for each route of the table, by its ID.
func (s *Server) endpoints() map[string]endpoint {
	b := s.backend
	answers := map[string]handler{
		"listTasks": s.tasks, "createTask": s.createTask, "getTask": s.task, "replaceTask": s.replaceTask,
		"changeTask": s.patchTask, "deleteTask": s.deleteTask, "getDefinition": s.definition, "exportTasks": s.export,
		"enableTask": s.setDisabled(false), "disableTask": s.setDisabled(true), "applyTasks": s.apply, "validateTasks": s.validate,

		"listTaskSteps": s.taskSteps, "addStep": s.addStep, "getTaskStep": s.taskStep, "changeStep": s.patchStep,
		"deleteStep": s.deleteStep, "orderSteps": s.orderSteps,

		"startRun": s.start, "startBatch": s.startBatch, "listRuns": s.runs, "getRun": s.run, "listSteps": s.steps, "getStep": s.step,
		"cancelRun": s.cancel, "continueRun": again(b.Continue), "restartRun": again(b.Restart),

		"listNext": s.next, "listHistory": s.history, "explainTask": s.explainTask, "explain": s.explain,
		"pauseTask": s.pause, "resumeTask": s.resume,

		"getStatus": s.status, "whoAmI": s.whoAmI, "listPlugins": s.plugins, "listSecrets": s.secrets, "readAudit": s.audit,
	}
	all := map[string]endpoint{
		"getLogs":    {stream: s.logs},
		"watchRun":   {stream: s.watchRun},
		"watchRuns":  {stream: s.watchAll},
		"getOpenAPI": {text: sync.OnceValues(openapi.JSON)},
		"getDocs":    {text: sync.OnceValues(openapi.HTML)},
	}
	for id, h := range answers {
		all[id] = endpoint{answer: h}
	}
	return all
}

// routes registers the table's routes. It panics when the table and endpoints
// do not agree, which no request can bring about.
func (s *Server) routes() http.Handler {
	paths := map[string]map[string]http.Handler{}
	endpoints := s.endpoints()
	for _, route := range openapi.Routes() {
		e, ok := endpoints[route.ID]
		if !ok {
			panic("no endpoint for the route " + route.ID)
		}
		delete(endpoints, route.ID)
		if paths[route.Path] == nil {
			paths[route.Path] = map[string]http.Handler{}
		}
		paths[route.Path][route.Method] = s.serve(&route, e)
	}
	for id := range endpoints {
		panic("no route for the endpoint " + id)
	}
	mux := http.NewServeMux()
	for path, methods := range paths {
		mux.Handle(path, s.method(methods))
	}
	mux.HandleFunc("/", s.nowhere)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The mux would send who asks for /v1/tasks/.. on to another path, of which
		// the client knows nothing and which it never asked for.
		if strayed(r.URL.EscapedPath()) {
			s.nowhere(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) nowhere(w http.ResponseWriter, r *http.Request) {
	s.fail(w, &api.Error{Code: api.CodeNotFound, Message: "there is no " + clip(r.URL.Path) + " here",
		Hint: "GET " + api.RouteDocs + " has what there is; a newer command line than its daemon is told this too: stepd version shows both"})
}

// strayed reports whether a path has parts that lead elsewhere.
func strayed(path string) bool {
	_, rest, rooted := strings.Cut(path, "/")
	if !rooted {
		return true
	}
	parts := strings.Split(rest, "/")
	for i, part := range parts {
		if part == "." || part == ".." || part == "" && i < len(parts)-1 {
			return true
		}
	}
	return false
}

func (s *Server) method(methods map[string]http.Handler) http.Handler {
	var allowed []string
	for method := range methods {
		allowed = append(allowed, method)
	}
	slices.Sort(allowed)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, ok := methods[r.Method]
		if !ok {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			s.fail(w, &api.Error{Code: api.CodeMethod, Message: clip(r.Method) + " is not possible on " + clip(r.URL.Path),
				Hint: "possible: " + strings.Join(allowed, ", ")})
			return
		}
		h.ServeHTTP(w, r)
	})
}

// serve makes an http.Handler of an endpoint.
func (s *Server) serve(route *openapi.Route, e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		r := &request{http: hr, rc: http.NewResponseController(w), route: route}
		v, err := s.carryOut(r, e)
		if err != nil {
			s.fail(w, err)
			return
		}
		switch v := v.(type) {
		case source:
			s.carry(w, r, v, framingOf(route.Type))
		case page:
			s.send(w, http.StatusOK, route.Type, v)
		default:
			s.write(w, http.StatusOK, v)
		}
	})
}

// page is an answer that is text already.
type page []byte

// carryOut admits the request and answers it: with a source, a page, or what
// becomes a JSON object.
func (s *Server) carryOut(r *request, e endpoint) (any, error) {
	act := func() (any, error) {
		switch {
		case e.answer != nil:
			return e.answer(r)
		case e.stream != nil:
			return value(e.stream(r))
		}
		if _, err := r.reads(); err != nil {
			return nil, err
		}
		text, err := e.text()
		return value(page(text), err)
	}
	who, err := s.identify(r)
	r.who = who
	if err == nil {
		err = s.permit(r)
	}
	if r.route.Action != "" {
		return s.audited(r, err, act)
	}
	if err != nil {
		return nil, err
	}
	return act()
}
