package sqldb

import (
	"context"
	"fmt"

	sight "fettle.dev/fettle/internal/sqldb/rows"
)

// CountVersions counts the units of a product by version of the main
// component; "" is those that have reported none.
func (db *DB) CountVersions(ctx context.Context, product string) (map[string]int, error) {
	seen, args := sight.InSight(ctx, "product", "region")
	rows, err := db.query(ctx, `SELECT version, count(*) FROM fleet_unit WHERE product = ?`+seen+` GROUP BY version`, append([]any{product}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("count versions of %s: %w", product, err)
	}
	defer rows.Close()
	out := map[string]int{}
	for rows.Next() {
		var version string
		var n int
		if err := rows.Scan(&version, &n); err != nil {
			return nil, fmt.Errorf("count versions of %s: %w", product, err)
		}
		out[version] = n
	}
	return out, rows.Err()
}
