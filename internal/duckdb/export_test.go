package duckdb

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
)

// AccountRows is how many rows the accounting takes.
func AccountRows(t *testing.T, h *History) (n int) {
	t.Helper()
	require.NoError(t, h.use(t.Context(), func(c *sql.Conn) error {
		return c.QueryRowContext(t.Context(), "SELECT count(*) FROM accounts").Scan(&n)
	}))
	return n
}
