package schedule

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// zoneNames lists the time zone database that comes with Go, so that a test sees the
// same zones on each machine.
func zoneNames(t testing.TB) []string {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	var names []string
	for _, file := range archive.File {
		if !strings.HasSuffix(file.Name, "/") {
			names = append(names, file.Name)
		}
	}
	slices.Sort(names)
	if len(names) < 400 {
		t.Fatalf("only %d zones", len(names))
	}
	return names
}

func loadZone(t testing.TB, name string) *zone {
	t.Helper()
	z, err := new(Zones).load(name)
	if err != nil {
		t.Fatal(name, err)
	}
	return z
}

func offsetAt(z *zone, instant int64) int64 {
	_, offset := time.Unix(instant, 0).In(z.location).Zone()
	return int64(offset)
}

// turns finds the instants from which on the zone's offset is another one, by asking for the offset only.
func turns(z *zone, from, to int64) []int64 {
	const stride = 6 * 60 * 60
	var list []int64
	for at := from; at < to; at += stride {
		for low := at; ; {
			high := at + stride
			if offsetAt(z, low) == offsetAt(z, high) {
				break
			}
			for was := offsetAt(z, low); high-low > 1; {
				if middle := (low + high) / 2; offsetAt(z, middle) == was {
					low = middle
				} else {
					high = middle
				}
			}
			list = append(list, high)
			low = high
		}
	}
	return list
}

func unix(year int) int64 { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Unix() }

// A span ends where the offset changes, and nowhere else: in each zone, also where
// the zone's file ends and a rule goes on, and on the last day of leap years.
func TestSpansEndWhereTheOffsetChanges(t *testing.T) {
	for _, name := range zoneNames(t) {
		z := loadZone(t, name)
		all := turns(z, unix(2000), unix(2045))
		for i, turn := range all {
			before, after := z.at(turn-1), z.at(turn)
			if before.end != turn || after.start != turn || before.offset != offsetAt(z, turn-1) || after.offset != offsetAt(z, turn) {
				t.Errorf("%s at %v: %+v then %+v", name, time.Unix(turn, 0).UTC(), before, after)
			}
			if i > 0 && before.start != all[i-1] {
				t.Errorf("%s before %v: %+v, but the change before was at %d", name, time.Unix(turn, 0).UTC(), before, all[i-1])
			}
		}
		for _, year := range []int{2024, 2028, 2036, 2040, 2044} {
			newYear := time.Date(year, 12, 31, 12, 0, 0, 0, time.UTC).Unix()
			fresh := loadZone(t, name) // remembers nothing
			if s := fresh.at(newYear); s.offset != offsetAt(z, newYear) || s.start > newYear || s.end <= newYear ||
				slices.ContainsFunc(all, func(turn int64) bool { return s.start < turn && turn < s.end }) {
				t.Errorf("%s on the last day of %d: %+v", name, year, s)
			}
		}
	}
}

// zoneOf makes a zone that is in UTC until the instant, and from then on goes by the rule.
func zoneOf(t *testing.T, from time.Time, rule string) *zone {
	t.Helper()
	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			if err := binary.Write(&b, binary.BigEndian, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	header := func(changes int32) { // RFC 9636, section 3.1
		put([]byte("TZif2"), make([]byte, 15), int32(0), int32(0), int32(0), changes, int32(2), int32(8))
	}
	local := func() {
		put(int32(0), []byte{0, 0}, int32(3600), []byte{0, 4}, []byte("UTC\x00CET\x00"))
	}
	header(0)
	local()
	header(1)
	put(from.Unix(), []byte{1})
	local()
	put([]byte("\n" + rule + "\n"))
	location, err := time.LoadLocationFromTZData("made", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return &zone{name: "made", location: location}
}

// Where the last change that a zone's file lists lies within a year of the rule for the years
// to come, the span begins there and not where the rule's own season does.
func TestSpanBeginsAtTheLastChangeOfTheList(t *testing.T) {
	from := time.Date(2026, 6, 15, 0, 0, 0, 0, time.UTC)
	z := zoneOf(t, from, "CET-1CEST,M3.5.0,M10.5.0/3")
	summer := span{start: from.Unix(), end: time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC).Unix(), offset: 7200}
	if got := z.at(from.Add(5 * 24 * time.Hour).Unix()); got != summer {
		t.Errorf("%+v, want %+v", got, summer)
	}
	z = zoneOf(t, from, "CET-1CEST,M3.5.0,M10.5.0/3")
	// 00:30 on 15 June is in the gap from 00:00 UTC to 02:00 CEST.
	if got := z.instant(time.Date(2026, 6, 15, 0, 30, 0, 0, time.UTC).Unix()); got != from.Unix() {
		t.Errorf("a wall in the gap is at %v", time.Unix(got, 0).UTC())
	}
}

// Around each change the instant of a wall is the first one at which the clock shows it, or
// where none does the first after the gap.
func TestInstantOfEachWallAroundEachChange(t *testing.T) {
	seen := make(map[string]bool) // many names stand for the same clock
	for _, name := range zoneNames(t) {
		z := loadZone(t, name)
		all := turns(z, unix(1970), unix(2038))
		clock := fmt.Sprint(all, offsetAt(z, unix(1970)))
		if seen[clock] {
			continue
		}
		seen[clock] = true
		for i, turn := range all {
			// A clock near this change is that far from UTC, or that far.
			var offsets []int64
			for _, near := range all[max(0, i-3):min(len(all), i+4)] {
				offsets = append(offsets, offsetAt(z, near-1), offsetAt(z, near))
			}
			slices.Sort(offsets)
			offsets = slices.Compact(offsets)
			var walls []int64
			for _, edge := range []int64{turn + offsetAt(z, turn-1), turn + offsetAt(z, turn)} {
				walls = append(walls, edge-1, edge, edge+1)
				for wall := edge - 26*60*60; wall < edge+26*60*60; wall += 47 * 60 {
					walls = append(walls, wall)
				}
			}
			slices.Sort(walls)
			last := int64(longAgo)
			for _, wall := range walls {
				want, shown := int64(never), false
				for _, offset := range offsets {
					if at := wall - offset; offsetAt(z, at) == offset {
						want, shown = min(want, at), true
					}
				}
				if !shown {
					// No clock is ever at it: the first instant after the gap, which is the change that leads over it.
					k := slices.IndexFunc(all, func(turn int64) bool { return turn+offsetAt(z, turn-1) <= wall && wall < turn+offsetAt(z, turn) })
					want = all[k]
				}
				got := z.instant(wall)
				if got != want {
					t.Fatalf("%s around %v: wall %v is at %v, want %v", name, time.Unix(turn, 0).UTC(), clockOf(wall), time.Unix(got, 0).UTC(), time.Unix(want, 0).UTC())
				}
				if got < last {
					t.Fatalf("%s: not monotonic at %v", name, time.Unix(wall, 0).UTC())
				}
				last = got
			}
		}
	}
}

// The walls later than what was shown up to an instant are exactly those whose own instant is later.
func TestShownIsTheInverseOfInstant(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kwajalein", "Africa/Casablanca", "Antarctica/Troll", "America/Sao_Paulo", "Europe/Dublin", "Asia/Manila"} {
		z := loadZone(t, name)
		for _, turn := range append(turns(z, unix(1993), unix(2030)), turns(z, unix(1840), unix(1850))...) {
			for at := turn - 27*3600; at < turn+27*3600; at += 997 {
				wall := z.shown(at)
				if z.instant(wall) > at || z.instant(wall+1) <= at {
					t.Fatalf("%s at %v: shown %v", name, time.Unix(at, 0).UTC(), time.Unix(wall, 0).UTC())
				}
			}
		}
	}
}
