package pluginhost

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// delegatedCgroup is the daemon's own cgroup v2 directory, if the service
// manager handed it over (Delegate=yes), else empty. Without the hand-over it
// belongs to the service manager, even where root could write to it.
func delegatedCgroup() string {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	var path string
	for line := range strings.Lines(string(own)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			path = rest
		}
	}
	mount := cgroupMount()
	if path == "" || path == "/" || mount == "" {
		return ""
	}
	dir := filepath.Join(mount, path)
	for _, attr := range []string{"user.delegate", "trusted.delegate"} {
		var value [8]byte
		n, err := unix.Getxattr(dir, attr, value[:])
		if err == nil && string(value[:n]) == "1" && unix.Access(dir, unix.W_OK) == nil {
			return dir
		}
	}
	return ""
}

func cgroupMount() string {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		if fields := strings.Fields(before); ok && strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 {
			return fields[4]
		}
	}
	return ""
}

// cgroup is the group of one plugin process.
type cgroup struct {
	path string
	dir  *os.File
}

// newCgroup makes one below parent, or returns nil where that does not work:
// process groups and markers do the same, less surely.
func newCgroup(parent, name string) *cgroup {
	if parent == "" {
		return nil
	}
	path := filepath.Join(parent, name)
	if err := os.Mkdir(path, 0o755); err != nil && !os.IsExist(err) {
		return nil
	}
	dir, err := os.OpenFile(path, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		_ = os.Remove(path)
		return nil
	}
	return &cgroup{path: path, dir: dir}
}

// kill ends all processes in it at once, those that changed their group and
// session too.
func (c *cgroup) kill() {
	if c != nil {
		_ = os.WriteFile(filepath.Join(c.path, "cgroup.kill"), []byte("1"), 0)
	}
}

// remove waits a little for the dead to be gone.
func (c *cgroup) remove() {
	if c == nil {
		return
	}
	_ = c.dir.Close()
	for range 50 {
		if err := os.Remove(c.path); err == nil || os.IsNotExist(err) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
