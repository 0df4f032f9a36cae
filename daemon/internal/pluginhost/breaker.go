package pluginhost

import (
	"slices"
	"time"
)

// breaker counts unexpected deaths. It opens when too many fall into the
// window, lets one start through after a pause, and closes when that one
// turns out well. It is not safe for concurrent use.
type breaker struct {
	limit         int
	window, pause time.Duration
	base, max     time.Duration // of the backoff

	deaths    []time.Time // within the window, oldest first
	openUntil time.Time   // zero: closed
}

// open reports whether nothing may start now, and until when.
func (b *breaker) open(now time.Time) (time.Time, bool) {
	return b.openUntil, !b.openUntil.IsZero() && now.Before(b.openUntil)
}

// died counts a death. One while half-open opens the circuit anew.
func (b *breaker) died(now time.Time) {
	b.expire(now)
	b.deaths = append(b.deaths, now)
	if len(b.deaths) > b.limit {
		b.deaths = slices.Delete(b.deaths, 0, len(b.deaths)-b.limit)
	}
	if !b.openUntil.IsZero() || len(b.deaths) >= b.limit {
		b.openUntil = now.Add(b.pause)
	}
}

// worked says that a step ended properly. It closes a half-open circuit, but
// does not wipe the count: a plugin that dies at every second step is broken.
func (b *breaker) worked(now time.Time) {
	if b.openUntil.IsZero() || now.Before(b.openUntil) {
		return
	}
	b.openUntil = time.Time{}
	b.deaths = b.deaths[:0]
}

// wait is how long the next start has to wait, for what died before.
func (b *breaker) wait(now time.Time) time.Duration {
	b.expire(now)
	n := len(b.deaths)
	if n == 0 {
		return 0
	}
	pause := b.base
	for range n - 1 {
		if pause *= 2; pause >= b.max {
			pause = b.max
			break
		}
	}
	return max(0, b.deaths[n-1].Add(pause).Sub(now))
}

func (b *breaker) expire(now time.Time) {
	b.deaths = slices.DeleteFunc(b.deaths, func(t time.Time) bool { return now.Sub(t) > b.window })
}
