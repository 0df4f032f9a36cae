// Package runlog keeps the log of each run in files of its own: JSON lines in
// segments of bounded size, of which the newest are kept.
//
//	DIR/TASK/NUMBER.SEGMENT.jsonl      backup/42.0001.jsonl
//
// When all segments together get too large the oldest goes. The first file is
// always there: it says then, in one line, what is gone and where the rest
// begins. So nobody has to list a directory, in which a task may have the logs of
// a million runs.
//
// Lines are written through a buffer that is flushed within FlushInterval; a
// crash of the daemon loses at most that, a power cut what the system had not
// written yet. Logs are for people: what must not be lost is in the store.
//
// The package knows nothing of runs but their name, and nothing of who reads.
package runlog
