package copyfiles

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stepd/stepd/sdk"
	"github.com/stepd/stepd/sdk/sdktest"
)

// families lists, for each file below root with more than one name there, its
// names.
func families(t testing.TB, root string) []string {
	t.Helper()
	names := map[string][]string{}
	must(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		names[inodeOf(info)] = append(names[inodeOf(info)], rel)
		return nil
	}))
	var list []string
	for _, family := range names {
		if len(family) > 1 {
			slices.Sort(family)
			list = append(list, strings.Join(family, " = "))
		}
	}
	slices.Sort(list)
	return list
}

func link(t testing.TB, root, from, to string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, to)), 0o755))
	must(t, os.Link(filepath.Join(root, from), filepath.Join(root, to)))
}

func sameFamilies(t testing.TB, want, got string) {
	t.Helper()
	if w, g := families(t, want), families(t, got); !slices.Equal(w, g) {
		t.Errorf("hard links:\n got %q\nwant %q", g, w)
	}
}

func TestHardLinksStayHardLinks(t *testing.T) {
	dir := t.TempDir()
	source := tree{"a": "one", "b": "two", "d/single": "three", "d/": ""}.write(t, dir+"/s")
	link(t, source, "a", "d/a2")
	link(t, source, "a", "z/a3")
	link(t, source, "b", "b2")
	link(t, dir, "s/d/single", "outside") // its other name is not copied
	h := sdktest.New(t, Plugin())
	copy := func(target string, more Settings) (Report, string) {
		t.Helper()
		more.Source, more.Target = source, target
		result := h.Execute(t.Context(), sdktest.Start{Settings: more})
		result.RequireCompleted(t)
		var report Report
		result.Output(t, "report", &report)
		return report, result.Message
	}
	report, message := copy(dir+"/t", Settings{})
	sameTrees(t, look(t, source), look(t, dir+"/t"))
	sameFamilies(t, source, dir+"/t")
	if report.Files != 6 || report.Linked != 3 || message != "copied 6 files, 20 B, 3 of them hard links to others" {
		t.Errorf("%q, %+v", message, report)
	}
	// Again: nothing is written.
	before := inodes(t, dir+"/t")
	if report, _ = copy(dir+"/t", Settings{}); report.Unchanged != 6 || !slices.Equal(before, inodes(t, dir+"/t")) {
		t.Errorf("a second time: %+v", report)
	}
	// Names that are separate files in the target become one.
	must(t, os.Remove(dir+"/t/d/a2"))
	must(t, os.Remove(dir+"/t/b"))
	for _, name := range []string{"d/a2", "b"} {
		content, err := os.ReadFile(filepath.Join(source, name))
		must(t, err)
		info, err := os.Stat(filepath.Join(source, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "t", name), content, 0o600))
		must(t, os.Chmod(filepath.Join(dir, "t", name), info.Mode()))
		must(t, os.Chtimes(filepath.Join(dir, "t", name), info.ModTime(), info.ModTime()))
	}
	copy(dir+"/t", Settings{})
	sameFamilies(t, source, dir+"/t")
	// Of what is chosen only.
	copy(dir+"/some", Settings{Include: []string{"d", "z"}})
	if got := families(t, dir+"/some"); !slices.Equal(got, []string{"d/a2 = z/a3"}) {
		t.Errorf("of some: %q", got)
	}
}

func inodes(t testing.TB, root string) []string {
	t.Helper()
	var list []string
	must(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		list = append(list, path+" "+inodeOf(info))
		return err
	}))
	return list
}

func TestAFileThatChangesBetweenItsNamesIsCopiedAgain(t *testing.T) {
	dir := t.TempDir()
	source := tree{"a": "old", "b": "b"}.write(t, dir+"/s")
	link(t, source, "a", "c")
	tuned := defaultTuning()
	tuned.beforeRead = func(rel string) {
		if rel == "b" {
			must(t, os.WriteFile(source+"/a", []byte("newer"), 0o600))
		}
	}
	h := sdktest.New(t, plugin(tuned))
	h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source, Target: dir + "/t"}}).RequireCompleted(t)
	seen := look(t, dir+"/t")
	if !strings.HasSuffix(seen["a"], " old") || !strings.HasSuffix(seen["c"], " newer") || len(families(t, dir+"/t")) > 0 {
		t.Errorf("the target holds %q", seen)
	}
}

// Cut by a crash, a stop of the daemon, a failure or a person: in the end the
// names that belong together do so.
func TestHardLinksSurviveCuts(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	dir := t.TempDir()
	source := manyFiles().write(t, dir+"/s")
	files := names(look(t, source))
	for i := range 120 {
		from := files[random.IntN(len(files))]
		if info, err := os.Lstat(filepath.Join(source, from)); err == nil && info.Mode().IsRegular() {
			link(t, source, from, fmt.Sprintf("d%02d/e%d/l%03d", i%20, i%3, i))
		}
	}
	for seed := range 12 {
		target := fmt.Sprintf("%s/t%d", dir, seed)
		tuned := defaultTuning()
		tuned.batchEntries = 1 + random.IntN(40)
		ended := make(chan struct{}, 1)
		tuned.ended = func() { ended <- struct{}{} }
		reads, stopAt := 0, 0
		var cut func()
		var fail error
		tuned.beforeRead = func(string) {
			if reads++; reads == stopAt {
				cut()
			}
		}
		tuned.sync = func(*os.File) error { return fail }
		h := sdktest.New(t, plugin(tuned))
		start := sdktest.Start{Settings: Settings{Source: source, Target: target}}
		for start.Attempt = 1; ; start.Attempt++ {
			ctx, cancel := context.WithCancel(t.Context())
			stop := make(chan error, 1)
			start.Cancel = stop
			fail = nil
			cut = []func(){cancel, func() { stop <- sdk.ErrStopping }, func() { stop <- sdk.ErrCancelled }, func() { fail = os.ErrInvalid }}[random.IntN(4)]
			reads, stopAt = 0, 1+random.IntN(150)
			if start.Attempt > 20 {
				stopAt = 0
			}
			result := h.Execute(ctx, start)
			cancel()
			<-ended
			if result.Completed() {
				break
			}
			if last := result.LastCheckpoint(); last != nil {
				start.Checkpoint = last
			}
		}
		sameTrees(t, look(t, source), look(t, target))
		sameFamilies(t, source, target)
	}
}

func TestWithoutHardLinksInTheTargetTheyBecomeFiles(t *testing.T) {
	for _, c := range []struct {
		name     string
		refusals int // of the first links
		code     error
		warned   bool
	}{
		{"not supported", 1 << 30, syscall.EPERM, true},
		{"not supported by a network", 1 << 30, syscall.EOPNOTSUPP, true},
		{"as many as there may be", 2, syscall.EMLINK, false},
		{"never any room", 1 << 30, syscall.EMLINK, false},
	} {
		dir := t.TempDir()
		source := tree{"a": "one", "b": "two"}.write(t, dir+"/s")
		for i := range 4 {
			link(t, source, "a", fmt.Sprint("d/a", i))
			link(t, source, "b", fmt.Sprint("e/b", i))
		}
		tuned := defaultTuning()
		tuned.batchEntries = 2
		refused := 0
		tuned.hardLink = func(root *os.Root, from, to string) error {
			if refused++; refused <= c.refusals {
				return &os.LinkError{Op: "linkat", Old: from, New: to, Err: c.code}
			}
			return root.Link(from, to)
		}
		h := sdktest.New(t, plugin(tuned))
		start := sdktest.Start{Settings: Settings{Source: source, Target: dir + "/t"}}
		for range 2 {
			result := h.Execute(t.Context(), start)
			result.RequireCompleted(t)
			want, got := look(t, source), look(t, dir+"/t")
			delete(want, ".") // stays as it is in a target that was there
			delete(got, ".")
			sameTrees(t, want, got)
			if warned := slices.ContainsFunc(result.Lines, func(l sdktest.Line) bool {
				return strings.Contains(l.Message, "hard links become separate files")
			}); warned != c.warned || len(result.Lines) > 1 {
				t.Errorf("%s: %+v", c.name, result.Lines)
			}
		}
	}
}
