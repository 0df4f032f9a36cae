package expression_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/expression"
	"github.com/stepd/stepd/daemon/internal/task"
)

func scope() task.Scope {
	return task.Scope{
		Settings: []string{"mode", "backup_dir", "keep-days"},
		Steps:    []string{"tables", "copy-files", "größe"},
		Later:    []string{"archive", "send-mail"},
	}
}

func hookScope() task.Scope {
	s := scope()
	s.Hook, s.RunSteps = true, []string{"dump", "copy-files"}
	return s
}

// The caret stands below the place of the fault; the hint follows in brackets.
func TestFaultsOfConditions(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`steps.tables.status == "completed" and steps.tables.outputs.rows > 0`, ""},
		{`steps["copy-files"].status != "failed"`, ""},
		{`steps.größe.status == "skipped"`, ""},
		{`settings.mode in ["a", "b"] || not (run.number % 2 == 0)`, ""},
		{`weekday(now) == "Sunday" ? true : false`, ""},
		{`any(steps.tables.outputs.list ?? [], # > 3)`, ""},
		{`(steps.tables.outputs.rows ?? 0) > 1 and run.scheduled_for != nil`, ""},
		{`steps.tables?.outputs?.a?.b == 1`, ""},
		{`settings["keep-days"] > 3`, ""},

		{``, `0: the expression is empty`},
		{`steps.tables.status ==`, `21: the expression ends too early`},
		{`steps.tabels.status == "completed"`, `6: there is no step tabels (did you mean tables?)`},
		{`steps.archive.status == "completed"`, `6: step archive is no earlier one (only steps of a lower order have ended by then)`},
		{`steps.copy-files.status == "completed"`, `6: the name of step copy-files has to stand in quotes (write steps["copy-files"])`},
		{`steps.nothing.status == "completed" and steps.neither.status == "failed"`,
			`6: there is no step nothing (earlier are: tables, copy-files, größe)` + "\n" + `46: there is no step neither (earlier are: tables, copy-files, größe)`},
		{`steps.tables.state == "completed"`, `13: a step has no state (did you mean status?)`},
		{`steps.tables.rows > 1`, `13: a step has no rows (there is .status, .message, .error and .outputs, as in steps.tables.outputs.rows)`},
		{`steps.tables`, `6: steps.tables is no value: say what of the step (as in steps.tables.status, or .outputs, .message, .error)`},
		{`steps`, `0: steps is no value: name one of them (as in steps.tables.status)`},
		{`len(steps) > 1`, `4: steps is no value: name one of them (as in steps.tables.status)`},
		{`steps[settings.mode].status == "failed"`, `5: the step's name has to be written out (as in steps["copy-files"].status)`},
		{`steps.tables.status == "complete"`, `23: no status is "complete" (did you mean completed?)`},
		{`"complet" == steps.tables.status`, `0: no status is "complet" (did you mean completed?)`},
		{`steps.tables.status in ["failed", "skiped"]`, `34: no status is "skiped" (did you mean skipped?)`},
		{`settings.mod == "x"`, `9: the task has no setting mod (did you mean mode?)`},
		{`settings.keep-days > 1`, `9: the task has no setting keep (write settings["keep-days"])`},
		{`run.numbr == 1`, `4: run has no numbr (did you mean number?)`},
		{`hook.status == "failed"`, `0: hook is there in hooks of a run's end only (steps of this run are in steps)`},
		{`tables.status == "failed"`, `0: there is no tables (the names are settings, steps, run, step, hook, now; texts stand in quotes)`},
		{`setings.mode == "a"`, `0: there is no setings (did you mean settings?)`},
		{`run.number`, `0: a condition must give true or false, this one gives a number`},
		{`steps.tables.status`, `0: a condition must give true or false, this one gives a text (compare it, as in steps.tables.status == "completed")`},
		{`run.number == "1"`, `11: invalid operation: == (mismatched types int and string)`},
		{`settings.mode = "a"`, `14: unexpected token Operator("=") (two values are compared with ==)`},
		{`now.Hour() > 3`, `4: only functions can be called, not what values have`},
		{`now.Hour > 3`, `4: a time has no parts (take it apart with format(now, "%H") or weekday(now))`},
		{`now() > now`, `0: there is no function now (now is written without brackets)`},
		{`settings.mode.Foo()`, `14: only functions can be called, not what values have`},
		{`lenn(settings.mode) > 1`, `0: there is no function lenn (did you mean len?)`},
		{`repeat("a", 3) == "aaa"`, `0: there is no function repeat`},
		{`$env == nil`, `0: there is no $env (the names are settings, steps, run, step, hook, now; texts stand in quotes)`},
		{`let x = 1; x == 1`, `4: variables are not possible here`},
		{`reduce([1], #acc + #) > 1`, ``},
		{`all([1], any([2], # > 1))`, `18: a predicate within a predicate is not possible`},
		{`settings.mode matches settings.mode`, `31: the pattern of matches has to be written out as a text`},
		{`settings.mode matches "("`, `22: the pattern is faulty: error parsing regexp: missing closing ): ` + "`(`"},
		{`settings.mode matches "((a{100}){100}){100}"`, ``},
		{`"größe" == "x" and steps.nix.status == "failed"`, `27: there is no step nix (earlier are: tables, copy-files, größe)`},
	} {
		got := shown(expression.Language{}.CheckWhen(c.text, scope()))
		if c.want == "" && strings.HasPrefix(c.text, "reduce") || strings.Contains(c.text, "{100}") {
			if got == "" {
				t.Errorf("%s: no fault", c.text)
			}
			continue
		}
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

func TestFaultsInHooks(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`hook.status == "failed" and hook.steps["copy-files"].outputs.x == 1 and hook.number > 1`, ""},
		{`hook.status == "running"`, `15: no status is "running"`},
		{`steps.dump.status == "failed"`, `6: step dump is none of the hook's (those of the run that it follows are in hook.steps: hook.steps.dump)`},
		{`hook.steps.dmp.status == "failed"`, `11: there is no step dmp (did you mean dump?)`},
		{`hook.steps`, `5: hook.steps is no value: name one of them (as in hook.steps.tables.status)`},
		{`hook`, `0: hook is no value: say what of it (as in hook.status)`},
		{`hook.reson == ""`, `5: hook has no reson (did you mean reason?)`},
	} {
		if got := shown(expression.Language{}.CheckWhen(c.text, hookScope())); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

func TestFaultsInTexts(t *testing.T) {
	for _, c := range []struct {
		text, want string
		found      bool
	}{
		{"plain", "", false},
		{"costs $5 {or} so", "", false},
		{"$${{ as it is }}", "", true},
		{"run ${{ run.number }} of ${{ run.task }}", "", true},
		{`${{ {"a": {"b": 1}} }}`, "", true},
		{`${{ {"a": {"b": 1}}}}`, "", true},
		{`${{ "}}" }}`, "", true},
		{"a ${{ run.numbr }} b ${{ steps.nix.status }}", "10: run has no numbr (did you mean number?)\n" +
			"31: there is no step nix (earlier are: tables, copy-files, größe)", true},
		{"ä ${{ run.number", "3: the expression that begins here has no end (close it with }}, or write $${{ for the signs themselves)", true},
		{"${{ }}", "3: the expression is empty", true},
		{`${{ "unclosed }}`, "0: the expression that begins here has no end (close it with }}, or write $${{ for the signs themselves)", true},
	} {
		faults, found := expression.Language{}.CheckText(c.text, scope())
		if got := shown(faults); got != c.want || found != c.found {
			t.Errorf("%s\n got %v %s\nwant %v %s", c.text, found, got, c.found, c.want)
		}
	}
}

func shown(faults []task.ExpressionFault) string {
	var lines []string
	for _, f := range faults {
		line := fmt.Sprintf("%d: %s", f.Offset, f.Message)
		if f.Hint != "" {
			line += " (" + f.Hint + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
