package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "stepd",
		Short: "Carry out long work in small, durable steps",
		Long: `stepd carries out long work in small, durable steps.

A task is a file that lists steps. Running it makes a run, named TASK/NUMBER as
in backup/42; TASK alone stands for its newest run.

  stepd apply backup.yaml          save the task
  stepd run backup --follow        run it and watch
  stepd runs                       what ran, and how it went
  stepd next                       what will run, and when
  stepd logs backup -f             what it says`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE:          e.group,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			e.cmd = cmd
			if err := noEmptyFlags(cmd); err != nil {
				return err
			}
			if e.output != outputText && e.output != outputJSON {
				return usageError("--output is %q, it must be %s or %s", e.output, outputText, outputJSON)
			}
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&e.socket, "socket", "", "the daemon's socket (environment STEPD_SOCKET)")
	f.StringVarP(&e.output, "output", "o", outputText, "text or json")
	f.BoolVarP(&e.quiet, "quiet", "q", false, "no progress and no messages, only what was asked for")
	f.BoolVarP(&e.yes, "yes", "y", false, "do not ask for confirmation")
	f.StringVar(&e.actFor, "as", "", "the `USER` for whom it is done, which administrators alone may say")
	f.BoolVar(&e.noColor, "no-color", false, "no colours (environment NO_COLOR)")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputText, outputJSON}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.MarkPersistentFlagFilename("socket")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	showHelp := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		// Asked for the help of a command that it does not know, the library shows
		// that of the group.
		if words := cmd.Flags().Args(); isGroup(cmd) && len(words) > 0 {
			e.helpFault = e.group(cmd, words)
			return
		}
		showHelp(cmd, args)
	})

	root.SetHelpCommand(newHelp(e))
	root.AddGroup(&cobra.Group{ID: "runs", Title: "Runs:"}, &cobra.Group{ID: "tasks", Title: "Tasks:"},
		&cobra.Group{ID: "files", Title: "Task files:"}, &cobra.Group{ID: "daemon", Title: "The daemon:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("runs", newRun(e), newRuns(e), newLogs(e), newCancel(e), newContinue(e), newRestart(e))
	add("tasks", newTasks(e), newTask(e), newNext(e), newSchedule(e))
	add("files", newValidate(e), newApply(e), newDiff(e), newExport(e), newDelete(e))
	add("daemon", newServe(e), newStatus(e), newPlugins(e), newSecrets(e), newWhoAmI(e), newAudit(e), newVersion(e))
	root.AddCommand(newExitCodes(), newSchedulesHelp(), newExpressionsHelp(), newPoliciesHelp(), newAPIHelp(e))
	return root
}

// isGroup reports whether the command only holds others and takes no words of
// its own.
func isGroup(cmd *cobra.Command) bool { return cmd.HasSubCommands() && cmd.Use == cmd.Name() }

// group is what a command does that only holds others: help, or an error that
// names what comes close.
func (e *env) group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var near, names []string
	below := map[string][]string{} // where a name of a deeper command leads to
	for _, c := range cmd.Commands() {
		if !known(c) {
			continue
		}
		near = append(near, c.Name())
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
				below[sub.Name()] = append(below[sub.Name()], sub.CommandPath())
			}
		}
	}
	hint := fmt.Sprintf("see: %s --help", cmd.CommandPath())
	deeper := nearest(args[0], names)
	if near := nearest(args[0], near); near != "" && below[args[0]] == nil {
		hint = fmt.Sprintf("did you mean: %s %s", cmd.CommandPath(), near)
	} else if deeper != "" {
		hint = "did you mean: " + strings.Join(below[deeper], ", or ")
	}
	return withHint(usageError("there is no command %q", args[0]), hint)
}

// exactly and its like check the number of arguments and say which are meant.
func exactly(what ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(what):
			return usageHint(cmd, "%s is missing", strings.Join(what[len(args):], " and "))
		case len(args) > len(what):
			return usageHint(cmd, "%q is one argument too many", args[len(what)])
		}
		return nil
	}
}

func atLeastOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 || slices.Contains(args, "") {
			return usageHint(cmd, "%s is missing", what)
		}
		return nil
	}
}

func usageHint(cmd *cobra.Command, format string, args ...any) error {
	return withHint(usageError(format, args...), "usage: "+cmd.UseLine())
}
