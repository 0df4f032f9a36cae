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

type logsOptions struct {
	query api.LogQuery
	since string
}

func newLogs(e *env) *cobra.Command {
	var opts logsOptions
	cmd := &cobra.Command{
		Use:   "logs REF",
		Short: "Print the log of a run",
		Long: `Print the log of a run, with -f as it grows, until the run has ended.

--since takes how long ago it was, as 10m or 2d, or a time of this machine's clock, as
18:00 or 2026-12-24T18:00. With --step it is the lines of that step, and of those that
it planned.

REF is TASK/NUMBER, or TASK for its newest run. With -o json each line is an
object of its own.`,
		Example: `  stepd logs backup -f --tail 20
  stepd logs backup/42 --step tables --level warn`,
		Args:              exactly("REF"),
		ValidArgsFunction: e.completeRuns,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			return e.logs(ctx, c, args[0], opts)
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&opts.query.Follow, "follow", "f", false, "go on until the run has ended")
	f.StringVar(&opts.since, "since", "", "only lines of this `TIME` and later")
	f.IntVarP(&opts.query.Tail, "tail", "n", 0, "only the last so many lines")
	f.StringVar(&opts.query.Step, "step", "", "only lines of this `STEP`")
	f.StringVar(&opts.query.Level, "level", "", "only lines of this `LEVEL` and above: "+strings.Join(api.LogLevels(), ", "))
	_ = cmd.RegisterFlagCompletionFunc("level", cobra.FixedCompletions(api.LogLevels(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("step", func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return e.stepsOfRun(cmd, args)
	})
	return cmd
}

func (e *env) logs(ctx context.Context, c *client.Client, ref string, opts logsOptions) error {
	q := opts.query
	if err := oneOf("level", q.Level, api.LogLevels()); err != nil {
		return err
	}
	if q.Tail < 0 {
		return usageError("--tail is %d, it must be 1 or more", q.Tail)
	}
	if opts.since != "" {
		var err error
		if q.Since, err = past("since", opts.since, e.Now()); err != nil {
			return err
		}
	}
	r, err := c.Run(ctx, ref) // "backup" must stay the same run when the connection is made anew
	if err != nil {
		return unknown(ctx, c, ref, err)
	}
	p := e.painter(e.Stdout)
	place := logPlace{query: q}
	once := func(heard func()) error {
		again, skip := place.again()
		return c.Logs(ctx, r.Ref, again, func(l api.LogLine) error {
			heard()
			if skip > 0 {
				skip--
				return nil
			}
			place.printed(l)
			if e.json() {
				return e.printJSON(l)
			}
			return e.print(e.logLine(p, l) + "\n")
		})
	}
	if !q.Follow {
		return once(func() {})
	}
	return e.persist(ctx, func(s string) { e.say("%s", s) }, once)
}

// logPlace remembers how far a log was printed, so that a stream that is made
// anew goes on there.
type logPlace struct {
	query api.LogQuery
	lines int
	last  time.Time // of the newest line
	same  int       // lines of that time
}

func (p *logPlace) printed(l api.LogLine) {
	p.lines++
	if !l.Time.Equal(p.last) {
		p.last, p.same = l.Time, 0
	}
	p.same++
}

// again is what to ask for now, and how many lines of the answer are known. What
// the last lines are changes as a log grows: with a tail it goes on by time.
func (p *logPlace) again() (q api.LogQuery, skip int) {
	q = p.query
	if q.Tail == 0 || p.lines == 0 {
		return q, p.lines
	}
	q.Tail, q.Since = 0, p.last
	return q, p.same
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
