// Package taskfile reads task files: YAML for people in, a task.Task out, and
// back again with Format.
//
// A file with faults gets all of them at once, each with its line, its column
// and what to do about it, so that one round of editing is enough. Settings are
// read by the JSON Schema of the controller that will get them: where the
// schema says text, 0123, 1.10 and 2026-01-02 stay what was written.
//
// The package stores nothing, opens no files, resolves no secrets and starts
// nothing; what it needs to know of controllers and of schedules it asks through
// Controllers and Schedules.
package taskfile
