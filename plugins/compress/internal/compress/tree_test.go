package compress

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree is what a directory holds: path to content; "dir/" for a directory,
// "-> x" as content for a symbolic link.
type tree map[string]string

// write makes the tree with modes and sub-second times that differ from file
// to file.
func (tr tree) write(t testing.TB, root string) string {
	t.Helper()
	must(t, os.MkdirAll(root, 0o755))
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range tr {
			if !yield(name) {
				return
			}
		}
	})
	for i, name := range names {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		content := tr[name]
		link, isLink := strings.CutPrefix(content, "-> ")
		switch {
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(path, 0o755))
		case isLink:
			must(t, os.Symlink(link, path))
		default:
			must(t, os.WriteFile(path, []byte(content), 0o600))
			must(t, os.Chmod(path, []fs.FileMode{0o644, 0o600, 0o755, 0o440}[i%4]))
			must(t, os.Chtimes(path, time.Time{}, time.Unix(1_600_000_000+int64(i), int64(i)*1_000_001)))
		}
	}
	for i, name := range slices.Backward(names) {
		if strings.HasSuffix(name, "/") {
			path := filepath.Join(root, name)
			must(t, os.Chmod(path, []fs.FileMode{0o755, 0o700, 0o750}[i%3]))
			must(t, os.Chtimes(path, time.Time{}, time.Unix(1_500_000_000+int64(i), 123_456_789)))
		}
	}
	return root
}

// look describes everything below root: content, mode, time, link.
func look(t testing.TB, root string) map[string]string {
	t.Helper()
	seen := map[string]string{}
	must(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("%v %v ", info.Mode(), info.ModTime().UnixNano())
		switch {
		case entry.Type().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += string(content)
		case entry.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += "-> " + to
		}
		seen[rel] = text
		return nil
	}))
	return seen
}

func names(seen map[string]string) []string {
	list := make([]string, 0, len(seen))
	for name := range seen {
		if name != "." {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// sameTrees compares content, mode, time and links of all entries.
func sameTrees(t testing.TB, want, got map[string]string) {
	t.Helper()
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%q is %.120q, want %.120q", name, got[name], text)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%q should not be there", name)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
