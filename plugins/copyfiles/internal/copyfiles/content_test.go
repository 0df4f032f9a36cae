package copyfiles

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stepd/stepd/sdk"
	"github.com/stepd/stepd/sdk/sdktest"
)

func allocated(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

func TestSparseFilesStaySparse(t *testing.T) {
	dir := t.TempDir()
	source := dir + "/s"
	must(t, os.Mkdir(source, 0o755))
	random := rand.New(rand.NewPCG(3, 4))
	sparse := func(name string, size int64, at ...int64) {
		f, err := os.Create(source + "/" + name)
		must(t, err)
		must(t, f.Truncate(size))
		for _, offset := range at {
			data := []byte(fmt.Sprint("data at ", offset))
			_, err := f.WriteAt(data[:min(int64(len(data)), size-offset)], offset)
			must(t, err)
		}
		must(t, f.Close())
	}
	sparse("nothing", 32<<20)
	sparse("begin", 16<<20, 0)
	sparse("end", 16<<20, 16<<20-3)
	sparse("middle", 32<<20, 20<<20)
	sparse("odd", 10_000_001, 1, 5_000_000, 9_999_990)
	for i := range 10 {
		var at []int64
		for range random.IntN(9) {
			at = append(at, random.Int64N(8<<20))
		}
		sparse(fmt.Sprint("random", i), 8<<20+random.Int64N(4096), at...)
	}
	read := 0
	tuned := defaultTuning()
	tuned.readBytes = func(n int) { read += n }
	h := sdktest.New(t, plugin(tuned))
	result := h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source, Target: dir + "/t"}})
	result.RequireCompleted(t)
	sameTrees(t, look(t, source), look(t, dir+"/t"))
	var want, got int64
	for _, name := range names(look(t, source)) {
		want += allocated(t, source+"/"+name)
		if is := allocated(t, dir+"/t/"+name); is > allocated(t, source+"/"+name) {
			t.Errorf("%s takes %d bytes, in the source %d", name, is, allocated(t, source+"/"+name))
		} else {
			got += is
		}
	}
	if want > 1<<20 || int64(read) > want {
		t.Errorf("%d bytes were read of %d that are there, and %d written", read, want, got)
	}
	if last := result.Progress[len(result.Progress)-1]; last.Done != last.Total {
		t.Errorf("the last progress is %+v", last)
	}
}

func TestPaceIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pace{rate: 1000}
		began := time.Now()
		for range 40 {
			must(t, p.wait(t.Context(), 250))
		}
		if took := time.Since(began); took < 10*time.Second || took > 10*time.Second+time.Millisecond {
			t.Errorf("10,000 bytes at 1000 a second took %v", took)
		}
		time.Sleep(time.Hour) // of the bubble's own time; it is not made up for
		began = time.Now()
		must(t, p.wait(t.Context(), 1000))
		if took := time.Since(began); took != time.Second {
			t.Errorf("after an hour of nothing, 1000 bytes took %v", took)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("enough")
		time.AfterFunc(time.Second, func() { cancel(cause) })
		if err := p.wait(ctx, 1<<30); !errors.Is(err, cause) {
			t.Errorf("a wait that was ended says %v", err)
		}
	})
}

func TestRateLimitsWhatIsRead(t *testing.T) {
	source := tree{"a": strings.Repeat("a", 300_000), "b": strings.Repeat("b", 200_000)}.write(t, t.TempDir()+"/s")
	h := sdktest.New(t, Plugin())
	began := time.Now()
	h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source, Rate: 1_000_000}}).RequireCompleted(t)
	if took := time.Since(began); took < 490*time.Millisecond {
		t.Errorf("500,000 bytes at 1,000,000 a second took %v", took)
	}
	sameTrees(t, look(t, source), look(t, h.WorkDir()+"/files"))
}

func TestAFileThatIsReplacedWhileItIsReadIsCopiedAgain(t *testing.T) {
	for _, times := range []int{1, 2} {
		dir := t.TempDir()
		source := tree{"a": "aaaa", "b": "old1"}.write(t, dir+"/s")
		info, err := os.Stat(source + "/b")
		must(t, err)
		replaced := 0
		tuned := defaultTuning()
		tuned.afterRead = func(rel string) {
			if rel == "b" && replaced < times {
				replaced++
				// Of the same size and time: its inode alone tells.
				must(t, os.WriteFile(dir+"/new", fmt.Append(nil, "new", replaced), 0o600))
				must(t, os.Chmod(dir+"/new", info.Mode()))
				must(t, os.Chtimes(dir+"/new", info.ModTime(), info.ModTime()))
				must(t, os.Rename(dir+"/new", source+"/b"))
			}
		}
		h := sdktest.New(t, plugin(tuned))
		result := h.Execute(t.Context(), sdktest.Start{Settings: Settings{Source: source, Target: dir + "/t"}})
		result.RequireCompleted(t)
		var report Report
		result.Output(t, "report", &report)
		if content, err := os.ReadFile(dir + "/t/b"); err != nil || string(content) != "new1" || (report.ChangedCount == 1) != (times == 2) {
			t.Errorf("replaced %d times: %q, %v, %+v", times, content, err, report)
		}
	}
}

func TestALargeFileGoesOnWhereItWasCut(t *testing.T) {
	dir := t.TempDir()
	content := make([]byte, 12<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	for _, c := range []struct {
		name   string
		change func(path string) // between the attempts
		all    bool              // is it read from the beginning again?
	}{
		{"as it was", func(string) {}, false},
		{"changed meanwhile", func(path string) {
			content[5] ^= 1
			must(t, os.WriteFile(path, content, 0o600))
		}, true},
		{"temporary file gone", func(string) {
			parts, err := os.ReadDir(dir + "/t")
			must(t, err)
			for _, entry := range parts {
				if isPart(entry.Name()) {
					must(t, os.RemoveAll(dir+"/t/"+entry.Name()))
				}
			}
		}, true},
	} {
		must(t, os.RemoveAll(dir+"/t"))
		source := tree{"large": string(content), "a": "a"}.write(t, dir+"/s")
		read, cutAt := 0, 8<<20
		tuned := defaultTuning()
		tuned.partialFrom, tuned.batchTime = 1<<20, 0
		stop := make(chan error, 1)
		tuned.readBytes = func(n int) {
			if read += n; read >= cutAt {
				cutAt = 1 << 40
				stop <- sdk.ErrStopping
			}
		}
		h := sdktest.New(t, plugin(tuned))
		start := sdktest.Start{Settings: Settings{Source: source, Target: dir + "/t", Rate: 64 << 20}, Cancel: stop}
		first := h.Execute(t.Context(), start)
		if first.Completed() {
			t.Fatalf("%s: the stop came too late", c.name)
		}
		before := read
		c.change(source + "/large")
		start.Checkpoint, start.Attempt, start.Cancel = first.LastCheckpoint(), 2, nil
		h.Execute(t.Context(), start).RequireCompleted(t)
		sameTrees(t, look(t, source), look(t, dir+"/t"))
		if again := before + read - before - (12<<20 + 1); c.all != (again >= before-1) || !c.all && again != 0 {
			t.Errorf("%s: %d bytes were read again of %d", c.name, again, before)
		}
	}
}

func TestOwnersAreKeptWhereWeMay(t *testing.T) {
	dir := t.TempDir()
	source := tree{"a": "a", "d/b": "b", "d/": "", "l": "-> a"}.write(t, dir+"/s")
	// Of another user, where we are one who may; else of ourselves.
	uid, gid := os.Getuid(), os.Getgid()
	if os.Geteuid() == 0 {
		uid, gid = 12345, 23456
	}
	owners := func(root string, uid, gid int) {
		t.Helper()
		for _, name := range []string{".", "a", "d", "d/b", "l"} {
			info, err := os.Lstat(root + "/" + name)
			must(t, err)
			if isUID, isGID := ownerOf(info); isUID != uid || isGID != gid {
				t.Errorf("%s belongs to %d:%d, want %d:%d", name, isUID, isGID, uid, gid)
			}
		}
	}
	chown := func(uid, gid int) {
		for _, name := range []string{"a", "d/b", "d", "l", "."} {
			must(t, os.Lchown(source+"/"+name, uid, gid))
		}
	}
	chown(uid, gid)
	h := sdktest.New(t, Plugin())
	start := sdktest.Start{Settings: Settings{Source: source, Target: dir + "/t"}}
	h.Execute(t.Context(), start).RequireCompleted(t)
	owners(dir+"/t", uid, gid)
	sameTrees(t, look(t, source), look(t, dir+"/t"))

	// A change of the owner alone is a change, also of what is there.
	chown(os.Getuid(), os.Getgid())
	must(t, os.Chmod(source+"/a", 0o600))
	h.Execute(t.Context(), start).RequireCompleted(t)
	for _, name := range []string{"a", "d/b"} {
		info, err := os.Lstat(dir + "/t/" + name)
		must(t, err)
		if isUID, _ := ownerOf(info); isUID != os.Getuid() {
			t.Errorf("%s still belongs to %d", name, isUID)
		}
	}
}
