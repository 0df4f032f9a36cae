package retain

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/stepd/stepd/sdk"
)

// Retained is the output "retained".
type Retained struct {
	Task     string `json:"task"`
	Dir      string `json:"dir"`
	DryRun   bool   `json:"dry_run"` // then Deleted is what would have been
	Timezone string `json:"timezone"`

	KeptCount    int64 `json:"kept_count"`
	KeptBytes    int64 `json:"kept_bytes"`
	DeletedCount int64 `json:"deleted_count"`
	DeletedBytes int64 `json:"deleted_bytes"`
	// Of those kept: not good, or of a time that is yet to come.
	NotGoodCount int64 `json:"not_good_count"`
	FutureCount  int64 `json:"future_count"`
	// The first ones of each, newest first; the log has all.
	Kept    []Item `json:"kept"`
	Deleted []Item `json:"deleted"`

	room [2]int // bytes that the lists may still take
}

// Item is one archive.
type Item struct {
	Archive string    `json:"archive"`
	Time    time.Time `json:"time"`
	Bytes   int64     `json:"bytes"`
	Why     []string  `json:"why,omitempty"` // it stays
}

// maxListBytes bounds each list: an output has at most 64 KiB.
const maxListBytes = 28 << 10

func newRetained(s Settings, dir string) Retained {
	zone := s.Timezone
	if zone == "" {
		zone = "local"
	}
	return Retained{Task: s.Task, Dir: dir, DryRun: s.DryRun, Timezone: zone, Kept: []Item{}, Deleted: []Item{}, room: [2]int{maxListBytes, maxListBytes}}
}

func (r *Retained) keep(a *archive, zone *time.Location) {
	r.KeptCount, r.KeptBytes = r.KeptCount+1, r.KeptBytes+a.info.Size()
	switch {
	case a.future:
		r.FutureCount++
	case a.fault != "":
		r.NotGoodCount++
	}
	r.Kept = listed(r.Kept, &r.room[0], a.item(zone))
}

func (r *Retained) remove(a *archive, zone *time.Location) {
	r.DeletedCount, r.DeletedBytes = r.DeletedCount+1, r.DeletedBytes+a.info.Size()
	r.Deleted = listed(r.Deleted, &r.room[1], a.item(zone))
}

func (a *archive) item(zone *time.Location) Item {
	return Item{Archive: a.name, Time: a.at.In(zone), Bytes: a.info.Size(), Why: a.reasons}
}

func listed(list []Item, room *int, item Item) []Item {
	raw, err := json.Marshal(item)
	if err != nil || len(raw)+1 > *room {
		*room = 0
		return list
	}
	*room -= len(raw) + 1
	return append(list, item)
}

func (r *Retained) message() string {
	text := r.done()
	if r.NotGoodCount > 0 {
		text += fmt.Sprintf("; %d of these not good (see the log)", r.NotGoodCount)
	}
	if r.FutureCount > 0 {
		text += fmt.Sprintf("; %d of these of a time that is yet to come", r.FutureCount)
	}
	return text
}

func (r *Retained) done() string {
	all := sdk.Count(r.KeptCount+r.DeletedCount, "archive")
	switch {
	case r.KeptCount+r.DeletedCount == 0:
		return "no archives of " + r.Task + " yet"
	case r.DryRun:
		return fmt.Sprintf("nothing was deleted; would delete %d of %s of %s (%s), keep %d", r.DeletedCount, all, r.Task, sdk.Bytes(r.DeletedBytes), r.KeptCount)
	case r.DeletedCount == 0:
		return fmt.Sprintf("kept all of %s of %s (%s)", all, r.Task, sdk.Bytes(r.KeptBytes))
	}
	return fmt.Sprintf("deleted %d of %s of %s (%s), kept %d (%s)", r.DeletedCount, all, r.Task, sdk.Bytes(r.DeletedBytes), r.KeptCount, sdk.Bytes(r.KeptBytes))
}
