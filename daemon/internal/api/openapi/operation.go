package openapi

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
)

func operationOf(route *Route, s *schemas) operation {
	op := operation{
		Tags: []string{route.Tag}, ID: route.ID, Summary: route.Summary, Description: description(route),
		Parameters: []any{map[string]any{"$ref": "#/components/parameters/ActFor"}},
		Role:       route.Role, Starters: route.Starter, Action: route.Action,
		Samples: []any{map[string]any{"lang": "Shell", "label": "curl", "source": route.Curl()}},
	}
	for _, name := range route.PathParams() {
		op.Parameters = append(op.Parameters, pathParameter(name))
	}
	for _, p := range route.Query {
		op.Parameters = append(op.Parameters, map[string]any{"name": p.Name, "in": "query", "description": p.Description, "schema": p.schema()})
	}
	if route.Body != nil {
		content := map[string]any{"schema": s.of(route.Body, true)}
		if route.Example.Body != "" {
			content["example"] = literal(route.Example.Body)
		}
		op.Body = map[string]any{"required": !route.Option, "content": map[string]any{api.TypeJSON: content}}
	}
	op.Responses.set("200", map[string]any{"description": answerText(route), "content": map[string]any{route.answerType(): answerContent(route, s)}})
	statuses := map[int][]api.Code{}
	for _, code := range route.Errors() {
		statuses[code.HTTPStatus()] = append(statuses[code.HTTPStatus()], code)
	}
	for _, status := range slices.Sorted(maps.Keys(statuses)) {
		op.Responses.set(strconv.Itoa(status), s.refusal(statuses[status]))
	}
	return op
}

// description is the route's, with who may do it.
func description(route *Route) string {
	return strings.TrimSpace(route.Description + " " + Permission(route))
}

// Permission says in words who may do it.
func Permission(route *Route) string {
	var text string
	switch {
	case route.Role == api.RoleNone:
		return "Everybody who reaches the socket may do this."
	case route.Starter && route.Role == api.RoleRunner:
		return "Needs the role runner where the task lists no starters; where it does, its starters and administrators may do this, and nobody else."
	case route.Starter:
		text = "Needs the role " + string(route.Role) + ", or to be listed among the starters of the task."
	default:
		text = "Needs the role " + string(route.Role) + "."
	}
	if route.Dry {
		text += " A dry run needs the role " + string(api.RoleReader) + "."
	}
	return text
}

func pathParameter(name string) map[string]any {
	schema := map[string]any{"type": "string", "minLength": 1}
	if name == "number" {
		schema["pattern"] = "^([1-9][0-9]*|" + api.Latest + ")$"
	}
	return map[string]any{"name": name, "in": "path", "required": true, "description": PathParam(name), "schema": schema, "example": examplePart(name)}
}

func (p *Param) schema() map[string]any {
	switch p.Kind {
	case Word:
		return map[string]any{"type": "string", "enum": p.Words}
	case Number:
		schema := map[string]any{"type": "integer", "minimum": p.Min, "maximum": p.Max}
		if p.Default != 0 {
			schema["default"] = p.Default
		}
		return schema
	case Flag:
		return map[string]any{"type": "string", "enum": []string{"1", "0", "true", "false"}, "default": "0"}
	case Time:
		return map[string]any{"type": "string", "format": "date-time"}
	}
	return map[string]any{"type": "string", "maxLength": api.MaxText}
}

func (r *Route) answerType() string {
	if r.Type == "" {
		return api.TypeJSON
	}
	media, _, _ := strings.Cut(r.Type, ";")
	return media
}

func answerText(route *Route) string {
	switch route.Type {
	case api.TypeLines:
		return "A stream of JSON objects, one a line, each as x-stepd-item has it. Empty lines are signs of life; a last one with `error` says why the stream ended early."
	case api.TypeEvents:
		return "A stream of server-sent events whose data are JSON objects as x-stepd-item has it. Comments are signs of life; a last event `error` says why the stream ended early."
	case api.TypeHTML:
		return "The page."
	}
	return "It is done, and saved where it changes something."
}

func answerContent(route *Route, s *schemas) map[string]any {
	switch {
	case route.Stream():
		return map[string]any{"schema": map[string]any{"type": "string"}, "x-stepd-item": s.answer(route.Answer)}
	case route.Answer != nil:
		return map[string]any{"schema": s.answer(route.Answer)}
	case route.Type == api.TypeHTML:
		return map[string]any{"schema": map[string]any{"type": "string"}}
	}
	return map[string]any{"schema": map[string]any{"type": "object"}}
}

func actFor() map[string]any {
	return map[string]any{
		"name": api.HeaderActFor, "in": "header",
		"description": "User for whom an administrator asks. What is made has that name, and the audit log has both.",
		"schema":      map[string]any{"type": "string", "pattern": `^[\p{L}\p{N}][\p{L}\p{N}._@+-]*$`, "maxLength": api.MaxActFor},
	}
}
