package runs

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/sqldb/rows"
)

const taskColumns = `t.id, t.unit_key, t.queue, t.next_at, t.seen_at, t.doc`

func scanTask(row rows.Scanner) (campaign.Task, error) {
	var t campaign.Task
	var id, doc string
	var key, queue, next, seen int64
	if err := row.Scan(&id, &key, &queue, &next, &seen, &doc); err != nil {
		return t, err
	}
	if err := json.Unmarshal([]byte(doc), &t); err != nil {
		return t, fmt.Errorf("task %s in the records: %w", id, err)
	}
	t.ID, t.UnitKey, t.Queue, t.NextAt, t.SeenAt = id, key, campaign.Queue(queue), rows.Time(next), rows.Time(seen)
	return t, nil
}

func (s store) tasks(ctx context.Context, query string, args ...any) ([]campaign.Task, error) {
	found, err := s.db.Query(ctx, `SELECT `+taskColumns+` FROM campaign_task t `+query, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (campaign.Task, error) { return scanTask(r) })
}

// in writes "column IN (?,?,…)".
func in[T any](column string, values []T) (text string, args []any) {
	args = make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	return column + " IN (" + strings.TrimSuffix(strings.Repeat("?,", len(values)), ",") + ")", args
}

func code(t *campaign.Task) string {
	if t.Refusal == nil {
		return ""
	}
	return string(t.Refusal.Code)
}

func (s store) insert(ctx context.Context, list []campaign.Task, tail string) error {
	values := make([][]any, 0, len(list))
	for i := range list {
		t := &list[i]
		doc, err := json.Marshal(t)
		if err != nil {
			return err
		}
		values = append(values, []any{
			t.ID, t.CampaignID, t.UnitID, t.UnitKey, t.OwnerID, t.Wave, string(t.State), code(t), int64(t.Queue),
			t.AssignmentID, rows.Millis(t.NextAt), rows.Millis(t.SeenAt), string(doc),
		})
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		return s.db.InsertRows(ctx, `INSERT INTO campaign_task
			(id, campaign_id, unit_id, unit_key, owner_id, wave, state, code, queue, assignment_id, next_at, seen_at, doc)`, tail, values)
	})
	if err != nil {
		return fmt.Errorf("keep tasks: %w", err)
	}
	return nil
}

func (s store) AddTasks(ctx context.Context, list []campaign.Task) error {
	return s.insert(ctx, list, ` ON CONFLICT (campaign_id, unit_id) DO NOTHING`)
}

func (s store) SaveTasks(ctx context.Context, list []campaign.Task) error {
	return s.insert(ctx, list, ` ON CONFLICT (id) DO UPDATE SET owner_id = excluded.owner_id, wave = excluded.wave, state = excluded.state,
		code = excluded.code, queue = excluded.queue, assignment_id = excluded.assignment_id, next_at = excluded.next_at,
		seen_at = excluded.seen_at, doc = excluded.doc`)
}

func (s store) Task(ctx context.Context, id string) (campaign.Task, error) {
	t, err := scanTask(s.db.QueryRow(ctx, `SELECT `+taskColumns+` FROM campaign_task t WHERE t.id = ?`, id))
	return t, rows.Missing(err, "no task %q", id)
}

func (s store) Tasks(ctx context.Context, f campaign.TaskFilter) ([]campaign.Task, error) {
	seen, args := rows.UnitInSight(ctx, "t.unit_id")
	where := []string{"1 = 1" + seen}
	add := func(text string, a ...any) { where, args = append(where, text), append(args, a...) }
	if f.CampaignID != "" {
		add(`t.campaign_id = ?`, f.CampaignID)
	}
	if f.UnitID != "" {
		add(`t.unit_id = ?`, f.UnitID)
	}
	if f.OwnerID != "" {
		add(`t.owner_id = ?`, f.OwnerID)
	}
	if len(f.States) > 0 {
		text, a := in("t.state", f.States)
		add(text, a...)
	}
	if f.Code != "" {
		add(`t.code = ? AND t.code <> ''`, string(f.Code))
	}
	if f.Unassigned {
		add(`t.assignment_id = 0`)
	}
	if f.Wave >= 0 {
		add(`t.wave = ?`, f.Wave)
	}
	if f.After != "" {
		add(`t.id > ?`, f.After)
	}
	query := `WHERE ` + strings.Join(where, ` AND `) + ` ORDER BY t.id`
	if f.Limit > 0 {
		query += ` LIMIT ?`
		args = append(args, f.Limit)
	}
	return s.tasks(ctx, query, args...)
}

func (s store) DueTasks(ctx context.Context, campaignID string, now time.Time, limit int) ([]campaign.Task, error) {
	return s.tasks(ctx, `WHERE t.campaign_id = ? AND t.next_at > 0 AND t.next_at <= ? ORDER BY t.next_at, t.id LIMIT ?`,
		campaignID, rows.Millis(now), limit)
}

func (s store) QueuedTasks(ctx context.Context, campaignID string, q campaign.Queue, wave, limit int) ([]campaign.Task, error) {
	return s.tasks(ctx, `WHERE t.campaign_id = ? AND t.queue > 0 AND t.queue = ? AND t.wave <= ? ORDER BY t.wave, t.id LIMIT ?`,
		campaignID, int64(q), wave, limit)
}

func (s store) UnderWay(ctx context.Context, campaignID string) (n int, err error) {
	err = s.db.QueryRow(ctx, `SELECT count(*) FROM campaign_task WHERE campaign_id = ? AND state IN ('accepted', 'installing', 'claimed')
		AND queue = 0 AND (state <> 'accepted' OR next_at = 0 AND assignment_id > 0)`, campaignID).Scan(&n)
	return n, err
}

func (s store) StaleTasks(ctx context.Context, after string, limit int) ([]campaign.Task, error) {
	// The states are literals so that the partial index serves, and the order is
	// of an expression so that the index of ids does not.
	return s.tasks(ctx, `JOIN update_assignment a ON a.id = t.assignment_id
		WHERE t.state IN ('accepted', 'installing', 'claimed') AND a.updated > t.seen_at AND t.id || '' > ? ORDER BY t.id || '' LIMIT ?`, after, limit)
}

func (s store) CountTasks(ctx context.Context, campaignID string) ([]campaign.Count, error) {
	seen, args := rows.UnitInSight(ctx, "unit_id")
	found, err := s.db.Query(ctx, `SELECT wave, state, count(*) FROM campaign_task WHERE campaign_id = ?`+seen+` GROUP BY wave, state ORDER BY wave, state`,
		append([]any{campaignID}, args...)...)
	return rows.Collect(found, err, func(r *sql.Rows) (campaign.Count, error) {
		var c campaign.Count
		err := r.Scan(&c.Wave, &c.State, &c.N)
		return c, err
	})
}

func (s store) CountCodes(ctx context.Context, campaignID string) ([]campaign.CodeCount, error) {
	seen, args := rows.UnitInSight(ctx, "unit_id")
	found, err := s.db.Query(ctx, `SELECT code, state, count(*) FROM campaign_task WHERE campaign_id = ? AND code <> ''`+seen+` GROUP BY code, state ORDER BY code, state`,
		append([]any{campaignID}, args...)...)
	return rows.Collect(found, err, func(r *sql.Rows) (campaign.CodeCount, error) {
		var c campaign.CodeCount
		err := r.Scan(&c.Code, &c.State, &c.N)
		return c, err
	})
}

func (s store) UpdateTask(ctx context.Context, id string, change func(*campaign.Task) error) (campaign.Task, error) {
	var out campaign.Task
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		t, err := scanTask(s.db.QueryRow(ctx, `SELECT `+taskColumns+` FROM campaign_task t WHERE t.id = ?`+s.db.ForUpdate(), id))
		if err != nil {
			return rows.Missing(err, "no task %q", id)
		}
		if err := change(&t); err != nil {
			return err
		}
		doc, err := json.Marshal(t)
		if err != nil {
			return err
		}
		if _, err := s.db.Exec(ctx, `UPDATE campaign_task SET owner_id = ?, wave = ?, state = ?, code = ?, queue = ?, assignment_id = ?, next_at = ?, seen_at = ?, doc = ? WHERE id = ?`,
			t.OwnerID, t.Wave, string(t.State), code(&t), int64(t.Queue), t.AssignmentID, rows.Millis(t.NextAt), rows.Millis(t.SeenAt), string(doc), id); err != nil {
			return fmt.Errorf("keep task %s: %w", id, err)
		}
		out = t
		return nil
	})
	return out, err
}
