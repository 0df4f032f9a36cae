package copyfiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/sdk"
)

// Settings are the settings of the controller copyfiles.
type Settings struct {
	Source  string   `json:"source" jsonschema:"required,minLength=1" jsonschema_description:"Directory to copy. Relative paths start at the task file's directory."`
	Target  string   `json:"target,omitempty" jsonschema_description:"Directory to copy into; made when it is not there. Default: files in the run's own directory."`
	Include []string `json:"include,omitempty" jsonschema_description:"Globs of what to copy, relative to source; ** crosses directories. A directory that matches is taken with all that is in it."`
	Rate    int64    `json:"rate,omitempty" jsonschema:"minimum=1" jsonschema_description:"Read at most so many bytes a second. Default: no limit."`
	Exclude []string `json:"exclude,omitempty" jsonschema_description:"Globs of what to leave out; stronger than include. A directory that matches is left out with all that is in it."`
}

// Plugin is the plugin as it is served.
func Plugin() sdk.Plugin { return plugin(defaultTuning()) }

// tuning holds what tests want smaller, and where they step in.
type tuning struct {
	batchEntries int           // entries between two checkpoints, at most
	batchTime    time.Duration // time between two checkpoints, about
	scanTime     time.Duration // what the search for the total may take
	partialFrom  int64         // files of so many bytes go on where they were cut
	// sync makes all that was written to the file system of dir durable.
	sync func(dir *os.File) error
	// hardLink makes one in the target.
	hardLink   func(root *os.Root, from, to string) error
	started    func() // in the goroutine that copies, before it does
	ended      func() // and after it did
	beforeRead func(rel string)
	afterRead  func(rel string) // all bytes were read, nothing was compared yet
	readBytes  func(n int)      // of the source's content
}

func defaultTuning() tuning {
	nothing := func(string) {}
	return tuning{
		batchEntries: 2000, batchTime: time.Second, scanTime: 2 * time.Second, partialFrom: 8 << 20,
		hardLink: (*os.Root).Link,
		sync:     func(dir *os.File) error { return unix.Syncfs(int(dir.Fd())) }, started: func() {}, ended: func() {}, beforeRead: nothing, afterRead: nothing, readBytes: func(int) {},
	}
}

func plugin(t tuning) sdk.Plugin {
	return sdk.Plugin{Name: "copyfiles", Version: "1.0.0", Controllers: []sdk.Registration{
		sdk.Controller[Settings]{
			Summary:  "Copy a directory tree.",
			Effect:   sdk.Resumable,
			Defaults: Settings{Include: []string{"**"}},
			Run:      func(ctx context.Context, step *sdk.Step[Settings]) error { return run(ctx, step, t) },
		},
	}}
}

func run(ctx context.Context, step *sdk.Step[Settings], t tuning) error {
	t.started()
	defer t.ended()
	filter, err := newFilter(step.Settings.Include, step.Settings.Exclude)
	if err != nil {
		return sdk.Permanent(err)
	}
	state := newState()
	if _, err := step.Resume(&state); err != nil {
		return err
	}
	sourcePath := step.Info.Path(step.Settings.Source)
	targetPath := step.Info.Work("files")
	if step.Settings.Target != "" {
		targetPath = step.Info.Path(step.Settings.Target)
	}
	source, err := openSource(sourcePath)
	if err != nil {
		return err
	}
	defer source.Close()
	target, made, err := openTarget(sourcePath, targetPath)
	if err != nil {
		return err
	}
	defer target.Close()
	if made { // also when an earlier attempt's target was removed meanwhile
		state = newState()
		state.MadeTarget = true
	}
	c := &copier{
		tuning: t, filter: filter, log: step.Log(), source: source, target: target,
		pace: pace{rate: step.Settings.Rate}, sourcePath: sourcePath, targetPath: targetPath, state: state, fresh: made, progress: step.Progress, count: step.Count,
		save: func(v any) error { return step.Checkpoint(ctx, v) },
	}
	err = c.copy(ctx, partName(step.Info.IdempotencyKey))
	if err != nil {
		return err
	}
	if err := c.verdict(); err != nil {
		return err
	}
	step.Message("%s", c.state.Report.message())
	return step.Output("report", c.state.Report)
}

func openSource(path string) (*os.Root, error) {
	root, err := os.OpenRoot(path)
	switch {
	case err == nil:
		return root, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, sdk.Permanent(fmt.Errorf("open source: there is no directory %s", path))
	case errors.Is(err, fs.ErrPermission):
		return nil, sdk.Permanent(fmt.Errorf("open source: no permission to read %s", path))
	}
	if info, statErr := os.Stat(path); statErr == nil && !info.IsDir() {
		return nil, sdk.Permanent(fmt.Errorf("open source: %s is not a directory", path))
	}
	return nil, fmt.Errorf("open source: %w", err)
}

// openTarget opens the target, makes it where it is not there yet, and refuses
// one that the source lies in.
func openTarget(sourcePath, targetPath string) (root *os.Root, made bool, err error) {
	if _, err := os.Lstat(targetPath); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(targetPath), 0o755); err != nil {
			return nil, false, targetError(err)
		}
		// Private until the source's own mode is set at the end.
		if err := os.Mkdir(targetPath, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, false, targetError(err)
		}
		made = true
	}
	info, err := os.Stat(targetPath)
	if err != nil {
		return nil, false, targetError(err)
	}
	if !info.IsDir() {
		return nil, false, sdk.Permanent(fmt.Errorf("open target: %s is not a directory", targetPath))
	}
	if err := refuseSourceInside(sourcePath, targetPath, info); err != nil {
		return nil, false, err
	}
	root, err = os.OpenRoot(targetPath)
	if err != nil {
		return nil, false, targetError(err)
	}
	return root, made, nil
}

func refuseSourceInside(sourcePath, targetPath string, target os.FileInfo) error {
	real, err := filepath.EvalSymlinks(sourcePath)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return fmt.Errorf("resolve source: %w", err)
	}
	for dir := real; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && os.SameFile(info, target) {
			if dir == real {
				return sdk.Permanent(fmt.Errorf("source %s and target %s are the same directory", sourcePath, targetPath))
			}
			return sdk.Permanent(fmt.Errorf("source %s lies inside target %s: choose a target elsewhere", sourcePath, targetPath))
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// targetError is permanent where trying again cannot help.
func targetError(err error) error {
	err = fmt.Errorf("write to target: %w", err)
	if hopeless(err) {
		return sdk.Permanent(err)
	}
	return err
}
