package message

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/sqldb/rows"
)

func (s store) PutRoute(ctx context.Context, r notify.Route) error {
	doc, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keep route %s: %w", r.Name, err)
	}
	_, err = s.db.Exec(ctx, `INSERT INTO notify_route (name, doc) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc`, r.Name, string(doc))
	return err
}

func (s store) Routes(ctx context.Context) ([]notify.Route, error) {
	found, err := s.db.Query(ctx, `SELECT doc FROM notify_route ORDER BY name`)
	return rows.Collect(found, err, func(r *sql.Rows) (v notify.Route, err error) {
		var doc string
		if err := r.Scan(&doc); err != nil {
			return v, err
		}
		err = json.Unmarshal([]byte(doc), &v)
		return v, err
	})
}

func (s store) DeleteRoute(ctx context.Context, name string) error {
	res, err := s.db.Exec(ctx, `DELETE FROM notify_route WHERE name = ?`, name)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "no route %q", name)
	}
	return err
}

// most is how many values a statement is given at once.
const most = 4000

const newsColumns = `route, finding_id, product, detector, severity, unit_id, why, opened_at, added_at, message_key`

func (s store) AddNews(ctx context.Context, all []notify.News) error {
	values := make([][]any, len(all))
	for i, n := range all {
		values[i] = []any{n.Route, n.FindingID, n.Product, n.Detector, n.Severity, n.UnitID, n.Why, rows.Millis(n.OpenedAt), rows.Millis(n.AddedAt), ""}
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		return s.db.InsertRows(ctx, `INSERT INTO notify_news (`+newsColumns+`)`, ` ON CONFLICT (finding_id, route) DO NOTHING`, values)
	})
	if err != nil {
		return fmt.Errorf("keep news: %w", err)
	}
	return nil
}

func (s store) UntoldNews(ctx context.Context, addedBy time.Time, limit int) ([]notify.News, error) {
	found, err := s.db.Query(ctx, `SELECT `+newsColumns+` FROM notify_news WHERE message_key = ''
		AND EXISTS (SELECT 1 FROM notify_news WHERE message_key = '' AND added_at <= ?) ORDER BY added_at, finding_id, route LIMIT ?`, rows.Millis(addedBy), limit)
	out, err := rows.Collect(found, err, func(r *sql.Rows) (n notify.News, err error) {
		var opened, added int64
		err = r.Scan(&n.Route, &n.FindingID, &n.Product, &n.Detector, &n.Severity, &n.UnitID, &n.Why, &opened, &added, &n.MessageKey)
		n.OpenedAt, n.AddedAt = rows.Time(opened), rows.Time(added)
		return n, err
	})
	if err != nil {
		return nil, fmt.Errorf("untold news: %w", err)
	}
	return out, nil
}

func (s store) MarkNews(ctx context.Context, all []notify.News) error {
	byMark := map[[2]string][]string{} // route and key to findings
	for _, n := range all {
		k := [2]string{n.Route, n.MessageKey}
		byMark[k] = append(byMark[k], n.FindingID)
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		for k, ids := range byMark {
			for part := range slices.Chunk(ids, most) {
				args := []any{k[1], k[0]}
				for _, id := range part {
					args = append(args, id)
				}
				list := "finding_id IN (?" + strings.Repeat(",?", len(part)-1) + ")"
				if _, err := s.db.Exec(ctx, `UPDATE notify_news SET message_key = ? WHERE route = ? AND message_key = '' AND `+list, args...); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mark news: %w", err)
	}
	return nil
}
