package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newExport(e *env) *cobra.Command {
	dir := ""
	cmd := &cobra.Command{
		Use:   "export [NAME...]",
		Short: "Write tasks as task files",
		Long: `Write tasks as task files: those that are named, or all. They go to the standard
output, one document each, or with --dir to NAME.yaml files in that directory.

A file that is there and says something else is overwritten only after asking; --yes
answers that. Relative paths in a task start in its directory: where the file goes
elsewhere you are told.`,
		Example: `  stepd export backup > backup.yaml
  stepd export -d tasks.d/`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return atLeastOne("NAME")(cmd, args)
		},
		ValidArgsFunction: e.completeManyTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			return e.export(ctx, c, args, dir)
		}),
	}
	cmd.Flags().StringVarP(&dir, "dir", "d", "", "write a file for each task into this directory `DIR`")
	_ = cmd.MarkFlagDirname("dir")
	return cmd
}

func (e *env) export(ctx context.Context, c *client.Client, names []string, dir string) error {
	list, err := e.definitions(ctx, c, names)
	if err != nil {
		return err
	}
	switch {
	case dir != "":
		return e.exportTo(ctx, dir, list)
	case e.json():
		return e.printJSON(api.Page[api.Definition]{Items: list})
	case len(list) == 0:
		e.say("there are no tasks yet: stepd apply FILE saves one")
	}
	for i, d := range list {
		if i > 0 {
			if err := e.print("---\n"); err != nil {
				return err
			}
		}
		if err := e.print(d.YAML); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) definitions(ctx context.Context, c *client.Client, names []string) ([]api.Definition, error) {
	list := []api.Definition{}
	if len(names) > 0 {
		var faults faults
		for _, name := range names {
			d, err := c.Definition(ctx, name)
			if err != nil {
				if !faults.add(e, unknown(ctx, c, name, err), len(names)) {
					break
				}
				continue
			}
			list = append(list, d)
		}
		return list, faults.err
	}
	for after := ""; ; {
		page, err := c.Export(ctx, after, api.MaxPage)
		if err != nil {
			return nil, err
		}
		list = append(list, page.Items...)
		if after = page.Next; after == "" {
			return list, nil
		}
	}
}

// exportTo writes files. All that would be overwritten is asked about before
// anything is written.
func (e *env) exportTo(ctx context.Context, dir string, list []api.Definition) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of the files: %w", err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find the directory %s: %w", dir, err)
	}
	type file struct{ path, action string }
	files := make([]file, len(list))
	var others []string
	for i, d := range list {
		files[i] = file{filepath.Join(dir, d.Name+".yaml"), "written"}
		old, err := os.ReadFile(files[i].path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("see what is there already: %w", err)
		case bytes.Equal(old, []byte(d.YAML)):
			files[i].action = "unchanged"
		default:
			files[i].action = "overwritten"
			others = append(others, printable(files[i].path))
		}
	}
	if len(others) > 0 {
		if !e.json() {
			fmt.Fprintf(e.Stderr, "%s %s something else\n", strings.Join(others, ", "), them(len(others), "is there and says", "are there and say"))
		}
		ok, err := e.confirm(ctx, "Overwrite "+them(len(others), "it", "them")+"?")
		if err != nil {
			return err
		}
		if !ok {
			return errDeclined
		}
	}
	type exported struct {
		Task   string `json:"task"`
		File   string `json:"file"`
		Action string `json:"action"`
	}
	done := []exported{}
	for i, d := range list {
		f := files[i]
		if f.action != "unchanged" {
			if err := writeFile(f.path, []byte(d.YAML)); err != nil {
				return fmt.Errorf("write the file of %s: %w", d.Name, err)
			}
		}
		done = append(done, exported{d.Name, f.path, f.action})
		if !e.json() {
			if err := e.print(fmt.Sprintf("%s %s\n", printable(f.path), f.action)); err != nil {
				return err
			}
		}
		if d.Dir != "" && d.Dir != abs && f.action != "unchanged" {
			e.say("note: relative paths in %s started in %s", printable(d.Name), printable(d.Dir))
		}
	}
	if e.json() {
		return e.printJSON(struct {
			Files []exported `json:"files"`
		}{done})
	}
	return nil
}

// writeFile puts a whole file into the place of another, or leaves that alone.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".stepd-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
