package kind

import "fettle.dev/fettle/internal/detect/code"

// Clock is what the stream says of time, and of the server itself: while there
// were no ticks it was down, and nobody could have been heard.
type Clock struct {
	Now     int64 // the newest receive time seen
	Last    int64 // receive time of the newest tick
	Outages []Outage
}

// Outage is a time in which the server was down.
type Outage struct{ From, To int64 }

const (
	// maxOutages bounds what is remembered; those before have no bearing on
	// units that were heard of since.
	maxOutages = 256
	// missedTicks in a row make an outage.
	missedTicks = 5
)

// Tick notes that the server is alive, and does so every interval; false: no
// news.
func (c *Clock) Tick(at, interval int64) bool {
	if at <= c.Last {
		return false
	}
	if c.Last > 0 && at-c.Last > missedTicks*interval {
		c.Outages = append(c.Outages, Outage{c.Last, at})
		if n := len(c.Outages); n > maxOutages {
			c.Outages = append([]Outage(nil), c.Outages[n-maxOutages:]...)
		}
	}
	c.Last = at
	return true
}

// Heard is the time between two instants in which the server could have heard.
func (c *Clock) Heard(from, to int64) int64 {
	d := to - from
	for i := len(c.Outages) - 1; i >= 0 && c.Outages[i].To > from; i-- {
		o := c.Outages[i]
		if overlap := min(o.To, to) - max(o.From, from); overlap > 0 {
			d -= overlap
		}
	}
	return d
}

// After is the instant by which the server could have heard for d since from.
func (c *Clock) After(from, d int64) int64 {
	at := from + d
	for _, o := range c.Outages {
		if o.To > from && max(o.From, from) < at {
			at += o.To - max(o.From, from)
		}
	}
	return at
}

// Append appends the clock.
func (c *Clock) Append(b []byte) []byte {
	b = code.AppendInt(b, c.Now, c.Last)
	b = code.AppendCount(b, len(c.Outages))
	for _, o := range c.Outages {
		b = code.AppendInt(b, o.From, o.To)
	}
	return b
}

// ReadClock reads what Append wrote.
func ReadClock(r *code.Reader) Clock {
	c := Clock{Now: r.Int(), Last: r.Int()}
	for range r.Count(2, maxOutages) {
		c.Outages = append(c.Outages, Outage{r.Int(), r.Int()})
	}
	return c
}
