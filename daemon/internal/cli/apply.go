package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type applyOptions struct{ dryRun, prune, replace bool }

func newApply(e *env) *cobra.Command {
	var opts applyOptions
	cmd := &cobra.Command{
		Use:   "apply FILE|DIR...",
		Short: "Save the tasks of files: all of them, or none",
		Long: `Save the tasks of files: all of them, or none when one has a problem. Of a directory
it is all its *.yaml and *.yml files, in the order of their names; hidden files and
those of directories in it are left out. "-" is the standard input.

A task that exists already is changed and keeps its runs; runs that are under way
keep the definition that they began with. Relative paths in a file start where the
file is.

Nothing is replaced silently. A task that came from another file, was made
otherwise, or was edited since this file was applied is a conflict: what would become
of it is shown, and asked about where there is somebody to ask. --replace has the
files win; --yes does not.

--prune deletes the tasks that came from files in the directories which are gone,
after asking; --yes answers that.

--dry-run shows what would change: + comes, - goes, ~ becomes another.`,
		Example: `  stepd apply backup.yaml
  stepd apply --dry-run tasks.d/
  stepd apply --prune tasks.d/`,
		Args:              atLeastOne("FILE"),
		ValidArgsFunction: completeTaskFiles,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			return e.apply(ctx, c, args, opts)
		}),
	}
	cmd.Flags().BoolVar(&opts.dryRun, "dry-run", false, "show what would change, and save nothing")
	cmd.Flags().BoolVar(&opts.prune, "prune", false, "delete tasks whose files are gone from the directories")
	cmd.Flags().BoolVar(&opts.replace, "replace", false, "take over tasks that came from elsewhere or were edited")
	return cmd
}

func (e *env) apply(ctx context.Context, c *client.Client, args []string, opts applyOptions) error {
	files, dirs, err := e.taskFiles(args)
	if err != nil {
		return err
	}
	if !opts.prune {
		if err := someFiles(files, dirs); err != nil {
			return err
		}
	}
	request := api.ApplyRequest{Files: files, Replace: opts.replace, DryRun: opts.dryRun}
	if opts.prune {
		if len(dirs) == 0 {
			return withHint(usageError("--prune needs a directory: of files alone nobody can tell which are gone"), "name the directory that holds them, as in: stepd apply --prune tasks.d/")
		}
		request.Prune = dirs
	}
	if opts.prune && !opts.dryRun {
		request.DryRun = true
		would, err := c.Apply(ctx, request)
		if err != nil {
			return err
		}
		if err := stillRun(would); err != nil {
			return err
		}
		if err := e.mayReplace(ctx, &request, against(would)); err != nil {
			return err
		}
		if request.Delete, err = e.pruned(ctx, would); err != nil {
			return err
		}
		request.Prune, request.DryRun = nil, false
	}
	result, err := c.Apply(ctx, request)
	if fault := conflict(err); fault != nil && !request.Replace {
		if err := e.mayReplace(ctx, &request, fault); err != nil {
			return err
		}
		result, err = c.Apply(ctx, request)
	}
	if err != nil {
		return err
	}
	return e.applied(result, opts)
}

func (e *env) applied(result api.ApplyResult, opts applyOptions) error {
	if e.json() {
		return e.printJSON(struct {
			api.ApplyResult
			DryRun bool `json:"dry_run"`
		}{result, opts.dryRun})
	}
	p := e.painter(e.Stdout)
	conflicts := 0
	for _, a := range result.Tasks {
		line := e.appliedLine(p, a, opts.dryRun)
		if opts.dryRun {
			line += changeLines(p, a.Changes, "  ")
		}
		if a.Action == "conflict" {
			conflicts++
		}
		if err := e.print(line); err != nil {
			return err
		}
	}
	switch {
	case conflicts > 0:
		e.say("nothing was saved; apply would save nothing either without --replace, which takes over what is a conflict")
	case opts.dryRun:
		e.say("nothing was saved")
	case len(result.Tasks) == 1 && result.Tasks[0].Action != "deleted" && result.Tasks[0].Steps == 0:
		e.say("it is a draft: it can be run when it has steps")
	case len(result.Tasks) == 1 && result.Tasks[0].Action != "deleted":
		e.say("run it: stepd run %s", printable(result.Tasks[0].Task))
	}
	return nil
}

func (e *env) appliedLine(p painter, a api.Applied, dryRun bool) string {
	name := p.paint(bold, printable(a.Task))
	if a.Action == "conflict" {
		return fmt.Sprintf("%s %s: %s\n", name, p.paint(yellow, "is a conflict"), printable(a.Reason))
	}
	action := a.Action
	if dryRun && action != "unchanged" {
		action = "would be " + action
	}
	if a.Action == "deleted" {
		return fmt.Sprintf("%s %s (version %d): its file is gone\n", name, action, a.Version)
	}
	next := ""
	if a.Next != nil {
		next = ", next run " + stamp(a.Next.Due, a.Next.Timezone)
	} else if a.Deadline != nil {
		next = ", " + judged(a.Deadline)
	}
	return fmt.Sprintf("%s %s (version %d, %s)%s\n", name, action, a.Version, count(a.Steps, "step"), next)
}

// pruned shows which tasks are to be deleted and asks about them.
func (e *env) pruned(ctx context.Context, would api.ApplyResult) (list []api.TaskVersion, err error) {
	var names []string
	for _, a := range would.Tasks {
		if a.Action == "deleted" {
			list = append(list, api.TaskVersion{Task: a.Task, Version: a.Version})
			names = append(names, printable(a.Task))
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	if !e.json() {
		fmt.Fprintf(e.Stderr, "%s of files that are gone: %s\n", count(len(list), "task"), strings.Join(names, ", "))
	}
	ok, err := e.confirm(ctx, "Delete "+them(len(list), "it", "them")+"? The runs stay.")
	if err == nil && !ok {
		err = errDeclined
	}
	return list, err
}

func them(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// conflict is the error of an apply that was refused for tasks that are not the
// files' own, or nil.
func conflict(err error) *api.Error {
	if fault, ok := errors.AsType[*api.Error](err); ok && fault.Code == api.CodeConflict && len(fault.Tasks) > 0 {
		return fault
	}
	return nil
}

// stillRun is the error of tasks that are to be pruned and have a run that is
// alive, or nil. No --replace helps against that.
func stillRun(would api.ApplyResult) error {
	var why []string
	for _, a := range would.Tasks {
		if a.Action == "conflict" && a.File == "" {
			why = append(why, "task "+a.Task+" cannot be deleted while "+a.Reason)
		}
	}
	if len(why) == 0 {
		return nil
	}
	return &api.Error{Code: api.CodeState, Message: "nothing was saved: " + strings.Join(why, "; "),
		Hint: "let it end, or end it with stepd cancel; without --prune the files are saved"}
}

// against is the conflict that a dry run has found, or nil.
func against(would api.ApplyResult) *api.Error {
	list := slices.DeleteFunc(slices.Clone(would.Tasks), func(a api.Applied) bool { return a.Action != "conflict" })
	if len(list) == 0 {
		return nil
	}
	return &api.Error{Code: api.CodeConflict, Message: "nothing was saved: " + count(len(list), "task") + " would be replaced by files that " +
		them(len(list), "it is", "they are") + " not of", Hint: "--replace has the files win", Tasks: list}
}

// mayReplace asks whether files may take over tasks that are not their own. It is
// the conflict itself where there is nobody to ask; --yes is no word on that, or
// it would replace what nobody has looked at.
func (e *env) mayReplace(ctx context.Context, request *api.ApplyRequest, fault *api.Error) error {
	if fault == nil {
		return nil
	}
	if e.yes || !e.mayAsk() {
		return fault
	}
	e.conflicts(fault.Tasks)
	ok, err := e.confirm(ctx, "Have the files replace "+them(len(fault.Tasks), "it", "them")+"?")
	if err != nil {
		return err
	}
	if !ok {
		return errDeclined
	}
	request.Replace = true
	return nil
}

// conflicts shows what stands against an apply, and what it would do to it.
func (e *env) conflicts(list []api.Applied) {
	p := e.painter(e.Stderr)
	for _, a := range list {
		fmt.Fprintf(e.Stderr, "%s: %s\n%s", p.paint(bold, printable(a.Task)), p.paint(yellow, printable(a.Reason)), changeLines(p, a.Changes, "  "))
	}
}

// judged says when an expectation is looked at next.
func judged(d *api.Deadline) string {
	s := "judged next " + stamp(d.At, d.Timezone)
	if d.Excused {
		s += " (" + excusedDeadline + ")"
	}
	return s
}
