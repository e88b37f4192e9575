package message

import (
	"context"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

// Ages are how long messages are kept once nothing is to be done with them.
type Ages struct {
	Safety  time.Duration // safety and security: proof of who was told of a recall
	Webhook time.Duration // the log of webhooks
	Other   time.Duration
}

// pruned is how many messages go at once.
const pruned = 1000

// Prune removes messages that are older than they are kept, with what was noted
// of their delivery, and what routes were told of findings, in batches; it says
// how many.
func Prune(ctx context.Context, db *sqldb.DB, now time.Time, keep Ages) (n int64, err error) {
	for _, rule := range []struct {
		age   time.Duration
		which string
	}{
		{keep.Webhook, "channel = '" + string(notify.Webhook) + "'"},
		{keep.Other, "kind NOT IN ('" + string(notify.Safety) + "', '" + string(notify.Security) + "')"},
		{keep.Safety, "1 = 1"},
	} {
		before := now.Add(-rule.age)
		ms := before.UnixMilli()
		// Ids begin with the time (UUIDv7, RFC 9562): the bound saves an index.
		query := `DELETE FROM notify_message WHERE id IN (SELECT id FROM notify_message WHERE id < ? AND created_at < ? AND next_at = 0 AND ` + rule.which + ` ORDER BY id LIMIT ?)`
		for {
			done, err := db.Exec(ctx, query, fmt.Sprintf("%08x-%04x", ms>>16, ms&0xffff), rows.Millis(before), pruned)
			if err != nil {
				return n, fmt.Errorf("remove old messages: %w", err)
			}
			gone, err := done.RowsAffected()
			if err != nil {
				return n, fmt.Errorf("remove old messages: %w", err)
			}
			if n += gone; gone < pruned {
				break
			}
		}
	}
	gone, err := pruneNews(ctx, db, now.Add(-keep.Other))
	return n + gone, err
}

// pruneNews removes what routes were told of findings. News of a finding that is
// open stay, however old: they say that it was told.
func pruneNews(ctx context.Context, db *sqldb.DB, before time.Time) (n int64, err error) {
	for after := ""; ; {
		// Along the primary key, in steps: no statement holds the records up.
		var last *string
		var looked int64
		err := db.QueryRow(ctx, `SELECT MAX(finding_id), COUNT(*) FROM (SELECT finding_id FROM notify_news WHERE finding_id > ? ORDER BY finding_id LIMIT ?) AS step`, after, pruned).Scan(&last, &looked)
		if err != nil {
			return n, fmt.Errorf("remove old news: %w", err)
		}
		if looked == 0 {
			return n, nil
		}
		done, err := db.Exec(ctx, `DELETE FROM notify_news WHERE finding_id > ? AND finding_id <= ? AND message_key <> '' AND added_at < ?
			AND NOT EXISTS (SELECT 1 FROM condition_finding f WHERE f.id = finding_id AND f.state <> 'cleared')`, after, *last, rows.Millis(before))
		if err != nil {
			return n, fmt.Errorf("remove old news: %w", err)
		}
		gone, err := done.RowsAffected()
		if err != nil {
			return n, fmt.Errorf("remove old news: %w", err)
		}
		n, after = n+gone, *last
	}
}
