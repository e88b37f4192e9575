package signin

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type secrets struct{ db *sqldb.DB }

// Secrets is the store of operators' passwords and authenticators.
func Secrets(db *sqldb.DB) access.SecretStore { return secrets{db} }

func (s secrets) Secret(ctx context.Context, operatorID string) (v access.Secret, err error) {
	var passwordAt, totpAt int64
	err = s.db.QueryRow(ctx, `SELECT password, password_at, totp, totp_at,
		(SELECT count(*) FROM access_recovery r WHERE r.operator_id = s.operator_id) FROM access_secret s WHERE operator_id = ?`, operatorID).
		Scan(&v.Password, &passwordAt, &v.TOTP, &totpAt, &v.Recovery)
	if errors.Is(err, sql.ErrNoRows) {
		return access.Secret{}, nil
	}
	v.PasswordAt, v.TOTPAt = rows.Time(passwordAt), rows.Time(totpAt)
	return v, err
}

func (s secrets) PutPassword(ctx context.Context, operatorID, hash string, at time.Time) error {
	_, err := s.db.Exec(ctx, `INSERT INTO access_secret (operator_id, password, password_at) VALUES (?, ?, ?)
		ON CONFLICT (operator_id) DO UPDATE SET password = excluded.password, password_at = excluded.password_at`, operatorID, hash, rows.Millis(at))
	return err
}

func (s secrets) PutTOTP(ctx context.Context, operatorID, sealed string, step int64, recovery []string, at time.Time) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		_, err := s.db.Exec(ctx, `INSERT INTO access_secret (operator_id, totp, totp_at, step) VALUES (?, ?, ?, ?)
			ON CONFLICT (operator_id) DO UPDATE SET totp = excluded.totp, totp_at = excluded.totp_at, step = excluded.step`,
			operatorID, sealed, rows.Millis(at), step)
		if err != nil {
			return err
		}
		return s.PutRecovery(ctx, operatorID, recovery)
	})
}

func (s secrets) PutRecovery(ctx context.Context, operatorID string, hashes []string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.db.Exec(ctx, `DELETE FROM access_recovery WHERE operator_id = ?`, operatorID); err != nil {
			return err
		}
		for _, h := range hashes {
			if _, err := s.db.Exec(ctx, `INSERT INTO access_recovery (operator_id, hash) VALUES (?, ?)`, operatorID, h); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s secrets) UseStep(ctx context.Context, operatorID string, step int64) (bool, error) {
	return one(s.db.Exec(ctx, `UPDATE access_secret SET step = ? WHERE operator_id = ? AND step < ?`, step, operatorID, step))
}

func (s secrets) UseRecovery(ctx context.Context, operatorID, hash string) (bool, error) {
	return one(s.db.Exec(ctx, `DELETE FROM access_recovery WHERE operator_id = ? AND hash = ?`, operatorID, hash))
}

// one reports whether a row was changed.
func one(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func (s secrets) DropSecret(ctx context.Context, operatorID string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.db.Exec(ctx, `DELETE FROM access_recovery WHERE operator_id = ?`, operatorID); err != nil {
			return err
		}
		_, err := s.db.Exec(ctx, `DELETE FROM access_secret WHERE operator_id = ?`, operatorID)
		return err
	})
}

func (s secrets) AddTicket(ctx context.Context, t access.Ticket) error {
	_, err := s.db.Exec(ctx, `INSERT INTO access_ticket (hash, operator_id, way, totp, tries, expires_at) VALUES (?, ?, ?, ?, 0, ?)`,
		t.Hash, t.OperatorID, string(t.Way), t.TOTP, rows.Millis(t.ExpiresAt))
	return err
}

func (s secrets) TryTicket(ctx context.Context, hash string) (access.Ticket, error) {
	t := access.Ticket{Hash: hash}
	var expires int64
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		return s.db.QueryRow(ctx, `UPDATE access_ticket SET tries = tries + 1 WHERE hash = ? RETURNING operator_id, way, totp, tries, expires_at`, hash).
			Scan(&t.OperatorID, &t.Way, &t.TOTP, &t.Tries, &expires)
	})
	t.ExpiresAt = rows.Time(expires)
	return t, rows.Missing(err, "no such sign-in")
}

func (s secrets) SetTicketTOTP(ctx context.Context, hash, sealed string) error {
	_, err := s.db.Exec(ctx, `UPDATE access_ticket SET totp = ? WHERE hash = ?`, sealed, hash)
	return err
}

func (s secrets) DropTicket(ctx context.Context, hash string) error {
	_, err := s.db.Exec(ctx, `DELETE FROM access_ticket WHERE hash = ?`, hash)
	return err
}

func (s secrets) DropTickets(ctx context.Context, operatorID string) error {
	_, err := s.db.Exec(ctx, `DELETE FROM access_ticket WHERE operator_id = ?`, operatorID)
	return err
}
