package openapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
)

// document is an OpenAPI 3.1 document, in the order in which it is read.
type document struct {
	OpenAPI    string         `json:"openapi"`
	Info       map[string]any `json:"info"`
	Servers    []any          `json:"servers"`
	Tags       []any          `json:"tags"`
	Paths      ordered        `json:"paths"`
	Components map[string]any `json:"components"`
}

type operation struct {
	Tags        []string       `json:"tags"`
	ID          string         `json:"operationId"`
	Summary     string         `json:"summary"`
	Description string         `json:"description"`
	Parameters  []any          `json:"parameters"`
	Body        map[string]any `json:"requestBody,omitempty"`
	Responses   ordered        `json:"responses"`
	Role        api.Role       `json:"x-stepd-role"`
	Starters    bool           `json:"x-stepd-starters,omitempty"`
	Action      string         `json:"x-stepd-action,omitempty"`
	Samples     []any          `json:"x-codeSamples"`
}

// JSON is the OpenAPI 3.1 document, for machines.
func JSON() ([]byte, error) {
	s, err := newSchemas()
	if err != nil {
		return nil, err
	}
	doc := document{
		OpenAPI: "3.1.1",
		Info: map[string]any{
			"title": "stepd", "version": strconv.Itoa(api.Schema), "summary": "Long work in small, durable steps",
			"description": strings.Join(Introduction(), "\n\n"), "license": map[string]any{"name": "Apache License 2.0", "identifier": "Apache-2.0"},
		},
		Servers: []any{map[string]any{"url": "http://stepd/", "description": "The unix socket " + api.DefaultSocket + "; the host does not matter."}},
	}
	var tags []string
	for _, route := range Routes() {
		if !slices.Contains(tags, route.Tag) {
			tags = append(tags, route.Tag)
			doc.Tags = append(doc.Tags, map[string]any{"name": route.Tag})
		}
		path := strings.Replace(route.Path, "...}", "}", 1)
		methods, _ := doc.Paths.get(path).(*ordered)
		if methods == nil {
			methods = &ordered{}
			doc.Paths.set(path, methods)
		}
		methods.set(strings.ToLower(route.Method), operationOf(&route, s))
	}
	doc.Components = map[string]any{
		"schemas":    s.finished(),
		"parameters": map[string]any{"ActFor": actFor()},
		"responses":  s.refusals,
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("encode the description: %w", err)
	}
	return append(text, '\n'), nil
}
