package kind

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// Desk is the evaluator as rules see it: what time it is, and where they say
// what they have found.
type Desk struct {
	Turn  uint64 // of the row being judged, from 1; for expression.Expression.Eval
	Clock Clock

	// Changed since the evaluator last took it.
	Findings       map[string]*Finding
	Opened, Closed []string // ids
	Dirty          []*Unit
	Gathered       bool // something of a Gatherer

	Shared any // what a kind's rules leave for one another within a turn; of one kind, which overwrites any other's

	timers timers
}

// Touch says that something of a unit has changed which must be kept: its
// state under some rule. Findings, and rows in order, do so by themselves.
func (d *Desk) Touch(u *Unit) {
	if !u.dirty {
		u.dirty = true
		d.Dirty = append(d.Dirty, u)
	}
}

// Dirty reports whether something has changed since it was last taken.
func (u *Unit) Dirty() bool { return u.dirty }

// Take forgets what has changed; of units, the first so many.
func (d *Desk) Take(units int) {
	for _, u := range d.Dirty[:units] {
		u.dirty = false
	}
	clear(d.Findings)
	d.Opened, d.Closed, d.Gathered = nil, nil, false
	d.Dirty = append(d.Dirty[:0], d.Dirty[units:]...)
}

// Moment is a time of the stream as people read it.
func Moment(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// Open says that a unit breaches: Onset is when it began, opened when the rule
// was fulfilled (both event time, or receive time where a kind runs on
// contact), seen the receive time of what showed it. The caller fills in Why,
// Peak and LastAt. Open until Close; it must not be open already.
func (d *Desk) Open(w *Watch, onset, opened, seen int64) *Finding {
	f := d.make(w, onset, opened, seen)
	w.Finding = f
	d.raise(f)
	d.Touch(w.Unit)
	return f
}

// Past says that a unit breached in the past, as data that came late shows: it
// is kept closed, and nothing that is open changes.
func (d *Desk) Past(w *Watch, onset, opened, seen int64) *Finding {
	f := d.make(w, onset, opened, seen)
	f.Late, f.State, f.Cleared = true, Cleared, f.OpenedAt
	f.ClearWhy = "past: newer data had arrived before it"
	d.raise(f)
	return f
}

// Continue says that it still does: the newest time outside and the furthest
// value so far.
func (d *Desk) Continue(w *Watch, last int64, peak float64) {
	w.Finding.LastAt, w.Finding.Peak = Moment(last), peak
	d.Findings[w.Finding.ID] = w.Finding
	d.Touch(w.Unit)
}

// Close says that it no longer does, and why.
func (d *Desk) Close(w *Watch, at int64, why string) {
	d.close(w.Finding, at, why)
	w.Finding = nil
	d.Touch(w.Unit)
}

// OpenPlace says that something concerns a place rather than a unit: "" is all
// units of the product, else as "site=Oslo". Units is how many it is of. One
// can be open a place.
func (d *Desk) OpenPlace(b *Bound, place string, units int, onset, opened, seen int64) *Finding {
	f := &Finding{
		ID: PlaceID(b.Detector.Ref(), place, onset), Detector: b.Detector.Ref(), Severity: b.Detector.Severity,
		Product: b.Product, State: Open, Place: place, Units: units,
		Onset: Moment(onset), OpenedAt: Moment(opened), SeenAt: Moment(seen), LastAt: Moment(opened),
	}
	if b.Places == nil {
		b.Places = map[string]*Finding{}
	}
	b.Places[place] = f
	d.raise(f)
	d.Gathered = true
	return f
}

// Change says that an open finding of a place has changed: its Units, Peak or LastAt.
func (d *Desk) Change(f *Finding) {
	d.Findings[f.ID] = f
	d.Gathered = true
}

// ClosePlace says that it is over.
func (d *Desk) ClosePlace(b *Bound, place string, at int64, why string) {
	d.close(b.Places[place], at, why)
	delete(b.Places, place)
	d.Gathered = true
}

func (d *Desk) make(w *Watch, onset, opened, seen int64) *Finding {
	ref := w.Bound.Detector.Ref()
	return &Finding{
		ID: FindingID(ref, w.Unit.Key, onset), Detector: ref, Severity: w.Bound.Detector.Severity,
		UnitID: w.Unit.ID, UnitKey: w.Unit.Key, Product: w.Unit.Product, State: Open,
		Onset: Moment(onset), OpenedAt: Moment(opened), SeenAt: Moment(seen), LastAt: Moment(opened),
	}
}

func (d *Desk) raise(f *Finding) {
	d.Findings[f.ID] = f
	d.Opened = append(d.Opened, f.ID)
}

func (d *Desk) close(f *Finding, at int64, why string) {
	f.State, f.Cleared, f.ClearWhy = Cleared, Moment(at), why
	d.Findings[f.ID] = f
	d.Closed = append(d.Closed, f.ID)
}

// FindingID is the id of the finding of a detector version on a unit with an
// onset: the same stream always gives the same.
func FindingID(d Ref, unit, onset int64) string { return findingID(d, unit, onset, "") }

// PlaceID is the same of a finding of a place.
func PlaceID(d Ref, place string, onset int64) string { return findingID(d, 0, onset, place) }

func findingID(d Ref, unit, onset int64, place string) string {
	b := append([]byte(d.Name), 0)
	b = binary.BigEndian.AppendUint64(b, uint64(d.Version))
	b = binary.BigEndian.AppendUint64(b, uint64(unit))
	b = binary.BigEndian.AppendUint64(b, uint64(onset))
	b = append(b, place...)
	sum := sha256.Sum256(b)
	return "f-" + hex.EncodeToString(sum[:12])
}

// Wake asks for Rule.Due at a receive time; the earliest asked for counts
// until it has come.
func (d *Desk) Wake(w *Watch, at int64) {
	if w.due == 0 || at < w.due {
		w.due = at
		heap.Push(&d.timers, timer{at, w})
	}
}

// Forget drops a watch's timer.
func (d *Desk) Forget(w *Watch) { w.due = 0 }

// ForgetAll drops all timers.
func (d *Desk) ForgetAll() {
	for _, t := range d.timers {
		t.watch.due = 0
	}
	d.timers = nil
}

// Ring calls Due of everything that is due by at. Those of one time come in
// the order of unit keys.
func (d *Desk) Ring(at int64) {
	var due []timer
	for len(d.timers) > 0 && d.timers[0].due <= at {
		if t := heap.Pop(&d.timers).(timer); t.watch.due == t.due {
			due = append(due, t)
			t.watch.due = 0
		}
	}
	slices.SortFunc(due, func(a, b timer) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.watch.Unit.Key, b.watch.Unit.Key),
			strings.Compare(a.watch.Bound.Detector.Name, b.watch.Bound.Detector.Name), cmp.Compare(a.watch.Bound.Detector.Version, b.watch.Bound.Detector.Version))
	})
	for _, t := range due {
		t.watch.Bound.Rule.Due(d, t.watch, at)
	}
}

// timer is when a watch wants to be looked at. Superseded ones stay until they
// are due.
type timer struct {
	due   int64
	watch *Watch
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
