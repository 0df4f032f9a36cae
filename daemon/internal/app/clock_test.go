package app

import (
	"sync"
	"time"
)

// handClock is a clock that a test moves.
type handClock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*handTimer]struct{}
}

type handTimer struct {
	at time.Time
	f  func()
}

func newHandClock(now time.Time) *handClock {
	return &handClock{now: now, timers: map[*handTimer]struct{}{}}
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d <= 0 {
		go f()
		return func() bool { return false }
	}
	one := &handTimer{c.now.Add(d), f}
	c.timers[one] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, pending := c.timers[one]
		delete(c.timers, one)
		return pending
	}
}

// advance moves the time on, and fires what is due then.
func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for one := range c.timers {
		if !one.at.After(c.now) {
			delete(c.timers, one)
			go one.f()
		}
	}
}

// set moves the wall clock alone, as when somebody sets it: no timer fires.
func (c *handClock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for one := range c.timers {
		one.at = one.at.Add(now.Sub(c.now))
	}
	c.now = now
}
