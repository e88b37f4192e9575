// Package layout knows how history's rows lie in tables: the segments of each
// product, the columns of its signals, the rollups of its parts, and the SQL
// that asks for them. It talks to no database.
package layout

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/telemetry"
)

// CreateRows makes a table of rows; the columns of signals follow.
const CreateRows = `CREATE TABLE %s (seq BIGINT, idx INTEGER, unit BIGINT, event BIGINT, received BIGINT, sequence BIGINT,
 not_consented INTEGER, undeclared INTEGER, invalid INTEGER)`

// FixedColumns are those of CreateRows; the columns of signals follow, in the
// order of their numbers.
const (
	FixedColumns = 9
	FixedNames   = "seq, idx, unit, event, received, sequence, not_consented, undeclared, invalid"
)

// Product is what tables there are of a product. It is never changed, but
// replaced by a clone.
type Product struct {
	ID       int
	Name     string
	Segments []*Segment // in stream order; the last takes what arrives
	Columns  []Column   // by number
	number   map[string]int
	text     map[string]int
}

// Column holds the values of a signal of one kind, numbers (and booleans) or
// texts. A signal whose declared type has changed has two.
type Column struct {
	Signal string
	IsText bool
}

// Find is the number of the column that holds a signal's values of one kind.
func (p *Product) Find(signal string, isText bool) (int, bool) {
	if isText {
		i, ok := p.text[signal]
		return i, ok
	}
	i, ok := p.number[signal]
	return i, ok
}

// Finder finds the columns of values of one row after the other: most rows have
// the signals of the row before, at the same places.
type Finder struct{ places []place }

type place struct {
	Column
	number int
}

// Find is Product.Find for the value at a place in its row. The product must be
// the same each time.
func (f *Finder) Find(p *Product, at int, v *telemetry.Value) (int, bool) {
	if at < len(f.places) {
		if known := &f.places[at]; known.Signal == v.Signal && known.IsText == v.IsText {
			return known.number, true
		}
	}
	n, ok := p.Find(v.Signal, v.IsText)
	if ok {
		for len(f.places) <= at {
			f.places = append(f.places, place{})
		}
		f.places[at] = place{Column{v.Signal, v.IsText}, n}
	}
	return n, ok
}

// ColumnName is the name of a column in the tables of rows.
func ColumnName(i int) string { return fmt.Sprintf("v%d", i) }

// NewProduct is a product without tables.
func NewProduct(id int, name string) *Product {
	return &Product{ID: id, Name: name, number: map[string]int{}, text: map[string]int{}}
}

// Add gives the product one more column.
func (p *Product) Add(c Column) {
	if c.IsText {
		p.text[c.Signal] = len(p.Columns)
	} else {
		p.number[c.Signal] = len(p.Columns)
	}
	p.Columns = append(p.Columns, c)
}

// Clone is a copy that may be changed; its segments may not.
func (p *Product) Clone() *Product {
	q := *p
	q.Columns, q.number, q.text, q.Segments = slices.Clone(p.Columns), maps.Clone(p.number), maps.Clone(p.text), slices.Clone(p.Segments)
	return &q
}

// Missing finds signals of a batch that have no column yet.
func (p *Product) Missing(b *telemetry.Batch) []Column {
	var columns []Column
	var finder Finder
	for i := range b.Rows {
		for j := range b.Rows[i].Values {
			v := &b.Rows[i].Values[j]
			if p != nil {
				if _, ok := finder.Find(p, j, v); ok {
					continue
				}
			}
			if c := (Column{v.Signal, v.IsText}); !slices.Contains(columns, c) {
				columns = append(columns, c)
			}
		}
	}
	return columns
}

// Quote makes an SQL string of a name. DuckDB ends a statement at a zero byte,
// so those, which no declared name has, are written as their sign.
func Quote(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\u2400")
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// Bigint writes a number as SQL takes it, the smallest one included.
func Bigint(n int64) string { return fmt.Sprintf("'%d'::BIGINT", n) }

// List writes numbers as SQL takes them, with commas.
func List(units []int64) string {
	var b strings.Builder
	for i, u := range units {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(Bigint(u))
	}
	return b.String()
}

// CeilMilli is the first millisecond not before t.
func CeilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++
	}
	return ms
}
