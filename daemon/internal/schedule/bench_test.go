package schedule

import (
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

func BenchmarkCompile(b *testing.B) {
	var z Zones
	s := task.Schedule{Cron: "30 2 * * mon-fri", Timezone: "Europe/Berlin", Exclude: []string{"12-25"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := z.Compile(s, time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, cron := range []string{"*/15 * * * *", "30 2 * * *", "0 9 * * mon-fri", "*/15 8-17 * * *", "0 0 1 * *", "0 0 29 2 *"} {
		b.Run(cron, func(b *testing.B) {
			r := compile(b, task.Schedule{Cron: cron, Timezone: "Europe/Berlin"})
			at := first
			b.ReportAllocs()
			for b.Loop() {
				if at = r.Next(at); at.Year() > 2036 {
					at = first
				}
			}
		})
	}
}

func BenchmarkBefore(b *testing.B) {
	r := compile(b, task.Schedule{Cron: "0 6 * * mon-fri", Timezone: "Europe/Berlin"})
	at := time.Date(2026, 5, 5, 12, 0, 0, 0, time.UTC)
	for b.Loop() {
		r.Before(at)
	}
}

func BenchmarkDue(b *testing.B) {
	r := compile(b, task.Schedule{Cron: "0 6 * * *", Timezone: "Europe/Berlin", Jitter: time.Hour})
	at := time.Date(2026, 5, 5, 6, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		r.Due("backup", "cron", at)
	}
}
