package copyfiles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stepd/stepd/sdk"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

func shop() tree {
	return tree{
		"index.php": "<?php", "image/a.jpg": strings.Repeat("a", 700_000), "image/b.jpg": "b", "image/cache/x": "x",
		"image/empty/": "", "image/": "", "download/ü-ñ-日本.pdf": "pdf", "download/link": "-> ../index.php", "download/": "",
		"download/dangling": "-> /nowhere/at/all", "with space/new\nline": "odd", "bad\xffname": "not utf-8", "void": "", "z/y/x/w": "deep",
		"z/": "", "z/y/": "", "z/y/x/": "", "image/cache/": "", "with space/": "", "name.part": "p", ".hidden": "h",
	}
}

func TestCopyHasTheSameContentModesTimesAndLinks(t *testing.T) {
	dir := t.TempDir()
	source := shop().write(t, filepath.Join(dir, "shop"))
	must(t, os.Chmod(source, 0o710))
	h := sdktest.New(t, Plugin())
	result := h.Execute(t.Context(), sdktest.Start{BaseDir: dir, Settings: map[string]any{"source": "shop"}})
	result.RequireCompleted(t)
	sameTrees(t, look(t, source), look(t, filepath.Join(h.WorkDir(), "files")))
	var report Report
	result.Output(t, "report", &report)
	if report.Files != 11 || report.Links != 2 || report.Dirs != 8 || report.Bytes < 700_000 || report.Vanished == nil {
		t.Errorf("report is %+v", report)
	}
	if !strings.HasPrefix(result.Message, "copied 11 files, 700 KB") {
		t.Errorf("message is %q", result.Message)
	}
	last := result.Progress[len(result.Progress)-1]
	if last.Done != last.Total || last.Total != float64(report.Bytes) {
		t.Errorf("the last progress is %+v of %d bytes", last, report.Bytes)
	}
}

func TestGlobsChooseWhatIsCopied(t *testing.T) {
	all := tree{"a/1.txt": "", "a/2.jpg": "", "a/b/3.txt": "", "a/b/tmp/4.txt": "", "c/5.txt": "", "c/void/": "", "6.txt": ""}
	for _, c := range []struct {
		name             string
		include, exclude []string
		want             string
	}{
		{"everything", nil, nil, "6.txt a a/1.txt a/2.jpg a/b a/b/3.txt a/b/tmp a/b/tmp/4.txt c c/5.txt c/void"},
		{"a directory with all in it", []string{"a"}, nil, "a a/1.txt a/2.jpg a/b a/b/3.txt a/b/tmp a/b/tmp/4.txt"},
		{"the same with stars", []string{"./a/**"}, nil, "a a/1.txt a/2.jpg a/b a/b/3.txt a/b/tmp a/b/tmp/4.txt"},
		{"by name at any depth", []string{"**/*.jpg"}, nil, "a a/2.jpg"},
		{"one level", []string{"*/*.txt"}, nil, "a a/1.txt c c/5.txt"},
		{"empty directory", []string{"c/void/"}, nil, "c c/void"},
		{"without a subtree", []string{"a"}, []string{"**/tmp"}, "a a/1.txt a/2.jpg a/b a/b/3.txt"},
		{"exclude is stronger", []string{"6.txt", "c"}, []string{"6.*", "c/void"}, "c c/5.txt"},
		{"alternatives", []string{"{a/b,c}/*.txt"}, nil, "a a/b a/b/3.txt c c/5.txt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := all.write(t, filepath.Join(t.TempDir(), "s"))
			h := sdktest.New(t, Plugin())
			settings := map[string]any{"source": source, "exclude": c.exclude}
			if c.include != nil {
				settings["include"] = c.include
			}
			h.Execute(t.Context(), sdktest.Start{Settings: settings}).RequireCompleted(t)
			if got := strings.Join(names(look(t, h.WorkDir()+"/files")), " "); got != c.want {
				t.Errorf("copied %s\nwant   %s", got, c.want)
			}
		})
	}
}

func TestWhatCannotWorkIsRefusedForGood(t *testing.T) {
	dir := t.TempDir()
	tree{"file": "x", "s/a": "a", "s/t/": "", "busy/a/": "", "linked/": "", "other": "-> s"}.write(t, dir)
	for _, c := range []struct {
		name     string
		settings Settings
		want     string
	}{
		{"no source", Settings{Source: "missing"}, "there is no directory"},
		{"source is a file", Settings{Source: "file"}, "is not a directory"},
		{"target is a file", Settings{Source: "s", Target: "file"}, "is not a directory"},
		{"same directory", Settings{Source: "s", Target: "./s"}, "are the same directory"},
		{"same directory through a link", Settings{Source: "other", Target: "s"}, "are the same directory"},
		{"source inside target", Settings{Source: "s/t", Target: "s"}, "lies inside target"},
		{"source inside target through a link", Settings{Source: "other/t", Target: "s"}, "lies inside target"},
		{"bad glob", Settings{Source: "s", Include: []string{"a["}}, "not a valid pattern"},
		{"glob that leaves", Settings{Source: "s", Exclude: []string{"../x"}}, "stay in it"},
		{"absolute glob", Settings{Source: "s", Include: []string{"/etc/*"}}, "must be relative"},
		{"directory in the place of a file", Settings{Source: "s", Target: "busy"}, "a directory is in its place"},
		{"nothing matches", Settings{Source: "s", Include: []string{"imgae/**", "./dwonload"}}, dir + "/s matches include: imgae/**, ./dwonload;"},
		{"nothing but what is left out matches", Settings{Source: "s", Include: []string{"a"}, Exclude: []string{"*"}}, "matches include: a;"},
		{"target below a file", Settings{Source: "s", Target: "file/deeper"}, "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := sdktest.New(t, Plugin())
			result := h.Execute(t.Context(), sdktest.Start{BaseDir: dir, Settings: c.settings})
			if result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, c.want) {
				t.Errorf("ended as %v: %q, want %q", result.Status, result.Message, c.want)
			}
		})
	}
}

func TestPatternsThatNothingMatchesAreNamed(t *testing.T) {
	// What matches what lies before the first cut, at it, after it, below a
	// directory that another pattern takes, and nowhere.
	include := []string{"a", "imgae/**", "m/m3", "./z/*.txt", "m", "m/*/nothing", "m/m0", "z/y.txt"}
	want := []string{"imgae/**", "m/*/nothing"}
	content := tree{"a": "a", "z/y.txt": "y", "n/x": "x"}
	for i := range 9 {
		content[fmt.Sprintf("m/m%d", i)] = "m"
	}
	source := content.write(t, filepath.Join(t.TempDir(), "s"))
	for stopAt := range 12 { // 0: not at all
		tuned := defaultTuning()
		tuned.batchEntries = 1 + stopAt%3
		tuned.sync = func(*os.File) error { return nil }
		ended := make(chan struct{}, 1)
		tuned.ended = func() { ended <- struct{}{} }
		ctx, cut := context.WithCancel(t.Context())
		reads := 0
		tuned.beforeRead = func(string) {
			if reads++; reads == stopAt {
				cut()
			}
		}
		h := sdktest.New(t, plugin(tuned))
		start := sdktest.Start{Settings: Settings{Source: source, Include: include}}
		result := h.Execute(ctx, start)
		<-ended
		if !result.Completed() {
			// What had matched is gone meanwhile, and was copied.
			if last := result.LastCheckpoint(); strings.Contains(string(last.(json.RawMessage)), `"position"`) {
				must(t, os.RemoveAll(filepath.Join(source, "a")))
			}
			start.Checkpoint, start.Attempt = result.LastCheckpoint(), 2
			result = h.Execute(t.Context(), start)
			<-ended
			must(t, os.WriteFile(filepath.Join(source, "a"), []byte("a"), 0o600))
		}
		cut()
		result.RequireCompleted(t)
		var report Report
		result.Output(t, "report", &report)
		if !slices.Equal(report.Unmatched, want) || !strings.HasSuffix(result.Message, "; nothing matches imgae/**, m/*/nothing") {
			t.Errorf("cut at %d: %q, unmatched %q", stopAt, result.Message, report.Unmatched)
		}
		var warned []string
		for _, line := range result.Lines {
			if pattern, ok := line.Fields["pattern"].(string); ok && line.Level == "warn" {
				warned = append(warned, pattern)
			}
		}
		if !slices.Equal(warned, want) {
			t.Errorf("cut at %d: warned of %q", stopAt, warned)
		}
	}
}

func TestAnEmptySourceIsAllThatThereIs(t *testing.T) {
	for _, include := range [][]string{nil, {"**"}, {"*", "./**/*"}} {
		h := sdktest.New(t, Plugin())
		result := h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: t.TempDir(), Include: include}})
		result.RequireCompleted(t)
		if result.Message != "copied 0 files, 0 B" {
			t.Errorf("%q: %s", include, result.Message)
		}
	}
}

func TestContinuedAfterNothingMatchedItLooksAgain(t *testing.T) {
	source := tree{"m/m": "m"}.write(t, filepath.Join(t.TempDir(), "s"))
	h := sdktest.New(t, Plugin())
	start := sdktest.Start{Settings: Settings{Source: source, Include: []string{"*/a"}}}
	failed := h.Execute(t.Context(), start)
	if failed.Status != stepdv1.Result_STATUS_FAILED_PERMANENT {
		t.Fatalf("ended as %v: %s", failed.Status, failed.Message)
	}
	tree{"m/a": "a"}.write(t, source)
	start.Checkpoint, start.Attempt = failed.LastCheckpoint(), 2
	again := h.Execute(t.Context(), start)
	again.RequireCompleted(t)
	if again.Message != "copied 1 file, 1 B" {
		t.Error(again.Message)
	}
}

func TestTargetInsideSourceIsNotCopiedIntoItself(t *testing.T) {
	source := tree{"a": "a", "backups/old.tar": "old", "b/c": "c"}.write(t, filepath.Join(t.TempDir(), "shop"))
	target := filepath.Join(source, "backups", "now")
	for range 2 { // the second time the target is full
		h := sdktest.New(t, Plugin())
		result := h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source, Target: target}})
		result.RequireCompleted(t)
		if got, want := strings.Join(names(look(t, target)), " "), "a b b/c backups backups/old.tar"; got != want {
			t.Errorf("copied %s, want %s", got, want)
		}
		if !slices.ContainsFunc(result.Lines, func(l sdktest.Line) bool { return l.Fields["path"] == "backups/now" }) {
			t.Errorf("the log does not say that the target was left out: %+v", result.Lines)
		}
	}
}

func TestOnlyFilesDirectoriesAndLinksAreCopied(t *testing.T) {
	source := tree{"a": "a", "suid": "s"}.write(t, filepath.Join(t.TempDir(), "s"))
	must(t, syscall.Mkfifo(filepath.Join(source, "pipe"), 0o600))
	must(t, syscall.Mknod(filepath.Join(source, "socket"), syscall.S_IFSOCK|0o600, 0))
	must(t, os.Chmod(filepath.Join(source, "suid"), 0o755|os.ModeSetuid|os.ModeSetgid))
	h := sdktest.New(t, Plugin())
	result := h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source}})
	result.RequireCompleted(t)
	seen := look(t, h.WorkDir()+"/files")
	if got := strings.Join(names(seen), " "); got != "a suid" {
		t.Errorf("copied %s", got)
	}
	if !strings.HasPrefix(seen["suid"], "-rwxr-xr-x ") {
		t.Errorf("the copy of a setuid file is %s", seen["suid"])
	}
	if !strings.HasSuffix(result.Message, "; 2 devices, sockets or pipes skipped") || len(result.Lines) != 2 {
		t.Errorf("%q and %+v do not tell of what was skipped", result.Message, result.Lines)
	}
}

func TestLinksAreNeverFollowed(t *testing.T) {
	dir := t.TempDir()
	outside := tree{"secret": "s3cret"}.write(t, filepath.Join(dir, "outside"))
	source := tree{"dir": "-> ../outside", "file": "-> ../outside/secret", "real/f": "new"}.write(t, filepath.Join(dir, "source"))
	// In the target, a link stands where the source has a directory.
	target := tree{"real": "-> ../outside"}.write(t, filepath.Join(dir, "target"))
	h := sdktest.New(t, Plugin())
	result := h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source, Target: target}})
	if result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, "is no directory") {
		t.Errorf("ended as %v: %s", result.Status, result.Message)
	}
	if got := names(look(t, outside)); len(got) != 1 {
		t.Errorf("outside holds %v", got)
	}
	seen := look(t, target)
	if !strings.Contains(seen["dir"], "-> ../outside") || !strings.Contains(seen["file"], "-> ../outside/secret") {
		t.Errorf("the target holds %v", seen)
	}
}

func TestSecondCopyWritesOnlyWhatDiffers(t *testing.T) {
	dir := t.TempDir()
	source := shop().write(t, filepath.Join(dir, "s"))
	target := filepath.Join(dir, "t")
	h := sdktest.New(t, Plugin())
	start := sdktest.Start{Settings: Settings{Source: source, Target: target}}
	h.Execute(t.Context(), start).RequireCompleted(t)
	before, err := os.Stat(filepath.Join(target, "index.php"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(source, "image/b.jpg"), []byte("other"), 0o644))
	must(t, os.WriteFile(filepath.Join(target, "only-here"), nil, 0o644))
	must(t, os.Remove(filepath.Join(target, "download/link")))
	result := h.Execute(t.Context(), start)
	result.RequireCompleted(t)
	var report Report
	result.Output(t, "report", &report)
	if report.Files != 11 || report.Unchanged != 10 {
		t.Errorf("report is %+v", report)
	}
	after, err := os.Stat(filepath.Join(target, "index.php"))
	must(t, err)
	if !os.SameFile(before, after) {
		t.Error("a file that was the same was written again")
	}
	must(t, os.Remove(filepath.Join(target, "only-here"))) // left alone: a copy is no mirror
	want, got := look(t, source), look(t, target)
	delete(want, ".")
	delete(got, ".")
	sameTrees(t, want, got)
}

// manyFiles is a tree large enough to be cut somewhere in the middle.
func manyFiles() tree {
	tr := tree{}
	for i := range 400 {
		tr[fmt.Sprintf("d%02d/e%d/f%03d", i%20, i%3, i)] = strings.Repeat("x", i*17)
		tr[fmt.Sprintf("d%02d/", i%20)] = ""
		tr[fmt.Sprintf("d%02d/e%d/", i%20, i%3)] = ""
		tr[fmt.Sprintf("d%02d/void/", i%20)] = ""
	}
	tr["d10/large"] = strings.Repeat("0123456789abcdef", 1<<16)
	return tr
}

func TestCutAnywhereItGoesOnToTheSameTree(t *testing.T) {
	dir := t.TempDir()
	source := manyFiles().write(t, filepath.Join(dir, "s"))
	want := look(t, source)
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		target := filepath.Join(dir, fmt.Sprint("t", seed))
		small := defaultTuning()
		small.batchEntries = 1 + random.IntN(40)
		small.sync = func(*os.File) error { return nil } // no power cut here
		var cut func()
		reads, stopAt := 0, 0
		ended := make(chan struct{}, 1) // a cut attempt outlives its stream
		small.ended = func() { ended <- struct{}{} }
		small.beforeRead = func(string) {
			if reads++; reads == stopAt {
				cut()
			}
		}
		h := sdktest.New(t, plugin(small))
		start := sdktest.Start{Settings: Settings{Source: source, Target: target}}
		copied, cuts := 0, 0
		var result sdktest.Result
		for attempt := 1; ; attempt++ {
			ctx, cancel := context.WithCancel(t.Context())
			// Half of the cuts are a lost connection, half a stop of the daemon.
			stop := make(chan error, 1)
			start.Cancel = stop
			cut = cancel
			if random.IntN(2) == 0 {
				cut = func() { stop <- sdk.ErrStopping }
			}
			reads, stopAt = 0, 1+random.IntN(250)
			start.Attempt = attempt
			result = h.Execute(ctx, start)
			cancel()
			<-ended
			copied += reads
			if result.Completed() {
				break
			}
			cuts++
			if last := result.LastCheckpoint(); last != nil {
				start.Checkpoint = last
			}
		}
		sameTrees(t, want, look(t, target))
		var report Report
		result.Output(t, "report", &report)
		if report.Files != 401 || report.Dirs != 100 {
			t.Errorf("seed %d: after %d cuts the report is %+v", seed, cuts, report)
		}
		// What a cut costs is one batch and the one before it.
		if limit := 401 + cuts*(2*small.batchEntries+2); copied > limit {
			t.Errorf("seed %d: %d files were read, with %d cuts and batches of %d", seed, copied, cuts, small.batchEntries)
		}
	}
}

func TestCheckpointsBoundWhatIsDoneAgainToNothingOnStop(t *testing.T) {
	source := manyFiles().write(t, filepath.Join(t.TempDir(), "s"))
	read := map[string]int{}
	stop := make(chan error, 1)
	tuned := defaultTuning()
	stopping := true
	tuned.beforeRead = func(rel string) {
		if read[rel]++; stopping && len(read) == 100 {
			stop <- sdk.ErrStopping
		}
	}
	h := sdktest.New(t, plugin(tuned))
	start := sdktest.Start{Settings: Settings{Source: source}, Cancel: stop}
	first := h.Execute(t.Context(), start)
	stopping = false
	if first.Completed() {
		// Quicker than the message; then nothing is left to show.
		if len(read) != 401 {
			t.Fatalf("%d files were read", len(read))
		}
		return
	}
	if first.Status != stepdv1.Result_STATUS_CANCELLED {
		t.Fatalf("ended as %v: %s", first.Status, first.Message)
	}
	start.Checkpoint, start.Attempt, start.Cancel = first.LastCheckpoint(), 2, nil
	h.Execute(t.Context(), start).RequireCompleted(t)
	again := 0
	for _, n := range read {
		if n > 1 {
			again++
		}
	}
	if again > 1 { // the file in hand when the stop came
		t.Errorf("%d files were read twice", again)
	}
	sameTrees(t, look(t, source), look(t, h.WorkDir()+"/files"))
}

func TestStopInTheMiddleOfALargeFile(t *testing.T) {
	// A day's work, at that rate.
	source := tree{"large": strings.Repeat("x", 864_000)}.write(t, filepath.Join(t.TempDir(), "s"))
	h := sdktest.New(t, Plugin())
	stop := make(chan error, 1)
	told := false
	began := time.Now()
	result := h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source, Rate: 10}, Cancel: stop, OnProgress: func(p sdktest.Progress) {
		if !told && p.Done > 0 {
			told = true
			stop <- sdk.ErrCancelled
		}
	}})
	if result.Status != stepdv1.Result_STATUS_CANCELLED {
		t.Errorf("ended as %v: %s", result.Status, result.Message)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v to stop", took)
	}
	if left := names(look(t, h.WorkDir()+"/files")); len(left) != 0 {
		t.Errorf("%v was left behind", left)
	}
}

func TestRefusedCheckpointEndsTheAttempt(t *testing.T) {
	source := manyFiles().write(t, filepath.Join(t.TempDir(), "s"))
	small := defaultTuning()
	small.batchEntries = 10
	small.sync = func(*os.File) error { return nil }
	h := sdktest.New(t, plugin(small))
	result := h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source},
		OnCheckpoint: func(n int, _ json.RawMessage) error {
			if n > 3 {
				return errors.New("stale attempt")
			}
			return nil
		}})
	if result.Status != stepdv1.Result_STATUS_FAILED || !strings.Contains(result.Message, "stale attempt") {
		t.Errorf("ended as %v: %s", result.Status, result.Message)
	}
}
