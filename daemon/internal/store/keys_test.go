package store

import (
	"bytes"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTheOrderOfKeysIsThatOfTimes(t *testing.T) {
	draw := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-300, 300), rapid.Int64Range(math.MaxInt64-3, math.MaxInt64), rapid.Int64Range(math.MinInt64, math.MinInt64+3))
	rapid.Check(t, func(t *rapid.T) {
		a, b := time.Unix(0, draw.Draw(t, "a")), time.Unix(0, draw.Draw(t, "b"))
		if got := bytes.Compare(key(nil).time(a), key(nil).time(b)); got != a.Compare(b) {
			t.Errorf("%s and %s compare as %d", a, b, got)
		}
		if back := numberTime(timeNumber(a)); !back.Equal(a) {
			t.Errorf("%s comes back as %s", a, back)
		}
	})
}

func TestTimesThatNanosecondsCannotCount(t *testing.T) {
	first, last := time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64)
	for _, c := range []struct {
		at     time.Time
		number uint64
		counts bool
	}{
		{time.Time{}, 0, false},
		{first.Add(-1), 0, false},
		{first, 0, false},
		{first.Add(1), 1, true},
		{time.Unix(0, 0), 1 << 63, true},
		{last.Add(-1), math.MaxUint64 - 1, true},
		{last, math.MaxUint64, false},
		{last.Add(1), math.MaxUint64, false},
		{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), math.MaxUint64, false},
	} {
		if n := timeNumber(c.at); n != c.number || countable(c.at) != c.counts {
			t.Errorf("%s is %d, countable %t", c.at, n, countable(c.at))
		}
	}
}

// What people are told of a record is which one it is, whatever its key.
func TestKeysOfSchedulesAreDescribed(t *testing.T) {
	noon := time.Date(2026, 3, 8, 12, 0, 0, 5, time.UTC)
	for _, c := range []struct {
		bucket bucket
		key    key
		want   string
	}{
		{bucketCursors, cursorKey("backup", "@expect"), `"backup" schedule "@expect"`},
		{bucketDue, dueKey(noon, "backup", "cron"), `"backup" schedule "cron" due 2026-03-08T12:00:00.000000005Z`},
		{bucketSlots, slotKey("backup", "cron", noon), `"backup" schedule "cron" of 2026-03-08T12:00:00.000000005Z`},
		{bucketTaskActive, taskRunKey("backup", 7), `"backup" 7`},
		{bucketCursors, key("backup"), "key 6261636b7570"},
		{bucketDue, key("\x01"), "key 01"},
		{bucketSlots, key("a\x00b\x00c"), "key 6100620063"},
		{bucketTaskActive, key("a\x00b"), "key 610062"},
	} {
		if got := c.bucket.describe(c.key); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
