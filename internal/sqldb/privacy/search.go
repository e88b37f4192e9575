package privacy

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"fettle.dev/fettle/internal/privacy"
	"fettle.dev/fettle/internal/sqldb/rows"
)

// Column is one of the records.
type Column struct{ Table, Name string }

// columns are all of the records, as the database itself lists them.
func (s store) columns(ctx context.Context) ([]Column, error) {
	query := `SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' ORDER BY m.name, p.cid`
	if s.db.ForUpdate() != "" { // PostgreSQL
		query = `SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position`
	}
	found, err := s.db.Query(ctx, query)
	return rows.Collect(found, err, func(r *sql.Rows) (c Column, err error) { return c, r.Scan(&c.Table, &c.Name) })
}

func (s store) Search(ctx context.Context, texts []string) (found []privacy.Place, columns int, err error) {
	all, err := s.columns(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("search the records: %w", err)
	}
	for _, c := range all {
		if c.Table == "privacy_erasure" { // names the person until the erasure has ended
			continue
		}
		text := `CAST(` + quote(c.Name) + ` AS TEXT)`
		if s.db.ForUpdate() != "" {
			text = quote(c.Name) + `::text`
		}
		var terms []string
		var args []any
		for _, t := range texts {
			if t != "" {
				terms, args = append(terms, text+` LIKE ? ESCAPE '\'`), append(args, "%"+likely(t)+"%")
			}
		}
		if len(terms) == 0 {
			return nil, 0, nil
		}
		var n int64
		if err := s.db.QueryRow(ctx, `SELECT COUNT(*) FROM `+quote(c.Table)+` WHERE `+strings.Join(terms, " OR "), args...).Scan(&n); err != nil {
			return nil, 0, fmt.Errorf("search %s.%s: %w", c.Table, c.Name, err)
		}
		if n > 0 {
			found = append(found, privacy.Place{Where: c.Table + "." + c.Name, Rows: n})
		}
	}
	return found, len(all), nil
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
