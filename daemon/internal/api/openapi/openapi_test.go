package openapi_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stepd/stepd/daemon/internal/api/openapi"
)

type object = map[string]any

func document(t *testing.T) object {
	t.Helper()
	text, err := openapi.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var doc object
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// operations calls f for each operation of the document.
func operations(doc object, f func(path, method string, op object)) {
	for path, methods := range doc["paths"].(object) {
		for method, op := range methods.(object) {
			f(path, method, op.(object))
		}
	}
}

func TestEverythingIsDescribedInWordsOfTheJSON(t *testing.T) {
	doc := document(t)
	camel := regexp.MustCompile(`\b[A-Za-z]+[a-z][A-Z]\w*`)
	schemas := doc["components"].(object)["schemas"].(object)
	check := func(where string, v any) {
		text, _ := v.(string)
		if len(text) < 3 {
			t.Errorf("%s has no description", where)
		}
		for _, word := range camel.FindAllString(text, -1) {
			if schemas[word] == nil && !slices.Contains([]string{"OpenAPI", "KiB", "MiB"}, word) {
				t.Errorf("%s: %q is a word of the code, in %q", where, word, text)
			}
		}
	}
	for name, schema := range schemas {
		check(name, schema.(object)["description"])
		for field, property := range schema.(object)["properties"].(object) {
			of, ok := property.(object)
			if !ok {
				t.Errorf("%s.%s has no description", name, field)
				continue
			}
			check(name+"."+field, of["description"])
		}
	}
	operations(doc, func(path, method string, op object) {
		at := method + " " + path
		check(at, op["description"])
		check(at, op["summary"])
		for _, p := range op["parameters"].([]any) {
			if _, ref := p.(object)["$ref"]; !ref {
				check(at+" "+p.(object)["name"].(string), p.(object)["description"])
			}
		}
		for status, response := range op["responses"].(object) {
			if _, ref := response.(object)["$ref"]; !ref {
				check(at+" "+status, response.(object)["description"])
			}
		}
	})
	for name, response := range doc["components"].(object)["responses"].(object) {
		check(name, response.(object)["description"])
	}
}

// Whatever the document refers to is there, and each schema is one of JSON Schema
// 2020-12.
func TestEverySchemaOfTheDocumentCompiles(t *testing.T) {
	doc := document(t)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("doc.json", doc); err != nil {
		t.Fatal(err)
	}
	n := 0
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case object:
			if ref, ok := v["$ref"].(string); ok && !strings.Contains(at, "/schema") {
				if find(doc, ref) == nil {
					t.Errorf("%s refers to %s, which is not there", at, ref)
				}
			}
			for key, below := range v {
				pointer := at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
				if key == "schema" || key == "x-stepd-item" || at == "/components/schemas" {
					n++
					if _, err := compiler.Compile("doc.json#" + (&url.URL{Path: pointer}).EscapedPath()); err != nil {
						t.Errorf("%s: %v", pointer, err)
					}
					continue
				}
				if key != "example" {
					walk(pointer, below)
				}
			}
		case []any:
			for i, below := range v {
				walk(at+"/"+strconv.Itoa(i), below)
			}
		}
	}
	walk("", doc)
	if n < 200 {
		t.Errorf("%d schemas were compiled", n)
	}
}

func find(doc object, ref string) any {
	var v any = doc
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		of, _ := v.(object)
		v = of[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
	}
	return v
}

func TestTheDocumentIsOpenAPI(t *testing.T) {
	text, err := openapi.JSON()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	if v := doc.GetVersion(); !strings.HasPrefix(v, "3.1.") {
		t.Errorf("version %s", v)
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	ok, faults := v.ValidateDocument()
	if !ok {
		t.Error("the document is not valid")
	}
	for _, f := range faults {
		t.Errorf("%s: %s", f.Message, f.Reason)
		for _, s := range f.SchemaValidationErrors {
			t.Errorf("line %d: %s", s.Line, s.Reason)
		}
	}
}

// What the schema of OpenAPI cannot say.
func TestOperationsHaveTheirNamesTagsAndParameters(t *testing.T) {
	doc := document(t)
	var tags []string
	for _, tag := range doc["tags"].([]any) {
		tags = append(tags, tag.(object)["name"].(string))
	}
	ids := map[string]bool{}
	operations(doc, func(path, method string, op object) {
		at := method + " " + path
		id := op["operationId"].(string)
		if ids[id] {
			t.Errorf("%s is there twice", id)
		}
		ids[id] = true
		for _, tag := range op["tags"].([]any) {
			if !slices.Contains(tags, tag.(string)) {
				t.Errorf("%s: the tag %v is not listed", at, tag)
			}
		}
		var vars []string
		seen := map[string]bool{}
		for _, p := range op["parameters"].([]any) {
			p := p.(object)
			if ref, ok := p["$ref"].(string); ok {
				p = find(doc, ref).(object)
			}
			key := p["in"].(string) + " " + p["name"].(string)
			if seen[key] {
				t.Errorf("%s: %s is there twice", at, key)
			}
			seen[key] = true
			if p["in"] == "path" {
				vars = append(vars, "{"+p["name"].(string)+"}")
			}
		}
		if want := regexp.MustCompile(`\{[^}]+\}`).FindAllString(path, -1); !slices.Equal(want, vars) {
			t.Errorf("%s: path parameters %q", at, vars)
		}
		if _, has := op["requestBody"]; has && (method == "get" || method == "delete") {
			t.Errorf("%s has a body", at)
		}
	})
}

// A word list, or an object, of a field that is not there holds nothing.
func TestWordsBelongToFields(t *testing.T) {
	schemas := document(t)["components"].(object)["schemas"].(object)
	for _, name := range openapi.Listed() {
		of, field, _ := strings.Cut(name, ".")
		schema, _ := schemas[of].(object)
		properties, _ := schema["properties"].(object)
		if properties[field] == nil {
			t.Errorf("there is no %s", name)
		}
	}
}

func TestThePageStandsAlone(t *testing.T) {
	text, err := openapi.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "javascript:", " src=", "<link", "<img", "<iframe", "@import", "url(", " on", "ZgotmplZ"} {
		if bad == " on" {
			if m := regexp.MustCompile(`<[^>]* on[a-z]+=`).Find(text); m != nil {
				t.Errorf("the page has %s", m)
			}
			continue
		}
		if bytes.Contains(text, []byte(bad)) {
			t.Errorf("the page has %q", bad)
		}
	}
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllSubmatch(text, -1) {
		ids[string(m[1])]++
		if ids[string(m[1])] > 1 {
			t.Errorf("the id %s is there twice", m[1])
		}
	}
	for _, m := range regexp.MustCompile(` (?:href="#?|aria-labelledby=")([^"]*)"`).FindAllSubmatch(text, -1) {
		if target := string(m[1]); ids[target] == 0 && target != "/v1/openapi.json" {
			t.Errorf("there is no %s to go to", target)
		}
	}
	for _, must := range []string{`<html lang="en">`, "<title>", "<main", "<nav", `scope="col"`, `scope="row"`} {
		if !bytes.Contains(text, []byte(must)) {
			t.Errorf("the page has no %s", must)
		}
	}
	for _, route := range openapi.Routes() {
		if ids[route.ID] == 0 {
			t.Errorf("%s is not on the page", route.ID)
		}
	}
}

func TestTheTextHasEveryRouteAndFitsATerminal(t *testing.T) {
	text, err := openapi.Text()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\n"); len([]rune(line)) > 78 && !strings.HasPrefix(line, "    curl ") {
			t.Errorf("too long: %s", line)
		}
	}
	for _, route := range openapi.Routes() {
		if !strings.Contains(text, "\n"+route.Method+" "+route.Path+"\n") || !strings.Contains(text, "\n    "+route.Curl()+"\n") {
			t.Errorf("%s %s is missing, or its example", route.Method, route.Path)
		}
	}
}
