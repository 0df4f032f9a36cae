package retain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

var now = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

func at(daysAgo int) time.Time { return now.Add(-time.Duration(daysAgo)*24*time.Hour - 6*time.Hour) }

func tuned() tuning {
	return tuning{now: func() time.Time { return now }, before: func(string, string) error { return nil }, started: func() {}}
}

// retainIn runs one step of the task backup.
func retainIn(t testing.TB, tuning tuning, dir string, settings map[string]any) sdktest.Result {
	t.Helper()
	all := map[string]any{"backup_dir": dir, "timezone": "UTC"}
	for k, v := range settings {
		all[k] = v
	}
	return sdktest.New(t, plugin(tuning)).Execute(t.Context(), sdktest.Start{Task: "backup", Settings: all})
}

func keep(rules ...any) map[string]any {
	list := map[string]any{}
	for i := 0; i < len(rules); i += 2 {
		list[rules[i].(string)] = rules[i+1]
	}
	return map[string]any{"keep": list}
}

func with(settings map[string]any, name string, value any) map[string]any {
	settings[name] = value
	return settings
}

func requireRefused(t testing.TB, result sdktest.Result, want string) {
	t.Helper()
	if result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, want) {
		t.Errorf("ended as %v: %s\nwant %q", result.Status, result.Message, want)
	}
}

// strangers are files that must never be touched.
func strangers(t testing.TB, dir string) []string {
	t.Helper()
	weekly := put(t, dir, "backup-weekly", at(400), 1)
	list := []string{weekly, put(t, dir, "back", at(400), 1), put(t, dir, "backup-20200101T000000Z", at(400), 1)}
	for _, name := range []string{"backup-42.tar.zst", "backup-20200101T000000Z-1.tar.xz", "backup-20200101T000000Z-1.tar.zst.sha256",
		"backup-20190101T000000Z-1.tar.zst.manifest.json", "." + nameOf("backup", at(300), 3) + ".abcdef.part",
		"." + weekly + goingSuffix, "README", "backup-20200101T000000Z-1"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600))
		list = append(list, name)
	}
	return list
}

func TestWhatNoRuleKeepsGoesAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	others := strangers(t, dir)
	var kept []string
	for day := range 20 {
		name := put(t, dir, "backup", at(day), 100-day)
		if day < 3 || day == 9 { // 2026-11-24 is a Tuesday; day 9 and day 2 are Sundays
			kept = append(kept, name)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, nameOf("backup", at(19), 81)+reportSuffix), []byte("report"), 0o600))
	result := retainIn(t, tuned(), dir, keep("daily", 3, "weekly", 3))
	result.RequireCompleted(t)
	same(t, "left", names(t, dir), append(kept, others...))
	var out Retained
	result.Output(t, "retained", &out)
	if out.KeptCount != 4 || out.DeletedCount != 16 || len(out.Deleted) != 16 || out.Kept[0].Archive != kept[0] || out.DeletedBytes < 16*30 {
		t.Errorf("output %+v", out)
	}
	if why := strings.Join(out.Kept[3].Why, ", "); why != "weekly 2026-W46" {
		t.Errorf("the last one is kept by %q", why)
	}
	if !strings.HasPrefix(result.Message, "deleted 16 of 20 archives of backup (") || !strings.Contains(result.Message, "), kept 4 (") {
		t.Error(result.Message)
	}
	again := retainIn(t, tuned(), dir, keep("daily", 3, "weekly", 3))
	again.RequireCompleted(t)
	same(t, "left after a second time", names(t, dir), append(kept, others...))
	if !strings.HasPrefix(again.Message, "kept all of 4 archives of backup (") {
		t.Error(again.Message)
	}
}

func TestDryRunShowsAllAndTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	for day := range 5 {
		put(t, dir, "backup", at(day), 100-day)
	}
	hidden := "." + nameOf("backup", at(9), 9) + goingSuffix
	must(t, os.WriteFile(filepath.Join(dir, hidden), nil, 0o600))
	before := names(t, dir)
	result := retainIn(t, tuned(), dir, with(keep("daily", 2), "dry_run", true))
	result.RequireCompleted(t)
	same(t, "left", names(t, dir), before)
	var out Retained
	result.Output(t, "retained", &out)
	if !out.DryRun || out.KeptCount != 2 || out.DeletedCount != 3 || out.Deleted[0].Archive != nameOf("backup", at(2), 98) {
		t.Errorf("output %+v", out)
	}
	var lines []string
	for _, line := range result.Lines {
		lines = append(lines, fmt.Sprint(line.Message, " ", line.Fields["archive"], " ", line.Fields["why"]))
	}
	for _, want := range []string{"would keep " + nameOf("backup", at(0), 100) + " daily 2026-11-24", "would delete " + nameOf("backup", at(4), 96) + " <nil>"} {
		if !slices.Contains(lines, want) {
			t.Errorf("the log does not say %q: %q", want, lines)
		}
	}
	if !strings.HasPrefix(result.Message, "nothing was deleted; would delete 3 of 5 archives of backup (") {
		t.Error(result.Message)
	}
}

func TestAnotherTaskMayBeNamed(t *testing.T) {
	dir := t.TempDir()
	mine := put(t, dir, "backup", at(9), 1)
	put(t, dir, "backup-weekly", at(9), 1)
	newest := put(t, dir, "backup-weekly", at(1), 2)
	retainIn(t, tuned(), dir, with(keep("last", 1), "task", "backup-weekly")).RequireCompleted(t)
	same(t, "left", names(t, dir), []string{mine, newest})
}

func TestBrokenOnesAreNeitherCountedNorDeletedUnlessToldTo(t *testing.T) {
	for _, told := range []bool{false, true} {
		dir := t.TempDir()
		write := func(name, content string) { must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600)) }
		// From old to new; the newest good one is of day 4.
		oldGood := put(t, dir, "backup", at(9), 1)
		broken := map[string]string{}
		cut := put(t, dir, "backup", at(8), 2)
		must(t, os.Truncate(filepath.Join(dir, cut), 5))
		broken[cut] = "it has 5 bytes, not "
		bare := put(t, dir, "backup", at(7), 3)
		must(t, os.Remove(filepath.Join(dir, bare+manifestSuffix)))
		broken[bare] = "its manifest is not there"
		half := put(t, dir, "backup", at(6), 4)
		must(t, os.Truncate(filepath.Join(dir, half+manifestSuffix), 200))
		broken[half] = "its manifest is damaged"
		foreign := nameOf("backup", at(5), 5)
		putNamed(t, dir, foreign, "other", at(5), 5)
		good := put(t, dir, "backup", at(4), 6)
		newer := put(t, dir, "backup", at(3), 7)
		write(newer+manifestSuffix, "{}")
		otherRun := nameOf("backup", at(2), 8)
		putNamed(t, dir, otherRun, "backup", at(2), 7)
		linked := put(t, dir, "backup", at(1), 9)
		must(t, os.Rename(filepath.Join(dir, linked+manifestSuffix), filepath.Join(dir, "elsewhere")))
		must(t, os.Symlink("elsewhere", filepath.Join(dir, linked+manifestSuffix)))

		result := retainIn(t, tuned(), dir, with(keep("last", 1), "delete_broken", told))
		result.RequireCompleted(t)
		want := []string{foreign, good, newer, otherRun, linked, "elsewhere"}
		if !told {
			want = append(want, cut, bare, half)
		}
		same(t, fmt.Sprintf("left, delete_broken %v", told), names(t, dir), want)
		if _, err := os.Lstat(filepath.Join(dir, oldGood)); err == nil {
			t.Error("the old good one is still there")
		}
		if told {
			continue
		}
		if !strings.HasSuffix(result.Message, "; 7 of these not good (see the log)") {
			t.Error(result.Message)
		}
		for name, fault := range broken {
			if !slices.ContainsFunc(result.Lines, func(l sdktest.Line) bool {
				text, _ := l.Fields["fault"].(string)
				return l.Level == "warn" && l.Fields["archive"] == name && strings.HasPrefix(text, fault)
			}) {
				t.Errorf("the log does not say that %s: %s", name, fault)
			}
		}
	}
}

func TestNothingGoesWithoutAGoodNewestOne(t *testing.T) {
	dir := t.TempDir()
	for day := range 4 {
		name := put(t, dir, "backup", at(day), 10-day)
		must(t, os.Remove(filepath.Join(dir, name+manifestSuffix)))
	}
	must(t, os.WriteFile(filepath.Join(dir, "."+nameOf("backup", at(9), 1)+goingSuffix), nil, 0o600))
	before := names(t, dir)
	settings := with(keep("last", 1), "delete_broken", true)
	requireRefused(t, retainIn(t, tuned(), dir, settings), "no good archive of task backup in "+dir+", so nothing is deleted; "+nameOf("backup", at(0), 10)+": its manifest is not there")
	same(t, "left", names(t, dir), before)
}

func TestDamageOfTheNewestStopsEverything(t *testing.T) {
	dir := t.TempDir()
	for day := range 4 {
		put(t, dir, "backup", at(day), 10-day)
	}
	must(t, os.WriteFile(filepath.Join(dir, "."+nameOf("backup", at(9), 1)+goingSuffix), nil, 0o600))
	newest := filepath.Join(dir, nameOf("backup", at(0), 10))
	content, err := os.ReadFile(newest)
	must(t, err)
	content[3] ^= 1
	must(t, os.WriteFile(newest, content, 0o600))
	before := names(t, dir)
	requireRefused(t, retainIn(t, tuned(), dir, keep("last", 2)), "the newest archive "+filepath.Base(newest)+" is damaged, so nothing is deleted: its SHA-256 is ")
	same(t, "left", names(t, dir), before)
	retainIn(t, tuned(), dir, with(keep("last", 2), "verify", false)).RequireCompleted(t)
	same(t, "left without verify", names(t, dir), []string{filepath.Base(newest), nameOf("backup", at(1), 9)})
}

func TestClocksThatAreWrong(t *testing.T) {
	dir := t.TempDir()
	for day := range 4 {
		put(t, dir, "backup", at(day), 10-day)
	}
	soon := put(t, dir, "backup", now.Add(30*time.Minute), 11) // another machine's clock
	future := put(t, dir, "backup", now.AddDate(12, 0, 0), 12)
	result := retainIn(t, tuned(), dir, keep("last", 2))
	result.RequireCompleted(t)
	same(t, "left beside one of the future", names(t, dir), []string{future, soon, nameOf("backup", at(0), 10)})
	if !strings.HasSuffix(result.Message, "; 1 of these of a time that is yet to come") {
		t.Error(result.Message)
	}

	// A clock that is years ahead makes nothing old.
	late := tuned()
	late.now = func() time.Time { return now.AddDate(30, 0, 0) }
	retainIn(t, late, dir, keep("daily", 3, "yearly", 1)).RequireCompleted(t)
	same(t, "left by a clock that is ahead", names(t, dir), []string{future, soon})

	// One that has lost its battery sees the future only.
	early := tuned()
	early.now = func() time.Time { return time.Unix(0, 0) }
	requireRefused(t, retainIn(t, early, dir, keep("last", 1)), "of 2 archives 2 would be of a later time than now (1970-01-01T00:00:00Z): is the clock right?")
	same(t, "left by a clock of 1970", names(t, dir), []string{future, soon})
}

func TestOfTheSameSecondTheLaterRunIsNewer(t *testing.T) {
	dir := t.TempDir()
	for _, run := range []int{9, 10, 11} {
		put(t, dir, "backup", at(1), run)
	}
	retainIn(t, tuned(), dir, keep("daily", 1)).RequireCompleted(t)
	same(t, "left", names(t, dir), []string{nameOf("backup", at(1), 11)})
}

func TestWhatCannotWorkIsRefusedForGood(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
	must(t, os.Symlink("real", filepath.Join(dir, "link")))
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "open"), 0o755))
	must(t, os.Chmod(filepath.Join(dir, "open"), 0o1777))
	for _, c := range []struct {
		dir      string
		settings map[string]any
		want     string
	}{
		{"real", keep(), "set at least one of last"},
		{"real", nil, "set at least one of last"},
		{"real", keep("daily", -1, "last", 3), "daily is -1"},
		{"real", with(keep("last", 1), "timezone", "Europe/Atlantis"), `"Europe/Atlantis" is not known`},
		{"real", with(keep("last", 1), "task", "a/b"), "is no name of a task"},
		{"missing", keep("last", 1), "there is no directory"},
		{"link", keep("last", 1), "is a symbolic link"},
		{"file", keep("last", 1), "is not a directory"},
		{"file/deeper", keep("last", 1), "not a directory"},
		{"open", keep("last", 1), "everybody may write to"},
	} {
		requireRefused(t, retainIn(t, tuned(), filepath.Join(dir, c.dir), c.settings), c.want)
	}
	empty := retainIn(t, tuned(), filepath.Join(dir, "real"), keep("last", 1))
	empty.RequireCompleted(t)
	if empty.Message != "no archives of backup yet" {
		t.Error(empty.Message)
	}
}

func TestNamesOfArchivesThatAreNoFilesAreLeftAlone(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	target := put(t, outside, "backup", at(9), 1)
	must(t, os.Symlink(filepath.Join(outside, target), filepath.Join(dir, target)))
	must(t, os.Mkdir(filepath.Join(dir, nameOf("backup", at(8), 2)), 0o755))
	put(t, dir, "backup", at(5), 3)
	put(t, dir, "backup", at(1), 4)
	retainIn(t, tuned(), dir, keep("last", 1)).RequireCompleted(t)
	same(t, "left", names(t, dir), []string{target, nameOf("backup", at(8), 2), nameOf("backup", at(1), 4)})
	same(t, "left outside", names(t, outside), []string{target})
}

// asNobody makes the attempt's goroutine an ordinary user to the file system.
// Its thread ends with it.
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

func TestWithoutPermissionNothingGoesAndThePlaceIsNamed(t *testing.T) {
	top := t.TempDir()
	must(t, os.Chmod(filepath.Dir(top), 0o755))
	must(t, os.Chmod(top, 0o755))
	dir := filepath.Join(top, "backups")
	must(t, os.Mkdir(dir, 0o755))
	for day := range 3 {
		put(t, dir, "backup", at(day), 10-day)
	}
	readable := func(mode os.FileMode) {
		for _, name := range names(t, dir) {
			must(t, os.Chmod(filepath.Join(dir, name), mode))
			must(t, os.Chmod(filepath.Join(dir, name+manifestSuffix), mode))
		}
	}
	before := names(t, dir)
	nobody := tuned()
	nobody.started = asNobody(t)
	for _, c := range []struct {
		dir, files os.FileMode
		want       string
	}{
		{0o700, 0o644, "permission"},
		{0o555, 0o644, "delete " + nameOf("backup", at(2), 8) + ": permission denied"},
		{0o755, 0o600, "its manifest may not be read"},
	} {
		readable(c.files)
		must(t, os.Chmod(dir, c.dir))
		requireRefused(t, retainIn(t, nobody, dir, keep("last", 1)), c.want)
		must(t, os.Chmod(dir, 0o755))
		same(t, "left", names(t, dir), before)
	}
}

var errCrash = errors.New("a crash")

// A crash before any single act: what has an archive's name is whole, nothing
// that should stay is touched, and the next attempt ends what was begun.
func TestACrashAnywhereLeavesNothingThatOnlyLooksGood(t *testing.T) {
	for crash := 1; ; crash++ {
		dir := t.TempDir()
		others := strangers(t, dir)
		for day := range 5 {
			name := put(t, dir, "backup", at(day), 10-day)
			must(t, os.WriteFile(filepath.Join(dir, name+reportSuffix), nil, 0o600))
		}
		want := []string{nameOf("backup", at(0), 10), nameOf("backup", at(1), 9)}
		for _, name := range slices.Clone(want) {
			want = append(want, name+reportSuffix)
		}
		crashing := tuned()
		acts := 0
		crashing.before = func(string, string) error {
			if acts++; acts == crash {
				return errCrash
			}
			return nil
		}
		result := retainIn(t, crashing, dir, keep("last", 2))
		if result.Completed() {
			if crash < 12 {
				t.Errorf("there were %d acts only", crash-1)
			}
			return
		}
		for day := range 5 {
			name := nameOf("backup", at(day), 10-day)
			if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
				continue
			}
			for _, suffix := range []string{manifestSuffix, reportSuffix} {
				if _, err := os.Lstat(filepath.Join(dir, name+suffix)); err != nil {
					t.Errorf("crash %d: %s is there and its %s is not", crash, name, suffix)
				}
			}
		}
		retainIn(t, tuned(), dir, keep("last", 2)).RequireCompleted(t)
		same(t, fmt.Sprintf("left after crash %d", crash), names(t, dir), append(want, others...))
	}
}

func TestAnArchiveThatCameBackKeepsItsManifest(t *testing.T) {
	dir := t.TempDir()
	name := put(t, dir, "backup", at(0), 1)
	must(t, os.WriteFile(filepath.Join(dir, going(name)), nil, 0o600))
	retainIn(t, tuned(), dir, keep("last", 1)).RequireCompleted(t)
	same(t, "left", names(t, dir), []string{name})
	if _, err := os.Lstat(filepath.Join(dir, name+manifestSuffix)); err != nil {
		t.Error(err)
	}
}

func TestAnArchiveThatIsReplacedMeanwhileStays(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "backup", at(0), 3)
	old := put(t, dir, "backup", at(5), 2)
	oldest := put(t, dir, "backup", at(6), 1)
	replacing := tuned()
	replacing.before = func(act, name string) error {
		if act == "hide" && name == oldest {
			must(t, os.Remove(filepath.Join(dir, old)))
			must(t, os.WriteFile(filepath.Join(dir, old), []byte("another"), 0o600))
		}
		return nil
	}
	result := retainIn(t, replacing, dir, keep("last", 1))
	if result.Completed() || !strings.Contains(result.Message, "was replaced while this step was at work") {
		t.Errorf("ended as %v: %s", result.Status, result.Message)
	}
	same(t, "left", names(t, dir), []string{nameOf("backup", at(0), 3), old})
}

func TestOutputStaysWithinTheLimitOfTheProtocol(t *testing.T) {
	dir := t.TempDir()
	for i := range 600 {
		put(t, dir, "backup", now.Add(-time.Duration(i)*time.Hour), 1000-i)
	}
	result := retainIn(t, tuned(), dir, with(keep("last", 300, "hourly", 300), "dry_run", true))
	result.RequireCompleted(t)
	var out Retained
	result.Output(t, "retained", &out)
	if out.KeptCount != 300 || out.DeletedCount != 300 || len(out.Kept) < 100 || len(out.Kept) == 300 || len(result.Outputs["retained"]) > 64<<10 {
		t.Errorf("%d and %d archives, %d and %d of them listed", out.KeptCount, out.DeletedCount, len(out.Kept), len(out.Deleted))
	}
}

// Any directory, any rules, crashes at any place: in the end exactly what the
// model keeps is left, and before that never less.
func TestDirectoriesAgreeWithTheModel(t *testing.T) {
	tuning := tuned()
	crashAt, acts := 0, 0
	tuning.now = func() time.Time { return now.AddDate(1, 0, 0) }
	tuning.before = func(string, string) error {
		if acts++; acts == crashAt {
			return errCrash
		}
		return nil
	}
	h := sdktest.New(t, plugin(tuning))
	rapid.Check(t, func(rt *rapid.T) {
		dir := filepath.Join(t.TempDir(), fmt.Sprint(rand.Uint64()))
		must(rt, os.Mkdir(dir, 0o755))
		rules, name, times := drawRules(rt), drawZone(rt), drawTimes(rt, 12)
		var want, all []string
		others := strangers(t, dir)
		for i, at := range times {
			archive := put(t, dir, "backup", at, 100-i)
			all = append(all, archive)
			if stays(rules, times, zone(t, name), i) {
				want = append(want, archive)
			}
		}
		settings := map[string]any{"backup_dir": dir, "timezone": name, "keep": rules}
		for attempt := 1; ; attempt++ {
			crashAt, acts = rapid.IntRange(0, 12).Draw(rt, "crash"), 0
			if attempt > 5 {
				crashAt = 0
			}
			result := h.Execute(t.Context(), sdktest.Start{Task: "backup", Settings: settings, Attempt: attempt})
			left := names(t, dir)
			for _, name := range want {
				if !slices.Contains(left, name) {
					rt.Fatalf("%s is gone", name)
				}
			}
			if result.Completed() {
				break
			}
			if !strings.Contains(result.Message, errCrash.Error()) {
				rt.Fatal(result.Message)
			}
		}
		left := names(t, dir)
		if expected := slices.Sorted(slices.Values(append(want, others...))); !slices.Equal(left, expected) {
			rt.Fatalf("of %q there is left\n %q\nwant\n %q", all, left, expected)
		}
	})
}
