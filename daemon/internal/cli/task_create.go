package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newTaskCreate(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "create FILE",
		Short: "Make a task of a definition; without steps it is a draft",
		Long: `Make a task of a definition in YAML or JSON, with the keys of a task file. "-" is the
standard input. Unlike apply it refuses a task that exists already, and the task does
not belong to the file afterwards.

A task without steps is kept as a draft, which cannot be run until it has some:
stepd task step add.`,
		Example: `  stepd task create import.yaml
  echo '{"name": "import"}' | stepd task create -`,
		Args:              exactly("FILE"),
		ValidArgsFunction: completeTaskFiles,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			f, err := e.taskFile(args[0])
			if err != nil {
				return err
			}
			doc, err := jsonOf(f.Name, []byte(f.Data))
			if err != nil {
				return err
			}
			saved, err := c.CreateTask(ctx, api.SaveRequest{Task: doc, Dir: f.Dir})
			if err != nil {
				return e.inPlace(ctx, c, f, err)
			}
			return e.saved(saved, "created")
		}),
	}
}

// inPlace makes of problems in a definition those of the text that it was
// written as, where that has lines and columns.
func (e *env) inPlace(ctx context.Context, c *client.Client, f api.TaskFile, err error) error {
	fault, ok := errors.AsType[*api.Error](err)
	if !ok || len(fault.Problems) == 0 {
		return err
	}
	f.Path = ""
	if _, better := c.Validate(ctx, []api.TaskFile{f}); better != nil {
		if inFile, ok := errors.AsType[*api.Error](better); ok && len(inFile.Problems) > 0 {
			return inFile
		}
	}
	for i := range fault.Problems {
		if fault.Problems[i].File == "" {
			fault.Problems[i].File = f.Name
		}
	}
	return err
}

// saved shows what has become of a task that was changed.
func (e *env) saved(s api.Saved, action string) error {
	if e.json() {
		return e.printJSON(s)
	}
	p := e.painter(e.Stdout)
	steps := s.Task.StepCount
	if action == "changed" && len(s.Changes) == 0 {
		action = "unchanged"
	}
	out := fmt.Sprintf("%s %s (version %d, %s)\n", p.paint(bold, printable(s.Task.Name)), action, s.Task.Version, count(steps, "step"))
	if action != "created" {
		out += changeLines(p, s.Changes, "  ")
	}
	if err := e.print(out); err != nil {
		return err
	}
	if s.Task.Status == "draft" {
		e.say("it is a draft: it can be run when it has steps")
	}
	return nil
}
