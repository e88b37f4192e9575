package signin

import (
	"context"
	"database/sql"

	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type approvals struct{ db *sqldb.DB }

// Approvals is the store of what one operator asks for and another decides.
func Approvals(db *sqldb.DB) access.ApprovalStore { return approvals{db} }

func (s approvals) AddApproval(ctx context.Context, a access.Approval) error {
	_, err := s.db.Exec(ctx, `INSERT INTO access_approval (id, action, object, product, digest, why, state, asked_by, asked_id, asked_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		a.ID, string(a.Action), a.Object, a.Product, a.Digest, a.Why, string(a.State), a.AskedBy, a.AskedID, rows.Millis(a.AskedAt))
	return err
}

func (s approvals) list(ctx context.Context, where string, args ...any) ([]access.Approval, error) {
	found, err := s.db.Query(ctx, `SELECT id, action, object, product, digest, why, state, asked_by, asked_id, asked_at, decided_by, decided_id, decided_at, answer
		FROM access_approval WHERE `+where, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (a access.Approval, err error) {
		var asked, decided int64
		err = r.Scan(&a.ID, &a.Action, &a.Object, &a.Product, &a.Digest, &a.Why, &a.State, &a.AskedBy, &a.AskedID, &asked, &a.DecidedBy, &a.DecidedID, &decided, &a.Answer)
		a.AskedAt, a.DecidedAt = rows.Time(asked), rows.Time(decided)
		return a, err
	})
}

func (s approvals) Approval(ctx context.Context, id string) (access.Approval, error) {
	seen, args := rows.InSight(ctx, "product", "")
	return rows.One(s.list(ctx, `id = ?`+seen, append([]any{id}, args...)...))("no approval %q", id)
}

func (s approvals) Approvals(ctx context.Context, action access.Action, object string, limit int) ([]access.Approval, error) {
	seen, args := rows.InSight(ctx, "product", "")
	args = append(append([]any{string(action), object, object}, args...), limit)
	return s.list(ctx, `action = ? AND (object = ? OR ? = '')`+seen+` ORDER BY asked_at DESC, id DESC LIMIT ?`, args...)
}

func (s approvals) Decide(ctx context.Context, a access.Approval) (bool, error) {
	return one(s.db.Exec(ctx, `UPDATE access_approval SET state = ?, decided_by = ?, decided_id = ?, decided_at = ?, answer = ? WHERE id = ? AND state = 'pending'`,
		string(a.State), a.DecidedBy, a.DecidedID, rows.Millis(a.DecidedAt), a.Answer, a.ID))
}
