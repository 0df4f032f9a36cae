package copyfiles

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

func TestVanishedFilesAreNamedAndTheStepCompletes(t *testing.T) {
	source := tree{"a": "a", "b": "b", "c/d": "d", "e": "e"}.write(t, filepath.Join(t.TempDir(), "s"))
	tuned := defaultTuning()
	tuned.beforeRead = func(rel string) {
		switch rel {
		case "a":
			must(t, os.RemoveAll(source+"/c")) // before it is met
		case "b":
			must(t, os.Remove(source+"/b")) // after it was met
		}
	}
	h := sdktest.New(t, plugin(tuned))
	result := h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source}})
	result.RequireCompleted(t)
	var report Report
	result.Output(t, "report", &report)
	if report.Files != 2 || report.VanishedCount != 2 || !slices.Equal(report.Vanished, []string{"b", "c"}) {
		t.Errorf("report is %+v", report)
	}
	if result.Message != "copied 2 files, 2 B; 2 vanished" {
		t.Errorf("message is %q", result.Message)
	}
	warned := 0
	for _, line := range result.Lines {
		if line.Level == "warn" && (line.Fields["path"] == "b" || line.Fields["path"] == "c") {
			warned++
		}
	}
	if warned != 2 {
		t.Errorf("lines are %+v", result.Lines)
	}
}

// openDir is a temporary directory that everybody may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, os.Chmod(dir, 0o755))
	return dir
}

// asNobody makes the goroutine that copies an ordinary user to the file
// system. Its thread ends with it.
func asNobody(t *testing.T) func() {
	return func() {
		if os.Geteuid() != 0 {
			return // we are one
		}
		runtime.LockOSThread()
		must(t, unix.Setfsgid(65534))
		must(t, unix.Setfsuid(65534))
	}
}

func TestUnreadableFilesFailTheStepAfterAllOthersWereCopied(t *testing.T) {
	dir := openDir(t)
	source := tree{"a": "a", "b": "b", "closed/c": "c", "z": "z"}.write(t, filepath.Join(dir, "s"))
	for name, mode := range map[string]os.FileMode{"a": 0o644, "b": 0, "z": 0o644, "closed": 0} {
		must(t, os.Chmod(filepath.Join(source, name), mode))
	}
	t.Cleanup(func() { must(t, os.Chmod(filepath.Join(source, "closed"), 0o755)) })
	target := filepath.Join(dir, "t")
	must(t, os.Mkdir(target, 0o777))
	must(t, os.Chmod(target, 0o777))
	tuned := defaultTuning()
	tuned.started = asNobody(t)
	h := sdktest.New(t, plugin(tuned))
	start := sdktest.Start{Settings: Settings{Source: source, Target: target}}
	result := h.Execute(t.Context(), start)
	if result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT {
		t.Fatalf("ended as %v: %s", result.Status, result.Message)
	}
	for _, want := range []string{"2 could not be read", "b: permission denied", "closed/: permission denied", "all else was copied"} {
		if !strings.Contains(result.Message, want) {
			t.Errorf("%q does not say %q", result.Message, want)
		}
	}
	if got := strings.Join(names(look(t, target)), " "); got != "a z" {
		t.Errorf("copied %s", got)
	}

	// Continued as it is, it fails again; made readable, it completes.
	start.Checkpoint, start.Attempt = result.LastCheckpoint(), 2
	if again := h.Execute(t.Context(), start); again.Completed() {
		t.Errorf("the next attempt forgot what was missing: %s", again.Message)
	}
	must(t, os.Chmod(filepath.Join(source, "b"), 0o644))
	must(t, os.Chmod(filepath.Join(source, "closed"), 0o755))
	must(t, os.Chmod(filepath.Join(source, "closed/c"), 0o644))
	start.Attempt = 3
	last := h.Execute(t.Context(), start)
	last.RequireCompleted(t)
	if got := strings.Join(names(look(t, target)), " "); got != "a b closed closed/c z" {
		t.Errorf("copied %s", got)
	}
}

func TestTargetWithoutPermissionIsRefusedForGood(t *testing.T) {
	dir := openDir(t)
	tree{"s/a": "a", "t/": ""}.write(t, dir)
	must(t, os.Chmod(filepath.Join(dir, "t"), 0o555))
	tuned := defaultTuning()
	tuned.started = asNobody(t)
	h := sdktest.New(t, plugin(tuned))
	result := h.Execute(t.Context(), sdktest.Start{BaseDir: dir, Settings: Settings{Source: "s", Target: "t"}})
	if result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, "permission denied") {
		t.Errorf("ended as %v: %s", result.Status, result.Message)
	}
}

func TestChangeWhileReading(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes int // how many times the file changes
		want    string
		report  Report
	}{
		{"once is copied again", 1, "grown 1", Report{Files: 2}},
		{"twice is told", 2, "grown 1", Report{Files: 2, ChangedCount: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := tree{"a": "a", "log": "start"}.write(t, filepath.Join(t.TempDir(), "s"))
			must(t, os.Chmod(source+"/log", 0o644))
			reads := 0
			tuned := defaultTuning()
			tuned.afterRead = func(rel string) {
				if rel == "log" && reads < c.changes {
					reads++
					must(t, os.WriteFile(source+"/log", fmt.Append(nil, "grown ", reads), 0o644))
				}
			}
			h := sdktest.New(t, plugin(tuned))
			result := h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source}})
			result.RequireCompleted(t)
			content, err := os.ReadFile(h.WorkDir() + "/files/log")
			must(t, err)
			var report Report
			result.Output(t, "report", &report)
			if string(content) != c.want || report.Files != c.report.Files || report.ChangedCount != c.report.ChangedCount {
				t.Errorf("copied %q, report %+v", content, report)
			}
			if told := strings.Contains(result.Message, "changed"); told != (c.report.ChangedCount > 0) {
				t.Errorf("message is %q", result.Message)
			}
		})
	}
}

func TestReplacedByANamedPipeIsNotOpenedForGood(t *testing.T) {
	source := tree{"a": "a"}.write(t, filepath.Join(t.TempDir(), "s"))
	tuned := defaultTuning()
	tuned.beforeRead = func(string) {
		must(t, os.Remove(source+"/a"))
		must(t, syscall.Mkfifo(source+"/a", 0o600))
	}
	h := sdktest.New(t, plugin(tuned))
	result := h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source}})
	if result.Completed() || !strings.Contains(result.Message, "was replaced while it was read") {
		t.Errorf("ended as %v: %s", result.Status, result.Message)
	}
}

// smallDisk is a directory in which no file of 1 MiB can be written: a small
// file system where we may mount one, else a limit on the size of files.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err == nil {
		t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
		return dir
	}
	var before unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &before))
	signal.Ignore(syscall.SIGXFSZ)
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1 << 20, Max: before.Max}))
	t.Cleanup(func() {
		must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &before))
		signal.Reset(syscall.SIGXFSZ)
	})
	return dir
}

func TestFullDiskNamesTheFileAndLeavesNoPieces(t *testing.T) {
	source := tree{"a": "small", "big/file": strings.Repeat("x", 2<<20)}.write(t, filepath.Join(t.TempDir(), "s"))
	target := filepath.Join(smallDisk(t), "t")
	h := sdktest.New(t, Plugin())
	result := h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source, Target: target}})
	if result.Completed() || !strings.Contains(result.Message, "copy big/file: write "+target+"/big/file: ") {
		t.Errorf("ended as %v: %s", result.Status, result.Message)
	}
	if got := strings.Join(names(look(t, target)), " "); got != "a big" {
		t.Errorf("the target holds %s", got)
	}
}

// A power cut may take all that was not made durable: nothing that a
// checkpoint speaks of, and nothing that has its own name.
func TestNamesAndCheckpointsComeAfterDurability(t *testing.T) {
	dir := t.TempDir()
	source := manyFiles().write(t, filepath.Join(dir, "s"))
	target := filepath.Join(dir, "t")
	tuned := defaultTuning()
	tuned.batchEntries, tuned.batchTime = 25, time.Hour
	durable := map[string]bool{}  // names that survive a power cut now
	everTemp := map[string]bool{} // inodes whose content is durable
	inode := func(path string) string {
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		return fmt.Sprint(st.Ino)
	}
	tuned.sync = func(part *os.File) error {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d", part.Fd()))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			everTemp[inode(fmt.Sprintf("/proc/self/fd/%d/%s", part.Fd(), entry.Name()))] = true
		}
		for _, name := range names(look(t, target)) {
			if strings.HasPrefix(name, partPrefix) {
				continue
			}
			info, err := os.Lstat(filepath.Join(target, name))
			must(t, err)
			if info.Mode().IsRegular() && !everTemp[inode(filepath.Join(target, name))] {
				t.Errorf("%s had its name before its content was durable", name)
			}
			durable[name] = true
		}
		return nil
	}
	h := sdktest.New(t, plugin(tuned))
	result := h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source, Target: target},
		OnCheckpoint: func(_ int, raw json.RawMessage) error {
			var s state
			must(t, json.Unmarshal(raw, &s))
			files := int64(0)
			for name := range durable {
				if info, err := os.Lstat(filepath.Join(target, name)); err == nil && info.Mode().IsRegular() {
					files++
				}
			}
			if files < s.Report.Files {
				return errors.New("the checkpoint claims more than is durable")
			}
			return nil
		}})
	result.RequireCompleted(t)
	if len(result.Checkpoints) < 10 {
		t.Errorf("only %d checkpoints", len(result.Checkpoints))
	}
}

func TestListsStayWithinTheLimitsOfTheProtocol(t *testing.T) {
	s := newState()
	long := strings.Repeat("\x01", 2000)
	for i := range 500 {
		s.Report.Vanished = listed(s.Report.Vanished, fmt.Sprint(long, i))
		s.Report.Unreadable = listed(s.Report.Unreadable, fmt.Sprint(long, i))
		s.Report.Changed = listed(s.Report.Changed, fmt.Sprint("short", i))
	}
	raw, err := json.Marshal(s.Report)
	must(t, err)
	if len(raw) > 64<<10 || len(s.Report.Changed) != maxListed || len(s.Report.Vanished) == 0 {
		t.Errorf("the report has %d bytes, %d and %d names", len(raw), len(s.Report.Changed), len(s.Report.Vanished))
	}
}

func BenchmarkCopy(b *testing.B) {
	tr := tree{}
	for i := range 5000 {
		tr[fmt.Sprintf("d%d/f%d", i%50, i)] = strings.Repeat("x", 4096)
	}
	dir := b.TempDir()
	source := tr.write(b, filepath.Join(dir, "s"))
	h := sdktest.New(b, Plugin())
	n := 0
	b.ReportAllocs()
	b.SetBytes(5000 * 4096)
	for b.Loop() {
		n++
		h.Execute(b.Context(), sdktest.Start{Settings: Settings{Source: source, Target: filepath.Join(dir, fmt.Sprint("t", n))}}).RequireCompleted(b)
	}
	b.ReportMetric(5000*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}
