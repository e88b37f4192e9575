// Package detect holds pure signal processing: numbers and times in, events
// and estimates out. It knows no unit, no product and no store. All times are
// Unix milliseconds of the caller's choosing.
package detect

import "math"

// Limits is a band; an open side is an infinity.
type Limits struct{ Min, Max float64 }

// Beyond is how far v lies outside the band: 0 or less when it lies inside,
// then the negative distance to the nearer limit.
func (l Limits) Beyond(v float64) float64 { return math.Max(l.Min-v, v-l.Max) }

// Event is what a step of an Episode brought about.
type Event uint8

// The events. Continued: open, and a new latest or furthest value outside.
const (
	Nothing Event = iota
	Opened
	Continued
	Closed
)

// Rule says when an episode opens and closes, in milliseconds.
type Rule struct {
	Hold       int64   // outside this long before it opens
	Clear      int64   // inside this long before it closes
	Gap        int64   // longest time that one value stands for
	Hysteresis float64 // how far inside the band a value must return to count as inside
}

// Episode follows one signal against its band: quiet, outside but not long
// enough, open, inside again but not long enough. The zero value is quiet.
type Episode struct {
	Open    bool
	Outside bool // by hysteresis: the side the newest judged value is on
	Judged  bool // the newest step was judged

	Prev  int64 // time of the newest step
	Onset int64 // first value outside
	Last  int64 // newest value beyond the band itself
	Held  int64 // time outside since Onset
	Calm  int64 // time inside since the last value outside

	Peak   float64 // furthest value
	Excess float64 // how far beyond its band Peak was
}

// Skip tells the episode that at this time nothing could be judged: the time
// until the next judged value counts neither as outside nor as inside.
func (e *Episode) Skip(at int64) {
	e.Judged = false
	e.Prev = at
}

// Step judges v at a time after the previous step's.
func (e *Episode) Step(r *Rule, at int64, v float64, band Limits) Event {
	elapsed := int64(0)
	if e.Judged {
		elapsed = min(at-e.Prev, r.Gap)
	}
	beyond := band.Beyond(v)
	outside := beyond > 0 || (e.Outside && beyond > -r.Hysteresis)
	was := e.Outside
	e.Prev, e.Judged, e.Outside = at, true, outside

	if !outside {
		if !e.Open {
			e.Held, e.Excess = 0, 0
			return Nothing
		}
		if was {
			e.Calm = 0
		} else {
			e.Calm += elapsed
		}
		if e.Calm < r.Clear {
			return Nothing
		}
		e.Open, e.Held, e.Calm, e.Excess = false, 0, 0, 0
		return Closed
	}

	e.Calm = 0
	if !e.Open && !was {
		e.Onset, e.Held, e.Excess = at, 0, 0
	} else if was {
		e.Held += elapsed
	}
	news := Nothing
	if beyond > 0 {
		e.Last, news = at, Continued
		if beyond > e.Excess {
			e.Peak, e.Excess = v, beyond
		}
	}
	if e.Open {
		return news
	}
	if e.Held >= r.Hold {
		e.Open = true
		return Opened
	}
	return Nothing
}

// Exposure adds up the time for which a use held.
type Exposure struct {
	Prev  int64 // time of the newest step
	Holds bool  // the use held then
	Begun bool
	Total int64
}

// Step says whether the use holds at a time not before the previous step's.
// The state of a step stands until the next, for at most gap.
func (x *Exposure) Step(at int64, holds bool, gap int64) {
	if x.Begun && x.Holds {
		x.Total += min(at-x.Prev, gap)
	}
	x.Prev, x.Holds, x.Begun = at, holds, true
}

// Remembered is how many times a Known remembers.
const Remembered = 64

// Known remembers the newest event times, so that a repetition is told from
// news. Times at or before the floor are too old to tell.
type Known struct {
	Times []int64 // ascending, at most Remembered
	Floor int64   // the newest time forgotten
	Full  bool    // something has been forgotten
}

// Newest is the newest time known.
func (k *Known) Newest() (t int64, ok bool) {
	if len(k.Times) == 0 {
		return 0, false
	}
	return k.Times[len(k.Times)-1], true
}

// Add remembers t and reports whether it was surely not known before.
func (k *Known) Add(t int64) bool {
	if k.Full && t <= k.Floor {
		return false
	}
	n := len(k.Times)
	i := n
	for i > 0 && k.Times[i-1] > t {
		i--
	}
	if i > 0 && k.Times[i-1] == t {
		return false
	}
	if n < Remembered {
		k.Times = append(k.Times, 0)
		copy(k.Times[i+1:], k.Times[i:])
		k.Times[i] = t
		return true
	}
	k.Full = true
	if i == 0 {
		k.Floor = t
		return true
	}
	k.Floor = k.Times[0]
	copy(k.Times, k.Times[1:i])
	k.Times[i-1] = t
	return true
}
