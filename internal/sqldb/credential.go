package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb/failure"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type credentialStore struct{ db *DB }

// Credentials is the store of units' credentials.
func (db *DB) Credentials() fleet.CredentialStore { return credentialStore{db} }

// Claims is the store of claim tokens and claims.
func (db *DB) Claims() fleet.ClaimStore { return credentialStore{db} }

func (s credentialStore) PutTokenHashes(ctx context.Context, hashByUnit map[string]string, at time.Time) error {
	rows := make([][]any, 0, len(hashByUnit))
	for _, id := range slices.Sorted(maps.Keys(hashByUnit)) {
		rows = append(rows, []any{id, hashByUnit[id], millis(at)})
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		return s.db.insertRows(ctx, `INSERT INTO fleet_unit_token (unit_id, hash, at)`,
			` ON CONFLICT (unit_id) DO UPDATE SET hash = excluded.hash, at = excluded.at`, rows)
	})
	switch {
	case failure.Foreign(err):
		return fault.New(fault.NotFound, "keep tokens: a unit of them is not known: %w", err)
	case failure.Duplicate(err):
		return fault.New(fault.Conflict, "keep tokens: a token belongs to another unit: %w", err)
	case err != nil:
		return fmt.Errorf("keep tokens: %w", err)
	}
	return nil
}

func (s credentialStore) BindFingerprint(ctx context.Context, unitID, fingerprint string, at time.Time) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		has, err := s.UnitIDByFingerprint(ctx, fingerprint)
		switch {
		case err == nil && has == unitID:
			return nil
		case err == nil:
			return fault.New(fault.Conflict, "the certificate is bound to another unit")
		case fault.KindOf(err) != fault.NotFound:
			return err
		}
		_, err = s.db.exec(ctx, `INSERT INTO fleet_unit_certificate (fingerprint, unit_id, at) VALUES (?, ?, ?)`, fingerprint, unitID, millis(at))
		switch {
		case failure.Foreign(err):
			return fault.New(fault.NotFound, "no unit %q", unitID)
		case failure.Duplicate(err): // bound between our look and our write
			return fault.New(fault.Conflict, "the certificate is bound to another unit")
		}
		return err
	})
}

func (s credentialStore) UnbindFingerprint(ctx context.Context, unitID, fingerprint string) error {
	res, err := s.db.exec(ctx, `DELETE FROM fleet_unit_certificate WHERE fingerprint = ? AND unit_id = ?`, fingerprint, unitID)
	return rows.Gone(res, err, "unit %q has no such certificate", unitID)
}

func (s credentialStore) Credentials(ctx context.Context, unitID string) (c fleet.Credentials, err error) {
	var at int64
	err = s.db.queryRow(ctx, `SELECT hash, at FROM fleet_unit_token WHERE unit_id = ?`, unitID).Scan(&c.TokenHash, &at)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return c, fmt.Errorf("token of unit %s: %w", unitID, err)
	}
	c.TokenAt = fromMillis(at)
	rows, err := s.db.query(ctx, `SELECT fingerprint FROM fleet_unit_certificate WHERE unit_id = ? ORDER BY fingerprint`, unitID)
	c.Fingerprints, err = collect(rows, err, scanText)
	if err != nil {
		return c, fmt.Errorf("certificates of unit %s: %w", unitID, err)
	}
	return c, nil
}

func scanText(r *sql.Rows) (v string, err error) { return v, r.Scan(&v) }

func (s credentialStore) UnitIDByTokenHash(ctx context.Context, hash string) (id string, err error) {
	err = s.db.queryRow(ctx, `SELECT unit_id FROM fleet_unit_token WHERE hash = ?`, hash).Scan(&id) // the column is unique, so indexed
	return id, missing(err, "no unit has this token")
}

func (s credentialStore) UnitIDByFingerprint(ctx context.Context, fingerprint string) (id string, err error) {
	err = s.db.queryRow(ctx, `SELECT unit_id FROM fleet_unit_certificate WHERE fingerprint = ?`, fingerprint).Scan(&id)
	return id, missing(err, "no unit has this certificate")
}

func (s credentialStore) UnitIDBySerial(ctx context.Context, product, serial string) (id string, err error) {
	err = s.db.queryRow(ctx, `SELECT id FROM fleet_unit WHERE product = ? AND serial = ?`, product, serial).Scan(&id)
	return id, missing(err, "no unit of %q has serial %q", product, serial)
}

func (s credentialStore) Uncredentialed(ctx context.Context, product string) ([]string, error) {
	rows, err := s.db.query(ctx, `SELECT u.id FROM fleet_unit AS u WHERE u.product = ?
		AND NOT EXISTS (SELECT 1 FROM fleet_unit_token AS t WHERE t.unit_id = u.id)
		AND NOT EXISTS (SELECT 1 FROM fleet_unit_certificate AS c WHERE c.unit_id = u.id)
		ORDER BY u.id`, product)
	return collect(rows, err, scanText)
}

// offerColumns are those of a claim token.
const offerColumns = `id, product, hash, max_uses, uses, expires_at, revoked_at, created_at, created_by`

func (s credentialStore) AddClaimToken(ctx context.Context, t fleet.ClaimToken) error {
	_, err := s.db.exec(ctx, `INSERT INTO fleet_claim_token (`+offerColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.ID, t.Product, t.Hash, t.MaxUses, t.Uses, millis(t.ExpiresAt), millis(t.RevokedAt), millis(t.CreatedAt), t.CreatedBy)
	if failure.Foreign(err) {
		return fault.New(fault.NotFound, "no product %q", t.Product)
	}
	return err
}

func scanClaimToken(r scanner) (t fleet.ClaimToken, err error) {
	var expires, revoked, created int64
	err = r.Scan(&t.ID, &t.Product, &t.Hash, &t.MaxUses, &t.Uses, &expires, &revoked, &created, &t.CreatedBy)
	t.ExpiresAt, t.RevokedAt, t.CreatedAt = fromMillis(expires), fromMillis(revoked), fromMillis(created)
	return t, err
}

func (s credentialStore) ClaimTokenByHash(ctx context.Context, hash string) (fleet.ClaimToken, error) {
	t, err := scanClaimToken(s.db.queryRow(ctx, `SELECT `+offerColumns+` FROM fleet_claim_token WHERE hash = ?`, hash))
	return t, missing(err, "no such claim token")
}

func (s credentialStore) ClaimTokens(ctx context.Context, product string) ([]fleet.ClaimToken, error) {
	seen, args := rows.InSight(ctx, "product", "")
	found, err := s.db.query(ctx, `SELECT `+offerColumns+` FROM fleet_claim_token WHERE product = ?`+seen+` ORDER BY id`, append([]any{product}, args...)...)
	return collect(found, err, func(r *sql.Rows) (fleet.ClaimToken, error) { return scanClaimToken(r) })
}

func (s credentialStore) UseClaimToken(ctx context.Context, id string, at time.Time) (bool, error) {
	res, err := s.db.exec(ctx, `UPDATE fleet_claim_token SET uses = uses + 1
		WHERE id = ? AND uses < max_uses AND revoked_at = 0 AND expires_at > ?`, id, millis(at))
	if err != nil {
		return false, fmt.Errorf("use claim token: %w", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func (s credentialStore) RevokeClaimToken(ctx context.Context, id string, at time.Time) error {
	seen, args := rows.InSight(ctx, "product", "")
	res, err := s.db.exec(ctx, `UPDATE fleet_claim_token SET revoked_at = CASE WHEN revoked_at = 0 THEN ? ELSE revoked_at END WHERE id = ?`+seen,
		append([]any{millis(at), id}, args...)...)
	return rows.Gone(res, err, "no claim token %q", id)
}

const claimColumns = `id, product, serial, hardware, unit_id, key_fingerprint, remote_address, state, why, token_hash, certificate, claim_token, made_unit, created_at, decided_at, decided_by`

func (s credentialStore) AddClaim(ctx context.Context, c fleet.Claim) error {
	_, err := s.db.exec(ctx, `INSERT INTO fleet_claim (`+claimColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		c.ID, c.Product, c.Serial, c.Hardware, c.UnitID, c.KeyFingerprint, c.RemoteAddress, string(c.State), c.Why,
		c.TokenHash, c.Certificate, c.ClaimToken, c.MadeUnit, millis(c.CreatedAt), millis(c.DecidedAt), c.DecidedBy)
	return err
}

func scanClaim(r scanner) (c fleet.Claim, err error) {
	var state string
	var created, decided int64
	err = r.Scan(&c.ID, &c.Product, &c.Serial, &c.Hardware, &c.UnitID, &c.KeyFingerprint, &c.RemoteAddress, &state, &c.Why,
		&c.TokenHash, &c.Certificate, &c.ClaimToken, &c.MadeUnit, &created, &decided, &c.DecidedBy)
	c.State, c.CreatedAt, c.DecidedAt = fleet.ClaimState(state), fromMillis(created), fromMillis(decided)
	return c, err
}

func (s credentialStore) Claim(ctx context.Context, id string) (fleet.Claim, error) {
	seen, args := rows.InSight(ctx, "product", "")
	c, err := scanClaim(s.db.queryRow(ctx, `SELECT `+claimColumns+` FROM fleet_claim WHERE id = ?`+seen, append([]any{id}, args...)...))
	return c, missing(err, "no claim %q", id)
}

func (s credentialStore) Claims(ctx context.Context, f fleet.ClaimFilter) ([]fleet.Claim, error) {
	seen, args := rows.InSight(ctx, "product", "")
	conditions := []string{"1 = 1" + seen}
	for _, c := range []struct{ condition, value string }{
		{"product = ?", f.Product}, {"state = ?", string(f.State)}, {"serial = ?", f.Serial}, {"id > ?", f.After},
	} {
		if c.value != "" {
			conditions, args = append(conditions, c.condition), append(args, c.value)
		}
	}
	text := `SELECT ` + claimColumns + ` FROM fleet_claim WHERE ` + strings.Join(conditions, " AND ") + ` ORDER BY id`
	if f.Limit > 0 {
		text += ` LIMIT ?`
		args = append(args, f.Limit)
	}
	found, err := s.db.query(ctx, text, args...)
	return collect(found, err, func(r *sql.Rows) (fleet.Claim, error) { return scanClaim(r) })
}

func (s credentialStore) DecideClaim(ctx context.Context, id string, to fleet.ClaimState, by, why string, at time.Time) error {
	res, err := s.db.exec(ctx, `UPDATE fleet_claim SET state = ?, decided_by = ?, why = ?, decided_at = ? WHERE id = ? AND state = ?`,
		string(to), by, why, millis(at), id, string(fleet.ClaimPending))
	if fault.KindOf(rows.Gone(res, err, "")) != fault.NotFound {
		return err
	}
	c, err := s.Claim(ctx, id)
	if err != nil {
		return err
	}
	return fault.New(fault.Conflict, "claim %s is %s already", id, c.State)
}
