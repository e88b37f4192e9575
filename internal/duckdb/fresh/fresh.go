// Package fresh keeps what was stored last in memory, as it came, so that
// questions about the last minutes read no table. It costs the writer nothing
// but a pointer: batches are never changed once they are stored.
package fresh

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"fettle.dev/fettle/internal/telemetry"
)

// Rows are those of all products that were stored last. One writer adds; any
// number of readers ask.
type Rows struct {
	most int64 // bytes, about

	mu      sync.RWMutex
	entries []entry // as they were stored
	bytes   int64
	floors  map[string]int64           // by product: rows with later event times are all here
	ahead   map[string][]telemetry.Row // of entries that went: rows by clocks that are ahead
}

// entry is a batch, and what of it was stored before.
type entry struct {
	*telemetry.Batch
	bytes       int64
	first, last int64 // event times
	twice       map[*telemetry.Value]struct{}
}

// maxAhead is how many rows by clocks that are ahead are kept of a product.
const maxAhead = 4096

// New keeps so many bytes, about.
func New(most int64) *Rows {
	return &Rows{most: most, floors: map[string]int64{}, ahead: map[string][]telemetry.Row{}}
}

// Begin says that everything of a product which is stored so far has event
// times up to newest. It does nothing when that was said before.
func (r *Rows) Begin(product string, newest int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, begun := r.floors[product]; !begun {
		r.floors[product] = newest
	}
}

// Add takes batches that have just been stored; twice are their values that
// were stored before.
func (r *Rows) Add(batches []telemetry.Sequenced, twice map[*telemetry.Value]struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range batches {
		if len(b.Batch.Rows) > 0 {
			e := entered(b.Batch, twice)
			r.entries, r.bytes = append(r.entries, e), r.bytes+e.bytes
		}
	}
	n := 0
	for ; r.bytes > r.most; n++ {
		r.bytes -= r.entries[n].bytes
		r.let(&r.entries[n])
	}
	r.entries = slices.Delete(r.entries, 0, n)
}

// entered measures a batch: about what it takes in memory.
func entered(b *telemetry.Batch, twice map[*telemetry.Value]struct{}) entry {
	const row, value = 80, 48
	e := entry{Batch: b, bytes: int64(len(b.Rows)) * row, first: math.MaxInt64, last: math.MinInt64, twice: twice}
	for i := range b.Rows {
		at := &b.Rows[i]
		e.bytes += int64(len(at.Values)) * value
		e.first, e.last = min(e.first, at.Event), max(e.last, at.Event)
		for j := range at.Values {
			e.bytes += int64(len(at.Values[j].Text))
		}
	}
	return e
}

// let lets a batch go. Nearly all of its rows are older than their arrival, and
// that is what is known from here.
func (r *Rows) let(e *entry) {
	floor, ahead := r.floors[e.Product], r.ahead[e.Product]
	for i := range e.Rows {
		row := e.Rows[i]
		floor = max(floor, row.Received)
		if row.Event > row.Received && len(row.Values) > 0 {
			if len(e.twice) > 0 {
				var once []telemetry.Value
				for j := range row.Values {
					if _, is := e.twice[&row.Values[j]]; !is {
						once = append(once, row.Values[j])
					}
				}
				row.Values = once
			}
			ahead = append(ahead, row)
		}
	}
	ahead = slices.DeleteFunc(ahead, func(row telemetry.Row) bool { return row.Event <= floor })
	if len(ahead) > maxAhead {
		for i := range ahead {
			floor = max(floor, ahead[i].Event)
		}
		ahead = nil
	}
	r.floors[e.Product], r.ahead[e.Product] = floor, ahead
}

// Drop lets everything go, because something that is stored is to be removed.
func (r *Rows) Drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.entries {
		e := &r.entries[i]
		r.floors[e.Product] = max(r.floors[e.Product], e.last)
	}
	for product, rows := range r.ahead {
		for i := range rows {
			r.floors[product] = max(r.floors[product], rows[i].Event)
		}
	}
	r.entries, r.bytes = nil, 0
	clear(r.ahead)
}

// Forget drops everything and what is known of it: what is stored may be
// something else. Products must begin anew.
func (r *Rows) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries, r.bytes = nil, 0
	clear(r.floors)
	clear(r.ahead)
}

// Windows answers q, whose span is [first, last), by unit and time. It reports
// false when rows of the span may be stored that are not here.
func (r *Rows) Windows(q *telemetry.WindowQuery, first, last int64, fn func(w *telemetry.Window) error) (done bool, err error) {
	a := answer{q: q, first: first, last: last, at: map[key]int{}, places: make([]int, len(q.Signals))}
	if q.Units != nil {
		a.units = make(map[int64]struct{}, len(q.Units))
		for _, u := range q.Units {
			a.units[u] = struct{}{}
		}
	}
	if !r.read(&a) {
		return false, nil
	}
	slices.SortFunc(a.keys, func(x, y key) int { return cmp.Or(cmp.Compare(x.unit, y.unit), cmp.Compare(x.window, y.window)) })
	n := len(q.Signals)
	for _, k := range a.keys {
		at := a.at[k] * n
		w := telemetry.Window{Unit: k.unit, At: time.UnixMilli(first + k.window*q.Width.Milliseconds()).UTC(), Stats: a.stats[at : at+n]}
		for i := range w.Stats {
			w.Stats[i].Keep(q.Measures)
		}
		if err := fn(&w); err != nil {
			return true, err
		}
	}
	return true, nil
}

// read gives an answer the rows of its span.
func (r *Rows) read(a *answer) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	floor, begun := r.floors[a.q.Product]
	if !begun || a.first <= floor {
		return false
	}
	rows := r.ahead[a.q.Product] // they came before all others
	for i := range rows {
		a.row(&rows[i], nil)
	}
	for i := range r.entries {
		e := &r.entries[i]
		if e.Product != a.q.Product || e.last < a.first || e.first >= a.last {
			continue
		}
		for j := range e.Rows {
			a.row(&e.Rows[j], e.twice)
		}
	}
	return true
}

// answer is windows in the making.
type answer struct {
	q           *telemetry.WindowQuery
	first, last int64
	units       map[int64]struct{} // nil: all
	places      []int              // where each signal stood in the last row

	keys  []key
	at    map[key]int // which of stats, by as many as there are signals
	stats []telemetry.Stat
}

type key struct{ unit, window int64 }

func (a *answer) row(r *telemetry.Row, twice map[*telemetry.Value]struct{}) {
	if r.Event < a.first || r.Event >= a.last {
		return
	}
	if a.units != nil {
		if _, is := a.units[r.Unit]; !is {
			return
		}
	}
	k := key{unit: r.Unit}
	if width := a.q.Width.Milliseconds(); width > 0 {
		k.window = (r.Event - a.first) / width
	}
	base := -1
	for i, signal := range a.q.Signals {
		v := a.find(r, i, signal, twice)
		if v == nil {
			continue
		}
		if base < 0 {
			n, known := a.at[k]
			if !known {
				n = len(a.keys)
				a.at[k], a.keys = n, append(a.keys, k)
				a.stats = append(a.stats, make([]telemetry.Stat, len(a.q.Signals))...)
			}
			base = n * len(a.q.Signals)
		}
		a.stats[base+i].Add(v.Number, r.Event)
	}
}

// find is the number of the signal, which mostly stands where it stood before;
// of one that a row names twice the second was stored before.
func (a *answer) find(r *telemetry.Row, i int, signal string, twice map[*telemetry.Value]struct{}) *telemetry.Value {
	is := func(v *telemetry.Value) bool {
		if v.Signal != signal || v.IsText {
			return false
		}
		_, before := twice[v]
		return !before
	}
	if n := a.places[i]; n < len(r.Values) && is(&r.Values[n]) {
		return &r.Values[n]
	}
	for n := range r.Values {
		if is(&r.Values[n]) {
			a.places[i] = n
			return &r.Values[n]
		}
	}
	return nil
}
