package cli

import "github.com/spf13/cobra"

func newPoliciesHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "policies",
		Short: "Who goes first, what waits for what, what is kept, who may start",
		Long: `Policies

Keys of a task file, all optional

  priority: 10            among runs that wait the highest goes first, -100 to 100
                          (default 0), and of the same the one that came first
  max_runs: 1             so many runs of the task are carried out at once (default: no
                          limit of its own)
  locks: [shop-db]        no two runs that share the name of a lock are carried out at
                          once, whichever tasks they are of
  max_parallel: 4         so many steps of one order are carried out at once (default 1)
  starter: [ada, "@shop"] these users and members of groups may start its runs and
                          control them, beside administrators; they need no role for
                          it (default: whoever has the role of a runner)
  settable: [tables.mode] what runners and starters may say with --set ("*" is all);
                          administrators may say anything (default: nothing)
  log: detailed           what the log of a run has: simple is what became of its steps
                          and what controllers say; detailed has level debug too, each
                          attempt with its settings, progress, checkpoints and outputs
  keep: {runs: 30, days: 90, bytes: 10GiB}
                          ended runs are kept as long as they are within all of these;
                          the newest always is, and what a run that is alive may read

Keys of a step

  when: CONDITION         see: stepd help expressions
  stuck_after: 30m        a step without sign of progress for that long is shown as
                          stuck, in lists, in the log and when it is shown; nothing
                          else follows from it

Settings of the daemon, in its configuration

  max_runs                so many runs are carried out at once
  controller_limits       {dumptables: 1, "script/*": 4}: so many steps of a controller,
                          or of all of a plugin, are carried out at once over all runs
  run_log, log_size       what logs have where a task does not say, and how large the
                          log of one run gets: the oldest lines go first
  keep_runs, keep_days    what is kept of a task that does not say
  keep_bytes              what is kept of all tasks together, the oldest goes first
  stuck_after             of steps that do not say

A run that waits holds up nobody behind it but those that want the same lock: the first
in order gets that. What a run waits for is in stepd runs and stepd run show. Hooks
wait for nothing of this and take no part in it.

Runs that were started together (stepd run A B, --due, --all) are carried out one after
another in their order; one that fails does not stop the others.

A task without steps is a draft. It is kept and cannot be run.`,
	}
}
