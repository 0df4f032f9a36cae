package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/stepd/stepd/daemon/internal/api"
)

const stdinName = "<stdin>"

// taskFiles reads what is named on the command line; "-" is the standard input,
// whose relative paths start in the working directory. All that cannot be read
// is in the error.
func (e *env) taskFiles(names []string) ([]api.TaskFile, error) {
	var files []api.TaskFile
	var faults []error
	stdin := false
	for _, name := range names {
		if name == "-" && stdin {
			return nil, usageError("the standard input is named twice")
		}
		stdin = stdin || name == "-"
		f, err := e.taskFile(name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		files = append(files, f)
	}
	return files, errors.Join(faults...)
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
			return f, fmt.Errorf("%s is a directory: name the files in it, as in %s", name, filepath.Join(name, "*.yaml"))
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
		abs = filepath.Dir(abs)
	}
	f.Dir, f.Data = abs, string(data)
	return f, nil
}
