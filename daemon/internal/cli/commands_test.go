package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Each command, and each topic of the help, has a script of its name that reads
// like a manual: testdata/script/task_edit.txtar is that of "stepd task edit".
func TestEachCommandHasAScriptOfItsName(t *testing.T) {
	script := func(c *cobra.Command) string {
		words := strings.Fields(c.CommandPath())[1:]
		return strings.ReplaceAll(strings.Join(words, "_"), "-", "_") + ".txtar"
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if isGroup(sub) || sub.Name() == "run" {
				walk(sub)
			}
			if isGroup(sub) {
				continue
			}
			text, err := os.ReadFile(filepath.Join("testdata", "script", script(sub)))
			if err != nil {
				t.Errorf("%s: %v", sub.CommandPath(), err)
				continue
			}
			words := strings.TrimPrefix(sub.CommandPath(), "stepd ")
			if !sub.Runnable() {
				words = "help " + words
			}
			if !strings.Contains(string(text), " stepd "+words) {
				t.Errorf("%s does not use stepd %s", script(sub), words)
			}
			if !strings.Contains(string(text), "exits ") && sub.Runnable() {
				t.Errorf("%s does not tell what goes wrong", script(sub))
			}
		}
	}
	walk(newRoot(&env{}))
}

// Help fits on a terminal, and says of each flag what it is for.
func TestHelpFitsOnATerminal(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for i, line := range strings.Split(c.Long+"\n"+c.Example, "\n") {
			if len([]rune(line)) > 90 {
				t.Errorf("%s: line %d of its help is %d characters long: %s", c.CommandPath(), i+1, len([]rune(line)), line)
			}
		}
		if c.Short == "" {
			t.Errorf("%s says nothing of itself", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&env{}))
}
