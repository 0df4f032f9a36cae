package retain

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// failer is a test, or one of rapid's.
type failer interface {
	Helper()
	Fatal(...any)
}

func must(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func nameOf(task string, at time.Time, run int) string {
	return fmt.Sprintf("%s-%s-%d.tar.zst", task, at.UTC().Format("20060102T150405Z"), run)
}

// put makes an archive with its manifest, as compress writes it, and returns
// its name.
func put(t testing.TB, dir, task string, at time.Time, run int) string {
	t.Helper()
	name := nameOf(task, at, run)
	putNamed(t, dir, name, task, at, run)
	return name
}

func putNamed(t testing.TB, dir, name, task string, at time.Time, run int) {
	t.Helper()
	content := []byte("archive " + name)
	must(t, os.WriteFile(filepath.Join(dir, name), content, 0o640))
	must(t, os.WriteFile(filepath.Join(dir, name+manifestSuffix), manifestOf(t, content, task, at, run), 0o640))
}

func manifestOf(t testing.TB, content []byte, task string, at time.Time, run int) []byte {
	t.Helper()
	quoted, err := json.Marshal(task)
	must(t, err)
	return fmt.Appendf(nil, `{"version":1,"created":%q,"task":%s,"run":%d,"idempotency_key":"k","format":"tar.zst","entries":[
{"path":".","type":"dir","mode":"0755","mtime":"2026-11-24T02:30:00Z"},
{"path":"a","type":"file","size":1,"mode":"0644","mtime":"2026-11-24T02:30:00Z","sha256":"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}
],"totals":{"entries":2,"files":1,"bytes":1},"archive":{"bytes":%d,"sha256":"%x"}}
`, at.Format(time.RFC3339), quoted, run, len(content), sha256.Sum256(content))
}

// names lists a directory, manifests left out where their archive is there.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var list []string
	for _, entry := range entries {
		if archive, ok := strings.CutSuffix(entry.Name(), manifestSuffix); ok {
			if _, err := os.Lstat(filepath.Join(dir, archive)); err == nil {
				continue
			}
		}
		list = append(list, entry.Name())
	}
	slices.Sort(list)
	return list
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}
