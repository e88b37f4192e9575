// Package signin keeps operators and what people sign in with.
package signin

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/failure"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type store struct{ db *sqldb.DB }

// New is the store of operators and of what people sign in with.
func New(db *sqldb.DB) access.Store { return store{db} }

func (s store) AddOperator(ctx context.Context, o access.Operator) error {
	_, err := s.db.Exec(ctx, `INSERT INTO access_operator (id, email, name, role, products, regions, disabled, created_at, place)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, (SELECT COALESCE(MAX(place), -1) + 1 FROM access_operator))`,
		o.ID, o.Email, o.Name, string(o.Role), list(o.Products), list(o.Regions), o.Disabled, rows.Millis(o.CreatedAt))
	if failure.Duplicate(err) {
		return fault.New(fault.Conflict, "there is an operator %s already", o.Email)
	}
	return err
}

func (s store) PutOperator(ctx context.Context, o access.Operator) error {
	res, err := s.db.Exec(ctx, `UPDATE access_operator SET name = ?, role = ?, products = ?, regions = ?, disabled = ? WHERE id = ?`,
		o.Name, string(o.Role), list(o.Products), list(o.Regions), o.Disabled, o.ID)
	return rows.Gone(res, err, "no operator %q", o.ID)
}

func (s store) DropOperator(ctx context.Context, id string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, statement := range []string{
			`DELETE FROM access_token WHERE operator_id = ?`,
			`DELETE FROM access_session WHERE role = 'operator' AND subject = ?`,
			`DELETE FROM access_link WHERE role = 'operator' AND subject = ?`,
		} {
			if _, err := s.db.Exec(ctx, statement, id); err != nil {
				return err
			}
		}
		res, err := s.db.Exec(ctx, `DELETE FROM access_operator WHERE id = ?`, id)
		return rows.Gone(res, err, "no operator %q", id)
	})
}

// list is how a list of names is kept.
func list[T ~string](names []T) string {
	if len(names) == 0 {
		return "null"
	}
	text, _ := json.Marshal(names) // strings always can be
	return string(text)
}

func (s store) operators(ctx context.Context, where string, args ...any) ([]access.Operator, error) {
	found, err := s.db.Query(ctx, `SELECT id, email, name, role, products, regions, disabled, created_at FROM access_operator`+where+` ORDER BY place, id`, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (o access.Operator, err error) {
		var products, regions string
		var created int64
		if err := r.Scan(&o.ID, &o.Email, &o.Name, &o.Role, &products, &regions, &o.Disabled, &created); err != nil {
			return o, err
		}
		o.CreatedAt = rows.Time(created)
		return o, errors.Join(json.Unmarshal([]byte(products), &o.Products), json.Unmarshal([]byte(regions), &o.Regions))
	})
}

func (s store) Operators(ctx context.Context) ([]access.Operator, error) {
	return s.operators(ctx, ``)
}

func (s store) Operator(ctx context.Context, id string) (access.Operator, error) {
	return rows.One(s.operators(ctx, ` WHERE id = ?`, id))("no operator %q", id)
}

func (s store) OperatorByEmail(ctx context.Context, email string) (access.Operator, error) {
	return rows.One(s.operators(ctx, ` WHERE email = ?`, email))("no such operator")
}

func (s store) AddLink(ctx context.Context, l access.Link) error {
	_, err := s.db.Exec(ctx, `INSERT INTO access_link (hash, role, subject, trusted, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)`,
		l.Hash, string(l.Party), l.Subject, l.Trusted, rows.Millis(l.CreatedAt), rows.Millis(l.ExpiresAt))
	return err
}

func (s store) UseLink(ctx context.Context, party access.Party, hash string) (access.Link, error) {
	l := access.Link{Hash: hash, Party: party}
	var created, expires int64
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		// The row's removal is what two callers cannot both see.
		return s.db.QueryRow(ctx, `DELETE FROM access_link WHERE hash = ? AND role = ? RETURNING subject, trusted, created_at, expires_at`, hash, string(party)).
			Scan(&l.Subject, &l.Trusted, &created, &expires)
	})
	if err != nil {
		return access.Link{}, rows.Missing(err, "no such link")
	}
	l.CreatedAt, l.ExpiresAt = rows.Time(created), rows.Time(expires)
	return l, nil
}

func (s store) DropLinks(ctx context.Context, party access.Party, subject string) error {
	_, err := s.db.Exec(ctx, `DELETE FROM access_link WHERE role = ? AND (? = '' OR subject = ?)`, string(party), subject, subject)
	return err
}

func (s store) AddSession(ctx context.Context, v access.Session) error {
	_, err := s.db.Exec(ctx, `INSERT INTO access_session (hash, id, role, subject, agent, address, way, created_at, used_at, proved_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		v.Hash, v.ID, string(v.Party), v.Subject, v.Agent, v.Address, string(v.Way), rows.Millis(v.CreatedAt), rows.Millis(v.UsedAt), rows.Millis(v.ProvedAt), rows.Millis(v.ExpiresAt))
	return err
}

func (s store) TouchSession(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE access_session SET used_at = ? WHERE id = ?`, rows.Millis(at), id)
	return err
}

func (s store) ProveSession(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE access_session SET proved_at = ? WHERE id = ?`, rows.Millis(at), id)
	return err
}

func (s store) sessions(ctx context.Context, where string, args ...any) ([]access.Session, error) {
	found, err := s.db.Query(ctx, `SELECT hash, id, role, subject, agent, address, way, created_at, used_at, proved_at, expires_at
		FROM access_session WHERE `+where+` ORDER BY created_at DESC, id DESC`, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (v access.Session, err error) {
		var created, used, proved, expires int64
		err = r.Scan(&v.Hash, &v.ID, &v.Party, &v.Subject, &v.Agent, &v.Address, &v.Way, &created, &used, &proved, &expires)
		v.CreatedAt, v.UsedAt, v.ProvedAt, v.ExpiresAt = rows.Time(created), rows.Time(used), rows.Time(proved), rows.Time(expires)
		return v, err
	})
}

func (s store) SessionByHash(ctx context.Context, party access.Party, hash string) (access.Session, error) {
	return rows.One(s.sessions(ctx, `hash = ? AND role = ?`, hash, string(party)))("no such session")
}

func (s store) Sessions(ctx context.Context, party access.Party, subject string) ([]access.Session, error) {
	return s.sessions(ctx, `role = ? AND subject = ?`, string(party), subject)
}

func (s store) DropSession(ctx context.Context, party access.Party, subject, id string) error {
	res, err := s.db.Exec(ctx, `DELETE FROM access_session WHERE role = ? AND (? = '' OR subject = ?) AND (? = '' OR id = ?)`,
		string(party), subject, subject, id, id)
	if id == "" {
		return err
	}
	return rows.Gone(res, err, "no such session")
}

func (s store) AddAPIToken(ctx context.Context, t access.APIToken) error {
	_, err := s.db.Exec(ctx, `INSERT INTO access_token (hash, id, name, scope, permissions, operator_id, created_at, expires_at, last_used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.Hash, t.ID, t.Name, string(t.Scope), list(t.Permissions), t.OperatorID, rows.Millis(t.CreatedAt), rows.Millis(t.ExpiresAt), rows.Millis(t.LastUsedAt))
	if failure.Foreign(err) {
		return fault.New(fault.NotFound, "no operator %q", t.OperatorID)
	}
	return err
}

func (s store) tokens(ctx context.Context, where string, args ...any) ([]access.APIToken, error) {
	found, err := s.db.Query(ctx, `SELECT hash, id, name, scope, permissions, operator_id, created_at, expires_at, last_used_at FROM access_token`+where+` ORDER BY created_at DESC, id DESC`, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (t access.APIToken, err error) {
		var created, expires, used int64
		var permissions string
		if err := r.Scan(&t.Hash, &t.ID, &t.Name, &t.Scope, &permissions, &t.OperatorID, &created, &expires, &used); err != nil {
			return t, err
		}
		err = json.Unmarshal([]byte(permissions), &t.Permissions)
		t.CreatedAt, t.ExpiresAt, t.LastUsedAt = rows.Time(created), rows.Time(expires), rows.Time(used)
		return t, err
	})
}

func (s store) APITokenByHash(ctx context.Context, hash string) (access.APIToken, error) {
	return rows.One(s.tokens(ctx, ` WHERE hash = ?`, hash))("no such API token")
}

func (s store) APITokens(ctx context.Context) ([]access.APIToken, error) {
	return s.tokens(ctx, ``)
}

func (s store) TouchAPIToken(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE access_token SET last_used_at = ? WHERE id = ?`, rows.Millis(at), id)
	return err
}

func (s store) DropAPIToken(ctx context.Context, id string) error {
	res, err := s.db.Exec(ctx, `DELETE FROM access_token WHERE id = ?`, id)
	return rows.Gone(res, err, "no API token %q", id)
}

func (s store) DropExpired(ctx context.Context, before time.Time) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, table := range []string{"access_link", "access_session", "access_token", "access_ticket"} {
			if _, err := s.db.Exec(ctx, `DELETE FROM `+table+` WHERE expires_at < ?`, rows.Millis(before)); err != nil {
				return fmt.Errorf("drop what expired: %w", err)
			}
		}
		return nil
	})
}
