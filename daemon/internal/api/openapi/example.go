package openapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
)

// Curl is a command that works as it is printed, on a machine whose daemon has
// such tasks and runs.
func (r *Route) Curl() string {
	args := []string{"curl", "--unix-socket", api.DefaultSocket}
	if r.Stream() {
		args = append(args, "--no-buffer")
	}
	posts := r.Example.Body != "" // what curl does by itself
	if r.Method != http.MethodGet && (r.Method != http.MethodPost || !posts) {
		args = append(args, "--request", r.Method)
	}
	path := r.Example.Path
	if path == "" {
		path = r.Path
		for _, name := range r.PathParams() {
			path = strings.NewReplacer("{"+name+"}", examplePart(name), "{"+name+"...}", examplePart(name)).Replace(path)
		}
	}
	url := "http://stepd" + path
	if strings.ContainsAny(url, "?&*") {
		url = "'" + url + "'"
	}
	args = append(args, url)
	if posts {
		args = append(args, "--data", "'"+r.Example.Body+"'")
	}
	return strings.Join(args, " ")
}

func examplePart(name string) string {
	switch name {
	case "number":
		return "42"
	case "step":
		return "archive"
	}
	return "backup"
}

// literal is a text of the table that is JSON.
func literal(text string) json.RawMessage { return json.RawMessage(text) }
