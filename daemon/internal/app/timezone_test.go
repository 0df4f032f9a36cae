package app

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/config"
)

func TestATimezoneThatNobodyKnows(t *testing.T) {
	dir := t.TempDir()
	_, err := New(Options{Stderr: t.Output(), Config: config.Config{
		DataDir: filepath.Join(dir, "data"), Socket: filepath.Join(dir, "s"), MaxRuns: 1, Timezone: "CET-1CEST",
	}})
	if err == nil || !strings.Contains(err.Error(), `timezone is "CET-1CEST"`) || !strings.Contains(err.Error(), "STEPD_TIMEZONE") {
		t.Errorf("it says %v", err)
	}
}
