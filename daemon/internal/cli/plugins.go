package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newPlugins(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "plugins",
		Short:             "List the plugins and their controllers",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: e.run(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := c.Plugins(ctx)
			if err != nil {
				return err
			}
			if e.json() {
				return e.printJSON(list)
			}
			return e.plugins(list)
		}),
	}
}

func (e *env) plugins(list api.PluginList) error {
	warn := e.painter(e.Stderr)
	for _, w := range list.Warnings {
		e.say("%s %s", warn.paint(yellow, "warning:"), block(w))
	}
	if len(list.Plugins) == 0 {
		dirs := strings.Join(list.Dirs, ", ")
		if dirs == "" {
			dirs = "none are configured"
		}
		e.say("there are no plugins; put some into one of the daemon's plugin directories (%s)", printable(dirs))
		return nil
	}
	var rows [][]cell
	for _, p := range list.Plugins {
		version := p.Version
		if version == "" {
			version = "-"
		}
		rows = append(rows, []cell{text(p.Name), text(version), status(p.State), text(pluginNotes(p))})
		for _, c := range p.Controllers {
			plans := ""
			if c.Plans {
				plans = ", plans its steps"
			}
			rows = append(rows, []cell{text("  " + c.Name), text(""), text(""), text(fmt.Sprintf("%s (%s%s)", strings.TrimSpace(c.Summary), c.Effect, plans))})
		}
	}
	return e.table([]string{"PLUGIN", "VERSION", "STATE", "WHAT IT DOES"}, rows)
}

func pluginNotes(p api.Plugin) string {
	var notes []string
	if p.Error != "" {
		notes = append(notes, p.Error)
	}
	if p.PID > 0 {
		notes = append(notes, fmt.Sprintf("pid %d", p.PID))
	}
	if p.Restarts > 0 {
		notes = append(notes, count(p.Restarts, "restart"))
	}
	if p.LastExit != "" {
		notes = append(notes, "ended last with "+p.LastExit)
	}
	if len(notes) == 0 {
		return p.Path
	}
	return strings.Join(notes, ", ")
}
