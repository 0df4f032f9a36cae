package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Limits of a value.
const (
	MinValue = 4        // bytes: a shorter one would be found in every text
	MaxValue = 64 << 10 // bytes
	maxName  = 128
)

// ErrNone is the error of a secret that is nowhere.
var ErrNone = errors.New("there is no such secret")

// Config says where secrets are.
type Config struct {
	// Files holds files by the names of their secrets. Such a secret is looked for
	// nowhere else.
	Files map[string]string
	// Credentials is the directory that systemd has put credentials into
	// (CREDENTIALS_DIRECTORY); empty: there is none.
	Credentials string
	// Dirs are looked through in this order; the first that has a file of the name
	// counts. They need not exist.
	Dirs []string
}

// Resolver finds values. It keeps none, so that one which was changed counts
// from the next call on. Its methods may be called from any goroutine and wait
// for the disk.
type Resolver struct{ config Config }

// New makes a resolver; it reads nothing.
func New(c Config) *Resolver { return &Resolver{c} }

// Value is the value of a secret. No error ever holds any of it.
func (r *Resolver) Value(name string) (string, error) {
	p, err := r.find(name)
	if err != nil {
		return "", err
	}
	value, err := p.read()
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", name, err)
	}
	return value, nil
}

// Found is a secret that is there.
type Found struct {
	Name string
	From string // "credential", "file PATH" or "directory PATH"
	Err  error  // why its value cannot be had now
}

// Look finds where a secret would be taken from, and whether that works. From
// is empty when it is nowhere.
func (r *Resolver) Look(name string) Found {
	found := Found{Name: name}
	p, err := r.find(name)
	if found.Err = err; err == nil {
		found.From = p.from
		if _, err := p.read(); err != nil {
			found.Err = fmt.Errorf("secret %s: %w", name, err)
		}
	}
	return found
}

// Names lists all secrets that are there or named by the configuration, sorted.
// The warnings are for directories that cannot be read and files whose names
// nobody can refer to.
func (r *Resolver) Names() (names, warnings []string) {
	all := make(map[string]bool)
	for name := range r.config.Files {
		all[name] = true
	}
	dirs := r.config.Dirs
	if r.config.Credentials != "" {
		dirs = append([]string{r.config.Credentials}, dirs...)
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			warnings = append(warnings, fmt.Sprintf("the directory of secrets %s cannot be read: %v", dir, err))
		}
		for _, entry := range entries {
			switch name := entry.Name(); {
			case strings.HasPrefix(name, "."), entry.IsDir():
			case CheckName(name) != nil:
				warnings = append(warnings, fmt.Sprintf("%s holds no secret that settings can refer to: %v", filepath.Join(dir, name), CheckName(name)))
			default:
				all[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all)), warnings
}

// CheckName says what is wrong with the name of a secret.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name of a secret is empty")
	case len(name) > maxName:
		return fmt.Errorf("the name of a secret has %d bytes, at most %d are allowed", len(name), maxName)
	}
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", rune(c))) {
			return fmt.Errorf("the name %q of a secret must be made of letters, digits, '.', '_' and '-', and begin with a letter or digit", name)
		}
	}
	return nil
}

// find says where a secret is, by what lies there now.
func (r *Resolver) find(name string) (place, error) {
	if err := CheckName(name); err != nil {
		return place{}, fmt.Errorf("secret: %w", err)
	}
	if path, named := r.config.Files[name]; named {
		return place{dir: filepath.Dir(path), name: filepath.Base(path), from: "file " + path}, nil
	}
	var looked []string
	if dir := r.config.Credentials; dir != "" {
		p := place{dir: dir, name: name, from: "credential", credential: true}
		if p.exists() {
			return p, nil
		}
		looked = append(looked, "the credentials of systemd")
	}
	for _, dir := range r.config.Dirs {
		p := place{dir: dir, name: name, from: "directory " + dir}
		if p.exists() {
			return p, nil
		}
		looked = append(looked, dir)
	}
	const todo = "name its file under secrets in the configuration"
	if len(looked) == 0 {
		return place{}, fmt.Errorf("secret %s: %w: %s", name, ErrNone, todo)
	}
	return place{}, fmt.Errorf("secret %s: %w in %s: put its value into a file of that name there, mode 0600, or %s",
		name, ErrNone, strings.Join(looked, ", "), todo)
}
