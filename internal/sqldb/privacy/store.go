package privacy

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/privacy"
	"fettle.dev/fettle/internal/sqldb/rows"
)

// requestDoc is a request as the records hold it.
type requestDoc struct {
	privacy.Request
	Owner string `json:"owner"`
}

func scanRequest(doc string) (privacy.Request, error) {
	var d requestDoc
	err := json.Unmarshal([]byte(doc), &d)
	d.OwnerID = d.Owner
	return d.Request, err
}

func (s store) PutRequest(ctx context.Context, r privacy.Request) error {
	doc, err := json.Marshal(requestDoc{r, r.OwnerID})
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, `INSERT INTO privacy_request (id, owner_id, kind, state, due_at, doc) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, due_at = excluded.due_at, doc = excluded.doc`,
		r.ID, r.OwnerID, string(r.Kind), string(r.State), rows.Millis(r.DueAt), string(doc))
	if err != nil {
		return fmt.Errorf("keep a request: %w", err)
	}
	return nil
}

func (s store) Request(ctx context.Context, id string) (privacy.Request, error) {
	var doc string
	if err := s.db.QueryRow(ctx, `SELECT doc FROM privacy_request WHERE id = ?`, id).Scan(&doc); err != nil {
		return privacy.Request{}, rows.Missing(err, "no request %q", id)
	}
	return scanRequest(doc)
}

func (s store) Requests(ctx context.Context, f privacy.Filter) ([]privacy.Request, error) {
	where, args := []string{"1 = 1"}, []any(nil)
	add := func(set bool, text string, values ...any) {
		if set {
			where, args = append(where, text), append(args, values...)
		}
	}
	add(f.OwnerID != "", "owner_id = ?", f.OwnerID)
	add(f.Kind != "", "kind = ?", string(f.Kind))
	if len(f.States) > 0 {
		add(true, "state IN (?"+strings.Repeat(", ?", len(f.States)-1)+")", states(f.States)...)
	}
	add(!f.DueBy.IsZero(), "due_at <= ?", rows.Millis(f.DueBy))
	add(f.After != "", "(due_at, id) > (SELECT due_at, id FROM privacy_request WHERE id = ?)", f.After)
	query := `SELECT doc FROM privacy_request WHERE ` + strings.Join(where, " AND ") + ` ORDER BY due_at, id`
	if f.Limit > 0 {
		query, args = query+` LIMIT ?`, append(args, f.Limit)
	}
	found, err := s.db.Query(ctx, query, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (privacy.Request, error) {
		var doc string
		if err := r.Scan(&doc); err != nil {
			return privacy.Request{}, err
		}
		return scanRequest(doc)
	})
}

func states(list []privacy.State) (out []any) {
	for _, v := range list {
		out = append(out, string(v))
	}
	return out
}

// entry is what the mask of choices calls a limit.
func entry(purpose string) string {
	if purpose == "" {
		return consent.Restricted
	}
	return consent.Objected + purpose
}

// told has those who act on choices told of a unit's.
func (s store) told(ctx context.Context, unitID string) error {
	_, err := s.db.Exec(ctx, `INSERT INTO consent_untold (unit_id, changes) VALUES (?, 1) ON CONFLICT (unit_id) DO UPDATE SET changes = consent_untold.changes + 1`, unitID)
	return err
}

func (s store) PutLimit(ctx context.Context, l privacy.Limit) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		_, err := s.db.Exec(ctx, `INSERT INTO privacy_restriction (unit_id, purpose, owner_id, since) VALUES (?, ?, ?, ?) ON CONFLICT (unit_id, purpose) DO NOTHING`,
			l.UnitID, l.Purpose, l.OwnerID, rows.Millis(l.Since))
		if err != nil {
			return fmt.Errorf("restrict: %w", err)
		}
		if _, err := s.db.Exec(ctx, `INSERT INTO consent_mask (unit_id, purpose, given) VALUES (?, ?, TRUE) ON CONFLICT (unit_id, purpose) DO UPDATE SET given = excluded.given`, l.UnitID, entry(l.Purpose)); err != nil {
			return fmt.Errorf("restrict: %w", err)
		}
		return s.told(ctx, l.UnitID)
	})
}

func (s store) DropLimit(ctx context.Context, unitID, purpose string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.db.Exec(ctx, `DELETE FROM privacy_restriction WHERE unit_id = ? AND purpose = ?`, unitID, purpose); err != nil {
			return fmt.Errorf("lift a restriction: %w", err)
		}
		if _, err := s.db.Exec(ctx, `DELETE FROM consent_mask WHERE unit_id = ? AND purpose = ?`, unitID, entry(purpose)); err != nil {
			return fmt.Errorf("lift a restriction: %w", err)
		}
		return s.told(ctx, unitID)
	})
}

const limitQuery = `SELECT r.owner_id, r.unit_id, u.unit_key, u.product, r.purpose, r.since FROM privacy_restriction r JOIN fleet_unit u ON u.id = r.unit_id`

func (s store) LimitsOf(ctx context.Context, ownerID string) ([]privacy.Limit, error) {
	return s.limits(ctx, limitQuery+` WHERE r.owner_id = ? ORDER BY r.unit_id, r.purpose`, ownerID)
}

func (s store) Limits(ctx context.Context, product string) ([]privacy.Limit, error) {
	return s.limits(ctx, limitQuery+` WHERE (u.product = ? OR ? = '') ORDER BY r.unit_id, r.purpose`, product, product)
}

func (s store) limits(ctx context.Context, query string, args ...any) ([]privacy.Limit, error) {
	found, err := s.db.Query(ctx, query, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (l privacy.Limit, err error) {
		var since int64
		err = r.Scan(&l.OwnerID, &l.UnitID, &l.UnitKey, &l.Product, &l.Purpose, &since)
		l.Since = rows.Time(since)
		return l, err
	})
}

func (s store) PutJob(ctx context.Context, j privacy.Job) error {
	doc, err := json.Marshal(j)
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, `INSERT INTO privacy_erasure (id, ended_at, doc) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, doc = excluded.doc`,
		j.ID, rows.Millis(j.EndedAt), string(doc))
	if err != nil {
		return fmt.Errorf("keep an erasure: %w", err)
	}
	return nil
}

func scanJob(r interface{ Scan(...any) error }) (j privacy.Job, err error) {
	var doc string
	if err := r.Scan(&doc); err != nil {
		return j, err
	}
	return j, json.Unmarshal([]byte(doc), &j)
}

func (s store) Job(ctx context.Context, id string) (privacy.Job, error) {
	j, err := scanJob(s.db.QueryRow(ctx, `SELECT doc FROM privacy_erasure WHERE id = ?`, id))
	return j, rows.Missing(err, "no erasure %q", id)
}

func (s store) Unended(ctx context.Context) ([]privacy.Job, error) {
	found, err := s.db.Query(ctx, `SELECT doc FROM privacy_erasure WHERE ended_at = 0 ORDER BY id`)
	return rows.Collect(found, err, func(r *sql.Rows) (privacy.Job, error) { return scanJob(r) })
}

func (s store) Jobs(ctx context.Context, after string, limit int) ([]privacy.Job, error) {
	query, args := `SELECT doc FROM privacy_erasure ORDER BY id DESC LIMIT ?`, []any{limit}
	if after != "" {
		query, args = `SELECT doc FROM privacy_erasure WHERE id < ? ORDER BY id DESC LIMIT ?`, []any{after, limit}
	}
	found, err := s.db.Query(ctx, query, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (privacy.Job, error) { return scanJob(r) })
}

// Compact makes the files of the records hold nothing that was deleted: SQLite
// zeroes what it deletes (secure_delete, see sqldb.connect), so the log that
// has the pages as they were is all there is left to empty. On PostgreSQL the
// tables are vacuumed: its server overwrites the room when it needs it.
func (s store) Compact(ctx context.Context) error { return s.db.Compact(ctx) }
