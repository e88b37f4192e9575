// Package unitlog is the store of what update clients logged about
// assignments.
package unitlog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
	"fettle.dev/fettle/internal/update"
)

type store struct{ db *sqldb.DB }

// New is the store of update clients' logs in the records.
func New(db *sqldb.DB) update.LogStore { return store{db} }

func (s store) PutLog(ctx context.Context, id int64, lines []update.LogLine, at time.Time) error {
	doc, err := json.Marshal(lines)
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, `INSERT INTO update_log (assignment_id, at, doc) VALUES (?, ?, ?)
		ON CONFLICT (assignment_id) DO UPDATE SET at = excluded.at, doc = excluded.doc`, id, rows.Millis(at), string(doc))
	if err != nil {
		return fmt.Errorf("keep log of action %d: %w", id, err)
	}
	return nil
}

func (s store) Log(ctx context.Context, id int64) ([]update.LogLine, error) {
	lines := []update.LogLine{}
	var doc string
	seen, args := rows.UnitInSight(ctx, "unit_id")
	if seen != "" {
		seen = ` AND assignment_id IN (SELECT id FROM update_assignment WHERE 1 = 1` + seen + `)`
	}
	err := s.db.QueryRow(ctx, `SELECT doc FROM update_log WHERE assignment_id = ?`+seen, append([]any{id}, args...)...).Scan(&doc)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return lines, nil
	case err != nil:
		return nil, fmt.Errorf("log of action %d: %w", id, err)
	}
	return lines, json.Unmarshal([]byte(doc), &lines)
}
