package app_test

import (
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/app"
	"github.com/stepd/stepd/daemon/internal/config"
)

func TestHelpNamesEverySettingInNarrowLines(t *testing.T) {
	help := app.SettingsHelp()
	for _, s := range config.Settings() {
		if !strings.Contains(help, "\n  "+s.Key+"\n") {
			t.Errorf("the help does not name %s", s.Key)
		}
	}
	for line := range strings.Lines(help) {
		if len(line) > 80 {
			t.Errorf("a line of %d bytes: %s", len(line), line)
		}
	}
}
