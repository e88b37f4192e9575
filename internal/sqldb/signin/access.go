package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

type accessStore struct{ db *DB }

// Access is the store of operators and of what people sign in with.
func (db *DB) Access() fleet.AccessStore { return accessStore{db} }

func (s accessStore) AddOperator(ctx context.Context, o fleet.Operator) error {
	_, err := s.db.exec(ctx, `INSERT INTO access_operator (id, email, role, place)
		VALUES (?, ?, ?, (SELECT count(*) FROM access_operator))`, o.ID, o.Email, o.Role)
	if isDuplicate(err) {
		return fault.New(fault.Conflict, "there is an operator %s already", o.Email)
	}
	return err
}

func (s accessStore) operators(ctx context.Context, where string, args ...any) ([]fleet.Operator, error) {
	rows, err := s.db.query(ctx, `SELECT id, email, role FROM access_operator`+where+` ORDER BY place, id`, args...)
	return collect(rows, err, func(r *sql.Rows) (o fleet.Operator, err error) {
		err = r.Scan(&o.ID, &o.Email, &o.Role)
		return o, err
	})
}

func (s accessStore) Operators(ctx context.Context) ([]fleet.Operator, error) {
	return s.operators(ctx, ``)
}

func (s accessStore) Operator(ctx context.Context, id string) (fleet.Operator, error) {
	return one(s.operators(ctx, ` WHERE id = ?`, id))("no operator %q", id)
}

func (s accessStore) OperatorByEmail(ctx context.Context, email string) (fleet.Operator, error) {
	return one(s.operators(ctx, ` WHERE email = ?`, email))("no such operator")
}

// one gives the only element, or fault.NotFound in the caller's words.
func one[T any](all []T, err error) func(format string, args ...any) (T, error) {
	return func(format string, args ...any) (v T, _ error) {
		switch {
		case err != nil:
			return v, err
		case len(all) == 0:
			return v, fault.New(fault.NotFound, format, args...)
		}
		return all[0], nil
	}
}

func (s accessStore) AddLink(ctx context.Context, l fleet.Link) error {
	_, err := s.db.exec(ctx, `INSERT INTO access_link (hash, role, subject, created_at, expires_at) VALUES (?, ?, ?, ?, ?)`,
		l.Hash, string(l.Role), l.Subject, millis(l.CreatedAt), millis(l.ExpiresAt))
	return err
}

func (s accessStore) UseLink(ctx context.Context, role fleet.Role, hash string) (fleet.Link, error) {
	l := fleet.Link{Hash: hash, Role: role}
	var created, expires int64
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		// The row's removal is what two callers cannot both see.
		return s.db.queryRow(ctx, `DELETE FROM access_link WHERE hash = ? AND role = ? RETURNING subject, created_at, expires_at`, hash, string(role)).
			Scan(&l.Subject, &created, &expires)
	})
	if err != nil {
		return fleet.Link{}, missing(err, "no such link")
	}
	l.CreatedAt, l.ExpiresAt = fromMillis(created), fromMillis(expires)
	return l, nil
}

func (s accessStore) DropLinks(ctx context.Context, role fleet.Role, subject string) error {
	_, err := s.db.exec(ctx, `DELETE FROM access_link WHERE role = ? AND (? = '' OR subject = ?)`, string(role), subject, subject)
	return err
}

func (s accessStore) AddSession(ctx context.Context, v fleet.Session) error {
	_, err := s.db.exec(ctx, `INSERT INTO access_session (hash, id, role, subject, agent, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		v.Hash, v.ID, string(v.Role), v.Subject, v.Agent, millis(v.CreatedAt), millis(v.ExpiresAt))
	return err
}

func (s accessStore) sessions(ctx context.Context, where string, args ...any) ([]fleet.Session, error) {
	rows, err := s.db.query(ctx, `SELECT hash, id, role, subject, agent, created_at, expires_at FROM access_session WHERE `+where+` ORDER BY created_at DESC, id DESC`, args...)
	return collect(rows, err, func(r *sql.Rows) (v fleet.Session, err error) {
		var created, expires int64
		err = r.Scan(&v.Hash, &v.ID, &v.Role, &v.Subject, &v.Agent, &created, &expires)
		v.CreatedAt, v.ExpiresAt = fromMillis(created), fromMillis(expires)
		return v, err
	})
}

func (s accessStore) SessionByHash(ctx context.Context, role fleet.Role, hash string) (fleet.Session, error) {
	return one(s.sessions(ctx, `hash = ? AND role = ?`, hash, string(role)))("no such session")
}

func (s accessStore) Sessions(ctx context.Context, role fleet.Role, subject string) ([]fleet.Session, error) {
	return s.sessions(ctx, `role = ? AND subject = ?`, string(role), subject)
}

func (s accessStore) DropSession(ctx context.Context, role fleet.Role, subject, id string) error {
	res, err := s.db.exec(ctx, `DELETE FROM access_session WHERE role = ? AND (? = '' OR subject = ?) AND (? = '' OR id = ?)`,
		string(role), subject, subject, id, id)
	if id == "" {
		return err
	}
	return gone(res, err, "no such session")
}

func (s accessStore) AddAPIToken(ctx context.Context, t fleet.APIToken) error {
	_, err := s.db.exec(ctx, `INSERT INTO access_token (hash, id, name, scope, operator_id, created_at, expires_at, last_used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		t.Hash, t.ID, t.Name, string(t.Scope), t.OperatorID, millis(t.CreatedAt), millis(t.ExpiresAt), millis(t.LastUsedAt))
	if isForeign(err) {
		return fault.New(fault.NotFound, "no operator %q", t.OperatorID)
	}
	return err
}

func (s accessStore) tokens(ctx context.Context, where string, args ...any) ([]fleet.APIToken, error) {
	rows, err := s.db.query(ctx, `SELECT hash, id, name, scope, operator_id, created_at, expires_at, last_used_at FROM access_token`+where+` ORDER BY created_at DESC, id DESC`, args...)
	return collect(rows, err, func(r *sql.Rows) (t fleet.APIToken, err error) {
		var created, expires, used int64
		err = r.Scan(&t.Hash, &t.ID, &t.Name, &t.Scope, &t.OperatorID, &created, &expires, &used)
		t.CreatedAt, t.ExpiresAt, t.LastUsedAt = fromMillis(created), fromMillis(expires), fromMillis(used)
		return t, err
	})
}

func (s accessStore) APITokenByHash(ctx context.Context, hash string) (fleet.APIToken, error) {
	return one(s.tokens(ctx, ` WHERE hash = ?`, hash))("no such API token")
}

func (s accessStore) APITokens(ctx context.Context) ([]fleet.APIToken, error) {
	return s.tokens(ctx, ``)
}

func (s accessStore) TouchAPIToken(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.exec(ctx, `UPDATE access_token SET last_used_at = ? WHERE id = ?`, millis(at), id)
	return err
}

func (s accessStore) DropAPIToken(ctx context.Context, id string) error {
	res, err := s.db.exec(ctx, `DELETE FROM access_token WHERE id = ?`, id)
	return gone(res, err, "no API token %q", id)
}

func (s accessStore) DropExpired(ctx context.Context, before time.Time) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, table := range []string{"access_link", "access_session", "access_token"} {
			if _, err := s.db.exec(ctx, `DELETE FROM `+table+` WHERE expires_at < ?`, millis(before)); err != nil {
				return fmt.Errorf("drop what expired: %w", err)
			}
		}
		return nil
	})
}
