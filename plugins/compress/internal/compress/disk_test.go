package compress

import (
	"math/rand/v2"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

// smallDisk is a file system of 1 MiB where we may mount one, else a limit on
// the size of files.
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

func TestAFullDiskLeavesNothingAndIsNamed(t *testing.T) {
	noise := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(noise)
	source := tree{"noise": string(noise)}.write(t, t.TempDir()+"/s")
	disk := smallDisk(t)
	key := ageKey(t)
	for _, settings := range []map[string]any{{"format": formatZstd}, {"format": formatGzip}, {"recipients": []string{key.public}}, {"concurrency": 4}} {
		settings["source"], settings["backup_dir"] = source, disk+"/b"
		h := sdktest.New(t, Plugin())
		result := h.Execute(t.Context(), sdktest.Start{Settings: settings})
		if result.Status != stepdv1.Result_STATUS_FAILED || !strings.Contains(result.Message, "write "+disk+"/b/test-1.tar.") {
			t.Errorf("%v: ended as %v: %s", settings, result.Status, result.Message)
		}
		if left := names(look(t, disk+"/b")); len(left) > 0 {
			t.Errorf("%v: left behind: %q", settings, left)
		}
	}
}
