package openapi

import (
	"maps"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/stepd/stepd/daemon/internal/api"
)

// view is the description as people are shown it, on a page or as text.
type view struct {
	Introduction []string
	Groups       []group
	Objects      []objectView
	Codes        []codeView
}

type group struct {
	Name   string
	Anchor string
	Routes []routeView
}

type routeView struct {
	*Route
	Permission string
	Takes      []fieldView // in the path and in the query
	BodyOf     typeView
	AnswerOf   typeView
	Streams    string // how, of a stream
	Refused    []api.Code
	Example    string
}

type objectView struct {
	Name   string
	Text   string
	Fields []fieldView
}

type fieldView struct {
	Name string
	Type typeView
	Must bool
	Text string
}

// typeView is a type in words; Object is the name of the object in it.
type typeView struct {
	Before string // "list of "
	Object string
	Words  []string // what it takes, when nothing else
}

func (t typeView) String() string { return t.Before + t.Object }

type codeView struct {
	Code   api.Code
	Status int
	Text   string
}

func viewed() (*view, error) {
	s, err := newSchemas()
	if err != nil {
		return nil, err
	}
	v := &view{Introduction: Introduction()}
	for _, route := range Routes() {
		if n := len(v.Groups); n == 0 || v.Groups[n-1].Name != route.Tag {
			v.Groups = append(v.Groups, group{Name: route.Tag, Anchor: strings.ReplaceAll(strings.ToLower(route.Tag), " ", "-")})
		}
		in := &v.Groups[len(v.Groups)-1]
		in.Routes = append(in.Routes, viewOf(&route, s))
	}
	s.of(api.ErrorBody{}, false)
	for _, name := range slices.Sorted(maps.Keys(s.all)) {
		v.Objects = append(v.Objects, objectOf(name, s.all[name]))
	}
	for _, code := range api.Codes() {
		v.Codes = append(v.Codes, codeView{code, code.HTTPStatus(), CodeText(code)})
	}
	return v, nil
}

func viewOf(route *Route, s *schemas) routeView {
	r := routeView{Route: route, Permission: Permission(route), Refused: route.Errors(), Example: route.Curl()}
	for _, name := range route.PathParams() {
		r.Takes = append(r.Takes, fieldView{Name: name, Type: typeView{Before: "in the path"}, Must: true, Text: PathParam(name)})
	}
	for _, p := range route.Query {
		r.Takes = append(r.Takes, fieldView{Name: p.Name, Type: p.view(), Text: p.Description})
	}
	if route.Body != nil {
		r.BodyOf = typeOf(s.of(route.Body, true))
	}
	switch {
	case route.Answer != nil:
		r.AnswerOf = typeOf(s.of(route.Answer, false))
	case route.Type == api.TypeHTML:
		r.AnswerOf.Before = "HTML"
	default:
		r.AnswerOf.Before = "an OpenAPI 3.1 document"
	}
	switch route.Type {
	case api.TypeLines:
		r.Streams = "one a line"
	case api.TypeEvents:
		r.Streams = "server-sent events"
	}
	return r
}

func (p *Param) view() typeView {
	switch p.Kind {
	case Word:
		return typeView{Before: "word", Words: p.Words}
	case Number:
		return typeView{Before: "number"}
	case Flag:
		return typeView{Before: "1 or 0"}
	case Time:
		return typeView{Before: "time"}
	}
	return typeView{Before: "text"}
}

func objectOf(name string, schema *jsonschema.Schema) objectView {
	o := objectView{Name: name, Text: schema.Description}
	for p := schema.Properties.Oldest(); p != nil; p = p.Next() {
		o.Fields = append(o.Fields, fieldView{
			Name: p.Key, Type: typeOf(p.Value), Must: slices.Contains(schema.Required, p.Key), Text: p.Value.Description,
		})
	}
	return o
}

func typeOf(schema *jsonschema.Schema) typeView {
	if name, ok := strings.CutPrefix(schema.Ref, refPrefix); ok {
		return typeView{Object: name}
	}
	below := func(before string, of *jsonschema.Schema) typeView {
		t := typeOf(of)
		t.Before = before + t.Before
		return t
	}
	switch schema.Type {
	case "array":
		return below("list of ", schema.Items)
	case "object":
		if of := schema.AdditionalProperties; of != nil && of.Type != "" {
			return below("object of ", of)
		}
		return typeView{Before: "object"}
	case "string":
		t := typeView{Before: "text"}
		if schema.Format == "date-time" {
			t.Before = "time"
		}
		for _, word := range schema.Enum {
			switch word := word.(type) {
			case string:
				t.Words = append(t.Words, word)
			case api.Role:
				t.Words = append(t.Words, string(word))
			case api.Code:
				t.Words = append(t.Words, string(word))
			}
		}
		if len(t.Words) > 0 {
			t.Before = "word"
		}
		return t
	case "integer", "number":
		return typeView{Before: "number"}
	case "boolean":
		return typeView{Before: "true or false"}
	}
	return typeView{Before: "any JSON"}
}
