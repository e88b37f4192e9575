// Package runs keeps campaigns, their tasks, and what owners have set about
// updates.
package runs

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb/rows"
)

// Records are what the store stands on; sqldb.DB does.
type Records interface {
	fleet.Transactor
	Exec(ctx context.Context, query string, args ...any) (sql.Result, error)
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) *sql.Row
	InsertRows(ctx context.Context, head, tail string, rows [][]any) error
	ForUpdate() string
}

type store struct{ db Records }

// New is the store of campaigns and tasks.
func New(db Records) campaign.Store { return store{db} }

const runColumns = `id, name, state, next_at, doc`

func scanRun(row rows.Scanner) (campaign.Run, error) {
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
	r.ID, r.Campaign.Name, r.State, r.NextAt = id, name, state, rows.Time(next)
	return r, nil
}

func (s store) PutCampaign(ctx context.Context, c campaign.Campaign) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		r, err := scanRun(s.db.QueryRow(ctx, `SELECT `+runColumns+` FROM campaign_run WHERE name = ?`+s.db.ForUpdate(), c.Name))
		switch err := rows.Missing(err, "no campaign"); {
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
		if _, err := s.db.Exec(ctx, `INSERT INTO campaign_run (id, name, product, state, next_at, doc) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET product = excluded.product, doc = excluded.doc`,
			r.ID, c.Name, c.Product, r.State, rows.Millis(r.NextAt), string(doc)); err != nil {
			return fmt.Errorf("keep campaign %s: %w", c.Name, err)
		}
		return nil
	})
}

func (s store) Campaign(ctx context.Context, name string) (campaign.Run, error) {
	seen, args := rows.InSight(ctx, "product", "")
	r, err := scanRun(s.db.QueryRow(ctx, `SELECT `+runColumns+` FROM campaign_run WHERE name = ?`+seen, append([]any{name}, args...)...))
	return r, rows.Missing(err, "no campaign %q", name)
}

func (s store) CampaignByID(ctx context.Context, id string) (campaign.Run, error) {
	r, err := scanRun(s.db.QueryRow(ctx, `SELECT `+runColumns+` FROM campaign_run WHERE id = ?`, id))
	return r, rows.Missing(err, "no campaign with id %q", id)
}

func (s store) runs(ctx context.Context, rest string, args ...any) ([]campaign.Run, error) {
	found, err := s.db.Query(ctx, `SELECT `+runColumns+` FROM campaign_run `+rest+` ORDER BY name`, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (campaign.Run, error) { return scanRun(r) })
}

func (s store) Campaigns(ctx context.Context, product string) ([]campaign.Run, error) {
	seen, args := rows.InSight(ctx, "product", "")
	return s.runs(ctx, `WHERE (product = ? OR ? = '')`+seen, append([]any{product, product}, args...)...)
}

func (s store) Active(ctx context.Context) ([]campaign.Run, error) {
	return s.runs(ctx, `WHERE state IN (?, ?, ?) OR closing > 0`, campaign.Planning, campaign.Running, campaign.Paused)
}

func (s store) UpdateCampaign(ctx context.Context, name string, change func(*campaign.Run) error) (campaign.Run, error) {
	var out campaign.Run
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		seen, args := rows.InSight(ctx, "product", "")
		r, err := scanRun(s.db.QueryRow(ctx, `SELECT `+runColumns+` FROM campaign_run WHERE name = ?`+seen+s.db.ForUpdate(), append([]any{name}, args...)...))
		if err != nil {
			return rows.Missing(err, "no campaign %q", name)
		}
		if err := change(&r); err != nil {
			return err
		}
		doc, err := json.Marshal(r)
		if err != nil {
			return err
		}
		closing := 0
		if r.Closing {
			closing = 1
		}
		if _, err := s.db.Exec(ctx, `UPDATE campaign_run SET state = ?, next_at = ?, closing = ?, doc = ? WHERE id = ?`,
			r.State, rows.Millis(r.NextAt), closing, string(doc), r.ID); err != nil {
			return fmt.Errorf("keep campaign %s: %w", name, err)
		}
		out = r
		return nil
	})
	return out, err
}

func (s store) DeleteCampaign(ctx context.Context, name string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		seen, args := rows.InSight(ctx, "product", "")
		r, err := scanRun(s.db.QueryRow(ctx, `SELECT `+runColumns+` FROM campaign_run WHERE name = ?`+seen+s.db.ForUpdate(), append([]any{name}, args...)...))
		if err != nil {
			return rows.Missing(err, "no campaign %q", name)
		}
		if r.Open() || r.Closing {
			return fault.New(fault.Conflict, "campaign %s is %s: cancel it first, and wait until its tasks are closed", name, r.State)
		}
		_, err = s.db.Exec(ctx, `DELETE FROM campaign_run WHERE id = ?`, r.ID)
		return err
	})
}

func (s store) PutPreferences(ctx context.Context, ownerID string, p campaign.Preferences) error {
	doc, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if _, err := s.db.Exec(ctx, `INSERT INTO campaign_preference (owner_id, doc) VALUES (?, ?)
		ON CONFLICT (owner_id) DO UPDATE SET doc = excluded.doc`, ownerID, string(doc)); err != nil {
		return fmt.Errorf("keep preferences of owner: %w", err)
	}
	return nil
}

func (s store) Preferences(ctx context.Context, ownerID string) (campaign.Preferences, error) {
	var p campaign.Preferences
	var doc string
	if err := s.db.QueryRow(ctx, `SELECT doc FROM campaign_preference WHERE owner_id = ?`, ownerID).Scan(&doc); err != nil {
		return p, rows.Missing(err, "the owner has set nothing")
	}
	return p, json.Unmarshal([]byte(doc), &p)
}
