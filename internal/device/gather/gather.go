// Package gather makes messages of samples that come one by one, as SenML
// records, fields of line protocol and OTLP data points do.
package gather

import (
	"slices"
	"sync"

	"fettle.dev/fettle/internal/device"
)

// Time is when a sample was taken. Nanos is what a protocol with finer time
// says beyond the millisecond: it becomes the message's sequence number, so
// that two samples of one millisecond stay two and one sent again stays one.
type Time struct {
	Event int64 // Unix ms, when Known
	Nanos int32 // 0 to 999999
	Known bool
}

// Nanoseconds is the Time of a Unix time in nanoseconds.
func Nanoseconds(ns int64) Time {
	ms, rest := ns/1e6, ns%1e6
	if rest < 0 {
		ms, rest = ms-1, rest+1e6
	}
	return Time{Event: ms, Nanos: int32(rest), Known: true}
}

// Samples are those of one request, in one message for each time. It
// remembers which row of the request each came from, and from which series
// (name with tags): two series that claim the same signal at the same time are
// a mistake in the mapping, and the second is refused.
type Samples struct {
	Messages []device.Message

	declared device.Declaration
	outcomes []device.Outcome
	origins  [][]origin // as Messages and their Values
	byTime   map[Time]int
	names    [][]byte // of signals, as used
}

type origin struct {
	series uint64
	row    int32
	signal int32 // index; -1: not declared
}

var pool = sync.Pool{New: func() any { return &Samples{byTime: map[Time]int{}} }}

// New takes an Samples for a unit of a product from the pool; Free
// gives it back.
func New(d device.Declaration) *Samples {
	a := pool.Get().(*Samples)
	a.declared = d
	a.Messages, a.origins, a.outcomes = a.Messages[:0], a.origins[:0], a.outcomes[:0]
	clear(a.byTime)
	a.names = slices.Grow(a.names[:0], d.Signals())[:d.Signals()]
	clear(a.names)
	return a
}

// maxPooled bounds the messages of an Samples that is kept.
const maxPooled = 4096

// Free gives the Samples back; nothing of it may be used afterwards.
func (a *Samples) Free() {
	if cap(a.Messages) <= maxPooled {
		pool.Put(a)
	}
}

// Add puts a sample in. Signal is an index of the declaration, or -1 for a
// name that it does not know, which v.Name then says. Row is where in the
// request it stands, series whose it is.
func (a *Samples) Add(at Time, row int, series uint64, signal int, v device.Value) {
	if signal >= 0 {
		if a.names[signal] == nil {
			a.names[signal] = []byte(a.declared.Signal(signal).Name)
		}
		v.Name = a.names[signal]
	}
	i, known := a.byTime[at]
	if known && signal >= 0 {
		for _, o := range a.origins[i] {
			if o.signal != int32(signal) {
				continue
			}
			if known = o.series != series; known {
				v.Kind, v.Text = device.KindRefused, []byte("another series of this request has a value for it at the same time; tell them apart by where, in the signal's sources")
			} // else it was sent twice: history finds the duplicate
			break
		}
	}
	if !known {
		i = a.open(at)
	}
	m := &a.Messages[i]
	m.Values = append(m.Values, v)
	a.origins[i] = append(a.origins[i], origin{series, int32(row), int32(signal)})
}

// open begins a message, with the memory of one that was here before.
func (a *Samples) open(at Time) int {
	i := len(a.Messages)
	if i < cap(a.Messages) {
		a.Messages = a.Messages[:i+1]
	} else {
		a.Messages = append(a.Messages, device.Message{})
	}
	if i < cap(a.origins) {
		a.origins = a.origins[:i+1]
	} else {
		a.origins = append(a.origins, nil)
	}
	m := &a.Messages[i]
	*m = device.Message{Event: at.Event, HasEvent: at.Known, Sequence: int64(at.Nanos), Values: m.Values[:0]}
	a.origins[i] = a.origins[i][:0]
	if _, ok := a.byTime[at]; !ok {
		a.byTime[at] = i
	}
	return i
}

// Outcomes is what Submit is given to tell what became of each message.
func (a *Samples) Outcomes() []device.Outcome {
	a.outcomes = slices.Grow(a.outcomes[:0], len(a.Messages))[:len(a.Messages)]
	for i := range a.outcomes {
		if a.outcomes[i].Dropped == nil {
			a.outcomes[i].Dropped = []device.Dropped{}
		}
	}
	return a.outcomes
}

// Loss is a sample that was not kept.
type Loss struct {
	Row  int
	Name string
	Fate device.Fate
	Why  string // of Invalid
}

// Losses is what was not kept, by row, after Outcomes has been filled.
func (a *Samples) Losses() (out []Loss) {
	for i := range a.outcomes {
		for _, d := range a.outcomes[i].Dropped {
			out = append(out, Loss{
				Row: int(a.origins[i][d.Value].row), Name: string(a.Messages[i].Values[d.Value].Name), Fate: d.Fate, Why: d.Why,
			})
		}
	}
	slices.SortStableFunc(out, func(x, y Loss) int { return x.Row - y.Row })
	return out
}

// Kept is the number of samples that were kept.
func (a *Samples) Kept() (n int) {
	for i := range a.outcomes {
		n += a.outcomes[i].Kept
	}
	return n
}
