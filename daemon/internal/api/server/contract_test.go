package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
	"github.com/stepd/stepd/daemon/internal/api/openapi"
)

// through starts a server and a witness before it: whatever passes must fit the
// document. It returns the witness's socket.
func through(t *testing.T, b *backend) string {
	t.Helper()
	_, socket := serve(t, optionsFor(b))
	s := specOf(t, socket)
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	mux := http.NewServeMux()
	for _, route := range openapi.Routes() {
		mux.HandleFunc(route.Method+" "+route.Path, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			resp := get(t, socket, r.Method, r.URL.RequestURI(), string(body))
			mu.Lock()
			defer mu.Unlock()
			if err := s.request(&route, r.URL.Query(), body); err != nil {
				t.Errorf("%s: the request %s %s: %v", route.ID, r.URL, body, err)
			}
			if err := s.answer(&route, resp); err != nil {
				t.Errorf("%s: the answer: %v", route.ID, err)
			}
			w.Header().Set("Content-Type", resp.header.Get("Content-Type"))
			w.WriteHeader(resp.status)
			_, _ = io.WriteString(w, resp.body)
		})
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return path
}

func TestRequestsAndAnswersFitTheDocument(t *testing.T) {
	c := &client.Client{Socket: through(t, &backend{})}
	for _, m := range methods() {
		if _, err := m.do(t.Context(), c); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// A method that the backend refuses with one of the codes of its route.
func TestErrorsFitTheDocument(t *testing.T) {
	b := &backend{}
	_, socket := serve(t, optionsFor(b))
	s := specOf(t, socket)
	for _, route := range openapi.Routes() {
		if route.ID == "getDocs" || route.ID == "getOpenAPI" {
			continue
		}
		target, _, body := sample(t, &route)
		for _, code := range api.Codes() {
			b.err = filled(reflect.TypeFor[api.Error](), s).Addr().Interface().(error)
			b.err.(*api.Error).Code = code
			err := s.answer(&route, get(t, socket, route.Method, target, body))
			if listed := slices.Contains(route.Errors(), code); listed != (err == nil) {
				t.Errorf("%s: the code %s is listed: %t; it fits: %v", route.ID, code, listed, err)
			}
		}
	}
}

// Each answer with every field set fits.
func TestEveryFieldFitsTheDocument(t *testing.T) {
	_, socket := serve(t, optionsFor(&backend{}))
	s := specOf(t, socket)
	for _, route := range openapi.Routes() {
		if route.Answer == nil {
			continue
		}
		text, err := api.Marshal(filled(reflect.TypeOf(route.Answer), s).Interface())
		if err != nil {
			t.Fatal(err)
		}
		media := api.TypeJSON
		if route.Stream() {
			media = route.Type
		}
		if err := s.answer(&route, answer{status: http.StatusOK, header: http.Header{"Content-Type": {media}}, body: string(text)}); err != nil {
			t.Errorf("%s: %v\n%s", route.ID, err, text)
		}
		// What has one field more than the type is not what the schema says, either:
		// each property of the JSON is in it.
		if name := nameOf(route.Answer); name != "" {
			var members object
			if err := json.Unmarshal(text, &members); err != nil {
				t.Fatal(err)
			}
			properties, _ := s.doc["components"].(object)["schemas"].(object)[name].(object)["properties"].(object)
			for member := range members {
				if member != "schema" && properties[member] == nil {
					t.Errorf("%s: %s has no %s", route.ID, name, member)
				}
			}
			if len(members) != len(properties)+1 {
				t.Errorf("%s: %d fields of %s are filled, there are %d", route.ID, len(members)-1, name, len(properties))
			}
		}
	}
}

func nameOf(v any) string {
	if name := reflect.TypeOf(v).Name(); !strings.Contains(name, "[") {
		return name
	}
	return ""
}

// filled is a value of the type in which every field has something.
func filled(t reflect.Type, s *spec) reflect.Value {
	v := reflect.New(t).Elem()
	fill(v, s, "", "", 0)
	return v
}

func fill(v reflect.Value, s *spec, of, field string, depth int) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(when))
		return
	case v.Type() == reflect.TypeFor[json.RawMessage]():
		v.Set(reflect.ValueOf(json.RawMessage(`{"a":1}`)))
		return
	case v.Type() == reflect.TypeFor[api.Role]():
		v.SetString(string(api.RoleRunner))
		return
	case v.Type() == reflect.TypeFor[api.Code]():
		v.SetString(string(api.CodeInvalid))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fill(v.Field(i), s, v.Type().Name(), name, depth+1)
		}
	case reflect.Pointer:
		if depth < 12 { // a task has its newest run, and so on
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), s, of, field, depth+1)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), s, of, field, depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		one := reflect.New(v.Type().Elem()).Elem()
		fill(one, s, of, field, depth+1)
		v.SetMapIndex(reflect.ValueOf("a"), one)
	case reflect.String:
		v.SetString(wordOf(s, of, field))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	default:
		panic(fmt.Sprintf("%s.%s is a %s", of, field, v.Type()))
	}
}

// wordOf is the first word that the document allows for a field.
func wordOf(s *spec, of, field string) string {
	schema, _ := s.doc["components"].(object)["schemas"].(object)[of].(object)
	properties, _ := schema["properties"].(object)
	property, _ := properties[field].(object)
	if words, _ := property["enum"].([]any); len(words) > 0 {
		return words[0].(string)
	}
	return "<a & b>"
}

func TestTheDocumentIsTheSameEachTime(t *testing.T) {
	first, err := openapi.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if again, err := openapi.JSON(); err != nil || !bytes.Equal(first, again) {
			t.Fatal("it is another one", err)
		}
	}
}
