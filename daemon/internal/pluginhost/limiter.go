package pluginhost

import "time"

// limiter is a token bucket. It is not safe for concurrent use.
type limiter struct {
	rate, burst float64
	tokens      float64
	last        time.Time
}

func newLimiter(rate, burst float64) limiter {
	return limiter{rate: rate, burst: burst, tokens: burst}
}

// allow takes n tokens if there are as many.
func (l *limiter) allow(now time.Time, n float64) bool {
	if !l.last.IsZero() {
		if d := now.Sub(l.last); d > 0 {
			l.tokens = min(l.burst, l.tokens+d.Seconds()*l.rate)
		}
	}
	l.last = now
	if l.tokens < n {
		return false
	}
	l.tokens -= n
	return true
}
