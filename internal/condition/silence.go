package condition

import (
	"container/heap"
	"fmt"
	"strconv"
	"time"

	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/telemetry"
)

// ticks is what the stream says of the server itself: while there were no
// ticks it was down, and nobody could have been heard.
type ticks struct {
	last    int64 // receive time of the newest tick
	outages []outage
}

type outage struct{ from, to int64 }

// maxOutages bounds what is remembered; those before have no bearing on units
// that were heard of since.
const maxOutages = 256

// missedTicks in a row make an outage.
const missedTicks = 5

// defaultTick is the interval of a tick that doesn't say, in milliseconds.
const defaultTick = 10_000

// heard is the time between two instants in which the server could have heard.
func (t *ticks) heard(from, to int64) int64 {
	d := to - from
	for i := len(t.outages) - 1; i >= 0 && t.outages[i].to > from; i-- {
		o := t.outages[i]
		if overlap := min(o.to, to) - max(o.from, from); overlap > 0 {
			d -= overlap
		}
	}
	return d
}

// after is the instant by which the server could have heard for d since from.
func (t *ticks) after(from, d int64) int64 {
	at := from + d
	for _, o := range t.outages {
		if o.to > from && max(o.from, from) < at {
			at += o.to - max(o.from, from)
		}
	}
	return at
}

// tick moves time on: it notices an outage of ours, then opens findings of
// units whose time to be heard of has passed.
func (e *Evaluator) tick(m *telemetry.Mark) {
	if m.At <= e.ticks.last {
		return
	}
	interval, err := strconv.ParseInt(m.Text, 10, 64)
	if err != nil || interval <= 0 {
		interval = defaultTick
	}
	if last := e.ticks.last; last > 0 && m.At-last > missedTicks*interval {
		e.ticks.outages = append(e.ticks.outages, outage{last, m.At})
		if n := len(e.ticks.outages); n > maxOutages {
			e.ticks.outages = append([]outage(nil), e.ticks.outages[n-maxOutages:]...)
		}
	}
	e.ticks.last = m.At
	e.ticked = true
	for len(e.timers) > 0 && e.timers[0].due <= m.At {
		t := heap.Pop(&e.timers).(timer)
		if t.watch.due != t.due || t.watch.finding != nil {
			continue // superseded
		}
		u := t.unit
		place := t.place(u)
		if place < 0 {
			continue // no longer watched
		}
		d := u.product.rules[place]
		allowed := t.watch.interval.Allowed(d.patience)
		due := e.ticks.after(t.watch.contact, allowed)
		if due > m.At {
			t.watch.due = due
			heap.Push(&e.timers, timer{due, u, t.watch})
			continue
		}
		t.watch.due = 0
		f := e.open(u, d, t.watch.contact, due, m.At)
		f.Peak = float64(allowed) / 1000
		f.Why = fmt.Sprintf("nothing heard for %s since %s", words.Span(time.Duration(allowed)*time.Millisecond), words.Instant(f.Onset))
		if t.watch.interval.Learned {
			f.Why += fmt.Sprintf("; it is usually heard of within %s", words.Span(time.Duration(t.watch.interval.Estimate)*time.Millisecond))
		}
		t.watch.finding = f
		e.raise(f)
		e.touch(u)
	}
}

// contact takes in that a unit was heard of.
func (e *Evaluator) contact(u *unit, at int64) {
	if u.product == nil {
		return
	}
	for i, w := range u.watches {
		if w == nil || u.product.rules[i].Type != TypeSilence || at <= w.contact || at < w.since {
			continue
		}
		d := u.product.rules[i]
		if w.contact > 0 {
			gap := e.ticks.heard(w.contact, at)
			w.interval.Learn(gap, d.patience)
			if w.finding != nil {
				w.finding.LastAt = moment(at)
				w.finding.Peak = float64(gap) / 1000
				e.close(u, w, at, "heard of again after "+words.Span(time.Duration(gap)*time.Millisecond))
			}
		}
		w.contact = at
		e.touch(u)
		if due := at + w.interval.Allowed(d.patience); w.due == 0 || due < w.due {
			w.due = due
			heap.Push(&e.timers, timer{due, u, w})
		}
	}
}

// timer is when a unit's silence would be too long, at the earliest: contacts
// since then are looked at only when it is due.
type timer struct {
	due   int64
	unit  *unit
	watch *watch
}

// place is where the watch stands among the unit's; -1 if it no longer does.
func (t timer) place(u *unit) int {
	for i, w := range u.watches {
		if w == t.watch {
			return i
		}
	}
	return -1
}

// timers is a heap, the earliest first.
type timers []timer

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].due < h[j].due }
func (h timers) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is the heap's.
func (h *timers) Push(x any) { *h = append(*h, x.(timer)) }

// Pop is the heap's.
func (h *timers) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = timer{}
	*h = old[:len(old)-1]
	return t
}

// rebuild makes the timers of all units anew.
func (h *timers) rebuild(units map[int64]*unit) {
	*h = (*h)[:0]
	for _, u := range units {
		if u.product == nil {
			continue
		}
		for i, w := range u.watches {
			if w == nil || u.product.rules[i].Type != TypeSilence {
				continue
			}
			w.due = 0
			if w.contact > 0 && w.finding == nil {
				w.due = w.contact + w.interval.Allowed(u.product.rules[i].patience)
				*h = append(*h, timer{w.due, u, w})
			}
		}
	}
	heap.Init(h)
}
func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
