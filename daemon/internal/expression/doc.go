// Package expression is the language of conditions and of settings that depend
// on what came before: what expr-lang/expr has, over a few names. It knows no
// engine and no file; it checks what can be known when a task is saved, and
// evaluates the rest when a step starts.
//
// A condition is an expression that gives true or false:
//
//	when: steps.tables.status == "completed" and steps.tables.outputs.rows > 0
//
// In settings, ${{ ... }} stands for an expression within a text. A text that is
// one expression and nothing else takes its value with its type; within other
// text the value is written as text: a text as it is, all else as JSON. $${{
// stands for ${{ itself.
//
//	settings: {source: "${{ steps.archive.outputs.path }}", note: "run ${{ run.number }}"}
//
// The names, all of them read only:
//
//	settings.KEY             of the task, with what was set for once
//	steps.NAME.status        of an earlier step: completed, failed, skipped ...
//	steps.NAME.outputs.KEY   of the step itself, not of those that it planned
//	steps.NAME.message, .error
//	run.task .number .ref .trigger .started_by .scheduled_for .restart_of
//	step.name .attempt
//	hook.ref .number .status .reason .steps.NAME   in hooks of a run's end
//	now                      when the step starts
//
// Names with other signs than letters, digits and _ are written steps["copy-files"].
// Earlier is a step of a lower order; in a hook, hook.steps are those of the run
// that it follows. What is not there gives nil when it is an output or a setting,
// and is a fault when it is a step.
package expression
