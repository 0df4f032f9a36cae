package pluginhost

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stepd/stepd/daemon/internal/task"
)

// TestCgroups runs plugins in groups of their own where this machine lets us
// make some, and in a directory that only looks like one, where the host has
// to do without.
func TestCgroups(t *testing.T) {
	parents := map[string]string{"pretended": t.TempDir()}
	if mount := cgroupMount(); mount != "" {
		real := filepath.Join(mount, fmt.Sprintf("stepd-test-%d", os.Getpid()))
		if os.Mkdir(real, 0o755) == nil {
			parents["real"] = real
			defer func() {
				if err := os.Remove(real); err != nil {
					t.Errorf("groups are left: %v", err)
				}
			}()
		}
	}
	for name, parent := range parents {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.CgroupDir = parent }, "misbehave")
			wantFirst, _ := r.do("misbehave", "setsid-crash", 0)
			wantOutcome(t, wantFirst, task.OutcomeNoResult, "exit status 4")
			if pids := markedPids(r.cfg.Marker); len(pids) > 0 {
				t.Errorf("left: %v", pids)
			}
			got, _ := r.do("misbehave", "none", 0)
			wantOutcome(t, got, task.OutcomeCompleted)
		})
	}
}
