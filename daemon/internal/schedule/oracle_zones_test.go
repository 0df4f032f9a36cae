package schedule_test

import (
	"archive/zip"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// minZones is fewer than any time zone database of these years has. A list of
// zones below it means that the database was not found, not that it shrank.
const minZones = 300

// zoneNames lists the time zone database, from the copy that comes with the Go
// tool chain or, where a distribution leaves that out, from the system's.
func zoneNames(t *testing.T) []string {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("ask the go command for GOROOT: %v", err)
	}
	archive := filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip")
	const tree = "/usr/share/zoneinfo"
	var names []string
	if r, err := zip.OpenReader(archive); err == nil {
		defer r.Close()
		for _, f := range r.File {
			if !strings.HasSuffix(f.Name, "/") {
				names = append(names, f.Name)
			}
		}
	} else if err := fs.WalkDir(os.DirFS(tree), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path == "posix" || path == "right" {
				return fs.SkipDir // the same zones again; and those that count leap seconds
			}
			return nil
		}
		if data, err := os.ReadFile(filepath.Join(tree, path)); err == nil && strings.HasPrefix(string(data), "TZif") {
			names = append(names, path)
		}
		return nil
	}); err != nil {
		t.Fatalf("list %s: %v", tree, err)
	}
	if len(names) < minZones {
		t.Fatalf("found %d time zones in %s and %s, want at least %d: the time zone database is missing or cut short",
			len(names), archive, tree, minZones)
	}
	slices.Sort(names)
	return names
}

// change is a moment at which a zone's clock is set.
type change struct {
	at            int64 // the first second of the new offset
	before, after int   // seconds east of Greenwich
}

func (c change) shift() int64 { return int64(c.after - c.before) }

// zone is one of the database that changes its clock in the years looked at.
type zone struct {
	name    string
	loc     *time.Location
	changes []change
}

func offsetAt(loc *time.Location, unix int64) int {
	_, offset := time.Unix(unix, 0).In(loc).Zone()
	return offset
}

// changesOf finds the changes from 2000 to 2037 by looking at the offset and
// halving. Two changes that undo each other within one step would go unseen; the closest
// ones of these years are weeks apart.
func changesOf(loc *time.Location) []change {
	const step = 24 * 60 * 60
	end := time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	var list []change
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	offset := offsetAt(loc, at)
	for at < end {
		next := at + step
		if offsetAt(loc, next) == offset {
			at = next
			continue
		}
		low, high := at, next // the offset is the old one at low, and not at high
		for high-low > 1 {
			if middle := low + (high-low)/2; offsetAt(loc, middle) == offset {
				low = middle
			} else {
				high = middle
			}
		}
		after := offsetAt(loc, high)
		if high < end {
			list = append(list, change{high, offset, after})
		}
		at, offset = high, after
	}
	return list
}

// changingZones is every zone of the database that changes its clock from 2000
// to 2037. The clocks of all others go by one offset, and no rule of changes
// touches them.
func changingZones(t *testing.T) []zone {
	t.Helper()
	var zones []zone
	for _, name := range zoneNames(t) {
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatalf("load the time zone %s: %v", name, err)
		}
		if changes := changesOf(loc); len(changes) > 0 {
			zones = append(zones, zone{name, loc, changes})
		}
	}
	return zones
}
