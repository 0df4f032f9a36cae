package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/openapi"
)

type object = map[string]any

// spec is the OpenAPI document as the server answers it.
type spec struct {
	doc      object
	compiler *jsonschema.Compiler
}

func specOf(t *testing.T, socket string) *spec {
	t.Helper()
	resp := get(t, socket, http.MethodGet, api.RouteOpenAPI, "")
	if resp.status != http.StatusOK {
		t.Fatalf("%d %s", resp.status, resp.body)
	}
	s := &spec{compiler: jsonschema.NewCompiler()}
	if err := json.Unmarshal([]byte(resp.body), &s.doc); err != nil {
		t.Fatal(err)
	}
	s.compiler.AssertFormat()
	if err := s.compiler.AddResource("doc.json", s.doc); err != nil {
		t.Fatal(err)
	}
	return s
}

// at is the operation of a route, with the JSON pointer to it.
func (s *spec) at(route *openapi.Route) (object, string) {
	path := strings.Replace(route.Path, "...}", "}", 1)
	methods, _ := s.doc["paths"].(object)[path].(object)
	op, _ := methods[strings.ToLower(route.Method)].(object)
	return op, pointer("", "paths", path, strings.ToLower(route.Method))
}

func pointer(at string, parts ...string) string {
	for _, part := range parts {
		at += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(part)
	}
	return at
}

func (s *spec) fits(at string, text []byte) error {
	schema, err := s.compiler.Compile("doc.json#" + (&url.URL{Path: at}).EscapedPath())
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

// request says what does not fit about a request that the server takes.
func (s *spec) request(route *openapi.Route, query url.Values, body []byte) error {
	op, at := s.at(route)
	if op == nil {
		return fmt.Errorf("it is not in the document")
	}
	for name, values := range query {
		i := slices.IndexFunc(op["parameters"].([]any), func(p any) bool { return p.(object)["in"] == "query" && p.(object)["name"] == name })
		if i < 0 {
			return fmt.Errorf("the parameter %s is not in the document", name)
		}
		text := []byte(values[0])
		if p := op["parameters"].([]any)[i].(object)["schema"].(object); p["type"] == "string" {
			text, _ = json.Marshal(values[0])
		}
		if err := s.fits(pointer(at, "parameters", fmt.Sprint(i), "schema"), text); err != nil {
			return fmt.Errorf("the parameter %s: %w", name, err)
		}
	}
	taken, _ := op["requestBody"].(object)
	required, _ := taken["required"].(bool)
	switch {
	case len(body) > 0 && op["requestBody"] == nil:
		return fmt.Errorf("it has a body")
	case len(body) > 0:
		return s.fits(pointer(at, "requestBody", "content", api.TypeJSON, "schema"), body)
	case required:
		return fmt.Errorf("it has no body")
	}
	return nil
}

// answer says what does not fit about an answer.
func (s *spec) answer(route *openapi.Route, resp answer) error {
	op, at := s.at(route)
	if op == nil {
		return fmt.Errorf("it is not in the document")
	}
	status := fmt.Sprint(resp.status)
	response, ok := op["responses"].(object)[status].(object)
	if !ok {
		return fmt.Errorf("the status %s is not in the document: %s", status, resp.body)
	}
	at = pointer(at, "responses", status)
	if ref, ok := response["$ref"].(string); ok {
		at = strings.TrimPrefix(ref, "#")
		response = s.doc["components"].(object)["responses"].(object)[ref[strings.LastIndexByte(ref, '/')+1:]].(object)
	}
	media, _, _ := strings.Cut(resp.header.Get("Content-Type"), ";")
	if response["content"].(object)[media] == nil {
		return fmt.Errorf("the type %s is not in the document", media)
	}
	at = pointer(at, "content", media)
	switch media {
	case api.TypeJSON:
		return s.fits(at+"/schema", []byte(resp.body))
	case api.TypeLines, api.TypeEvents:
		for line := range strings.Lines(resp.body) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "data: ")
			if !strings.HasPrefix(line, "{") {
				continue
			}
			if strings.HasPrefix(line, `{"schema":1,"error":`) {
				return nil
			}
			if err := s.fits(at+"/x-stepd-item", []byte(line)); err != nil {
				return err
			}
		}
	}
	return nil
}

// sample is the request that the documentation shows for a route.
func sample(t *testing.T, route *openapi.Route) (target string, query url.Values, body string) {
	t.Helper()
	c := parseCurl(t, route.Curl())
	u, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	if c.method != route.Method {
		t.Errorf("%s: the example does a %s", route.ID, c.method)
	}
	return u.RequestURI(), u.Query(), c.body
}

type curl struct{ socket, method, url, body string }

// parseCurl reads a command line as a shell and curl would.
func parseCurl(t *testing.T, line string) (c curl) {
	t.Helper()
	var args []string
	for rest := line; rest != ""; {
		var arg string
		rest = strings.TrimLeft(rest, " ")
		if quoted, ok := strings.CutPrefix(rest, "'"); ok {
			if arg, rest, ok = strings.Cut(quoted, "'"); !ok {
				t.Fatalf("a quote is not closed: %s", line)
			}
		} else {
			arg, rest, _ = strings.Cut(rest, " ")
			if strings.ContainsAny(arg, "\"'\\$&|;<>()*?[]#~`!{}") {
				t.Fatalf("a shell takes %q for something else: %s", arg, line)
			}
		}
		args = append(args, arg)
	}
	if args[0] != "curl" {
		t.Fatalf("no curl: %s", line)
	}
	for i := 1; i < len(args); i++ {
		value := func() string { i++; return args[i] }
		switch args[i] {
		case "--unix-socket":
			c.socket = value()
		case "--request":
			c.method = value()
		case "--data":
			c.body = value()
		case "--no-buffer":
		default:
			if strings.HasPrefix(args[i], "-") || c.url != "" {
				t.Fatalf("what is %q: %s", args[i], line)
			}
			c.url = args[i]
		}
	}
	if c.method == "" {
		c.method = http.MethodGet
		if c.body != "" {
			c.method = http.MethodPost
		}
	}
	return c
}

func TestTheExamplesOfTheDocumentationWork(t *testing.T) {
	b := &backend{}
	_, socket := serve(t, optionsFor(b))
	s := specOf(t, socket)
	page := get(t, socket, http.MethodGet, api.RouteDocs, "")
	if page.status != http.StatusOK || page.header.Get("Content-Security-Policy") == "" {
		t.Errorf("the page: %d %v", page.status, page.header)
	}
	for _, route := range openapi.Routes() {
		if c := parseCurl(t, route.Curl()); c.socket != api.DefaultSocket {
			t.Errorf("%s: the socket is %s", route.ID, c.socket)
		}
		target, query, body := sample(t, &route)
		if err := s.request(&route, query, []byte(body)); err != nil {
			t.Errorf("%s: the request: %v", route.ID, err)
		}
		resp := get(t, socket, route.Method, target, body)
		if resp.status != http.StatusOK {
			t.Errorf("%s: %d %s", route.ID, resp.status, resp.body)
		}
		if err := s.answer(&route, resp); err != nil {
			t.Errorf("%s: the answer: %v", route.ID, err)
		}
		if calls, _ := b.take(); len(calls) != 1 && route.ID != "getDocs" && route.ID != "getOpenAPI" {
			t.Errorf("%s: calls %v", route.ID, calls)
		}
	}
}

// What the server registers and what the document has are the same.
func TestTheDocumentHasTheRoutesOfTheServer(t *testing.T) {
	_, socket := serve(t, optionsFor(&backend{}))
	s := specOf(t, socket)
	documented := map[string]string{}
	for path, methods := range s.doc["paths"].(object) {
		var list []string
		for method := range methods.(object) {
			list = append(list, strings.ToUpper(method))
		}
		slices.Sort(list)
		documented[path] = strings.Join(list, ", ")
	}
	served := map[string]bool{}
	for _, route := range openapi.Routes() {
		path := strings.Replace(route.Path, "...}", "}", 1)
		if served[path] {
			continue
		}
		served[path] = true
		target := strings.NewReplacer("{name}", "a", "{task}", "a", "{number}", "1", "{step}", "b").Replace(path)
		resp := get(t, socket, http.MethodTrace, target, "")
		if allow := resp.header.Get("Allow"); resp.status != http.StatusMethodNotAllowed || allow != documented[path] {
			t.Errorf("%s allows %q, the document has %q", path, allow, documented[path])
		}
	}
	for path := range documented {
		if !served[path] {
			t.Errorf("%s is in the document and not served", path)
		}
	}
	if len(served) < 30 {
		t.Errorf("%d paths", len(served))
	}
}
