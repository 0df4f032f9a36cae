package server_test

import (
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stepd/stepd/daemon/internal/api/server"
)

func TestTheSocketHasItsModesWhateverTheUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "run", "stepd.sock")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	l, err := server.Listen(path, group.Name)
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]fs.FileMode{path: fs.ModeSocket | 0o660, filepath.Dir(path): fs.ModeDir | 0o750} {
		if info, err := os.Lstat(p); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, want %v", p, info.Mode(), err, want)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	l, err := server.Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

func TestWhatMustNotBeTakenIsNot(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(path string) {
		if err := os.WriteFile(path, []byte("keep"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(in("file"))
	if err := os.Symlink(in("file"), in("link")); err != nil {
		t.Fatal(err)
	}
	live, err := net.Listen("unix", in("live"))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if err := os.Mkdir(in("open"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(in("open"), 0o777); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		in("file"):                   "no socket",
		in("link"):                   "no socket",
		in("live"):                   "another daemon answers",
		in("file/s"):                 "file is no directory",
		in("open/s"):                 "writable by everybody",
		"relative/s":                 "must be absolute",
		in(strings.Repeat("x", 120)): "choose a shorter one",
	} {
		l, err := server.Listen(path, "")
		if err == nil {
			_ = l.Close()
			t.Errorf("%s was taken", path)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if text, err := os.ReadFile(in("file")); err != nil || string(text) != "keep" {
		t.Errorf("the file: %q %v", text, err)
	}
	if _, err := server.Listen(in("s"), "no-such-group-here"); err == nil || !strings.Contains(err.Error(), "no-such-group-here") {
		t.Errorf("unknown group: %v", err)
	}
}

func TestClosingLeavesASuccessorAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := server.Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := server.Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the successor's socket is gone: %v", err)
	}
	_ = second.Close()
}

func TestOfManyThatStartAtOnceOneListens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "s")
	var wg sync.WaitGroup
	listeners := make(chan net.Listener, 16)
	for range cap(listeners) {
		wg.Go(func() {
			if l, err := server.Listen(path, ""); err == nil {
				listeners <- l
			}
		})
	}
	wg.Wait()
	close(listeners)
	n := 0
	for l := range listeners {
		n++
		_ = l.Close()
	}
	if n != 1 {
		t.Errorf("%d listen", n)
	}
}
