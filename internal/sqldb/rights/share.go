package rights

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/consent/share"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type shareStore struct{ db *sqldb.DB }

// Shares is the store of shares and of third parties that are refused.
func Shares(db *sqldb.DB) share.Store { return shareStore{db} }

const shareColumns = `id, owner_id, unit_id, recipient, contact, token_hash, signals, events, from_at, until_at, made_at, ended_at, why`

func scanShare(scan func(...any) error) (s share.Share, err error) {
	var signals string
	var from, until, made, ended int64
	if err := scan(&s.ID, &s.OwnerID, &s.UnitID, &s.Recipient, &s.Contact, &s.Hash, &signals, &s.Events, &from, &until, &made, &ended, &s.Why); err != nil {
		return s, err
	}
	s.From, s.Until, s.MadeAt, s.EndedAt = rows.Time(from), rows.Time(until), rows.Time(made), rows.Time(ended)
	s.Signals = []string{}
	return s, json.Unmarshal([]byte(signals), &s.Signals)
}

func (s shareStore) AddShare(ctx context.Context, v share.Share) error {
	signals, err := json.Marshal(append([]string{}, v.Signals...))
	if err == nil {
		_, err = s.db.Exec(ctx, `INSERT INTO consent_share (`+shareColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			v.ID, v.OwnerID, v.UnitID, v.Recipient, v.Contact, v.Hash, string(signals), v.Events,
			rows.Millis(v.From), rows.Millis(v.Until), rows.Millis(v.MadeAt), rows.Millis(v.EndedAt), v.Why)
	}
	if err != nil {
		return fmt.Errorf("keep a share: %w", err)
	}
	return nil
}

func (s shareStore) ByHash(ctx context.Context, hash string) (share.Share, error) {
	v, err := scanShare(s.db.QueryRow(ctx, `SELECT `+shareColumns+` FROM consent_share WHERE token_hash = ?`, hash).Scan)
	return v, rows.Missing(err, "no share with this token")
}

func (s shareStore) Share(ctx context.Context, id string) (share.Share, error) {
	v, err := scanShare(s.db.QueryRow(ctx, `SELECT `+shareColumns+` FROM consent_share WHERE id = ?`, id).Scan)
	return v, rows.Missing(err, "no share %q", id)
}

func (s shareStore) Shares(ctx context.Context, ownerID string) ([]share.Share, error) {
	found, err := s.db.Query(ctx, `SELECT `+shareColumns+` FROM consent_share WHERE owner_id = ? ORDER BY made_at DESC, id DESC`, ownerID)
	return rows.Collect(found, err, func(r *sql.Rows) (share.Share, error) { return scanShare(r.Scan) })
}

func (s shareStore) End(ctx context.Context, id, ownerID string, units []string, at time.Time, why string) (int, error) {
	set, args := `UPDATE consent_share SET ended_at = ?, why = ? WHERE ended_at = 0`, []any{rows.Millis(at), why}
	switch {
	case id != "":
		set, args = set+` AND id = ?`, append(args, id)
	case ownerID != "":
		set, args = set+` AND owner_id = ?`, append(args, ownerID)
	case len(units) == 0:
		return 0, nil
	}
	if len(units) > 0 {
		where, more := in("unit_id", units)
		set, args = set+` AND `+where, append(args, more...)
	}
	r, err := s.db.Exec(ctx, set, args...)
	if err != nil {
		return 0, fmt.Errorf("end shares: %w", err)
	}
	n, err := r.RowsAffected()
	return int(n), err
}

func (s shareStore) PutUse(ctx context.Context, u share.Use) error {
	_, err := s.db.Exec(ctx, `INSERT INTO consent_share_use (id, share_id, at, ended_at, what, samples) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, samples = excluded.samples`, u.ID, u.ShareID, rows.Millis(u.At), rows.Millis(u.EndedAt), u.What, u.Samples)
	return err
}

func (s shareStore) Uses(ctx context.Context, shareID string, limit int) ([]share.Use, error) {
	found, err := s.db.Query(ctx, `SELECT id, share_id, at, ended_at, what, samples FROM consent_share_use WHERE share_id = ? ORDER BY at DESC, id DESC LIMIT ?`, shareID, limit)
	return rows.Collect(found, err, func(r *sql.Rows) (u share.Use, err error) {
		var at, ended int64
		err = r.Scan(&u.ID, &u.ShareID, &at, &ended, &u.What, &u.Samples)
		u.At, u.EndedAt = rows.Time(at), rows.Time(ended)
		return u, err
	})
}

func (s shareStore) Gatekeepers(ctx context.Context) ([]share.Gatekeeper, error) {
	found, err := s.db.Query(ctx, `SELECT name, domains, reason, made_by, at FROM consent_gatekeeper ORDER BY name`)
	return rows.Collect(found, err, func(r *sql.Rows) (g share.Gatekeeper, err error) {
		var domains string
		var at int64
		if err := r.Scan(&g.Name, &domains, &g.Reason, &g.By, &at); err != nil {
			return g, err
		}
		g.At = rows.Time(at)
		return g, json.Unmarshal([]byte(domains), &g.Domains)
	})
}

func (s shareStore) PutGatekeeper(ctx context.Context, g share.Gatekeeper) error {
	domains, err := json.Marshal(append([]string{}, g.Domains...))
	if err == nil {
		_, err = s.db.Exec(ctx, `INSERT INTO consent_gatekeeper (name, domains, reason, made_by, at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET domains = excluded.domains, reason = excluded.reason, made_by = excluded.made_by, at = excluded.at`,
			g.Name, string(domains), g.Reason, g.By, rows.Millis(g.At))
	}
	if err != nil {
		return fmt.Errorf("keep who is refused: %w", err)
	}
	return nil
}

func (s shareStore) DropGatekeeper(ctx context.Context, name string) error {
	r, err := s.db.Exec(ctx, `DELETE FROM consent_gatekeeper WHERE name = ?`, name)
	if err != nil {
		return fmt.Errorf("allow a third party: %w", err)
	}
	if n, err := r.RowsAffected(); err == nil && n == 0 {
		return fault.New(fault.NotFound, "%q is not on the operator's list", name)
	}
	return nil
}
