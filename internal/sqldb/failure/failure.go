// Package failure tells what the errors of SQLite and PostgreSQL mean to callers.
package failure

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/mattn/go-sqlite3"

	"fettle.dev/fettle/internal/fault"
)

// awayError says in words for callers why the records cannot be used now; the
// driver's own words, which name hosts and users, are its cause.
type awayError struct {
	why   string
	cause error
}

func (e *awayError) Error() string { return "the records cannot be used now: " + e.why }
func (e *awayError) Unwrap() error { return e.cause }

// Away turns failures that pass into fault.Unavailable: no room, no answer.
func Away(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	why := ""
	if noAnswer(err) { // before PostgreSQL's own codes: a refused connection carries one too
		why = "the database is not there"
	} else if e, ok := errors.AsType[sqlite3.Error](err); ok {
		switch e.Code {
		case sqlite3.ErrFull:
			why = "the disk is full"
		case sqlite3.ErrIoErr, sqlite3.ErrCantOpen:
			why = "the disk fails or is full"
		case sqlite3.ErrBusy, sqlite3.ErrLocked:
			why = "they are busy"
		}
	} else if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case strings.HasPrefix(e.Code, "53"): // insufficient resources
			why = "the database has no room"
		case strings.HasPrefix(e.Code, "57P"), strings.HasPrefix(e.Code, "08"), strings.HasPrefix(e.Code, "58"): // shut down, connection, system
			why = "the database is not there"
		}
	}
	if why == "" {
		return err
	}
	return fault.Wrap(fault.Unavailable, "", &awayError{why, err})
}

func noAnswer(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.ErrUnexpectedEOF)
}

// ErrDamaged says that the file of the records is not as it was written; kind
// Internal, since nothing but a restore helps.
var ErrDamaged = errors.New("the records are damaged")

// Damaged tells an error that a damaged file gives.
func Damaged(err error) error {
	e, ok := errors.AsType[sqlite3.Error](err)
	if ok && (e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrNotADB || e.ExtendedCode == sqlite3.ErrIoErrShortRead) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
