package sqldb

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/outcome"
)

type campaignStore struct{ db *DB }

// Campaign is the store of campaigns and tasks.
func (db *DB) Campaign() campaign.Store { return campaignStore{db} }

const runColumns = `id, name, state, next_at, doc`

func scanRun(row scanner) (campaign.Run, error) {
	var r campaign.Run
	var id, name, doc string
	var state campaign.State
	var next int64
	if err := row.Scan(&id, &name, &state, &next, &doc); err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(doc), &r); err != nil {
		return r, fmt.Errorf("campaign %s in the records: %w", name, err)
	}
	r.ID, r.Campaign.Name, r.State, r.NextAt = id, name, state, fromMillis(next)
	return r, nil
}

func (s campaignStore) PutCampaign(ctx context.Context, c campaign.Campaign) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		r, err := scanRun(s.db.queryRow(ctx, `SELECT `+runColumns+` FROM campaign_run WHERE name = ?`+s.db.forUpdate(), c.Name))
		switch err := missing(err, "no campaign"); {
		case fault.KindOf(err) == fault.NotFound:
			r = campaign.Run{ID: clock.Random{}.ID(), State: campaign.Draft, WaveOpen: -1}
		case err != nil:
			return err
		case r.State != campaign.Draft:
			return fault.New(fault.Conflict, "campaign %s is %s: it can be changed only before it starts", c.Name, r.State)
		}
		r.Campaign = c
		doc, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if _, err := s.db.exec(ctx, `INSERT INTO campaign_run (id, name, product, state, next_at, doc) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET product = excluded.product, doc = excluded.doc`,
			r.ID, c.Name, c.Product, r.State, millis(r.NextAt), string(doc)); err != nil {
			return fmt.Errorf("keep campaign %s: %w", c.Name, err)
		}
		return nil
	})
}

func (s campaignStore) Campaign(ctx context.Context, name string) (campaign.Run, error) {
	r, err := scanRun(s.db.queryRow(ctx, `SELECT `+runColumns+` FROM campaign_run WHERE name = ?`, name))
	return r, missing(err, "no campaign %q", name)
}

func (s campaignStore) CampaignByID(ctx context.Context, id string) (campaign.Run, error) {
	r, err := scanRun(s.db.queryRow(ctx, `SELECT `+runColumns+` FROM campaign_run WHERE id = ?`, id))
	return r, missing(err, "no campaign with id %q", id)
}

func (s campaignStore) Campaigns(ctx context.Context, product string) ([]campaign.Run, error) {
	query, args := `SELECT `+runColumns+` FROM campaign_run ORDER BY name`, []any(nil)
	if product != "" {
		query, args = `SELECT `+runColumns+` FROM campaign_run WHERE product = ? ORDER BY name`, []any{product}
	}
	rows, err := s.db.query(ctx, query, args...)
	return collect(rows, err, func(r *sql.Rows) (campaign.Run, error) { return scanRun(r) })
}

func (s campaignStore) UpdateCampaign(ctx context.Context, name string, change func(*campaign.Run) error) (campaign.Run, error) {
	var out campaign.Run
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		r, err := scanRun(s.db.queryRow(ctx, `SELECT `+runColumns+` FROM campaign_run WHERE name = ?`+s.db.forUpdate(), name))
		if err != nil {
			return missing(err, "no campaign %q", name)
		}
		if err := change(&r); err != nil {
			return err
		}
		doc, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if _, err := s.db.exec(ctx, `UPDATE campaign_run SET state = ?, next_at = ?, doc = ? WHERE id = ?`,
			r.State, millis(r.NextAt), string(doc), r.ID); err != nil {
			return fmt.Errorf("keep campaign %s: %w", name, err)
		}
		out = r
		return nil
	})
	return out, err
}

func (s campaignStore) DeleteCampaign(ctx context.Context, name string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		r, err := scanRun(s.db.queryRow(ctx, `SELECT `+runColumns+` FROM campaign_run WHERE name = ?`+s.db.forUpdate(), name))
		if err != nil {
			return missing(err, "no campaign %q", name)
		}
		if r.Open() {
			return fault.New(fault.Conflict, "campaign %s is %s: cancel it first", name, r.State)
		}
		_, err = s.db.exec(ctx, `DELETE FROM campaign_run WHERE id = ?`, r.ID)
		return err
	})
}

const taskColumns = `t.id, t.campaign_id, t.unit_id, t.unit_key, t.owner_id, t.wave, t.state, t.assignment_id, t.next_at, t.seen_at, t.doc`

func scanTask(row scanner) (campaign.Task, error) {
	var t, c campaign.Task
	var next, seen int64
	var doc string
	if err := row.Scan(&c.ID, &c.CampaignID, &c.UnitID, &c.UnitKey, &c.OwnerID, &c.Wave, &c.State, &c.AssignmentID, &next, &seen, &doc); err != nil {
		return t, err
	}
	if err := json.Unmarshal([]byte(doc), &t); err != nil {
		return t, fmt.Errorf("task %s in the records: %w", c.ID, err)
	}
	t.ID, t.UnitKey, t.NextAt, t.SeenAt = c.ID, c.UnitKey, fromMillis(next), fromMillis(seen)
	return t, nil
}

func (s campaignStore) tasks(ctx context.Context, query string, args ...any) ([]campaign.Task, error) {
	rows, err := s.db.query(ctx, query, args...)
	return collect(rows, err, func(r *sql.Rows) (campaign.Task, error) { return scanTask(r) })
}

func (s campaignStore) AddTasks(ctx context.Context, list []campaign.Task) error {
	rows := make([][]any, 0, len(list))
	for _, t := range list {
		doc, err := json.Marshal(t)
		if err != nil {
			return err
		}
		rows = append(rows, []any{
			t.ID, t.CampaignID, t.UnitID, t.UnitKey, t.OwnerID, t.Wave, string(t.State),
			t.AssignmentID, millis(t.NextAt), millis(t.SeenAt), string(doc),
		})
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		return s.db.insertRows(ctx, `INSERT INTO campaign_task
			(id, campaign_id, unit_id, unit_key, owner_id, wave, state, assignment_id, next_at, seen_at, doc)`,
			` ON CONFLICT (campaign_id, unit_id) DO NOTHING`, rows)
	})
	if err != nil {
		return fmt.Errorf("keep tasks: %w", err)
	}
	return nil
}

func (s campaignStore) Task(ctx context.Context, id string) (campaign.Task, error) {
	t, err := scanTask(s.db.queryRow(ctx, `SELECT `+taskColumns+` FROM campaign_task t WHERE t.id = ?`, id))
	return t, missing(err, "no task %q", id)
}

func (s campaignStore) Tasks(ctx context.Context, f campaign.TaskFilter) ([]campaign.Task, error) {
	var where []string
	var args []any
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
	if f.Wave >= 0 {
		add(`t.wave = ?`, f.Wave)
	}
	if !f.DueAt.IsZero() {
		add(`t.next_at > 0 AND t.next_at <= ?`, millis(f.DueAt))
	}
	if f.After != "" {
		add(`t.id > ?`, f.After)
	}
	query := `SELECT ` + taskColumns + ` FROM campaign_task t`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	query += ` ORDER BY t.id`
	if f.Limit > 0 {
		query += ` LIMIT ?`
		args = append(args, f.Limit)
	}
	return s.tasks(ctx, query, args...)
}

func (s campaignStore) DueTasks(ctx context.Context, now time.Time, limit int) ([]campaign.Task, error) {
	return s.tasks(ctx, `SELECT `+taskColumns+` FROM campaign_task t JOIN campaign_run r ON r.id = t.campaign_id
		WHERE t.next_at > 0 AND t.next_at <= ? AND r.state = ? ORDER BY t.next_at, t.id LIMIT ?`, millis(now), campaign.Running, limit)
}

func (s campaignStore) StaleTasks(ctx context.Context, after string, limit int) ([]campaign.Task, error) {
	// The states are literals so that the partial index serves.
	return s.tasks(ctx, `SELECT `+taskColumns+` FROM campaign_task t JOIN update_assignment a ON a.id = t.assignment_id
		WHERE t.state IN ('accepted', 'installing', 'claimed') AND a.updated > t.seen_at AND t.id > ? ORDER BY t.id LIMIT ?`, after, limit)
}

func (s campaignStore) WakeTasks(ctx context.Context, campaignID string, wave int, states []campaign.TaskState, at time.Time) error {
	text, args := in("state", states)
	args = append([]any{millis(at), campaignID}, args...)
	query := `UPDATE campaign_task SET next_at = ? WHERE campaign_id = ? AND ` + text
	if wave >= 0 {
		query += ` AND wave = ?`
		args = append(args, wave)
	}
	_, err := s.db.exec(ctx, query, args...)
	return err
}

func (s campaignStore) UnitsBusy(ctx context.Context, product, except string) (map[string]string, error) {
	text, args := in("t.state", []campaign.TaskState{
		campaign.Offered, campaign.Scheduled, campaign.Snoozed, campaign.Accepted, campaign.Installing, campaign.Claimed,
	})
	rows, err := s.db.query(ctx, `SELECT t.unit_id, r.name FROM campaign_task t JOIN campaign_run r ON r.id = t.campaign_id
		WHERE r.product = ? AND r.id <> ? AND r.state IN (?, ?) AND `+text,
		append([]any{product, except, campaign.Running, campaign.Paused}, args...)...)
	out := map[string]string{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var unit, name string
		err := r.Scan(&unit, &name)
		out[unit] = name
		return struct{}{}, err
	})
	return out, err
}

func (s campaignStore) CountTasks(ctx context.Context, campaignID string) ([]campaign.Count, error) {
	rows, err := s.db.query(ctx, `SELECT wave, state, count(*) FROM campaign_task WHERE campaign_id = ? GROUP BY wave, state ORDER BY wave, state`, campaignID)
	return collect(rows, err, func(r *sql.Rows) (campaign.Count, error) {
		var c campaign.Count
		err := r.Scan(&c.Wave, &c.State, &c.N)
		return c, err
	})
}

func (s campaignStore) UpdateTask(ctx context.Context, id string, change func(*campaign.Task) error) (campaign.Task, error) {
	var out campaign.Task
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		t, err := scanTask(s.db.queryRow(ctx, `SELECT `+taskColumns+` FROM campaign_task t WHERE t.id = ?`+s.db.forUpdate(), id))
		if err != nil {
			return missing(err, "no task %q", id)
		}
		if err := change(&t); err != nil {
			return err
		}
		doc, err := json.Marshal(t)
		if err != nil {
			return err
		}
		if _, err := s.db.exec(ctx, `UPDATE campaign_task SET owner_id = ?, state = ?, assignment_id = ?, next_at = ?, seen_at = ?, doc = ? WHERE id = ?`,
			t.OwnerID, string(t.State), t.AssignmentID, millis(t.NextAt), millis(t.SeenAt), string(doc), id); err != nil {
			return fmt.Errorf("keep task %s: %w", id, err)
		}
		out = t
		return nil
	})
	return out, err
}

type outcomeStore struct{ db *DB }

// Outcome is the store of outcomes.
func (db *DB) Outcome() outcome.Store { return outcomeStore{db} }

func (s outcomeStore) PutRecord(ctx context.Context, r outcome.Record) error {
	doc, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := s.db.exec(ctx, `INSERT INTO outcome_record (campaign_id, doc) VALUES (?, ?)
		ON CONFLICT (campaign_id) DO UPDATE SET doc = excluded.doc`, r.CampaignID, string(doc)); err != nil {
		return fmt.Errorf("keep outcome of campaign %s: %w", r.CampaignID, err)
	}
	return nil
}

func (s outcomeStore) Record(ctx context.Context, campaignID string) (outcome.Record, error) {
	var doc string
	if err := s.db.queryRow(ctx, `SELECT doc FROM outcome_record WHERE campaign_id = ?`, campaignID).Scan(&doc); err != nil {
		return outcome.Record{}, missing(err, "no outcome of campaign %q yet", campaignID)
	}
	var r outcome.Record
	if err := json.Unmarshal([]byte(doc), &r); err != nil {
		return r, fmt.Errorf("outcome of campaign %s in the records: %w", campaignID, err)
	}
	return r, nil
}
