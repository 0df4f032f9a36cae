// Package taskfile reads task files: YAML for people in, a task.Task out, and
// back again with Format. The same as JSON, without a file, is a document
// (Document, Source.JSON): what goes over the socket.
//
// A file with faults gets all of them at once, each with its line, its column
// and what to do about it, so that one round of editing is enough; those of a
// document have paths. Settings are read by the JSON Schema of the controller that
// will get them: where the schema says text, 0123, 1.10 and 2026-01-02 stay what
// was written.
//
// # Keys
//
// Of a task: name, the only one that it needs; description; created_by; starter, settable,
// users and @groups who may start it; settings, which steps take theirs from;
// steps, without which it is a draft; schedule, expect, and the hooks on_missed,
// on_success, on_failure, on_end; max_parallel, max_execution_time, max_runs,
// priority (-100 to 100), locks, log (simple, detailed), keep {runs, days, bytes
// as 10GiB}; disabled.
//
// Of a step: name, controller, settings, order, when, interrupt_on_step_fault,
// weight, retry {attempts, backoff, max_backoff}, max_execution_time,
// attempt_timeout, progress_timeout, stuck_after.
//
// # Expressions
//
// when is a condition, and a text of settings may hold ${{ }}; package expression
// has the language. They are checked in the scope of the step: it sees steps of a
// lower order, those of a hook of an end also the run that it follows. A value that
// an expression gives is not judged by the schema before the step starts; all else
// of the settings is. A secret is named, never computed. An expression in the
// settings of the task is one of each step that takes it.
//
// # Edits
//
// MergePatch, AddStep, PatchStep, RemoveStep and OrderSteps make documents, which
// are read like files: nothing is saved that was not checked. A setting that a step
// has as the task has it is the task's: it follows the task's, and is not the
// step's to remove. A setting of the task stays when the step that took it goes.
//
// Orders follow where steps stand. A step without one comes after those before it
// and before those behind it, also between two that share one. Numbers that
// somebody chose stay as far as they fit; the others count on from the step before.
//
// The package stores nothing, opens no files, resolves no secrets and starts
// nothing; what it needs to know it asks through Ports.
package taskfile
