package failure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
)

func TestWhatPassesIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		sqlite3.Error{Code: sqlite3.ErrFull},
		sqlite3.Error{Code: sqlite3.ErrIoErr},
		&pgconn.PgError{Code: "53100", Message: "could not extend file"},
		&pgconn.PgError{Code: "57P01", Message: "terminating connection due to administrator command"},
		fmt.Errorf("read: %w", io.ErrUnexpectedEOF),
	} {
		got := Away(err)
		require.Equal(t, fault.Unavailable, fault.KindOf(got), "%v", err)
		require.ErrorIs(t, got, err)
		require.NotContains(t, got.Error(), "administrator", "callers are not told the driver's words")
	}
	for _, err := range []error{
		nil, context.Canceled, errors.New("x"),
		sqlite3.Error{Code: sqlite3.ErrConstraint},
		&pgconn.PgError{Code: "23505"},
	} {
		require.Equal(t, err, Away(err))
	}
}
