package layout

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Segment is one table of a product's rows: either rows in the order of
// arrival, or a part, sorted by unit, event, seq and idx. Parts never take
// rows; they lack the columns of signals that came later, and those of which
// everything has expired.
type Segment struct {
	ID     int
	Table  string
	Sorted bool
	After  uint64 // of rows in order of arrival: those up to here stand in parts already
	Has    []bool // by column

	// Of parts.
	Rows                  int64
	FirstEvent, LastEvent int64
	FirstSeq, LastSeq     uint64
	Levels                [Levels]bool // rollups that it has
}

// NewSegment is a segment of a product, of which there is no table yet.
func NewSegment(p *Product, id int, sorted bool) *Segment {
	kind := "rows"
	if sorted {
		kind = "part"
	}
	return &Segment{ID: id, Table: fmt.Sprintf("%s_%d_%d", kind, p.ID, id), Sorted: sorted}
}

// Clone is a copy that may be changed.
func (s *Segment) Clone() *Segment {
	q := *s
	q.Has = slices.Clone(s.Has)
	return &q
}

// Hot is the segment that takes what arrives.
func (p *Product) Hot() *Segment { return p.Segments[len(p.Segments)-1] }

// NextSegment is an id that no table of the product has.
func (p *Product) NextSegment() int {
	id := 0
	for _, s := range p.Segments {
		id = max(id, s.ID)
	}
	return id + 1
}

// Holds reports whether the table has a column.
func (s *Segment) Holds(column int) bool { return column < len(s.Has) && s.Has[column] }

// Column is a column as an expression, of its type where the table lacks it.
func (s *Segment) Column(p *Product, i int) string {
	switch {
	case s.Holds(i):
		return ColumnName(i)
	case p.Columns[i].IsText:
		return "NULL::VARCHAR AS " + ColumnName(i)
	default:
		return "NULL::DOUBLE AS " + ColumnName(i)
	}
}

// Overlaps reports whether rows with event times in [first, last) may be here.
func (s *Segment) Overlaps(first, last int64) bool {
	return !s.Sorted || s.FirstEvent < last && s.LastEvent >= first
}

// Beyond keeps rows out that stand in parts already.
func (s *Segment) Beyond() []string {
	if s.After == 0 {
		return nil
	}
	return []string{fmt.Sprintf("seq > %d", s.After)}
}

// Tables are the segment's own and those of its rollups.
func (s *Segment) Tables() []string {
	list := []string{s.Table}
	for l, has := range s.Levels {
		if has {
			list = append(list, s.Rollup(l))
		}
	}
	return list
}

// Drop is the statements that drop the segment's tables.
func (s *Segment) Drop() string {
	var b strings.Builder
	for _, t := range s.Tables() {
		b.WriteString("DROP TABLE " + t + ";\n")
	}
	return b.String()
}

// Insert is the statement that records the segment.
func (s *Segment) Insert(p *Product) string {
	mask := 0
	for l, has := range s.Levels {
		if has {
			mask |= 1 << l
		}
	}
	return fmt.Sprintf("INSERT INTO segments VALUES (%d, %d, %s, %t, %d, %d, %s, %s, %d, %d, %d)",
		p.ID, s.ID, Quote(s.Table), s.Sorted, s.After, s.Rows, Bigint(s.FirstEvent), Bigint(s.LastEvent), s.FirstSeq, s.LastSeq, mask)
}

// Remove is the statement that takes the segment's record away.
func (s *Segment) Remove(p *Product) string {
	return fmt.Sprintf("DELETE FROM segments WHERE product = %d AND id = %d", p.ID, s.ID)
}

// Replace is the statements that bring the segment's record up to it.
func (s *Segment) Replace(p *Product) string { return s.Remove(p) + "; " + s.Insert(p) }

// Pick is which rows of a product somebody asks for.
type Pick struct {
	Units       []int64 // nil: all
	First, Last int64   // event times, [first, last)
}

// Bound sets the span; zero times leave it open.
func (q *Pick) Bound(from, to time.Time) {
	q.First, q.Last = math.MinInt64, math.MaxInt64
	if !from.IsZero() {
		q.First = CeilMilli(from)
	}
	if !to.IsZero() {
		q.Last = CeilMilli(to)
	}
}

// OfUnits are the terms that pick the units.
func (q *Pick) OfUnits() []string {
	switch {
	case q.Units == nil:
		return nil
	case len(q.Units) == 1:
		return []string{"unit = " + Bigint(q.Units[0])}
	default:
		return []string{"unit IN (" + List(q.Units) + ")"}
	}
}

// Where picks rows of a segment. A part that the span covers need not be asked
// for its event times.
func (q *Pick) Where(s *Segment) []string {
	terms := append(s.Beyond(), q.OfUnits()...)
	if q.First != math.MinInt64 && (!s.Sorted || s.FirstEvent < q.First) {
		terms = append(terms, "event >= "+Bigint(q.First))
	}
	if q.Last != math.MaxInt64 && (!s.Sorted || s.LastEvent >= q.Last) {
		terms = append(terms, "event < "+Bigint(q.Last))
	}
	return terms
}

// Where joins conditions, which may be none.
func Where(terms []string) string {
	if len(terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(terms, " AND ")
}
