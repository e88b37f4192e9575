package telemetry

import "time"

// Measures says which figures of a Stat are asked for: each costs something.
type Measures uint8

// The measures.
const (
	MeasureCount Measures = 1 << iota
	MeasureNonzero
	MeasureSum
	MeasureMin
	MeasureMax
	MeasureLast // Last and LastAt

	MeasureAll  = MeasureCount | MeasureNonzero | MeasureSum | MeasureMin | MeasureMax | MeasureLast
	MeasureMean = MeasureCount | MeasureSum
)

// WindowQuery asks for figures of signals by unit and window of event time.
// Callers pass only units and signals that may be looked at.
//
// The newest values alone (MeasureLast, no bounds, no width) come from memory.
// Windows whose From and Width are whole minutes, hours or days cost least:
// history answers them from its rollups.
type WindowQuery struct {
	Product  string
	Units    []int64 // nil: all; empty: none
	Signals  []string
	From, To time.Time     // event time, [From, To); zero: open, where Width is 0
	Width    time.Duration // of a window, from From on; 0: one window
	Measures Measures      // 0: all
}

// Newest reports whether the query asks for the newest values alone.
func (q *WindowQuery) Newest() bool {
	return q.Measures == MeasureLast && q.From.IsZero() && q.To.IsZero() && q.Width == 0
}

// Window is one unit's values in one window. Windows without values are left out.
type Window struct {
	Unit  int64
	At    time.Time // start of the window, From of the first one
	Stats []Stat    // by place in WindowQuery.Signals; of texts all zero
}

// Stat is what a signal's values in a window come to, as far as it was asked
// for; all zero when there are none. Of values with one event time, the one stored last is the last.
type Stat struct {
	Count   int64
	Nonzero int64 // of Count: how many were not 0, as those that were true
	Sum     float64
	Min     float64
	Max     float64
	Last    float64
	LastAt  int64 // event time of Last, Unix ms
}

// Mean is Sum by Count, 0 of no values.
func (s *Stat) Mean() float64 {
	if s.Count == 0 {
		return 0
	}
	return s.Sum / float64(s.Count)
}

// Add takes one more value, measured at an event time.
func (s *Stat) Add(v float64, at int64) {
	if s.Count == 0 {
		s.Min, s.Max, s.LastAt = v, v, at
	}
	s.Count++
	if v != 0 {
		s.Nonzero++
	}
	s.Sum += v
	s.Min, s.Max = min(s.Min, v), max(s.Max, v)
	if at >= s.LastAt {
		s.Last, s.LastAt = v, at
	}
}

// Keep leaves what was asked for.
func (s *Stat) Keep(which Measures) {
	all := *s
	*s = Stat{}
	if which&MeasureCount != 0 {
		s.Count = all.Count
	}
	if which&MeasureNonzero != 0 {
		s.Nonzero = all.Nonzero
	}
	if which&MeasureSum != 0 {
		s.Sum = all.Sum
	}
	if which&MeasureMin != 0 {
		s.Min = all.Min
	}
	if which&MeasureMax != 0 {
		s.Max = all.Max
	}
	if which&MeasureLast != 0 {
		s.Last, s.LastAt = all.Last, all.LastAt
	}
}
