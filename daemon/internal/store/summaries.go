package store

import (
	"bytes"
	"cmp"
	"errors"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Fields of a summary's record, and of that of a newest run. The name is the
// key's.
const (
	summaryCreatedBy protowire.Number = 1
	summarySource    protowire.Number = 2
	summaryStarter   protowire.Number = 3 // one of them
	summaryDisabled  protowire.Number = 4
	summaryDraft     protowire.Number = 5
	summaryPaused    protowire.Number = 6
	summaryPauseEnds protowire.Number = 7
	summarySchedule  protowire.Number = 8 // one of them
	summaryVersion   protowire.Number = 9
	summaryCreatedAt protowire.Number = 10
	summaryUpdatedAt protowire.Number = 11

	newestRun    protowire.Number = 1
	newestNumber protowire.Number = 2
	newestStatus protowire.Number = 3
	newestAt     protowire.Number = 4
)

func appendSummary(b []byte, s *task.Summary) []byte {
	w := fields(b)
	w.text(summaryCreatedBy, s.CreatedBy)
	w.text(summarySource, s.Source)
	for _, one := range s.Starter {
		w.message(summaryStarter, fields(one))
	}
	w.flag(summaryDisabled, s.Disabled)
	w.flag(summaryDraft, s.Draft)
	w.flag(summaryPaused, s.Paused)
	w.instant(summaryPauseEnds, s.PauseEnds)
	for _, one := range s.Schedules {
		w.message(summarySchedule, fields(one))
	}
	w.number(summaryVersion, int64(s.Version))
	w.instant(summaryCreatedAt, s.CreatedAt)
	w.instant(summaryUpdatedAt, s.UpdatedAt)
	return w
}

// repeated are words that are the same in many records, so that they are copied
// once.
type repeated map[string]string

func (r repeated) word(b []byte) string {
	if word, seen := r[string(b)]; seen {
		return word
	}
	word := string(b)
	r[word] = word
	return word
}

func parseSummary(name string, b []byte, words repeated) (s task.Summary, err error) {
	s.Name = name
	err = eachField(b, func(f field) error {
		switch f.n {
		case summaryCreatedBy:
			s.CreatedBy = words.word(f.text)
		case summarySource:
			s.Source = string(f.text)
		case summaryStarter:
			s.Starter = append(s.Starter, words.word(f.text))
		case summaryDisabled:
			s.Disabled = f.number != 0
		case summaryDraft:
			s.Draft = f.number != 0
		case summaryPaused:
			s.Paused = f.number != 0
		case summaryPauseEnds:
			s.PauseEnds = instantOf(f.fixed)
		case summarySchedule:
			s.Schedules = append(s.Schedules, words.word(f.text))
		case summaryVersion:
			s.Version = uint64(f.number)
		case summaryCreatedAt:
			s.CreatedAt = instantOf(f.fixed)
		case summaryUpdatedAt:
			s.UpdatedAt = instantOf(f.fixed)
		}
		return nil
	})
	return s, err
}

// newest is what is kept of the newest run of a name, hooks apart.
type newest struct {
	run    task.RunID
	number uint64
	status task.RunStatus
	at     time.Time
}

func newestOf(run *task.Run) newest {
	return newest{run.ID, run.Number, run.Status, cmp.Or(run.EndedAt, run.StartedAt, run.CreatedAt)}
}

func appendNewest(b []byte, n newest) []byte {
	w := fields(b)
	w.number(newestRun, int64(n.run))
	w.number(newestNumber, int64(n.number))
	w.text(newestStatus, string(n.status))
	w.instant(newestAt, n.at)
	return w
}

func parseNewest(b []byte) (n newest, err error) {
	err = eachField(b, func(f field) error {
		switch f.n {
		case newestRun:
			n.run = task.RunID(f.number)
		case newestNumber:
			n.number = uint64(f.number)
		case newestStatus:
			n.status = runStatusWord(f.text)
		case newestAt:
			n.at = instantOf(f.fixed)
		}
		return nil
	})
	return n, err
}

// runStatusWord saves a copy for the words that are known.
func runStatusWord(v []byte) task.RunStatus {
	for _, known := range task.RunStatuses {
		if string(known) == string(v) {
			return known
		}
	}
	return task.RunStatus(v)
}

func (n newest) into(s *task.Summary) {
	s.LastRun, s.LastNumber, s.LastStatus, s.LastAt = n.run, n.number, n.status, n.at
}

// Summaries calls fn for each task in the order of names, until it returns false.
// It reads no definition and no run: where a summary is damaged it is made anew
// from those, and where that cannot be, either, the task is passed over and the
// first of these faults (*CorruptError) is returned when it is done.
func (tx *Tx) Summaries(fn func(task.Summary) bool) error {
	// Both are in the same order, so that no name is looked up.
	last, writes := tx.bucket(bucketNewest).Cursor(), tx.writes
	name, value := last.First()
	words := repeated{}
	var passed error
	err := tx.walk(bucketSummaries, nil, nil, func(k key, payload []byte, damage error) (bool, error) {
		s, err := tx.summary(k, payload, damage, words)
		if err != nil {
			passed = cmp.Or(passed, err)
			return true, nil
		}
		if tx.writes != writes { // the cursor has lost its place
			last, writes = tx.bucket(bucketNewest).Cursor(), tx.writes
			name, value = last.Seek(k)
		}
		for name != nil && bytes.Compare(name, k) < 0 {
			name, value = last.Next()
		}
		var n newest
		if bytes.Equal(name, k) {
			if n, err = tx.readNewest(k, value); err != nil {
				n, err = tx.findNewest(s.Name)
				passed = cmp.Or(passed, err)
			}
		}
		n.into(&s)
		return fn(s), nil
	})
	return cmp.Or(err, passed)
}

// Summary returns what Summaries has of one task, or task.ErrNotFound.
func (tx *Tx) Summary(name string) (task.Summary, error) {
	k := key(name)
	if checkName("task", name) != nil || !tx.has(bucketSummaries, k) {
		return task.Summary{}, notFound("task %q", name)
	}
	payload, damage := tx.get(bucketSummaries, k)
	s, err := tx.summary(k, payload, damage, repeated{})
	if err != nil {
		return s, err
	}
	if v := tx.bucket(bucketNewest).Get(k); v != nil {
		n, err := tx.readNewest(k, v)
		if err != nil {
			if n, err = tx.findNewest(name); err != nil {
				return s, err
			}
		}
		n.into(&s)
	}
	return s, nil
}

func (tx *Tx) summary(k key, payload []byte, damage error, words repeated) (s task.Summary, err error) {
	if damage == nil {
		if s, err = parseSummary(string(k), payload, words); err == nil {
			return s, nil
		}
	}
	t, err := tx.Task(string(k))
	if errors.Is(err, task.ErrNotFound) {
		err = tx.corrupt(bucketSummaries, k, "there is no such task")
	}
	return task.Summarise(&t), err
}

func (tx *Tx) readNewest(k, value []byte) (n newest, err error) {
	payload, err := unseal(tx.path, bucketNewest, k, value)
	if err == nil {
		if n, err = parseNewest(payload); err != nil {
			err = tx.corrupt(bucketNewest, k, "%v", err)
		}
	}
	return n, err
}

// putSummary writes the task's summary where it is another one than before.
func (tx *Tx) putSummary(t *task.Task) error {
	s := task.Summarise(t)
	return tx.putChanged(bucketSummaries, key(t.Name), appendSummary(nil, &s))
}

// putChanged writes a record unless it is there as it is to be.
func (tx *Tx) putChanged(b bucket, k key, payload []byte) error {
	if old, damage := tx.get(b, k); damage == nil && old != nil && bytes.Equal(old, payload) {
		return nil
	}
	return tx.put(b, k, payload)
}

// indexNewest keeps what the summary of the run's task has of its newest run.
func (tx *Tx) indexNewest(run *task.Run) error {
	if run.Cause().Hook() {
		return nil
	}
	k := key(run.Task)
	if v := tx.bucket(bucketNewest).Get(k); v != nil {
		last, err := tx.readNewest(k, v)
		if err != nil { // which one it was has to be found out again
			if last, err = tx.findNewest(run.Task); err != nil {
				last = newest{} // there is more that is damaged: this one is newer than nothing
			}
		}
		if last.run > run.ID {
			return nil
		}
	}
	var buf [64]byte
	return tx.putChanged(bucketNewest, k, appendNewest(buf[:0], newestOf(run)))
}

// leaveNewest finds the newest run of the name anew when that one is gone.
func (tx *Tx) leaveNewest(name string, id task.RunID) error {
	k := key(name)
	v := tx.bucket(bucketNewest).Get(k)
	if v == nil {
		return nil
	}
	if last, err := tx.readNewest(k, v); err == nil && last.run != id {
		return nil
	}
	n, err := tx.findNewest(name)
	if _, damaged := errors.AsType[*CorruptError](err); err != nil && !damaged {
		return err
	}
	if n.run == 0 {
		return tx.remove(bucketNewest, k)
	}
	return tx.putChanged(bucketNewest, k, appendNewest(nil, n))
}

// findNewest looks for it among the runs. With a damaged one among those that
// it looked at it fails, and returns the newest of the others.
func (tx *Tx) findNewest(name string) (n newest, err error) {
	err = tx.Runs(name, 0, func(run task.Run) bool {
		if run.Cause().Hook() {
			return true
		}
		n = newestOf(&run)
		return false
	})
	return n, err
}
