package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newTaskStep(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "step",
		Short: "List, show, add, change, move or remove steps of a task",
		Args:  cobra.ArbitraryArgs,
		RunE:  e.group,
	}
	cmd.AddCommand(newStepList(e), newStepShow(e), newStepAdd(e), newStepSet(e), newStepMove(e), newStepOrder(e), newStepRemove(e))
	return cmd
}

func newStepList(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "list NAME",
		Short:             "List the steps of a task in their order",
		Args:              exactly("NAME"),
		ValidArgsFunction: e.completeTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			page, err := c.TaskSteps(ctx, args[0])
			if err != nil {
				return unknown(ctx, c, args[0], err)
			}
			if e.json() {
				return e.printJSON(page)
			}
			if len(page.Items) == 0 {
				e.say("%s has no steps yet: stepd task step add %s STEP controller=CONTROLLER", printable(args[0]), printable(args[0]))
				return nil
			}
			return e.table(definitionHead("STEP"), definitionRows(page.Items))
		}),
	}
}

func newStepShow(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "show NAME STEP",
		Short:             "Show one step of a task",
		Args:              exactly("NAME", "STEP"),
		ValidArgsFunction: e.completeTaskSteps,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			s, err := c.TaskStep(ctx, args[0], args[1])
			if err != nil {
				return e.unknownTaskStep(ctx, c, args[0], args[1], err)
			}
			if e.json() {
				return e.printJSON(s)
			}
			p := e.painter(e.Stdout)
			limits := stepNotes(s)
			if limits == "-" {
				limits = ""
			}
			out := p.paint(bold, printable(s.Name)) + " of " + printable(args[0]) + "\n" + e.pairs([][2]string{
				{"controller", printable(s.Controller)},
				{"order", fmt.Sprint(s.Order)},
				{"when", printable(s.When)},
				{"limits", limits},
			})
			if len(s.Settings) > 0 && string(s.Settings) != "{}" {
				out += "\n" + p.paint(dim, "SETTINGS") + "\n"
				for _, line := range yamlOf(s.Settings) {
					out += "  " + printable(line) + "\n"
				}
			}
			return e.print(out)
		}),
	}
}

type stepPlace struct {
	before, after string
	version       uint64
}

func (o *stepPlace) flags(e *env, cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.before, "before", "", "in front of this `STEP`")
	cmd.Flags().StringVar(&o.after, "after", "", "behind this `STEP`")
	e.completeStepFlag(cmd, "before")
	e.completeStepFlag(cmd, "after")
	versionFlag(cmd, &o.version)
}

func newStepAdd(e *env) *cobra.Command {
	var place stepPlace
	file := ""
	cmd := &cobra.Command{
		Use:   "add NAME STEP KEY=VALUE...",
		Short: "Add a step to a task, at the end or where you say",
		Long: `Add a step to a task, at the end, or --before or --after another. Its keys are those of
a step in a task file; with --file they are read from a file in YAML or JSON, "-" is
the standard input, and KEY=VALUE changes them.

` + valueHelp,
		Example: `  stepd task step add backup mail controller=sendmail settings.to='["ops@example.com"]'
  stepd task step add backup check --file check.yaml --after tables`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exactly("NAME", "STEP")(cmd, args)
			}
			if strings.Contains(args[1], "=") {
				return usageHint(cmd, "the name of the step is missing before %q", args[1])
			}
			return nil
		},
		ValidArgsFunction: e.completeTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			if err := e.atMostOneOf("before", "after"); err != nil {
				return err
			}
			step, err := e.stepOf(args[1], args[2:], file)
			if err != nil {
				return err
			}
			saved, err := c.AddStep(ctx, args[0], api.StepRequest{Step: step, Before: place.before, After: place.after, Version: place.version})
			if err != nil {
				return e.unknownTaskStep(ctx, c, args[0], place.before+place.after, ofWords(err))
			}
			return e.saved(saved, "changed")
		}),
	}
	place.flags(e, cmd)
	cmd.Flags().StringVar(&file, "file", "", "read the step from this `FILE`")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml", "json")
	return cmd
}

// stepOf is the definition of a step that is added, by its file and by words.
func (e *env) stepOf(name string, words []string, file string) (json.RawMessage, error) {
	step := map[string]any{}
	if file != "" {
		f, err := e.taskFile(file)
		if err != nil {
			return nil, err
		}
		doc, err := jsonOf(f.Name, []byte(f.Data))
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(doc, &step); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Name, err)
		}
	}
	patch, err := mergePatch(words, nil)
	if err != nil && !errors.Is(err, errNothingSet) {
		return nil, err
	}
	if err == nil {
		var changes map[string]any
		if err := json.Unmarshal(patch, &changes); err != nil {
			return nil, fmt.Errorf("read what is set: %w", err)
		}
		merge(step, changes)
	}
	step["name"] = name
	return json.Marshal(step)
}

// merge lays a merge patch into an object.
func merge(to, patch map[string]any) {
	for key, value := range patch {
		inner, isObject := value.(map[string]any)
		old, wasObject := to[key].(map[string]any)
		switch {
		case value == nil:
			delete(to, key)
		case isObject && wasObject:
			merge(old, inner)
		default:
			to[key] = value
		}
	}
}

func newStepSet(e *env) *cobra.Command {
	var opts setOptions
	cmd := &cobra.Command{
		Use:   "set NAME STEP KEY=VALUE...",
		Short: "Change keys of a step; name=NEW renames it",
		Long: `Change keys of a step, those of a step in a task file; what is not named stays as it
is. Runs that are under way keep the definition that they began with.

` + valueHelp,
		Example: `  stepd task step set backup tables settings.mode=data_only max_execution_time=2h
  stepd task step set backup mail name=report --unset when`,
		Args:              wordsAfter(&opts, "NAME", "STEP"),
		ValidArgsFunction: e.completeTaskSteps,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			patch, err := mergePatch(args[2:], opts.unset)
			if err != nil {
				return err
			}
			saved, err := c.PatchStep(ctx, args[0], args[1], api.PatchRequest{Patch: patch, Version: opts.version})
			if err != nil {
				return e.unknownTaskStep(ctx, c, args[0], args[1], ofWords(err))
			}
			return e.saved(saved, "changed")
		}),
	}
	opts.flags(cmd)
	return cmd
}

func newStepMove(e *env) *cobra.Command {
	var place stepPlace
	var first, last bool
	cmd := &cobra.Command{
		Use:   "move NAME STEP",
		Short: "Move a step to another place",
		Example: `  stepd task step move backup archive --after tables
  stepd task step move backup check --first`,
		Args:              exactly("NAME", "STEP"),
		ValidArgsFunction: e.completeTaskSteps,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			if err := e.atMostOneOf("before", "after", "first", "last"); err != nil {
				return err
			}
			if place.before+place.after == "" && !first && !last {
				return withHint(usageError("where to is missing"), "say --before STEP, --after STEP, --first or --last")
			}
			return e.moveStep(ctx, c, args[0], args[1], place, first, last)
		}),
	}
	place.flags(e, cmd)
	cmd.Flags().BoolVar(&first, "first", false, "in front of all others")
	cmd.Flags().BoolVar(&last, "last", false, "behind all others")
	return cmd
}

func (e *env) moveStep(ctx context.Context, c *client.Client, name, step string, place stepPlace, first, last bool) error {
	t, err := c.Task(ctx, name)
	if err != nil {
		return unknown(ctx, c, name, err)
	}
	var order []string
	for _, s := range t.Steps {
		order = append(order, s.Name)
	}
	for _, known := range []string{step, place.before, place.after} {
		if known != "" && !slices.Contains(order, known) {
			return suggestStep(&api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("%s has no step %q", name, known)}, known, order)
		}
	}
	if step == place.before+place.after {
		return usageError("%s cannot be moved next to itself", step)
	}
	order = slices.DeleteFunc(order, func(s string) bool { return s == step })
	at := 0
	switch {
	case last:
		at = len(order)
	case place.before != "":
		at = slices.Index(order, place.before)
	case place.after != "":
		at = slices.Index(order, place.after) + 1
	}
	version := t.Version // the order is made for this one
	if place.version != 0 {
		version = place.version
	}
	saved, err := c.OrderSteps(ctx, name, api.OrderRequest{Steps: slices.Insert(order, at, step), Version: version})
	if err != nil {
		return unknown(ctx, c, name, ofWords(err))
	}
	return e.saved(saved, "changed")
}

func newStepOrder(e *env) *cobra.Command {
	var version uint64
	cmd := &cobra.Command{
		Use:   "order NAME STEP...",
		Short: "Put all steps of a task in the order that you name",
		Long: `Put all steps of a task in the order that you name; each has to be there once. Steps
that share an order number keep doing so where they stay neighbours.`,
		Example: `  stepd task step order backup tables archive mail`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exactly("NAME", "STEP")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return e.completeTasks(cmd, args, typed)
			}
			return e.stepsOfTask(cmd, args)
		},
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			saved, err := c.OrderSteps(ctx, args[0], api.OrderRequest{Steps: args[1:], Version: version})
			if err != nil {
				return unknown(ctx, c, args[0], ofWords(err))
			}
			return e.saved(saved, "changed")
		}),
	}
	versionFlag(cmd, &version)
	return cmd
}

func newStepRemove(e *env) *cobra.Command {
	var version uint64
	cmd := &cobra.Command{
		Use:   "remove NAME STEP",
		Short: "Remove a step from a task; without its last one it is a draft",
		Long: `Remove a step from a task, after asking; --yes answers that. Runs that are under way
keep it. A task without its last step is a draft, which cannot be run.`,
		Args:              exactly("NAME", "STEP"),
		ValidArgsFunction: e.completeTaskSteps,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			if _, err := c.TaskStep(ctx, args[0], args[1]); err != nil { // what is not there needs no confirmation
				return e.unknownTaskStep(ctx, c, args[0], args[1], err)
			}
			ok, err := e.confirm(ctx, fmt.Sprintf("Remove the step %s of %s?", printable(args[1]), printable(args[0])))
			if err != nil {
				return err
			}
			if !ok {
				return errDeclined
			}
			saved, err := c.DeleteStep(ctx, args[0], args[1], version)
			if err != nil {
				return e.unknownTaskStep(ctx, c, args[0], args[1], ofWords(err))
			}
			return e.saved(saved, "changed")
		}),
	}
	versionFlag(cmd, &version)
	return cmd
}

// unknownTaskStep adds to an error about a step of a task which may have been
// meant.
func (e *env) unknownTaskStep(ctx context.Context, c *client.Client, name, step string, err error) error {
	if !isNotFound(err) {
		return err
	}
	page, e2 := c.TaskSteps(ctx, name)
	if e2 != nil {
		return unknown(ctx, c, name, e2)
	}
	var known []string
	for _, s := range page.Items {
		known = append(known, s.Name)
	}
	return suggestStep(err, step, known)
}

func isNotFound(err error) bool {
	fault, ok := errors.AsType[*api.Error](err)
	return ok && fault.Code == api.CodeNotFound && fault.Hint == ""
}
