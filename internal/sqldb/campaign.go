package sqldb

import (
	"context"
	"encoding/json"
	"fmt"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/outcome"
	"fettle.dev/fettle/internal/sqldb/runs"
)

// Campaign is the store of campaigns and tasks.
func (db *DB) Campaign() campaign.Store { return runs.New(db) }

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
