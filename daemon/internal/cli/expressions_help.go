package cli

import "github.com/spf13/cobra"

func newExpressionsHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "expressions",
		Short: "Conditions of steps, and settings that depend on what came before",
		Long: `Expressions

A step is carried out when its condition gives true, else it is skipped and those
after it go on:

  when: steps.tables.status == "completed" and steps.tables.outputs.rows > 0

In settings ${{ ... }} stands for an expression. A text that is one expression and
nothing else takes its value as it is; within other text it is written as text. $${{
stands for ${{ itself.

  settings:
    source: ${{ steps.archive.outputs.path }}
    title: "Backup ${{ run.number }} of ${{ format(now, '%Y-%m-%d') }}"

The names
  settings.KEY             of the task, with what --set set for once
  steps.NAME.status        of an earlier step: completed, failed, skipped ...
  steps.NAME.outputs.KEY   what it left; not that of the steps that it planned
  steps.NAME.message       what it said when it completed, and
  steps.NAME.error         when it failed
  run.task  run.number  run.ref  run.trigger  run.started_by  run.scheduled_for
  run.restart_of  run.created_at
  step.name  step.attempt
  now                      when the step starts, in UTC
  hook.ref  hook.number  hook.status  hook.reason  hook.steps.NAME
                           in steps of a hook: the run that it follows

Earlier is a step of a lower order. A name with other signs than letters, digits and _
is written steps["copy-files"]. A setting or an output that is not there is nil, and
a value in its place follows behind ??: steps.tables.outputs.rows ?? 0

Operators
  == != < > <= >=  and or not  + - * / % **  in contains startsWith endsWith matches
  ??  CONDITION ? one : other
Functions
  of texts    trim trimPrefix trimSuffix upper lower split join replace indexOf
              lastIndexOf hasPrefix hasSuffix
  of numbers  abs ceil floor round int float max min
  of lists    all any none one filter map find count sum first last
  of values   len type keys values string toJSON fromJSON
  of times    date duration format(now, "%H:%M") weekday(now)
              zone(now, "Europe/Berlin")

What can be checked is checked when the task is saved: the language, the names of
steps and settings, and that a condition gives true or false. What a step is then
given is checked against its controller's schema when it starts; a fault there fails
the step, and it is not tried again.`,
	}
}
