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
//	run.task .number .ref .trigger .started_by .scheduled_for .restart_of .created_at
//	step.name .attempt
//	hook.ref .number .status .reason .steps.NAME   in hooks of a run's end
//	now                      when the step starts
//
// Names with other signs than letters, digits and _ are written steps["copy-files"].
// Earlier is a step of a lower order; in a hook, hook.steps are those of the run
// that it follows. What is not there gives nil when it is an output or a setting,
// and is a fault when it is a step. A value of its own for that case follows
// behind two question marks: steps.tables.outputs.rows ?? 0.
//
// There are the operators of expr-lang/expr, its functions on texts, numbers and
// lists as far as the table in functions.go has them, and of our own:
//
//	format(time, "%Y-%m-%d")  the signs of strftime
//	weekday(time)             "Monday"
//	zone(time, "Asia/Tokyo")  the same instant there; now is in UTC
//
// Nothing else of the system can be reached: no methods, no environment, no files.
// What an evaluation may cost is bounded: the length of the text, its depth, and
// the work and memory that it takes are charged to a meter. A pattern of matches
// is written out, steps are named and not computed, a list's predicate holds no
// other one, and there are no variables: what could not be checked or would be
// able to grow without end.
package expression
