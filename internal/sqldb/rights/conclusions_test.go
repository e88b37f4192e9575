package rights_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rights"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

// What was concluded from withdrawn data goes from what stands on it, too: the
// digest that told operators of it, and trials of the detector. What others
// permit still, and other detectors' trials, stay.
func TestConclusionsGoFromDigestsAndTrials(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		exec := func(text string, args ...any) {
			t.Helper()
			_, err := db.Exec(t.Context(), text, args...)
			require.NoError(t, err)
		}
		for detector, purpose := range map[string]string{"hot": "care", "worn": "proof"} {
			exec(`INSERT INTO condition_detector (name, version, product, type, doc, deleted) VALUES (?, 1, 'box', 'tolerance', ?, FALSE)`, detector, `{"purpose":"`+purpose+`"}`)
			for unit, key := range map[string]int{"B-1": 1, "B-2": 2} {
				id := detector + unit
				exec(`INSERT INTO condition_finding (id, detector, version, severity, unit_id, unit_key, product, state, onset, opened_at, seen_at, last_at, cleared, why, clear_why, peak, late)
					VALUES (?, ?, 1, 'major', ?, ?, 'box', 'open', 1, 1, 1, 1, 0, 'it is hot', '', 1, FALSE)`, id, detector, unit, key)
				exec(`INSERT INTO notify_news (finding_id, route, product, detector, severity, unit_id, why, opened_at, added_at, message_key) VALUES (?, 'r', 'box', ?, 'major', ?, 'it is hot', 1, 1, ?)`, id, detector, unit, "digest "+id)
				exec(`INSERT INTO notify_message (id, msg_key, channel, recipient, owner_id, subject, body, created_at, sent_at, attempts, last_error, next_at, expires_at)
					VALUES (?, ?, 'mail', 'ops@example.org', '', 'findings', ?, 1, 1, 1, '', 0, 0)`, id, "digest "+id, unit+" is hot")
			}
			for state, ended := range map[string]int{"done": 2, "running": 0, "waiting": 0} { // also of a detector that is not kept
				exec(`INSERT INTO condition_backtest (id, detector, product, at, state, ended_at, doc) VALUES (?, ?, 'box', 1, ?, ?, ?)`, state+" "+detector, "new "+detector, state, ended, `{"request":{"spec":{"purpose":"`+purpose+`"}}}`)
			}
		}
		require.NoError(t, rights.EraseConclusions(t.Context(), db, "box", "care", []string{"B-1"}, []int64{1}))
		count := func(text string) (n int) {
			t.Helper()
			require.NoError(t, db.QueryRow(t.Context(), text).Scan(&n))
			return n
		}
		require.Equal(t, 3, count(`SELECT COUNT(*) FROM condition_finding`))
		require.Equal(t, 3, count(`SELECT COUNT(*) FROM notify_message WHERE body <> ''`))
		require.Equal(t, 1, count(`SELECT COUNT(*) FROM notify_message WHERE body = '' AND msg_key = 'digest hotB-1'`))
		require.Equal(t, 2, count(`SELECT COUNT(*) FROM condition_backtest WHERE id IN ('waiting hot', 'running hot') AND detector = 'new hot'`))
		require.Equal(t, 1, count(`SELECT COUNT(*) FROM condition_backtest WHERE id = 'running hot' AND state = 'stopping'`))
		require.Equal(t, 3, count(`SELECT COUNT(*) FROM condition_backtest WHERE detector = 'new worn'`))
	})
}
