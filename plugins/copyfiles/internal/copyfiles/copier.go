package copyfiles

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/sdk"
)

// copier is one attempt to copy one tree.
type copier struct {
	tuning
	filter                 filter
	log                    hclog.Logger
	source, target         *os.Root
	sourcePath, targetPath string // for people
	progress               func(done, total float64, note string)
	count                  func(map[string]int64)
	save                   func(checkpoint any) error

	state      state
	fresh      bool // this attempt made the target
	batch      batch
	part       part
	targetInfo fs.FileInfo
	total      scanned
	owner      bool // may set owners
	buffer     []byte
	pace       pace
	unlinkable bool // the target has no hard links
}

// directory is a directory of the source on the way to where the walk is.
type directory struct {
	parent *directory
	rel    string // "" for the root
	info   fs.FileInfo
	made   bool // is there in the target
	fresh  bool // was made by this attempt: holds nothing that we did not put there
}

// partPrefix begins the name of the directory, at the top of the target, in
// which files are written before they get their names.
const partPrefix, partSuffix = ".copyfiles-", ".part"

func partName(idempotencyKey string) string {
	sum := sha256.Sum256([]byte(idempotencyKey))
	return fmt.Sprintf("%s%x%s", partPrefix, sum[:6], partSuffix)
}

func isPart(name string) bool {
	return strings.HasPrefix(name, partPrefix) && strings.HasSuffix(name, partSuffix)
}

// copy walks the source from where the state stands. Whatever it returns, what
// was copied until then is under its own name, durable and in a checkpoint, as
// far as that is possible.
func (c *copier) copy(ctx context.Context, partName string) (err error) {
	if c.targetInfo, err = c.target.Stat("."); err != nil {
		return fmt.Errorf("look at target: %w", err)
	}
	rootInfo, err := c.source.Stat(".")
	if err != nil {
		return fmt.Errorf("look at source: %w", err)
	}
	kept, err := c.part.open(c.target, partName, c.state.Partial)
	if err != nil {
		return targetError(err)
	}
	if c.state.Indexed && !kept {
		// Names that are still to come may belong to files that were copied before.
		// Those are there and are not read again.
		c.log.Info("looking at all files again: what was known of hard links is gone")
		fresh := newState()
		fresh.MadeTarget = c.state.MadeTarget
		c.state = fresh
	}
	defer func() {
		if err != nil && resumes(ctx) {
			err = errors.Join(err, c.part.close())
			return
		}
		err = errors.Join(err, c.part.remove(c.target, partName))
		if err == nil && c.state.MadeTarget {
			// Only now, as removing from it has touched its time.
			err = c.complete(&directory{info: rootInfo})
		}
	}()
	c.owner = os.Geteuid() == 0
	c.buffer = make([]byte, 256<<10)
	c.batch.begun, c.batch.saved = time.Now(), c.state
	var after []string
	if len(c.state.Position) > 0 {
		after = strings.Split(string(c.state.Position), "/")
		c.log.Info("going on after an earlier attempt", "position", string(c.state.Position), "files", c.state.Report.Files)
	} else if err := c.save(c.state); err != nil { // else who made the target would be forgotten
		return err
	}
	if c.total, err = c.scan(ctx); err != nil {
		return err
	}
	root := &directory{info: rootInfo, made: true, fresh: c.fresh}
	err = c.walk(ctx, c.source, root, false, after)
	if finishErr := c.finish(); err == nil {
		err = finishErr
	}
	return err
}

// resumes reports whether ctx ended in a way after which the work goes on.
func resumes(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return cause != nil && !errors.Is(cause, sdk.ErrCancelled) && !errors.Is(cause, sdk.ErrDeadline)
}

// walk copies what is in one directory. after is where an earlier attempt
// stopped within it: names before it are done.
func (c *copier) walk(ctx context.Context, source *os.Root, dir *directory, included bool, after []string) error {
	names, err := sortedNames(source)
	if err != nil {
		c.unread(dir.rel+"/", err)
		return nil
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var deeper []string
		again := false
		if len(after) > 0 {
			switch strings.Compare(name, after[0]) {
			case -1:
				continue
			case 0:
				deeper, again = after[1:], true
			}
		}
		if dir.parent == nil && isPart(name) {
			c.log.Info("left out: it is what an interrupted copy left behind", "path", name)
			continue
		}
		if err := c.entry(ctx, source, dir, name, included, again, deeper); err != nil {
			return err
		}
		if err := c.flushWhenDue(); err != nil {
			return err
		}
	}
	return nil
}

func sortedNames(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// entry copies one entry of a directory. again says that an earlier attempt
// has met it: then only a directory may have something left in it.
func (c *copier) entry(ctx context.Context, source *os.Root, dir *directory, name string, included, again bool, deeper []string) error {
	rel := path.Join(dir.rel, name)
	if c.filter.excludes(rel) {
		return nil
	}
	take := c.takes(rel, included)
	info, err := source.Lstat(name)
	switch {
	case err != nil:
		if take && !again {
			c.unread(rel, err)
		}
		return nil
	case info.IsDir():
		return c.enter(ctx, source, &directory{parent: dir, rel: rel, info: info}, name, take, again, deeper)
	case again || !take:
		return nil
	case info.Mode().IsRegular():
		err = c.file(ctx, source, dir, name, rel, info)
	case info.Mode()&fs.ModeSymlink != 0:
		err = c.link(source, dir, name, rel, info)
	default:
		c.state.Report.Skipped++
		c.log.Warn("skipped: neither a file, a directory nor a symbolic link", "path", rel, "mode", info.Mode().String())
	}
	if err != nil {
		return err
	}
	c.state.Position = []byte(rel)
	return nil
}

// takes reports whether the path is to be copied, and notes the patterns that it
// is the first to match: also below a directory that is taken as a whole.
func (c *copier) takes(rel string, included bool) bool {
	for i, pattern := range c.filter.include {
		if included && slices.Contains(c.state.Matched, i) {
			continue
		}
		if !doublestar.MatchUnvalidated(pattern, rel) {
			continue
		}
		included = true
		if !slices.Contains(c.state.Matched, i) {
			c.state.Matched = append(c.state.Matched, i)
		}
	}
	return included
}

// enter copies a directory with what is in it.
func (c *copier) enter(ctx context.Context, source *os.Root, dir *directory, name string, take, again bool, deeper []string) error {
	if os.SameFile(dir.info, c.targetInfo) {
		c.log.Info("left out: it is the target itself", "path", dir.rel)
		return nil
	}
	if !take && !c.filter.mayContain(dir.rel) {
		return nil
	}
	sub, err := source.OpenRoot(name)
	if err == nil {
		defer sub.Close()
		var opened fs.FileInfo
		if opened, err = sub.Stat("."); err == nil && !os.SameFile(opened, dir.info) {
			err = errReplaced
		}
	}
	if err != nil {
		c.unread(dir.rel+"/", err)
		return nil
	}
	if again {
		// Was counted when it was made.
		there, err := c.target.Lstat(dir.rel)
		dir.made = err == nil && there.IsDir()
		if dir.made {
			if err := c.openUp(dir.rel, there); err != nil {
				return targetError(err)
			}
		}
	}
	if take {
		if err := c.make(dir); err != nil {
			return err
		}
	}
	if !again {
		c.state.Position = []byte(dir.rel)
	}
	if err := c.walk(ctx, sub, dir, take, deeper); err != nil {
		return err
	}
	if dir.made {
		c.batch.add(operation{dir: dir})
	}
	return nil
}

// make makes the directory and those above it in the target. Their modes and
// times are set when all is in them.
func (c *copier) make(dir *directory) error {
	if dir.made {
		return nil
	}
	if err := c.make(dir.parent); err != nil {
		return err
	}
	err := c.target.Mkdir(dir.rel, 0o700)
	switch {
	case err == nil:
		dir.fresh = true
	case errors.Is(err, fs.ErrExist):
		there, err := c.target.Lstat(dir.rel)
		if err != nil {
			return targetError(err)
		}
		if !there.IsDir() {
			return sdk.Permanent(fmt.Errorf("copy directory %s: %s is in its place and is no directory: remove it or choose another target",
				dir.rel, path.Join(c.targetPath, dir.rel)))
		}
		if err := c.openUp(dir.rel, there); err != nil {
			return targetError(err)
		}
	default:
		return targetError(err)
	}
	dir.made = true
	c.state.Report.Dirs++
	return nil
}

// openUp lets us write into a directory that an earlier copy left read-only.
func (c *copier) openUp(rel string, there fs.FileInfo) error {
	if there.Mode().Perm()&0o700 == 0o700 {
		return nil
	}
	return c.target.Chmod(rel, there.Mode().Perm()|0o700)
}

var errReplaced = errors.New("was replaced while it was read")

// unread notes what could not be copied because of its source.
func (c *copier) unread(rel string, err error) {
	r := &c.state.Report
	if errors.Is(err, fs.ErrNotExist) {
		r.VanishedCount++
		r.Vanished = listed(r.Vanished, rel)
		c.log.Warn("vanished before it was copied", "path", rel)
		return
	}
	cause := err
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		cause = pathError.Err
	}
	r.UnreadableCount++
	r.Unreadable = listed(r.Unreadable, rel+": "+cause.Error())
	c.state.Retryable = c.state.Retryable || !hopeless(err)
	c.log.Warn("could not be read", "path", rel, "error", cause)
}

// verdict is the error of a copy that misses files which are still there, or
// that was told to copy what is not there at all. The checkpoint is taken back
// first, so that another attempt looks again.
func (c *copier) verdict() error {
	missing := c.noteUnmatched()
	r := c.state.Report
	if r.UnreadableCount == 0 && !missing {
		return nil
	}
	fresh := newState()
	fresh.MadeTarget = c.state.MadeTarget
	if err := c.save(fresh); err != nil {
		return err
	}
	if r.UnreadableCount == 0 {
		return sdk.Permanent(fmt.Errorf("nothing in %s matches include: %s; check the patterns, which are relative to the source",
			c.sourcePath, shownPatterns(r.Unmatched, r.unmatched)))
	}
	shown := r.Unreadable[:min(len(r.Unreadable), 10)]
	more := ""
	if rest := r.UnreadableCount - int64(len(shown)); rest > 0 {
		more = fmt.Sprintf("; and %d more (see the log)", rest)
	}
	err := fmt.Errorf("%d could not be read in %s: %s%s; all else was copied (%s)",
		r.UnreadableCount, c.sourcePath, strings.Join(shown, "; "), more, r.message())
	if !c.state.Retryable {
		return sdk.Permanent(err)
	}
	return err
}

// noteUnmatched puts the patterns that nothing has matched into the report and
// the log, and reports whether they are all that there are.
func (c *copier) noteUnmatched() (all bool) {
	r := &c.state.Report
	r.Unmatched, r.unmatched = []string{}, 0
	for i, pattern := range c.filter.include {
		if slices.Contains(c.state.Matched, i) || everything(pattern) {
			continue
		}
		r.unmatched++
		r.Unmatched = listed(r.Unmatched, c.filter.given[i])
		c.log.Warn("nothing matches a pattern of include", "pattern", c.filter.given[i], "source", c.sourcePath)
	}
	return r.unmatched == len(c.filter.include)
}
