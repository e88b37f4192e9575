// Package newest keeps the newest number of each signal of each unit of a
// product in memory, so that "where is everybody now" reads no table. One
// writer stages what it is about to store and publishes it once it is stored;
// any number of readers see what was published.
package newest

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// Value is a number and its event time, Unix ms. Event None says there is none.
type Value struct {
	Event  int64
	Number float64
}

// None is before every event time: none is known.
const None = math.MinInt64

// Known reports whether there is a value.
func (v Value) Known() bool { return v.Event != None }

// Budget bounds how many values several Values hold together.
type Budget struct {
	most int64
	held atomic.Int64
}

// NewBudget allows most values, of 16 bytes each (twice that while a unit's are
// being stored).
func NewBudget(most int) *Budget { return &Budget{most: int64(most)} }

func (b *Budget) take(n int) bool {
	if b.held.Add(int64(n)) <= b.most {
		return true
	}
	b.held.Add(int64(-n))
	return false
}

// Unit is the values of one unit, by number of column. It belongs to the writer.
type Unit struct {
	key    int64
	values []Value // as readers see them; under Values.mu
	staged []Value // nil: nothing
}

// Values are those of one product.
type Values struct {
	budget *Budget
	units  map[int64]*Unit // under mu
	spare  [][]Value       // of the writer
	staged []*Unit         // of the writer

	mu     sync.RWMutex
	keys   []int64 // of units, ascending once they are published
	closed bool    // there are none any more
}

// New is the values of a product of which none is known yet.
func New(b *Budget) *Values { return &Values{budget: b, units: map[int64]*Unit{}} }

// Unit is the unit with a key; the writer may keep it until Erase or Close.
func (v *Values) Unit(key int64) *Unit {
	u := v.units[key] // the writer alone changes the map
	if u == nil {
		u = &Unit{key: key}
		v.mu.Lock()
		v.units[key] = u
		v.keys = append(v.keys, key)
		v.mu.Unlock()
	}
	return u
}

// Stage notes a value that is about to be stored. Of values with the same time
// the later one counts.
func (v *Values) Stage(u *Unit, column int, event int64, number float64) {
	if column < len(u.staged) {
		if s := &u.staged[column]; event >= s.Event {
			*s = Value{event, number}
		}
		return
	}
	if u.staged == nil {
		v.staged = append(v.staged, u)
		if n := len(v.spare); n > 0 {
			u.staged, v.spare = v.spare[n-1][:0], v.spare[:n-1]
		}
		u.staged = append(u.staged, u.values...)
	}
	for len(u.staged) <= column {
		u.staged = append(u.staged, Value{Event: None})
	}
	v.Stage(u, column, event, number)
}

// Publish shows readers what was staged. It reports false when that is more
// than the budget allows: then there are none any more.
func (v *Values) Publish() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return false
	}
	for _, u := range v.staged {
		if grown := len(u.staged) - len(u.values); grown > 0 && !v.budget.take(grown) {
			v.drop()
			v.closed = true
			return false
		}
		if u.values != nil && len(v.spare) < 1024 {
			v.spare = append(v.spare, u.values)
		}
		u.values, u.staged = u.staged, nil
	}
	v.staged = v.staged[:0]
	if !slices.IsSorted(v.keys) {
		slices.Sort(v.keys)
	}
	return true
}

// Close gives the values' share of the budget back; readers find none.
func (v *Values) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drop()
	v.closed = true
}

// drop forgets everything. The caller holds v.mu.
func (v *Values) drop() {
	held := 0
	for _, u := range v.units {
		held += len(u.values)
		u.values, u.staged = nil, nil
	}
	v.budget.held.Add(int64(-held))
	v.units, v.keys, v.spare, v.staged = map[int64]*Unit{}, nil, nil, nil
}

// Erase forgets units, or with columns their values of those.
func (v *Values) Erase(units []int64, columns []int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, key := range units {
		u := v.units[key]
		if u == nil {
			continue
		}
		if columns == nil {
			v.budget.held.Add(int64(-len(u.values)))
			u.values = nil
			delete(v.units, key)
			v.keys = slices.DeleteFunc(v.keys, func(k int64) bool { return k == key })
			continue
		}
		for _, c := range columns {
			if c < len(u.values) {
				u.values[c] = Value{Event: None}
			}
		}
	}
}

// Expire forgets values from before a time, by column.
func (v *Values) Expire(before []int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, u := range v.units {
		for c := range u.values {
			if c < len(before) && u.values[c].Event < before[c] {
				u.values[c] = Value{Event: None}
			}
		}
	}
}

// Of is a copy of a unit's values, by number of column. ok is false when there
// is no telling.
func (v *Values) Of(key int64) (values []Value, ok bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if u := v.units[key]; u != nil {
		values = slices.Clone(u.values)
	}
	return values, !v.closed
}

// All is the values of columns of units (nil: all; each once) by key, ascending, those of
// one unit after those of another: values[i*len(columns)+j] is of keys[i] and
// columns[j]. Units of which none is known are left out. ok is false when there
// is no telling.
func (v *Values) All(units []int64, columns []int) (keys []int64, values []Value, ok bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed {
		return nil, nil, false
	}
	if units == nil {
		units = v.keys
	} else if !slices.IsSorted(units) {
		units = slices.Sorted(slices.Values(units))
	}
	keys, values = make([]int64, 0, len(units)), make([]Value, 0, len(units)*len(columns))
	for _, key := range units {
		u := v.units[key]
		if u == nil {
			continue
		}
		known := false
		for _, c := range columns {
			one := Value{Event: None}
			if c < len(u.values) {
				one = u.values[c]
			}
			known = known || one.Known()
			values = append(values, one)
		}
		if known {
			keys = append(keys, key)
		} else {
			values = values[:len(values)-len(columns)]
		}
	}
	return keys, values, true
}
