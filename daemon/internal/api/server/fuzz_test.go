package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/openapi"
	"github.com/stepd/stepd/daemon/internal/api/server"
)

// Requests by the document, right and wrong ones, to a backend that answers or
// refuses: whatever comes back is in the document.
func TestRandomRequestsAreAnsweredByTheDocument(t *testing.T) {
	b, given, kept := &backend{}, &roles{api.RoleAdmin}, &book{}
	_, socket := serve(t, server.Options{Backend: b, Authorizer: given, Auditor: kept})
	s := specOf(t, socket)
	tables := openapi.Routes()
	rapid.Check(t, func(rt *rapid.T) {
		route := rapid.SampledFrom(tables).Draw(rt, "route")
		given.role = rapid.SampledFrom([]api.Role{api.RoleAdmin, api.RoleAdmin, api.RoleAdmin, api.RoleRunner, api.RoleReader, api.RoleNone}).Draw(rt, "role")
		b.err = nil
		if rapid.IntRange(0, 3).Draw(rt, "fails") == 0 {
			b.err = &api.Error{Code: rapid.SampledFrom(route.Errors()).Draw(rt, "code"), Message: "no"}
		}
		target, plain := drawPath(rt, &route)
		query := drawQuery(rt, &route)
		if len(query) > 0 {
			target += "?" + query.Encode()
		}
		body := ""
		if route.Body != nil || rapid.IntRange(0, 9).Draw(rt, "body") == 0 {
			body = drawBody(rt, s, &route)
		}
		resp := get(t, socket, route.Method, target, body)
		if !plain && resp.status == http.StatusNotFound && strings.Contains(resp.body, "there is no ") {
			return // it is another path
		}
		if err := s.answer(&route, resp); err != nil {
			rt.Fatalf("%s %s %q: %v", route.Method, target, body, err)
		}
		if resp.status == http.StatusInternalServerError && !strings.Contains(resp.body, `"message":"no"`) {
			rt.Fatalf("%s %s %q: %s", route.Method, target, body, resp.body)
		}
		fits := s.request(&route, query, []byte(body)) == nil
		if resp.status == http.StatusOK && !fits && !strings.Contains(body, "\x00") {
			rt.Fatalf("%s %s %q was taken, and does not fit the document: %v", route.Method, target, body, s.request(&route, query, []byte(body)))
		}
		if b.take(); len(kept.take()) > 1 {
			rt.Fatalf("%s is in the audit log more than once", route.ID)
		}
	})
}

// drawPath fills in the path. It is plain when it surely is one of the route.
func drawPath(rt *rapid.T, route *openapi.Route) (path string, plain bool) {
	path, plain = route.Path, true
	for _, name := range route.PathParams() {
		values := []string{"backup", "b\u00e4ckup", "a b", "a/b", "a%2Fb", "?", "#x", strings.Repeat("x", 300)}
		if name == "number" {
			values = []string{"1", "42", "latest", "0", "-1", "x", "18446744073709551616"}
		}
		odd := []string{"", ".", "..", "a//b", "/", "a/../b"}
		value := rapid.SampledFrom(append(values, odd...)).Draw(rt, name)
		plain = plain && !slices.Contains(odd, value)
		path = strings.NewReplacer("{"+name+"}", url.PathEscape(value), "{"+name+"...}", url.PathEscape(value)).Replace(path)
	}
	return path, plain
}

func drawQuery(rt *rapid.T, route *openapi.Route) url.Values {
	q := url.Values{}
	for _, p := range route.Query {
		if rapid.Bool().Draw(rt, p.Name) {
			continue
		}
		values := []string{"x", "1", "0", "500", "501", "-1", "true", "2026-11-24T06:00:00Z", "2026-11-24T06:00:00.5+01:00", "2026-11-24", strings.Repeat("y", 501), "\u00e4", "a&b=c", "1e3", "99999999999999999999"}
		q.Set(p.Name, rapid.SampledFrom(append(values, p.Words...)).Draw(rt, p.Name))
	}
	if rapid.IntRange(0, 9).Draw(rt, "odd parameter") == 0 {
		q.Set(rapid.SampledFrom([]string{"x", "limit", "dry_run", ""}).Draw(rt, "parameter"), "1")
	}
	return q
}

func drawBody(rt *rapid.T, s *spec, route *openapi.Route) string {
	op, _ := s.at(route)
	taken, _ := op["requestBody"].(object)
	if taken == nil || rapid.IntRange(0, 9).Draw(rt, "odd body") == 0 {
		return rapid.SampledFrom([]string{"", " ", "{}", "null", "[]", "7", "\"x\"", "{", "{}{}", "\xff", "{\"a\":1}", "{\"task\":{}}"}).Draw(rt, "body")
	}
	schema := taken["content"].(object)[api.TypeJSON].(object)["schema"].(object)
	text, err := json.Marshal(s.draw(rt, schema, 0))
	if err != nil {
		rt.Fatal(err)
	}
	return string(text)
}

// draw is a value of the schema, most of the time.
func (s *spec) draw(rt *rapid.T, schema object, depth int) any {
	if ref, ok := schema["$ref"].(string); ok {
		schema = s.doc["components"].(object)["schemas"].(object)[ref[strings.LastIndexByte(ref, '/')+1:]].(object)
	}
	if rapid.IntRange(0, 24).Draw(rt, "odd") == 0 {
		return rapid.SampledFrom([]any{nil, "x", 7, -1.5, true, []any{}, object{}}).Draw(rt, "value")
	}
	switch schema["type"] {
	case "object":
		properties, _ := schema["properties"].(object)
		if properties == nil {
			return rapid.SampledFrom([]any{object{}, object{"name": "x", "steps": []any{}}, object{"a": nil}, object{"tables.mode": "x"}, object{"": 1}}).Draw(rt, "object")
		}
		v := object{}
		required, _ := schema["required"].([]any)
		names := make([]string, 0, len(properties))
		for name := range properties {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if must := slices.Contains(required, any(name)); rapid.IntRange(0, 9).Draw(rt, name) < map[bool]int{true: 9, false: 3}[must] {
				v[name] = s.draw(rt, properties[name].(object), depth+1)
			}
		}
		return v
	case "array":
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(rt, "items") {
			list = append(list, s.draw(rt, schema["items"].(object), depth+1))
		}
		return list
	case "string":
		values := []any{"backup", "x", "", "/d", "2h", "\u00e4\x00", "2026-11-24T06:00:00Z", strings.Repeat("z", 501)}
		if schema["format"] == "date-time" {
			values = values[6:7]
		}
		return rapid.SampledFrom(values).Draw(rt, "text")
	case "integer":
		return rapid.SampledFrom([]any{0, 1, 3, 101, -101, 1 << 40, 1.5}).Draw(rt, "number")
	case "boolean":
		return rapid.Bool().Draw(rt, "flag")
	}
	return rapid.SampledFrom([]any{nil, 1, "x", object{}}).Draw(rt, "any")
}
