package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newDelete(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME|FILE|DIR...",
		Short: "Delete tasks, by their names or those in files; their runs stay",
		Long: `Delete tasks, by their names or those in task files, after asking; --yes answers
that. The files stay, and so do the runs. Of several tasks all are deleted or none; one
that is changed while you are asked is a conflict.

What has a / in it or ends in .yaml or .yml is a file or a directory, as in apply;
"-" is a file on the standard input.`,
		Example: `  stepd delete import newsletter
  stepd delete tasks.d/import.yaml
  stepd delete tasks.d/`,
		Args:              atLeastOne("NAME or FILE"),
		ValidArgsFunction: e.completeTasksAndFiles,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			return e.delete(ctx, c, args)
		}),
	}
}

func newTaskDelete(e *env) *cobra.Command {
	var version uint64
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a task; its runs stay",
		Long: `Delete a task after asking; --yes answers that. Its runs stay. Several, or those of
files: stepd delete.`,
		Args:              exactly("NAME"),
		ValidArgsFunction: e.completeTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			t, err := c.Task(ctx, args[0])
			if err != nil {
				return unknown(ctx, c, args[0], err)
			}
			if version == 0 {
				version = t.Version
			}
			deleted, err := e.deleteTasks(ctx, c, []api.TaskVersion{{Task: t.Name, Version: version}})
			if err != nil || !e.json() {
				return err
			}
			return e.printJSON(struct {
				Deleted string `json:"deleted"`
			}{deleted[0]})
		}),
	}
	versionFlag(cmd, &version)
	return cmd
}

func (e *env) delete(ctx context.Context, c *client.Client, args []string) error {
	var names, paths []string
	for _, a := range args {
		if a == "-" || strings.ContainsRune(a, os.PathSeparator) || isTaskFile(a) {
			paths = append(paths, a)
		} else {
			names = append(names, a)
		}
	}
	var list []api.TaskVersion
	seen := map[string]bool{}
	add := func(name string, version uint64) {
		if !seen[name] {
			seen[name] = true
			list = append(list, api.TaskVersion{Task: name, Version: version})
		}
	}
	var faults faults
	for _, name := range names {
		t, err := c.Task(ctx, name)
		if err != nil {
			if info, e := os.Stat(name); e == nil && info.IsDir() {
				err = withHint(err, fmt.Sprintf("the tasks of the files in the directory: stepd delete %s/", name))
			}
			if !faults.add(e, unknown(ctx, c, name, err), len(args)) {
				break
			}
			continue
		}
		add(t.Name, t.Version)
	}
	if faults.err != nil {
		return faults.err
	}
	if len(paths) > 0 {
		files, dirs, err := e.taskFiles(paths)
		if err == nil {
			err = someFiles(files, dirs)
		}
		if err != nil {
			return err
		}
		would, err := c.Apply(ctx, api.ApplyRequest{Files: files, DryRun: true})
		if err != nil {
			return err
		}
		for _, a := range would.Tasks {
			if a.Action == "created" {
				e.say("%s is not there, the task of %s", printable(a.Task), printable(a.File))
				continue
			}
			if a.Action == "conflict" {
				e.say("note: %s", printable(a.Reason))
			}
			t, err := c.Task(ctx, a.Task)
			if err != nil {
				return err
			}
			add(t.Name, t.Version)
		}
	}
	deleted, err := e.deleteTasks(ctx, c, list)
	if err != nil || !e.json() {
		return err
	}
	return e.printJSON(struct {
		Deleted []string `json:"deleted"`
	}{deleted})
}

// deleteTasks asks, and deletes the tasks as they were at their versions: all or
// none.
func (e *env) deleteTasks(ctx context.Context, c *client.Client, list []api.TaskVersion) (deleted []string, err error) {
	deleted = []string{}
	if len(list) == 0 {
		e.say("there is nothing to delete")
		return deleted, nil
	}
	question := fmt.Sprintf("Delete the task %s? Its runs stay.", printable(list[0].Task))
	if len(list) > 1 {
		var names []string
		for _, one := range list {
			names = append(names, printable(one.Task))
		}
		question = fmt.Sprintf("Delete %d tasks: %s? Their runs stay.", len(list), strings.Join(names, ", "))
	}
	ok, err := e.confirm(ctx, question)
	if err != nil {
		return deleted, err
	}
	if !ok {
		return deleted, errDeclined
	}
	if len(list) == 1 {
		err = c.DeleteTask(ctx, list[0].Task, list[0].Version)
	} else {
		_, err = c.Apply(ctx, api.ApplyRequest{Delete: list})
	}
	if err != nil {
		return deleted, err
	}
	for _, one := range list {
		deleted = append(deleted, one.Task)
		e.say("%s is deleted", printable(one.Task))
	}
	return deleted, nil
}

// versionFlag is for commands that change a task only as it was at a version.
func versionFlag(cmd *cobra.Command, version *uint64) {
	cmd.Flags().Uint64Var(version, "version", 0, "only if the task is at this version `N` still; else it is a conflict")
}
