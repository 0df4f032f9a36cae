package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newLogs(e *env) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs REF",
		Short: "Print the log of a run",
		Long: `Print the log of a run, with -f as it grows, until the run has ended.

REF is TASK/NUMBER, or TASK for its newest run. With -o json each line is an
object of its own.`,
		Args:              exactly("REF"),
		ValidArgsFunction: e.completeRuns,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			return e.logs(ctx, c, args[0], follow)
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the run has ended")
	return cmd
}

func (e *env) logs(ctx context.Context, c *client.Client, ref string, follow bool) error {
	r, err := c.Run(ctx, ref) // "backup" must stay the same run when the connection is made anew
	if err != nil {
		return unknown(ctx, c, ref, err)
	}
	p := e.painter(e.Stdout)
	printed := 0
	once := func(heard func()) error {
		skip := printed // a stream begins at the log's beginning
		return c.Logs(ctx, r.Ref, api.LogQuery{Follow: follow}, func(l api.LogLine) error {
			heard()
			if skip > 0 {
				skip--
				return nil
			}
			printed++
			if e.json() {
				return e.printJSON(l)
			}
			return e.print(e.logLine(p, l) + "\n")
		})
	}
	if !follow {
		return once(func() {})
	}
	return e.persist(ctx, func(s string) { e.say("%s", s) }, once)
}

func levelColor(level string) color {
	switch level {
	case "error":
		return red
	case "warn":
		return yellow
	case "debug":
		return dim
	}
	return ""
}

func (e *env) logLine(p painter, l api.LogLine) string {
	when := l.Time.UTC().Format(time.RFC3339)
	if isTerminal(e.Stdout) {
		when = l.Time.Local().Format("15:04:05")
	}
	step := ""
	if l.Step != "" {
		step = p.paint(bold, printable(l.Step)) + ": "
	}
	return p.paint(dim, when) + " " + p.paint(levelColor(l.Level), pad(printable(l.Level), 5)) + " " + step + block(l.Message) + fields(l.Fields)
}

// fields shows a log line's own values as key=value, in their order of names.
func fields(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return " " + printable(string(raw))
	}
	var b strings.Builder
	for _, k := range sortedKeys(m) {
		v := string(m[k])
		var s string
		if json.Unmarshal(m[k], &s) == nil && s != "" && !strings.ContainsAny(s, " \t\n\"=") {
			v = s
		}
		fmt.Fprintf(&b, " %s=%s", printable(k), printable(v))
	}
	return b.String()
}
