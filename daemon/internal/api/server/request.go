package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/openapi"
)

// request is what a handler sees of a request. Its context ends when the
// client goes away or the server is shut down.
type request struct {
	http  *http.Request
	rc    *http.ResponseController
	route *openapi.Route
	who   api.Caller

	read    bool // the body is here, or readErr says why not
	raw     []byte
	readErr error
	number  uint64 // that Latest stood for when the act began; 0: see the path
}

func (r *request) ctx() context.Context { return r.http.Context() }

func (r *request) path(name string) string { return r.http.PathValue(name) }

func (r *request) ref() (string, error) { return api.RunRef(r.path("task"), r.runNumber()) }

func (r *request) runNumber() string {
	if r.number > 0 {
		return strconv.FormatUint(r.number, 10)
	}
	return r.path("number")
}

func invalid(format string, args ...any) *api.Error {
	return &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf(format, args...)}
}

// body reads the body, once. It is at most api.BodyLimit bytes long, and with an
// error as much of that as came.
func (r *request) body() ([]byte, error) {
	if r.read {
		return r.raw, r.readErr
	}
	r.read = true
	most := api.BodyLimit(r.route.Path)
	body, err := io.ReadAll(io.LimitReader(r.http.Body, int64(most)+1))
	switch {
	case err != nil:
		r.readErr = invalid("the body could not be read: %v", err)
	case len(body) > most:
		// What is on its way is taken in, up to a point: a client that is cut
		// off while it writes does not get to read the reason.
		_, _ = io.CopyN(io.Discard, r.http.Body, 4*int64(most))
		body = body[:most]
		r.readErr = &api.Error{Code: api.CodeTooLarge, Message: fmt.Sprintf("the request is larger than %d KiB", most>>10),
			Hint: "send the files in several requests"}
	default:
		// What follows takes as long as it takes. Without this the server's read
		// deadline would cancel the context in the middle of the work; with a body
		// still on its way, nothing would bound the wait for the rest.
		_ = r.rc.SetReadDeadline(time.Time{})
	}
	r.raw = body
	return body, r.readErr
}

// decode reads the body into v, a struct with all fields that may be there.
func (r *request) decode(v any) error {
	body, err := r.body()
	if err != nil {
		return err
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
	if body = bytes.TrimSpace(body); body[0] != '{' { // null is no fault to the decoder
		return invalid("the body is %s, it must be a JSON object", body)
	}
	return conform(body, reflect.TypeOf(v), "")
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

// empty is for requests without a body.
func (r *request) empty() error {
	body, err := r.body()
	if len(body) > 0 { // too many bytes of it as well
		return invalid("this request takes no body")
	}
	return err
}

// fail answers an error. What is no *api.Error is a fault of the daemon, which
// the log tells and the caller need not see.
func (s *Server) fail(w http.ResponseWriter, err error) {
	e := s.apiError(err)
	s.write(w, e.Code.HTTPStatus(), errorBody{e})
}

type errorBody struct {
	Error *api.Error `json:"error"`
}

func (s *Server) apiError(err error) *api.Error {
	e := coded(err)
	if e.Code == api.CodeInternal {
		s.log.Error("a request failed", "error", err)
	}
	return e
}

func coded(err error) *api.Error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &api.Error{Code: api.CodeStopping, Message: "the request was ended before it was answered",
			Hint: "it may have had its effect; look before you repeat it"}
	}
	return &api.Error{Code: api.CodeInternal, Message: "the daemon hit a fault of its own: " + err.Error()}
}

func (s *Server) write(w http.ResponseWriter, status int, v any) {
	text, err := api.Marshal(v)
	if err != nil {
		s.log.Error("encode an answer", "error", err)
		status = http.StatusInternalServerError
		text, _ = api.Marshal(errorBody{&api.Error{Code: api.CodeInternal, Message: "the daemon could not encode its answer"}})
	}
	s.send(w, status, api.TypeJSON, append(text, '\n'))
}

func (s *Server) send(w http.ResponseWriter, status int, contentType string, text []byte) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout))
	w.Header().Set("Content-Type", contentType)
	if contentType == api.TypeHTML {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	}
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client is gone, and nobody is left to tell
}
