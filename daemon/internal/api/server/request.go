package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

// request is what a handler sees of a request. Its context ends when the
// client goes away or the server is shut down.
type request struct {
	http *http.Request
	rc   *http.ResponseController
	who  api.Caller
}

func (r *request) ctx() context.Context { return r.http.Context() }

func (r *request) path(name string) string { return r.http.PathValue(name) }

func (r *request) ref() (string, error) { return api.RunRef(r.path("task"), r.path("number")) }

// query returns the parameters of the URL, of which it allows the named ones,
// each once.
func (r *request) query(allowed ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.http.URL.RawQuery)
	if err != nil {
		return nil, invalid("the query of the URL cannot be read: %v", err)
	}
next:
	for name, values := range q {
		for _, a := range allowed {
			if a == name && len(values) == 1 {
				continue next
			}
		}
		if len(values) > 1 {
			return nil, invalid("the parameter %q is there %d times", name, len(values))
		}
		return nil, invalid("there is no parameter %q", name)
	}
	return q, nil
}

func limit(q url.Values) (int, error) {
	text := q.Get("limit")
	if text == "" {
		return api.PageSize, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > api.MaxPage {
		return 0, invalid("limit is %q, it must be a number from 1 to %d", text, api.MaxPage)
	}
	return n, nil
}

func flag(q url.Values, name string) (bool, error) {
	switch q.Get(name) {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	}
	return false, invalid("%s is %q, it must be 1 or 0", name, q.Get(name))
}

func invalid(format string, args ...any) *api.Error {
	return &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf(format, args...)}
}

// decode reads the body into v, a struct with all fields that may be there.
func (r *request) decode(v any) error {
	body, err := io.ReadAll(io.LimitReader(r.http.Body, api.MaxBody+1))
	if err != nil {
		return invalid("the body could not be read: %v", err)
	}
	if len(body) > api.MaxBody {
		// What is on its way is taken in, up to a point: a client that is cut
		// off while it writes does not get to read the reason.
		_, _ = io.CopyN(io.Discard, r.http.Body, 4*api.MaxBody)
		return &api.Error{Code: api.CodeTooLarge, Message: fmt.Sprintf("the request is larger than %d KiB", api.MaxBody>>10),
			Hint: "send the files in several requests"}
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return invalid("the body is empty, it must be a JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return bodyError(err, body)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return invalid("there is more after the JSON object in the body, at byte %d", dec.InputOffset())
	}
	r.received()
	return nil
}

func bodyError(err error, body []byte) *api.Error {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return invalid("the body is no JSON: %v at byte %d", e, e.Offset)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := e.Field
		if field == "" {
			field = "the body"
		}
		return invalid("%s is a JSON %s, it must be %s", field, e.Value, e.Type)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid("the body is no JSON: it ends too early, after %d bytes", len(body))
	}
	return invalid("the body does not fit: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// empty is for requests without a body, once all else about them is known to
// be right.
func (r *request) empty() error {
	if n, err := io.CopyN(io.Discard, r.http.Body, 1); n > 0 || !errors.Is(err, io.EOF) {
		return invalid("this request takes no body")
	}
	r.received()
	return nil
}

// answer makes an http.Handler of a handler.
func (s *Server) answer(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		r, err := s.request(w, hr)
		if err != nil {
			s.fail(w, err)
			return
		}
		v, err := h(r)
		if err != nil {
			s.fail(w, err)
			return
		}
		s.write(w, http.StatusOK, v)
	})
}

func (s *Server) request(w http.ResponseWriter, hr *http.Request) (*request, error) {
	who, err := s.caller(hr.Context())
	if err != nil {
		return nil, err
	}
	return &request{http: hr, rc: http.NewResponseController(w), who: who}, nil
}

// received says that the request is here whole: the time to read it is over,
// what follows takes as long as it takes. Without it the server's read deadline
// would cancel the context in the middle of the work; with a body still on its
// way, nothing would bound the wait for the rest.
func (r *request) received() { _ = r.rc.SetReadDeadline(time.Time{}) }

// fail answers an error. What is no *api.Error is a fault of the daemon, which
// the log tells and the caller need not see.
func (s *Server) fail(w http.ResponseWriter, err error) {
	e := s.apiError(err)
	s.write(w, e.Code.HTTPStatus(), struct {
		Error *api.Error `json:"error"`
	}{e})
}

func (s *Server) apiError(err error) *api.Error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &api.Error{Code: api.CodeStopping, Message: "the request was ended before it was answered",
			Hint: "it may have had its effect; look before you repeat it"}
	}
	s.log.Error("a request failed", "error", err)
	return &api.Error{Code: api.CodeInternal, Message: "the daemon hit a fault of its own: " + err.Error()}
}

func (s *Server) write(w http.ResponseWriter, status int, v any) {
	text, err := api.Marshal(v)
	if err != nil {
		s.log.Error("encode an answer", "error", err)
		status = http.StatusInternalServerError
		text, _ = api.Marshal(struct {
			Error *api.Error `json:"error"`
		}{&api.Error{Code: api.CodeInternal, Message: "the daemon could not encode its answer"}})
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout))
	w.Header().Set("Content-Type", api.TypeJSON)
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client is gone, and nobody is left to tell
}
