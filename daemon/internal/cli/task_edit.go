package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newTaskEdit(e *env) *cobra.Command {
	var version uint64
	cmd := &cobra.Command{
		Use:   "edit NAME",
		Short: "Change a task in your editor",
		Long: `Change a task in your editor, as the file that it would be: VISUAL or EDITOR says
which, else it is vi. What you leave is checked and saved; an unchanged text changes
nothing.

When the text has problems you can go on with it; when somebody has changed the task
meanwhile you are shown how, and nothing is saved. Your text is kept then, in a file
that is named.`,
		Args:              exactly("NAME"),
		ValidArgsFunction: e.completeTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			d, err := c.Definition(ctx, args[0])
			if err != nil {
				return unknown(ctx, c, args[0], err)
			}
			if version != 0 && version != d.Version {
				return withHint(&coded{fmt.Errorf("%s is at version %d, not at %d", d.Name, d.Version, version), exitConflict}, "see it as it is: stepd export "+d.Name)
			}
			return e.edit(ctx, c, d)
		}),
	}
	versionFlag(cmd, &version)
	return cmd
}

func (e *env) edit(ctx context.Context, c *client.Client, d api.Definition) error {
	dir, err := os.MkdirTemp("", "stepd-edit-")
	if err != nil {
		return fmt.Errorf("make a place for the text: %w", err)
	}
	path := filepath.Join(dir, d.Name+".yaml")
	if err := os.WriteFile(path, []byte(d.YAML), 0o600); err != nil {
		return errors.Join(fmt.Errorf("write the text: %w", err), os.RemoveAll(dir))
	}
	if d.Source != "" {
		e.say("note: %s came from %s; applying that file will be a conflict after this", printable(d.Name), printable(d.Source))
	}
	saved, err := e.editFile(ctx, c, d, path)
	switch {
	case errors.Is(err, errUnchanged):
		e.say("%s is unchanged", printable(d.Name))
		return os.RemoveAll(dir)
	case err != nil && errors.Is(err, errNotBegun):
		return errors.Join(err, os.RemoveAll(dir))
	case err != nil:
		if !e.json() { // even with --quiet: it is somebody's work
			defer fmt.Fprintf(e.Stderr, "your text is kept in %s\n", printable(path))
		}
		if ctx.Err() != nil {
			return err
		}
		if _, hint := parts(err); hint == "" {
			err = withHint(err, fmt.Sprintf("see how it differs from the task: stepd diff %s", path))
		}
		return e.tell(err)
	}
	return errors.Join(e.saved(saved, "changed"), os.RemoveAll(dir))
}

var (
	errUnchanged = errors.New("the text is unchanged")
	errNotBegun  = errors.New("the editor could not be started")
)

// editFile has somebody edit the text until it can be saved or they give up.
func (e *env) editFile(ctx context.Context, c *client.Client, d api.Definition, path string) (api.Saved, error) {
	for {
		if err := e.editor(path); err != nil {
			return api.Saved{}, err
		}
		if ctx.Err() != nil {
			return api.Saved{}, ctx.Err()
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return api.Saved{}, fmt.Errorf("read the text: %w", err)
		}
		if string(text) == d.YAML {
			return api.Saved{}, errUnchanged
		}
		saved, err := e.saveText(ctx, c, d, path, text)
		fault, ok := errors.AsType[*api.Error](err)
		if err == nil || ok && fault.Code != api.CodeInvalid || !e.mayAsk() || e.yes {
			return saved, err
		}
		e.report(e.cmd, err)
		again, asked := e.confirm(ctx, "Edit it again?")
		if asked != nil || !again {
			return saved, cmp.Or(asked, error(&reported{err}))
		}
	}
}

func (e *env) saveText(ctx context.Context, c *client.Client, d api.Definition, path string, text []byte) (api.Saved, error) {
	doc, err := jsonOf(path, text)
	if err != nil {
		return api.Saved{}, err
	}
	saved, err := c.ReplaceTask(ctx, d.Name, api.SaveRequest{Task: doc, Dir: d.Dir, Version: d.Version})
	if err != nil {
		return saved, e.inPlace(ctx, c, api.TaskFile{Name: path, Dir: d.Dir, Data: string(text)}, err)
	}
	return saved, nil
}

// editor runs the person's editor, which may be a command with arguments.
//
// Ctrl-C is the editor's to understand, in some of them an everyday key: this
// process must neither end by it nor take it for a wish to stop. What was to be
// told of it before is not any more: from then on it ends the process.
func (e *env) editor(path string) error {
	heard := make(chan os.Signal, 1)
	signal.Ignore(os.Interrupt)
	signal.Notify(heard, os.Interrupt) // caught, not ignored, which the editor would inherit
	defer func() {
		signal.Stop(heard)
		signal.Reset(os.Interrupt)
	}()
	name := cmp.Or(e.Getenv("VISUAL"), e.Getenv("EDITOR"), "vi")
	cmd := exec.Command("/bin/sh", "-c", "exec "+name+` "$1"`, "sh", path) // exec: the shell would end by Ctrl-C
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.Stdin, e.Stdout, e.Stderr
	if e.json() {
		cmd.Stdout = e.Stderr
	}
	if err := cmd.Run(); err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() != 126 && exit.ExitCode() != 127 {
			return fmt.Errorf("the editor %s ended with %w", name, err)
		}
		return withHint(fmt.Errorf("%w: %s: %w", errNotBegun, name, err), "say which to use: EDITOR=nano stepd task edit NAME")
	}
	return nil
}
