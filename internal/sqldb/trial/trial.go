// Package trial is the store of backtests: what was asked for, how far it is,
// and what came of it.
package trial

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type store struct{ db *sqldb.DB }

// New is the store of backtests in the records.
func New(db *sqldb.DB) backtest.Store { return store{db} }

// doc is what the records hold of a job beside its columns.
type doc struct {
	Request  backtest.Request `json:"request"`
	By       string           `json:"by"`
	Why      string           `json:"why,omitempty"`
	Begun    int              `json:"begun,omitempty"`
	BegunAt  time.Time        `json:"begunAt,omitzero"`
	Rows     int              `json:"rows,omitempty"`
	Withheld int              `json:"withheld,omitempty"`
	Sources  map[string]int   `json:"sources,omitempty"`
}

func (s store) PutJob(ctx context.Context, j backtest.Job) error {
	text, err := encode(&j)
	if err != nil {
		return err
	}
	if j.State != backtest.Waiting {
		return s.change(ctx, `state = ?, doc = ? WHERE id = ? AND ended_at = 0`, j.ID, string(j.State), text, j.ID)
	}
	_, err = s.db.Exec(ctx, `INSERT INTO condition_backtest (id, detector, product, at, state, ended_at, doc) VALUES (?, ?, ?, ?, ?, 0, ?)`,
		j.ID, j.Request.Detector.Name, j.Request.Spec.Product, rows.Millis(j.At), string(j.State), text)
	if err != nil {
		return fmt.Errorf("keep backtest: %w", err)
	}
	return nil
}

func (s store) Finish(ctx context.Context, j backtest.Job, result []byte) error {
	text, err := encode(&j)
	if err != nil {
		return err
	}
	return s.change(ctx, `state = ?, ended_at = ?, doc = ?, result = ? WHERE id = ? AND ended_at = 0 AND (state <> ? OR ?)`,
		j.ID, string(j.State), rows.Millis(j.EndedAt), text, result, j.ID, string(backtest.Stopping), result == nil)
}

func encode(j *backtest.Job) (string, error) {
	text, err := json.Marshal(doc{j.Request, j.By, j.Why, j.Begun, j.BegunAt, j.Rows, j.Withheld, j.Sources})
	if err != nil {
		return "", fmt.Errorf("keep backtest: %w", err)
	}
	return string(text), nil
}

// change never brings a job back that was deleted with a person, or one whose
// result may not be kept.
func (s store) change(ctx context.Context, set, id string, args ...any) error {
	res, err := s.db.Exec(ctx, `UPDATE condition_backtest SET `+set, args...)
	if err != nil {
		return fmt.Errorf("keep backtest: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fault.New(fault.Conflict, "backtest %s was stopped or deleted meanwhile", id))
	}
	return nil
}

const columns = `SELECT id, at, state, ended_at, doc FROM condition_backtest`

func scan(scan func(...any) error) (backtest.Job, error) {
	var j backtest.Job
	var at, ended int64
	var text string
	if err := scan(&j.ID, &at, &j.State, &ended, &text); err != nil {
		return j, err
	}
	var d doc
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return j, fmt.Errorf("backtest %s in the records: %w", j.ID, err)
	}
	j.Request = d.Request
	j.By, j.Why, j.Begun, j.BegunAt, j.Rows, j.Withheld, j.Sources = d.By, d.Why, d.Begun, d.BegunAt, d.Rows, d.Withheld, d.Sources
	j.At, j.EndedAt = rows.Time(at), rows.Time(ended)
	if j.State == backtest.Done {
		j.Done = 1
	}
	return j, nil
}

func (s store) Job(ctx context.Context, id string) (backtest.Job, error) {
	seen, args := rows.InSight(ctx, "product", "")
	j, err := scan(s.db.QueryRow(ctx, columns+` WHERE id = ?`+seen, append([]any{id}, args...)...).Scan)
	return j, rows.Missing(err, "no backtest %q", id)
}

func (s store) list(ctx context.Context, query string, args ...any) ([]backtest.Job, error) {
	r, err := s.db.Query(ctx, query, args...)
	out, err := rows.Collect(r, err, func(r *sql.Rows) (backtest.Job, error) { return scan(r.Scan) })
	if err != nil {
		return nil, fmt.Errorf("list backtests: %w", err)
	}
	return out, nil
}

func (s store) Jobs(ctx context.Context, detector string, limit int) ([]backtest.Job, error) {
	seen, args := rows.InSight(ctx, "product", "")
	args = append(append([]any{detector, detector}, args...), limit)
	return s.list(ctx, columns+` WHERE (detector = ? OR ? = '')`+seen+` ORDER BY at DESC, id DESC LIMIT ?`, args...)
}

func (s store) Unended(ctx context.Context) ([]backtest.Job, error) {
	return s.list(ctx, columns+` WHERE ended_at = 0 ORDER BY at, id`)
}

func (s store) Result(ctx context.Context, id string) ([]byte, error) {
	var raw []byte
	seen, args := rows.InSight(ctx, "product", "")
	err := s.db.QueryRow(ctx, `SELECT result FROM condition_backtest WHERE id = ?`+seen, append([]any{id}, args...)...).Scan(&raw)
	return raw, rows.Missing(err, "no backtest %q", id)
}

func (s store) DeleteJob(ctx context.Context, id string) error {
	seen, args := rows.InSight(ctx, "product", "")
	if _, err := s.db.Exec(ctx, `DELETE FROM condition_backtest WHERE id = ?`+seen, append([]any{id}, args...)...); err != nil {
		return fmt.Errorf("delete backtest: %w", err)
	}
	return nil
}

func (s store) Trim(ctx context.Context, before time.Time, newest int) error {
	_, err := s.db.Exec(ctx, `DELETE FROM condition_backtest WHERE ended_at > 0 AND (ended_at < ? OR id NOT IN
		(SELECT id FROM condition_backtest ORDER BY at DESC, id DESC LIMIT ?))`, rows.Millis(before), newest)
	if err != nil {
		return fmt.Errorf("trim backtests: %w", err)
	}
	return nil
}
