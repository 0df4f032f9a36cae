package pluginhost

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/stepd/stepd/daemon/internal/task"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

const (
	maxControllers = 256
	maxSchema      = 256 << 10
	maxSummary     = 1 << 10
)

// description is what a plugin said about itself, checked.
type description struct {
	id          identity // of the file that said it
	version     string
	controllers []controller
}

type controller struct {
	own  string // the plugin's name for it
	info task.ControllerInfo
}

// newDescription refuses what the daemon could not work with, naming the
// fault for the plugin's author.
func newDescription(plugin string, id identity, answer *stepdv1.DescribeResponse) (*description, error) {
	bad := func(format string, args ...any) (*description, error) {
		return nil, refuse(plugin, ErrDescribe, "describes itself wrongly, which its author must correct: "+format, args...)
	}
	list := answer.GetControllers()
	switch {
	case len(list) == 0:
		return bad("it has no controllers")
	case len(list) > maxControllers:
		return bad("it has %d controllers, at most %d are allowed", len(list), maxControllers)
	}
	d := &description{id: id, version: cut(answer.GetVersion(), 100)}
	seen := map[string]bool{}
	for _, c := range list {
		name := c.GetName()
		if err := task.CheckName(name); err != nil {
			return bad("controller %.40q: %v", name, err)
		}
		if seen[name] {
			return bad("two controllers are named %s", name)
		}
		seen[name] = true
		info := task.ControllerInfo{Name: plugin + "/" + name, Plugin: plugin, Version: d.version,
			Summary: cut(c.GetSummary(), maxSummary), Plans: c.GetPlans()}
		if name == plugin || len(list) == 1 {
			info.Name = plugin
		}
		switch c.GetEffect() {
		case stepdv1.Effect_EFFECT_IDEMPOTENT:
			info.Effect = task.Idempotent
		case stepdv1.Effect_EFFECT_RESUMABLE:
			info.Effect = task.Resumable
		case stepdv1.Effect_EFFECT_AT_MOST_ONCE:
			info.Effect = task.AtMostOnce
		default:
			return bad("controller %s: its effect is %v", name, c.GetEffect())
		}
		if schema := bytes.TrimSpace(c.GetSettingsSchema()); len(schema) > 0 {
			if len(schema) > maxSchema {
				return bad("controller %s: its settings schema has %d bytes, at most %d are allowed", name, len(schema), maxSchema)
			}
			if schema[0] != '{' || !json.Valid(schema) {
				return bad("controller %s: its settings schema is no JSON object", name)
			}
			info.Schema = json.RawMessage(schema)
		}
		d.controllers = append(d.controllers, controller{own: name, info: info})
	}
	return d, nil
}

// find resolves the part after the slash, or its absence.
func (d *description) find(plugin, name string) (controller, error) {
	if name == "" && len(d.controllers) == 1 {
		return d.controllers[0], nil
	}
	want := name
	if want == "" {
		want = plugin
	}
	var names []string
	for _, c := range d.controllers {
		if c.own == want {
			return c, nil
		}
		names = append(names, c.info.Name)
	}
	choice := "it has " + strings.Join(names, ", ")
	if name == "" {
		return controller{}, refuse(plugin, ErrNoController, "has several controllers and none of its own name: %s", choice)
	}
	return controller{}, refuse(plugin, ErrNoController, "has no controller %.40q: %s", name, choice)
}
