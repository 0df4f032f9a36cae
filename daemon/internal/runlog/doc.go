// Package runlog keeps the log of each run in files of its own: JSON lines in
// segments of bounded size, of which the newest are kept.
//
//	DIR/TASK/NUMBER.SEGMENT.jsonl      backup/42.0001.jsonl
//
// Lines are written through a buffer that is flushed within FlushInterval; a
// crash of the daemon loses at most that, a power cut what the system had not
// written yet. Logs are for people: what must not be lost is in the store.
//
// The package knows nothing of runs but their name, and nothing of who reads.
package runlog
