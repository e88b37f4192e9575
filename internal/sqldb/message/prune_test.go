package message_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/rows"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

// What is old goes in batches, with its deliveries; what is still to be sent,
// and for longer what concerned safety, stays.
func TestOldMessagesGo(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		const day = 24 * time.Hour
		var values, deliveries [][]any
		add := func(name, channel, kind string, age time.Duration, nextAt int64) {
			at := now.Add(-age)
			id := uuid.Must(uuid.NewV7())
			for i, shift := range []int{40, 32, 24, 16, 8, 0} {
				id[i] = byte(at.UnixMilli() >> shift)
			}
			values = append(values, []any{id.String(), name, channel, "a@example.org", "", name, "", at.UnixMilli(), int64(1), int64(1), "", nextAt, int64(0), kind})
			deliveries = append(deliveries, []any{id.String(), int64(1), "sent", at.UnixMilli(), channel, "", ""})
		}
		for i := range 2500 {
			add(fmt.Sprint("old ", i), "mail", "service", 401*day, 0)
		}
		add("recent", "mail", "service", 399*day, 0)
		add("to be sent", "mail", "service", 401*day, 1)
		add("recall", "mail", "safety", 401*day, 0)
		add("old recall", "letter", "safety", 1900*day, 0)
		add("old hook", "webhook", "operations", 31*day, 0)
		add("hook", "webhook", "operations", 29*day, 0)
		require.NoError(t, db.InsertRows(t.Context(), `INSERT INTO notify_message (id, msg_key, channel, recipient, owner_id, subject, body, created_at, sent_at, attempts, last_error, next_at, expires_at, kind)`, ``, values))
		require.NoError(t, db.InsertRows(t.Context(), `INSERT INTO notify_delivery (message_id, attempt, result, at, channel, detail, remote_id)`, ``, deliveries))
		ages := message.Ages{Safety: 1826 * day, Webhook: 30 * day, Other: 400 * day}
		n, err := message.Prune(t.Context(), db, now, ages)
		require.NoError(t, err)
		require.EqualValues(t, 2502, n)
		n, err = message.Prune(t.Context(), db, now, ages)
		require.NoError(t, err)
		require.Zero(t, n)
		for _, query := range []string{`SELECT COUNT(*) FROM notify_message`, `SELECT COUNT(*) FROM notify_delivery`} {
			var left int
			require.NoError(t, db.QueryRow(t.Context(), query).Scan(&left))
			require.Equal(t, 4, left, query)
		}
	})
}

// News of findings go by age once they were told and their finding is over.
func TestOldNewsGo(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		const day = 24 * time.Hour
		var news, findings [][]any
		add := func(id, key, state string, age time.Duration) {
			at := now.Add(-age).UnixMilli()
			for _, route := range []string{"a", "b"} {
				news = append(news, []any{id, route, "box", "hot", "major", "B-1", "it is hot", at, at, key})
			}
			if state != "" {
				findings = append(findings, []any{id, "hot", int64(1), "major", "B-1", int64(1), "box", state, at, at, at, at, int64(0), "it is hot", "", float64(1), false})
			}
		}
		for i := range 1200 {
			add(fmt.Sprintf("old %04d", i), "digest", "cleared", 401*day)
		}
		add("of nothing", "digest", "", 401*day)
		add("recent", "digest", "cleared", 399*day)
		add("untold", "", "cleared", 401*day)
		add("open", "digest", "open", 401*day)
		require.NoError(t, db.InsertRows(t.Context(), `INSERT INTO notify_news (finding_id, route, product, detector, severity, unit_id, why, opened_at, added_at, message_key)`, ``, news))
		require.NoError(t, db.InsertRows(t.Context(), `INSERT INTO condition_finding (id, detector, version, severity, unit_id, unit_key, product, state, onset, opened_at, seen_at, last_at, cleared, why, clear_why, peak, late)`, ``, findings))
		n, err := message.Prune(t.Context(), db, now, message.Ages{Safety: 1826 * day, Webhook: 30 * day, Other: 400 * day})
		require.NoError(t, err)
		require.EqualValues(t, 2402, n)
		found, err := db.Query(t.Context(), `SELECT DISTINCT finding_id FROM notify_news ORDER BY finding_id`)
		left, err := rows.Collect(found, err, func(r *sql.Rows) (id string, err error) { return id, r.Scan(&id) })
		require.NoError(t, err)
		require.Equal(t, []string{"open", "recent", "untold"}, left)
	})
}
