package access

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter allows each key so many events in a period, by token bucket. It
// forgets keys whose bucket is full again, so that strangers cannot fill memory.
type limiter struct {
	mu     sync.Mutex
	limit  rate.Limit
	burst  int
	period time.Duration
	keys   map[string]*rate.Limiter
	swept  time.Time
}

// mostKeys bounds what a limiter remembers: some 10 MB.
const mostKeys = 50_000

func newLimiter(events int, period time.Duration) *limiter {
	return &limiter{limit: rate.Limit(float64(events) / period.Seconds()), burst: events, period: period, keys: map[string]*rate.Limiter{}}
}

func (l *limiter) allow(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.swept) > l.period/10 {
		for k, b := range l.keys {
			if b.TokensAt(now) >= float64(l.burst) {
				delete(l.keys, k)
			}
		}
		l.swept = now
	}
	b := l.keys[key]
	if b == nil && len(l.keys) >= mostKeys {
		key = "" // strangers from everywhere at once share what one key has
		b = l.keys[key]
	}
	if b == nil {
		b = rate.NewLimiter(l.limit, l.burst)
		l.keys[key] = b
	}
	return b.AllowN(now, 1)
}

// left reports whether allow would say yes.
func (l *limiter) left(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.keys[key]
	return b == nil || b.TokensAt(now) >= 1
}
