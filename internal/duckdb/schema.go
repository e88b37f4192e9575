package duckdb

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/duckdb/scan"
	"fettle.dev/fettle/internal/fault"
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

// schema is what tables there are. It is never changed, but replaced.
type schema struct {
	products map[string]*layout.Product
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

	s := &schema{products: map[string]*layout.Product{}}
	byID := map[int]*layout.Product{}
	err := each(ctx, db, "SELECT id, name FROM products ORDER BY id", func(rows *sql.Rows) error {
		var id int
		var name string
		err := rows.Scan(&id, &name)
		byID[id] = layout.NewProduct(id, name)
		s.products[name] = byID[id]
		return err
	})
	if err != nil {
		return fmt.Errorf("read products: %w", err)
	}
	err = each(ctx, db, "SELECT product, name, is_text FROM signals ORDER BY product, col", func(rows *sql.Rows) error {
		var id int
		var c layout.Column
		err := rows.Scan(&id, &c.Signal, &c.IsText)
		byID[id].Add(c)
		return err
	})
	if err != nil {
		return fmt.Errorf("read signals: %w", err)
	}

	if err := scan.Segments(ctx, db, byID); err != nil {
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

// each calls f for every row of a query.
var each = scan.Each

// EnsureProduct makes the product's table and the columns of its signals.
// Types are "number", "boolean" (kept as 0 and 1) and "text".
func (h *History) EnsureProduct(ctx context.Context, name string, signals map[string]string) error {
	var columns []layout.Column
	for _, signal := range slices.Sorted(maps.Keys(signals)) {
		switch signals[signal] {
		case "number", "boolean":
			columns = append(columns, layout.Column{Signal: signal})
		case "text":
			columns = append(columns, layout.Column{Signal: signal, IsText: true})
		default:
			return fault.New(fault.Invalid, "history of product %s: signal %s is of unknown type %q", name, signal, signals[signal])
		}
	}
	h.write.Lock()
	defer h.write.Unlock()
	return h.ensure(ctx, name, columns)
}

// ensure makes what is not there. The caller holds h.write.
func (h *History) ensure(ctx context.Context, name string, columns []layout.Column) error {
	old := h.schema.Load()
	known, exists := old.products[name]
	var p *layout.Product
	var statements []string
	if exists {
		p = known.Clone()
	} else {
		p = layout.NewProduct(len(old.products)+1, name)
		hot := layout.NewSegment(p, 1, false)
		p.Segments = []*layout.Segment{hot}
		statements = append(statements,
			fmt.Sprintf(layout.CreateRows, hot.Table),
			hot.Insert(p),
			fmt.Sprintf("INSERT INTO products VALUES (%d, %s)", p.ID, layout.Quote(name)))
	}
	// Tables that take no more rows lack the columns that came later.
	hot := p.Hot().Clone()
	p.Segments[len(p.Segments)-1] = hot
	for _, c := range columns {
		if _, ok := p.Find(c.Signal, c.IsText); ok {
			continue
		}
		n, kind := len(p.Columns), "DOUBLE"
		if c.IsText {
			kind = "VARCHAR"
		}
		statements = append(statements,
			fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", hot.Table, layout.ColumnName(n), kind),
			fmt.Sprintf("INSERT INTO signals VALUES (%d, %d, %s, %t)", p.ID, n, layout.Quote(c.Signal), c.IsText))
		p.Add(c)
		hot.Has = append(hot.Has, true)
	}
	if len(statements) == 0 {
		return nil
	}
	err := h.change(ctx, func(c *sql.Conn) ([]*layout.Product, error) {
		_, err := c.ExecContext(ctx, strings.Join(statements, ";\n"))
		return []*layout.Product{p}, err
	})
	if err != nil {
		return fmt.Errorf("history of product %s: %w", name, err)
	}
	return nil
}

// change runs f in a transaction and takes up the products it gives, so that
// nobody sees the tables without their schema, or the other way round. The
// caller holds h.write.
func (h *History) change(ctx context.Context, f func(c *sql.Conn) ([]*layout.Product, error)) error {
	var changed []*layout.Product
	return h.commit(ctx, func(c *sql.Conn) (err error) {
		changed, err = f(c)
		return err
	}, func() {
		s := &schema{products: maps.Clone(h.schema.Load().products)}
		for _, p := range changed {
			s.products[p.Name] = p
		}
		h.schema.Store(s)
	})
}

// product finds a product's tables; nil when nothing was ever stored of it.
func (h *History) product(name string) *layout.Product { return h.schema.Load().products[name] }

// nothing is a connector that only fails.
type nothing struct{ err error }

func (n nothing) Connect(context.Context) (sqldriver.Conn, error) { return nil, n.err }
func (n nothing) Driver() sqldriver.Driver                        { return nil }
