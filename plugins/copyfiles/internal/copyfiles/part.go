package copyfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// part is the directory of the temporary files, at the top of the target: on
// its file system, and in one place to clear away.
type part struct {
	name string
	root *os.Root
	dir  *os.File
	next int
}

// indexDir, in the part, is the index of hard links.
const indexDir = "links"

// open makes the part. Of one that an earlier attempt has left it keeps what
// this one goes on with: the file that was cut, and the index of hard links,
// which kept reports.
func (p *part) open(target *os.Root, name string, cut *partial) (kept bool, err error) {
	if err := target.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	root, err := target.OpenRoot(name)
	if err != nil {
		return false, err
	}
	dir, err := root.Open(".")
	if err != nil {
		return false, errors.Join(err, root.Close())
	}
	p.name, p.root, p.dir = name, root, dir
	if cut != nil {
		p.next, _ = strconv.Atoi(cut.Tmp)
	}
	kept, err = p.sweep(cut)
	if err == nil && !kept {
		err = root.Mkdir(indexDir, 0o700)
	}
	if err != nil {
		return false, errors.Join(err, p.close())
	}
	return kept, nil
}

func (p *part) sweep(cut *partial) (kept bool, err error) {
	list, err := p.root.Open(".")
	if err != nil {
		return false, err
	}
	defer list.Close()
	entries, err := list.ReadDir(-1)
	if err != nil {
		return false, err
	}
	for _, entry := range entries {
		switch {
		case entry.Name() == indexDir && entry.IsDir():
			kept = true
		case cut != nil && entry.Name() == cut.Tmp && entry.Type().IsRegular():
		default:
			if err := p.root.RemoveAll(entry.Name()); err != nil {
				return false, err
			}
		}
	}
	return kept, nil
}

func (p *part) close() error { return errors.Join(p.dir.Close(), p.root.Close()) }

func (p *part) remove(target *os.Root, name string) error {
	err := errors.Join(p.close(), target.RemoveAll(name))
	if err != nil {
		return fmt.Errorf("remove temporary files: %w", err)
	}
	return nil
}

func (p *part) newName() string {
	p.next++
	return strconv.Itoa(p.next)
}

func (p *part) create() (string, *os.File, error) {
	name := p.newName()
	f, err := p.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return name, f, err
}

func (p *part) symlink(to string, t time.Time) (string, error) {
	name := p.newName()
	if err := p.root.Symlink(to, name); err != nil {
		return "", err
	}
	return name, setTime(int(p.dir.Fd()), name, t)
}

// drop removes a temporary file at once; what it misses goes with the directory.
func (p *part) drop(name string) {
	if name != "" {
		_ = p.root.Remove(name)
	}
}
