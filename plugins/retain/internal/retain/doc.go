// Package retain deletes the archives of a task that no rule keeps.
//
// It knows archives by their names, TASK-TIME-RUN, and by the manifests beside
// them, both as compress makes them. Rules count archives that exist and are
// good, never days of the calendar alone: so neither a wrong clock nor a time
// without backups makes anything old enough to go.
//
// The package must not delete the newest good archive, or anything while that
// one is not proven; touch what is not an archive of the task; follow a symbolic
// link; or leave, wherever it is interrupted, a part of an archive that still
// has the name of a whole one.
package retain
