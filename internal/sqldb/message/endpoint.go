package message

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify/event"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type endpoints struct{ db *sqldb.DB }

// Endpoints is the store of webhooks' endpoints.
func Endpoints(db *sqldb.DB) event.Store { return endpoints{db} }

func (s endpoints) PutEndpoint(ctx context.Context, e event.Endpoint, sealed string) error {
	doc, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("keep endpoint %s: %w", e.Name, err)
	}
	_, err = s.db.Exec(ctx, `INSERT INTO notify_endpoint (name, doc, secrets) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET doc = excluded.doc, secrets = excluded.secrets`, e.Name, string(doc), sealed)
	return err
}

func readEndpoint(doc string) (e event.Endpoint, err error) {
	err = json.Unmarshal([]byte(doc), &e)
	return e, err
}

func (s endpoints) endpoint(ctx context.Context, name, lock string) (e event.Endpoint, sealed string, err error) {
	var doc string
	err = s.db.QueryRow(ctx, `SELECT doc, secrets FROM notify_endpoint WHERE name = ?`+lock, name).Scan(&doc, &sealed)
	if err != nil {
		return e, "", rows.Missing(err, "no endpoint %q", name)
	}
	e, err = readEndpoint(doc)
	return e, sealed, err
}

func (s endpoints) Endpoint(ctx context.Context, name string) (event.Endpoint, string, error) {
	return s.endpoint(ctx, name, "")
}

func (s endpoints) Endpoints(ctx context.Context) ([]event.Endpoint, error) {
	found, err := s.db.Query(ctx, `SELECT doc FROM notify_endpoint ORDER BY name`)
	return rows.Collect(found, err, func(r *sql.Rows) (event.Endpoint, error) {
		var doc string
		if err := r.Scan(&doc); err != nil {
			return event.Endpoint{}, err
		}
		return readEndpoint(doc)
	})
}

func (s endpoints) DeleteEndpoint(ctx context.Context, name string) error {
	res, err := s.db.Exec(ctx, `DELETE FROM notify_endpoint WHERE name = ?`, name)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return fault.New(fault.NotFound, "no endpoint %q", name)
	}
	return nil
}

func (s endpoints) UpdateEndpoint(ctx context.Context, name string, change func(*event.Endpoint) error) (e event.Endpoint, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		var sealed string
		if e, sealed, err = s.endpoint(ctx, name, s.db.ForUpdate()); err != nil {
			return err
		}
		if err := change(&e); err != nil {
			return err
		}
		return s.PutEndpoint(ctx, e, sealed)
	})
	return e, err
}
