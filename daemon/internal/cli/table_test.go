package cli

import (
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
)

func TestATableFitsTheTerminal(t *testing.T) {
	head := []string{"RUN", "STATUS", "PROGRESS", "STEPS", "TOOK", "REASON"}
	rows := [][]cell{
		{text("a-task-with-a-name-that-is-long-beyond-all-measure/17"), status("failed"), amount("50 %"), text("2 of 4 steps, 1 failed"), amount("1 min 30 s"), text("step files failed: there is no directory")},
		{text("b/1"), status("completed"), amount("100 %"), text("4 steps"), amount("2 s"), text("")},
	}
	for room, want := range map[int][]string{
		0:   {"a-task-with-a-name-that-is-long-beyond-all-measure/17  failed ", "step files failed: there is no directory\n"},
		160: {"a-task-with-a-name-that-is-long-beyond-all-measure/17  failed ", "step files failed: there is no directory\n"},
		80:  {"measure/17  failed ", "2 of 4 steps", "  1 min 30 s  ", "step files"},
		40:  {"e/17  failed", "100 %"},
		20:  {"/17"},
		5:   {"17"},
	} {
		got := layTable(painter{}, room, head, rows)
		for line := range strings.Lines(got) {
			if w := runewidth.StringWidth(strings.TrimSpace(line)); room > 0 && w > room {
				t.Errorf("in %d columns a row takes %d: %q", room, w, line)
			}
		}
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("in %d columns no %q:\n%s", room, w, got)
			}
		}
	}
}
