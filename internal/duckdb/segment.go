package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// segment is one table of a product's rows: either rows in the order of
// arrival, or a part, sorted by unit, event, seq and idx. Parts never take
// rows; they lack the columns of signals that came later, and those of which
// everything has expired.
type segment struct {
	id     int
	table  string
	sorted bool
	after  uint64 // of rows in order of arrival: those up to here stand in parts already
	has    []bool // by column

	// Of parts.
	rows                  int64
	firstEvent, lastEvent int64
	firstSeq, lastSeq     uint64
	levels                [levels]bool // rollups that it has
}

func newSegment(p *product, id int, sorted bool) *segment {
	kind := "rows"
	if sorted {
		kind = "part"
	}
	return &segment{id: id, table: fmt.Sprintf("%s_%d_%d", kind, p.id, id), sorted: sorted}
}

func (s *segment) clone() *segment {
	q := *s
	q.has = slices.Clone(s.has)
	return &q
}

// hot is the segment that takes what arrives.
func (p *product) hot() *segment { return p.segments[len(p.segments)-1] }

// nextSegment is an id that no table of the product has.
func (p *product) nextSegment() int {
	id := 0
	for _, s := range p.segments {
		id = max(id, s.id)
	}
	return id + 1
}

func (s *segment) holds(column int) bool { return column < len(s.has) && s.has[column] }

// column is a column as an expression, of its type where the table lacks it.
func (s *segment) column(p *product, i int) string {
	switch {
	case s.holds(i):
		return columnName(i)
	case p.columns[i].isText:
		return "NULL::VARCHAR AS " + columnName(i)
	default:
		return "NULL::DOUBLE AS " + columnName(i)
	}
}

// overlaps reports whether rows with event times in [first, last) may be here.
func (s *segment) overlaps(first, last int64) bool {
	return !s.sorted || s.firstEvent < last && s.lastEvent >= first
}

// beyond keeps rows out that stand in parts already.
func (s *segment) beyond() []string {
	if s.after == 0 {
		return nil
	}
	return []string{fmt.Sprintf("seq > %d", s.after)}
}

// tables are the segment's own and those of its rollups.
func (s *segment) tables() []string {
	list := []string{s.table}
	for l, has := range s.levels {
		if has {
			list = append(list, s.rollup(l))
		}
	}
	return list
}

func (s *segment) drop() string {
	var b strings.Builder
	for _, t := range s.tables() {
		b.WriteString("DROP TABLE " + t + ";\n")
	}
	return b.String()
}

func (s *segment) insert(p *product) string {
	mask := 0
	for l, has := range s.levels {
		if has {
			mask |= 1 << l
		}
	}
	return fmt.Sprintf("INSERT INTO segments VALUES (%d, %d, %s, %t, %d, %d, %s, %s, %d, %d, %d)",
		p.id, s.id, quote(s.table), s.sorted, s.after, s.rows, bigint(s.firstEvent), bigint(s.lastEvent), s.firstSeq, s.lastSeq, mask)
}

func (s *segment) remove(p *product) string {
	return fmt.Sprintf("DELETE FROM segments WHERE product = %d AND id = %d", p.id, s.id)
}

func (s *segment) replace(p *product) string { return s.remove(p) + "; " + s.insert(p) }

// measure reads what the record of a part says of its rows.
func (s *segment) measure(ctx context.Context, c *sql.Conn) error {
	return c.QueryRowContext(ctx, "SELECT count(*), coalesce(min(event), 0), coalesce(max(event), 0), coalesce(min(seq), 0), coalesce(max(seq), 0) FROM "+s.table).
		Scan(&s.rows, &s.firstEvent, &s.lastEvent, &s.firstSeq, &s.lastSeq)
}

// fromVersion1 takes the one table of each product as its first segment.
const fromVersion1 = `BEGIN TRANSACTION;
INSERT INTO segments SELECT id, 1, 'rows_' || id, false, 0, 0, 0, 0, 0, 0, 0 FROM products;
UPDATE format SET version = 2;
COMMIT`

// loadSegments reads the segments, and drops tables that a crash left behind
// before they became one.
func loadSegments(ctx context.Context, db *sql.DB, products map[int]*product) error {
	columns := map[string][]int{}
	err := each(ctx, db, "SELECT table_name, coalesce(try_cast(column_name[2:] AS INTEGER), -1) FROM duckdb_columns() WHERE NOT internal AND regexp_matches(table_name, '^(rows|part)_')", func(rows *sql.Rows) error {
		var table string
		var column int
		err := rows.Scan(&table, &column)
		columns[table] = append(columns[table], column)
		return err
	})
	if err != nil {
		return err
	}
	query := "SELECT product, id, tbl, sorted, after, n, first_event, last_event, first_seq, last_seq, levels FROM segments ORDER BY product, sorted DESC, first_seq, id"
	err = each(ctx, db, query, func(rows *sql.Rows) error {
		var product, mask int
		s := &segment{}
		if err := rows.Scan(&product, &s.id, &s.table, &s.sorted, &s.after, &s.rows, &s.firstEvent, &s.lastEvent, &s.firstSeq, &s.lastSeq, &mask); err != nil {
			return err
		}
		p := products[product]
		s.has = make([]bool, len(p.columns))
		for _, i := range columns[s.table] {
			if i >= 0 && i < len(s.has) {
				s.has[i] = true
			}
		}
		for l := range s.levels {
			s.levels[l] = mask&(1<<l) != 0
		}
		p.segments = append(p.segments, s)
		for _, t := range s.tables() {
			delete(columns, t)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for table := range columns {
		if _, err := db.ExecContext(ctx, "DROP TABLE "+table); err != nil {
			return err
		}
	}
	return nil
}

// pick is which rows of a product somebody asks for.
type pick struct {
	units       []int64 // nil: all
	first, last int64   // event times, [first, last)
}

// bounded sets the span; zero times leave it open.
func (q *pick) bounded(from, to time.Time) {
	q.first, q.last = math.MinInt64, math.MaxInt64
	if !from.IsZero() {
		q.first = ceilMilli(from)
	}
	if !to.IsZero() {
		q.last = ceilMilli(to)
	}
}

// ofUnits are the terms that pick the units.
func (q *pick) ofUnits() []string {
	switch {
	case q.units == nil:
		return nil
	case len(q.units) == 1:
		return []string{"unit = " + bigint(q.units[0])}
	default:
		return []string{"unit IN (" + list(q.units) + ")"}
	}
}

// where picks rows of a segment.
func (q *pick) where(s *segment) []string {
	terms := append(s.beyond(), q.ofUnits()...)
	if q.first != math.MinInt64 {
		terms = append(terms, "event >= "+bigint(q.first))
	}
	if q.last != math.MaxInt64 {
		terms = append(terms, "event < "+bigint(q.last))
	}
	return terms
}

func whereAll(terms []string) string {
	if len(terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(terms, " AND ")
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
