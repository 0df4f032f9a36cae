package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
)

// handler answers a request: a value becomes a JSON object, an error an
// api.ErrorBody.
type handler func(r *request) (any, error)

type methods map[string]http.Handler

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	get := func(route string, h handler) { s.route(mux, route, methods{http.MethodGet: s.answer(h)}) }
	post := func(route string, h handler) { s.route(mux, route, methods{http.MethodPost: s.answer(h)}) }

	get(api.RouteStatus, s.status)
	get(api.RoutePlugins, s.plugins)
	post(api.RouteValidate, s.validate)
	post(api.RouteApply, s.apply)

	get(api.RouteTasks, s.tasks)
	s.route(mux, api.RouteTask, methods{http.MethodGet: s.answer(s.task), http.MethodDelete: s.answer(s.deleteTask)})
	post(api.RouteEnable, s.setDisabled(false))
	post(api.RouteDisable, s.setDisabled(true))
	post(api.RoutePause, s.pause)
	post(api.RouteResume, s.resume)

	get(api.RouteNext, s.next)
	get(api.RouteHistory, s.history)
	get(api.RouteTimes, s.explainTask)
	post(api.RouteExplain, s.explain)

	s.route(mux, api.RouteRuns, methods{http.MethodGet: s.answer(s.runs), http.MethodPost: s.answer(s.start)})
	get(api.RouteRun, s.run)
	get(api.RouteSteps, s.steps)
	post(api.RouteCancel, control(s.backend.Cancel))
	post(api.RouteContinue, control(s.backend.Continue))
	post(api.RouteRestart, control(s.backend.Restart))

	s.route(mux, api.RouteLogs, methods{http.MethodGet: s.lines(s.logs)})
	s.route(mux, api.RouteRunWatch, methods{http.MethodGet: s.events(s.watchRun)})
	s.route(mux, api.RouteWatch, methods{http.MethodGet: s.events(s.watchAll)})

	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, &api.Error{Code: api.CodeNotFound, Message: "there is no " + r.URL.Path + " here",
			Hint: "a newer command line than its daemon says this too: stepd version shows both"})
	})
	return mux
}

func (s *Server) route(mux *http.ServeMux, route string, m methods) {
	var allowed []string
	for method := range m {
		allowed = append(allowed, method)
	}
	slices.Sort(allowed)
	mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
		h, ok := m[r.Method]
		if !ok {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			s.fail(w, &api.Error{Code: api.CodeMethod, Message: r.Method + " is not possible on " + r.URL.Path,
				Hint: "possible: " + strings.Join(allowed, ", ")})
			return
		}
		h.ServeHTTP(w, r)
	})
}
