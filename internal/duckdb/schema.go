package duckdb

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// schemaVersion changes when tables do; an older file is brought up when it is
// opened, a newer one is refused.
const schemaVersion = 2

// Names of products and signals are data here: tables and columns have names
// of their own, because DuckDB takes names that differ in case for the same.
const createTables = `
CREATE TABLE IF NOT EXISTS format (version INTEGER);
CREATE TABLE IF NOT EXISTS position (seq BIGINT);
CREATE TABLE IF NOT EXISTS products (id INTEGER, name VARCHAR);
CREATE TABLE IF NOT EXISTS signals (product INTEGER, col INTEGER, name VARCHAR, is_text BOOLEAN);
CREATE TABLE IF NOT EXISTS marks (seq BIGINT, idx INTEGER, kind UTINYINT, unit BIGINT, received BIGINT, note VARCHAR);
CREATE TABLE IF NOT EXISTS segments (product INTEGER, id INTEGER, tbl VARCHAR, sorted BOOLEAN, after BIGINT, n BIGINT,
 first_event BIGINT, last_event BIGINT, first_seq BIGINT, last_seq BIGINT, levels INTEGER);
CREATE TABLE IF NOT EXISTS accounts (unit BIGINT, stored BIGINT, not_consented BIGINT, undeclared BIGINT, duplicate BIGINT, invalid BIGINT);
`

const createRows = `CREATE TABLE %s (seq BIGINT, idx INTEGER, unit BIGINT, event BIGINT, received BIGINT, sequence BIGINT,
 not_consented INTEGER, undeclared INTEGER, invalid INTEGER)`

// fixedColumns are those of createRows; the columns of signals follow, in the
// order of their numbers.
const (
	fixedColumns = 9
	fixedNames   = "seq, idx, unit, event, received, sequence, not_consented, undeclared, invalid"
)

// schema is what tables there are. It is never changed, but replaced.
type schema struct {
	products map[string]*product
}

type product struct {
	id       int
	name     string
	segments []*segment // in stream order; the last takes what arrives
	columns  []column   // by number
	number   map[string]int
	text     map[string]int
}

// column holds the values of a signal of one kind, numbers (and booleans) or
// texts. A signal whose declared type has changed has two.
type column struct {
	signal string
	isText bool
}

func (p *product) find(signal string, isText bool) (int, bool) {
	if isText {
		i, ok := p.text[signal]
		return i, ok
	}
	i, ok := p.number[signal]
	return i, ok
}

func columnName(i int) string { return fmt.Sprintf("v%d", i) }

func newProduct(id int, name string) *product {
	return &product{id: id, name: name, number: map[string]int{}, text: map[string]int{}}
}

func (p *product) add(c column) {
	if c.isText {
		p.text[c.signal] = len(p.columns)
	} else {
		p.number[c.signal] = len(p.columns)
	}
	p.columns = append(p.columns, c)
}

func (p *product) clone() *product {
	q := *p
	q.columns, q.number, q.text, q.segments = slices.Clone(p.columns), maps.Clone(p.number), maps.Clone(p.text), slices.Clone(p.segments)
	return &q
}

// load makes the tables of a new file, and reads the schema and the position.
func (h *History) load(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, createTables); err != nil {
		return fmt.Errorf("make tables: %w", err)
	}
	var versions, version int
	if err := db.QueryRowContext(ctx, "SELECT count(*), coalesce(max(version), 0) FROM format").Scan(&versions, &version); err != nil {
		return err
	}
	if versions == 0 {
		const first = "BEGIN TRANSACTION; INSERT INTO format VALUES (%d); INSERT INTO position VALUES (0); COMMIT"
		if _, err := db.ExecContext(ctx, fmt.Sprintf(first, schemaVersion)); err != nil {
			return fmt.Errorf("begin history: %w", err)
		}
	} else if version == 1 {
		if _, err := db.ExecContext(ctx, fromVersion1); err != nil {
			return fmt.Errorf("bring the file up from version 1: %w", err)
		}
	} else if version != schemaVersion {
		return fault.New(fault.Conflict, "the file is of version %d, this program writes version %d", version, schemaVersion)
	}

	s := &schema{products: map[string]*product{}}
	byID := map[int]*product{}
	err := each(ctx, db, "SELECT id, name FROM products ORDER BY id", func(rows *sql.Rows) error {
		var id int
		var name string
		err := rows.Scan(&id, &name)
		byID[id] = newProduct(id, name)
		s.products[name] = byID[id]
		return err
	})
	if err != nil {
		return fmt.Errorf("read products: %w", err)
	}
	err = each(ctx, db, "SELECT product, name, is_text FROM signals ORDER BY product, col", func(rows *sql.Rows) error {
		var id int
		var c column
		err := rows.Scan(&id, &c.signal, &c.isText)
		byID[id].add(c)
		return err
	})
	if err != nil {
		return fmt.Errorf("read signals: %w", err)
	}

	if err := loadSegments(ctx, db, byID); err != nil {
		return fmt.Errorf("read segments: %w", err)
	}

	var position uint64
	if err := db.QueryRowContext(ctx, "SELECT seq FROM position").Scan(&position); err != nil {
		return fmt.Errorf("read position: %w", err)
	}
	h.schema.Store(s)
	h.applied.Store(position)
	return nil
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each calls f for every row of a query.
func each(ctx context.Context, db queryer, query string, f func(rows *sql.Rows) error) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// EnsureProduct makes the product's table and the columns of its signals.
// Types are "number", "boolean" (kept as 0 and 1) and "text".
func (h *History) EnsureProduct(ctx context.Context, name string, signals map[string]string) error {
	var columns []column
	for _, signal := range slices.Sorted(maps.Keys(signals)) {
		switch signals[signal] {
		case "number", "boolean":
			columns = append(columns, column{signal, false})
		case "text":
			columns = append(columns, column{signal, true})
		default:
			return fault.New(fault.Invalid, "history of product %s: signal %s is of unknown type %q", name, signal, signals[signal])
		}
	}
	h.write.Lock()
	defer h.write.Unlock()
	return h.ensure(ctx, name, columns)
}

// ensure makes what is not there. The caller holds h.write.
func (h *History) ensure(ctx context.Context, name string, columns []column) error {
	old := h.schema.Load()
	known, exists := old.products[name]
	var p *product
	var statements []string
	if exists {
		p = known.clone()
	} else {
		p = newProduct(len(old.products)+1, name)
		hot := newSegment(p, 1, false)
		p.segments = []*segment{hot}
		statements = append(statements,
			fmt.Sprintf(createRows, hot.table),
			hot.insert(p),
			fmt.Sprintf("INSERT INTO products VALUES (%d, %s)", p.id, quote(name)))
	}
	// Tables that take no more rows lack the columns that came later.
	hot := p.hot().clone()
	p.segments[len(p.segments)-1] = hot
	for _, c := range columns {
		if _, ok := p.find(c.signal, c.isText); ok {
			continue
		}
		n, kind := len(p.columns), "DOUBLE"
		if c.isText {
			kind = "VARCHAR"
		}
		statements = append(statements,
			fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", hot.table, columnName(n), kind),
			fmt.Sprintf("INSERT INTO signals VALUES (%d, %d, %s, %t)", p.id, n, quote(c.signal), c.isText))
		p.add(c)
		hot.has = append(hot.has, true)
	}
	if len(statements) == 0 {
		return nil
	}
	err := h.change(ctx, func(c *sql.Conn) ([]*product, error) {
		_, err := c.ExecContext(ctx, strings.Join(statements, ";\n"))
		return []*product{p}, err
	})
	if err != nil {
		return fmt.Errorf("history of product %s: %w", name, err)
	}
	return nil
}

// change runs f in a transaction and takes up the products it gives, so that
// nobody sees the tables without their schema, or the other way round. The
// caller holds h.write.
func (h *History) change(ctx context.Context, f func(c *sql.Conn) ([]*product, error)) error {
	var changed []*product
	return h.commit(ctx, func(c *sql.Conn) (err error) {
		changed, err = f(c)
		return err
	}, func() {
		s := &schema{products: maps.Clone(h.schema.Load().products)}
		for _, p := range changed {
			s.products[p.name] = p
		}
		h.schema.Store(s)
	})
}

// quote makes an SQL string of a name. DuckDB ends a statement at a zero byte,
// so those, which no declared name has, are written as their sign.
func quote(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\u2400")
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// product finds a product's tables; nil when nothing was ever stored of it.
func (h *History) product(name string) *product { return h.schema.Load().products[name] }

// missing finds signals of a batch that have no column yet.
func (p *product) missing(b *telemetry.Batch) []column {
	var columns []column
	for i := range b.Rows {
		for j := range b.Rows[i].Values {
			v := &b.Rows[i].Values[j]
			if p != nil {
				if _, ok := p.find(v.Signal, v.IsText); ok {
					continue
				}
			}
			if c := (column{v.Signal, v.IsText}); !slices.Contains(columns, c) {
				columns = append(columns, c)
			}
		}
	}
	return columns
}

// nothing is a connector that only fails.
type nothing struct{ err error }

func (n nothing) Connect(context.Context) (sqldriver.Conn, error) { return nil, n.err }
func (n nothing) Driver() sqldriver.Driver                        { return nil }
