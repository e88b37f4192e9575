// Package recent keeps the newest rows of each unit in memory, so that what is
// sent again is told from what is new without a look into tables.
package recent

import (
	"slices"
	"sort"

	"fettle.dev/fettle/internal/duckdb/newest"
)

// keep is how many rows of a unit are kept in memory.
const keep = 8

// Unit knows the rows of one unit with event times after Floor.
type Unit struct {
	Floor  int64
	rows   []row        // by event time, ascending
	Newest *newest.Unit // nil: not looked up
}

type row struct {
	event, sequence int64
	mask            Mask
}

// Row finds what is stored of a row, which must be after the Floor, and makes
// room for it when nothing is.
func (r *Unit) Row(event, sequence int64) *Mask {
	i := len(r.rows)
	if i > 0 && r.rows[i-1].event >= event {
		i = sort.Search(len(r.rows), func(i int) bool { return r.rows[i].event >= event })
		for ; i < len(r.rows) && r.rows[i].event == event; i++ {
			if r.rows[i].sequence == sequence {
				return &r.rows[i].mask
			}
		}
	}
	r.rows = slices.Insert(r.rows, i, row{event: event, sequence: sequence})
	return &r.rows[i].mask
}

// Trim forgets the oldest rows, which are stored by now.
func (r *Unit) Trim() {
	if n := len(r.rows) - keep; n > 0 {
		r.Floor = r.rows[n-1].event
		// All rows of the Floor's time go: some of them are gone.
		for n < len(r.rows) && r.rows[n].event == r.Floor {
			n++
		}
		left := copy(r.rows, r.rows[n:])
		clear(r.rows[left:])
		r.rows = r.rows[:left]
		if cap(r.rows) > 16*keep {
			r.rows = slices.Clone(r.rows)
		}
	}
}

// Unlearn forgets all rows, so that what is left of them is looked up.
func (r *Unit) Unlearn() {
	if n := len(r.rows); n > 0 {
		r.Floor, r.rows = r.rows[n-1].event, nil
	}
}

// Mask is a set of columns.
type Mask struct {
	first uint64
	more  []uint64
}

// Has reports whether a column is in it.
func (m *Mask) Has(i int) bool {
	if i < 64 {
		return m.first&(1<<i) != 0
	}
	i -= 64
	return i/64 < len(m.more) && m.more[i/64]&(1<<(i%64)) != 0
}

// Set puts a column in.
func (m *Mask) Set(i int) {
	if i < 64 {
		m.first |= 1 << i
		return
	}
	i -= 64
	for i/64 >= len(m.more) {
		m.more = append(m.more, 0)
	}
	m.more[i/64] |= 1 << (i % 64)
}
