package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stepd/stepd/daemon/internal/api"
)

const stdinName = "<stdin>"

// taskFiles reads what is named on the command line: files, the task files in
// directories, and "-", the standard input, whose relative paths start in the
// working directory. dirs are the directories' absolute paths. A file that is
// named twice is read once. All that cannot be read is in the error.
func (e *env) taskFiles(names []string) (files []api.TaskFile, dirs []string, err error) {
	var faults []error
	seen := map[string]bool{}
	read := func(name string) {
		f, err := e.taskFile(name)
		switch {
		case err != nil:
			faults = append(faults, err)
		case f.Path == "" || !seen[f.Path]:
			seen[f.Path] = true
			files = append(files, f)
		}
	}
	stdin := false
	for _, name := range names {
		if name == "-" && stdin {
			return nil, nil, usageError("the standard input is named twice")
		}
		stdin = stdin || name == "-"
		if info, err := os.Stat(name); name == "-" || err != nil || !info.IsDir() {
			read(name)
			continue
		}
		dir, err := filepath.Abs(name)
		if err != nil {
			return nil, nil, fmt.Errorf("find the directory %s: %w", name, err)
		}
		dirs = append(dirs, dir)
		inside, err := taskFilesIn(name)
		if err != nil {
			faults = append(faults, err)
		}
		for _, path := range inside {
			read(path)
		}
	}
	return files, dirs, errors.Join(faults...)
}

// taskFilesIn lists the task files of a directory in the order of their names,
// not those of directories in it. Editors' own files are none: hidden ones, and
// copies whose names go on behind the ending.
func taskFilesIn(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the directory %s: %w", dir, err)
	}
	var paths []string
	for _, one := range list {
		if !isTaskFile(one.Name()) || strings.HasPrefix(one.Name(), ".") || strings.HasPrefix(one.Name(), "#") {
			continue
		}
		path := filepath.Join(dir, one.Name())
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		paths = append(paths, path) // one that cannot be looked at is a fault when it is read
	}
	return paths, nil
}

// someFiles is an error when there are no task files in the directories.
func someFiles(files []api.TaskFile, dirs []string) error {
	if len(files) > 0 {
		return nil
	}
	return fmt.Errorf("there are no task files in %s: no name ends in .yaml or .yml", strings.Join(dirs, ", "))
}

func isTaskFile(name string) bool {
	return slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name))
}

func (e *env) taskFile(name string) (api.TaskFile, error) {
	f := api.TaskFile{Name: name}
	var in io.Reader = e.Stdin
	path := name
	if name == "-" {
		f.Name, path = stdinName, "."
	} else {
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return f, fmt.Errorf("there is no file %s", name)
		case err != nil:
			return f, err
		case info.IsDir():
			return f, fmt.Errorf("%s is a directory", name)
		}
		file, err := os.Open(name)
		if err != nil {
			return f, err
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, api.MaxBody+1))
	if err != nil {
		return f, fmt.Errorf("read %s: %w", f.Name, err)
	}
	if len(data) > api.MaxBody {
		return f, fmt.Errorf("%s is larger than %d KiB, which no task file is", f.Name, api.MaxBody>>10)
	}
	if !utf8.Valid(data) {
		return f, fmt.Errorf("%s is no text: it is not valid UTF-8", f.Name)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return f, fmt.Errorf("find the directory of %s: %w", f.Name, err)
	}
	if name != "-" {
		f.Path = abs
		abs = filepath.Dir(abs)
	}
	f.Dir, f.Data = abs, string(data)
	return f, nil
}
