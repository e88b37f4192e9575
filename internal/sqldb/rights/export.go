package rights

import (
	"context"
	"database/sql"
	"fmt"

	"fettle.dev/fettle/internal/consent/takeout"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type exportStore struct{ db *sqldb.DB }

// Exports is the store of owners' exports.
func Exports(db *sqldb.DB) takeout.Store { return exportStore{db} }

const exportColumns = `id, owner_id, language, state, asked_at, done, total, bytes, why, ended_at, expires_at`

func scanExport(scan func(...any) error) (e takeout.Export, err error) {
	var asked, ended, expires int64
	err = scan(&e.ID, &e.OwnerID, &e.Language, &e.State, &asked, &e.Done, &e.Total, &e.Bytes, &e.Why, &ended, &expires)
	e.AskedAt, e.EndedAt, e.ExpiresAt = rows.Time(asked), rows.Time(ended), rows.Time(expires)
	return e, err
}

func (s exportStore) Put(ctx context.Context, e takeout.Export) error {
	_, err := s.db.Exec(ctx, `INSERT INTO consent_export (`+exportColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, done = excluded.done, total = excluded.total, bytes = excluded.bytes,
		why = excluded.why, ended_at = excluded.ended_at, expires_at = excluded.expires_at`,
		e.ID, e.OwnerID, e.Language, string(e.State), rows.Millis(e.AskedAt), e.Done, e.Total, e.Bytes, e.Why, rows.Millis(e.EndedAt), rows.Millis(e.ExpiresAt))
	if err != nil {
		return fmt.Errorf("keep export %s: %w", e.ID, err)
	}
	return nil
}

func (s exportStore) Export(ctx context.Context, id string) (takeout.Export, error) {
	e, err := scanExport(s.db.QueryRow(ctx, `SELECT `+exportColumns+` FROM consent_export WHERE id = ?`, id).Scan)
	return e, rows.Missing(err, "no export %q", id)
}

func (s exportStore) Of(ctx context.Context, ownerID string) ([]takeout.Export, error) {
	found, err := s.db.Query(ctx, `SELECT `+exportColumns+` FROM consent_export WHERE owner_id = ? ORDER BY asked_at DESC, id DESC`, ownerID)
	return rows.Collect(found, err, func(r *sql.Rows) (takeout.Export, error) { return scanExport(r.Scan) })
}

func (s exportStore) In(ctx context.Context, states ...takeout.State) ([]takeout.Export, error) {
	where, args := in("state", states)
	for i, st := range states {
		args[i] = string(st)
	}
	found, err := s.db.Query(ctx, `SELECT `+exportColumns+` FROM consent_export WHERE `+where+` ORDER BY asked_at, id`, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (takeout.Export, error) { return scanExport(r.Scan) })
}
