// Package rights keeps what owners' rights over their data need in the records:
// notices and who saw them, withdrawals, exports, shares and who fetched what.
package rights

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/consent/withdrawal"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type noticeStore struct{ db *sqldb.DB }

// Notices is the store of notices.
func Notices(db *sqldb.DB) consent.NoticeStore { return noticeStore{db} }

const noticeColumns = `product, version, place, doc, published_at, shown_at`

func scanNotice(scan func(...any) error) (n consent.Notice, err error) {
	var doc string
	var published, shown int64
	if err := scan(&n.Product, &n.Version, &n.Place, &doc, &published, &shown); err != nil {
		return n, err
	}
	n.PublishedAt, n.ShownAt = rows.Time(published), rows.Time(shown)
	if err := json.Unmarshal([]byte(doc), &n.Words); err != nil {
		return n, fmt.Errorf("notice %s of %s in the records: %w", n.Version, n.Product, err)
	}
	n.Words.Name = n.Product
	return n, nil
}

func (s noticeStore) Notices(ctx context.Context, product string) ([]consent.Notice, error) {
	found, err := s.db.Query(ctx, `SELECT `+noticeColumns+` FROM consent_notice WHERE product = ? ORDER BY place`, product)
	return rows.Collect(found, err, func(r *sql.Rows) (consent.Notice, error) { return scanNotice(r.Scan) })
}

func (s noticeStore) Notice(ctx context.Context, product, version string) (consent.Notice, error) {
	n, err := scanNotice(s.db.QueryRow(ctx, `SELECT `+noticeColumns+` FROM consent_notice WHERE product = ? AND version = ?`, product, version).Scan)
	return n, rows.Missing(err, "%s has no notice %q", product, version)
}

func (s noticeStore) PutNotice(ctx context.Context, n consent.Notice) error {
	doc, err := json.Marshal(n.Words)
	if err == nil {
		_, err = s.db.Exec(ctx, `INSERT INTO consent_notice (`+noticeColumns+`) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (product, version) DO UPDATE SET place = excluded.place, published_at = excluded.published_at,
			doc = CASE WHEN consent_notice.shown_at = 0 THEN excluded.doc ELSE consent_notice.doc END`,
			n.Product, n.Version, n.Place, string(doc), rows.Millis(n.PublishedAt), rows.Millis(n.ShownAt))
	}
	if err != nil {
		return fmt.Errorf("keep notice %s of %s: %w", n.Version, n.Product, err)
	}
	return nil
}

func (s noticeStore) Show(ctx context.Context, v consent.Shown) error {
	var known int
	err := s.db.QueryRow(ctx, `SELECT COUNT(*) FROM consent_shown WHERE owner_id = ? AND product = ? AND version = ? AND language = ?`,
		v.OwnerID, v.Product, v.Version, v.Language).Scan(&known)
	if err != nil || known > 0 {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		_, err := s.db.Exec(ctx, `INSERT INTO consent_shown (owner_id, product, version, language, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			v.OwnerID, v.Product, v.Version, v.Language, rows.Millis(v.At))
		if err != nil {
			return fmt.Errorf("note who saw notice %s: %w", v.Version, err)
		}
		_, err = s.db.Exec(ctx, `UPDATE consent_notice SET shown_at = ? WHERE product = ? AND version = ? AND shown_at = 0`, rows.Millis(v.At), v.Product, v.Version)
		return err
	})
}

func (s noticeStore) ShownTo(ctx context.Context, ownerID string) ([]consent.Shown, error) {
	found, err := s.db.Query(ctx, `SELECT owner_id, product, version, language, at FROM consent_shown WHERE owner_id = ? ORDER BY at, product, version`, ownerID)
	return rows.Collect(found, err, func(r *sql.Rows) (v consent.Shown, err error) {
		var at int64
		err = r.Scan(&v.OwnerID, &v.Product, &v.Version, &v.Language, &at)
		v.At = rows.Time(at)
		return v, err
	})
}

func (s noticeStore) Saw(ctx context.Context, product string) (map[string]int, error) {
	out := map[string]int{}
	found, err := s.db.Query(ctx, `SELECT version, COUNT(DISTINCT owner_id) FROM consent_shown WHERE product = ? GROUP BY version`, product)
	_, err = rows.Collect(found, err, func(r *sql.Rows) (struct{}, error) {
		var version string
		var n int
		err := r.Scan(&version, &n)
		out[version] = n
		return struct{}{}, err
	})
	return out, err
}

type withdrawalStore struct{ db *sqldb.DB }

// Withdrawals is the store of withdrawals.
func Withdrawals(db *sqldb.DB) withdrawal.Store { return withdrawalStore{db} }

// plan is what a withdrawal's doc holds.
type plan struct {
	Erase  []string `json:"erase"`
	Kept   []string `json:"kept,omitempty"`
	Reason string   `json:"reason,omitempty"`
}

func (s withdrawalStore) Add(ctx context.Context, w withdrawal.Withdrawal) error {
	doc, err := json.Marshal(plan{w.Erase, w.Kept, w.Reason})
	if err == nil {
		_, err = s.db.Exec(ctx, `INSERT INTO consent_withdrawal (id, unit_id, unit_key, product, purpose, doc, at, step, tries, failed, ended_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, w.ID, w.UnitID, w.UnitKey, w.Product, w.Purpose, string(doc), rows.Millis(w.At), w.Step, w.Tries, w.Failed, rows.Millis(w.EndedAt))
	}
	if err != nil {
		return fmt.Errorf("keep a withdrawal: %w", err)
	}
	return nil
}

func (s withdrawalStore) list(ctx context.Context, where string, args ...any) ([]withdrawal.Withdrawal, error) {
	found, err := s.db.Query(ctx, `SELECT id, unit_id, unit_key, product, purpose, doc, at, step, tries, failed, ended_at FROM consent_withdrawal WHERE `+where, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (w withdrawal.Withdrawal, err error) {
		var doc string
		var at, ended int64
		if err := r.Scan(&w.ID, &w.UnitID, &w.UnitKey, &w.Product, &w.Purpose, &doc, &at, &w.Step, &w.Tries, &w.Failed, &ended); err != nil {
			return w, err
		}
		var d plan
		err = json.Unmarshal([]byte(doc), &d)
		w.Erase, w.Kept, w.Reason, w.At, w.EndedAt = d.Erase, d.Kept, d.Reason, rows.Time(at), rows.Time(ended)
		return w, err
	})
}

func (s withdrawalStore) Open(ctx context.Context, unitID string, limit int) ([]withdrawal.Withdrawal, error) {
	if unitID == "" {
		return s.list(ctx, `ended_at = 0 ORDER BY at, id LIMIT ?`, limit)
	}
	return s.list(ctx, `ended_at = 0 AND unit_id = ? ORDER BY at, id LIMIT ?`, unitID, limit)
}

func (s withdrawalStore) Of(ctx context.Context, unitID string, limit int) ([]withdrawal.Withdrawal, error) {
	return s.list(ctx, `unit_id = ? ORDER BY at DESC, id DESC LIMIT ?`, unitID, limit)
}

func (s withdrawalStore) Advance(ctx context.Context, all []withdrawal.Withdrawal) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, w := range all {
			if _, err := s.db.Exec(ctx, `UPDATE consent_withdrawal SET step = ?, tries = ?, failed = ?, ended_at = ? WHERE id = ?`,
				w.Step, w.Tries, w.Failed, rows.Millis(w.EndedAt), w.ID); err != nil {
				return fmt.Errorf("advance a withdrawal: %w", err)
			}
		}
		return nil
	})
}

func (s withdrawalStore) Drop(ctx context.Context, before time.Time) error {
	_, err := s.db.Exec(ctx, `DELETE FROM consent_withdrawal WHERE ended_at > 0 AND ended_at < ?`, rows.Millis(before))
	return err
}

// EraseConclusions removes, of units of one product, what was concluded for a
// purpose from data that goes: findings and what people wrote to them, their
// news, exposures, predictions, the reasons of members of cohorts, and trials.
func EraseConclusions(ctx context.Context, db *sqldb.DB, product, purpose string, ids []string, keys []int64) error {
	found, err := db.Query(ctx, `SELECT name, version, doc FROM condition_detector WHERE product = ?`, product)
	type detector struct {
		name    string
		version int
	}
	all, err := rows.Collect(found, err, func(r *sql.Rows) (d detector, err error) {
		var doc string
		if err := r.Scan(&d.name, &d.version, &doc); err != nil {
			return d, err
		}
		var v struct {
			Purpose string `json:"purpose"`
		}
		if err := json.Unmarshal([]byte(doc), &v); err != nil || v.Purpose != purpose {
			return detector{}, err
		}
		return d, nil
	})
	if err != nil {
		return fmt.Errorf("erase what was concluded: %w", err)
	}
	all = slices.DeleteFunc(all, func(d detector) bool { return d.name == "" })
	for part := range slices.Chunk(ids, 500) {
		units, args := in("unit_id", part)
		for _, d := range all {
			err := db.InTx(ctx, func(ctx context.Context) error {
				of := append([]any{d.name, d.version}, args...)
				findings := `SELECT id FROM condition_finding WHERE detector = ? AND version = ? AND ` + units
				for _, q := range []string{
					// What operators were told of them, in a digest that names others, too.
					`UPDATE notify_message SET subject = '', body = '', html = '', next_at = 0 WHERE owner_id = '' AND msg_key IN (SELECT message_key FROM notify_news WHERE message_key <> '' AND finding_id IN (` + findings + `))`,
					`DELETE FROM condition_comment WHERE finding_id IN (` + findings + `)`,
					`DELETE FROM notify_news WHERE finding_id IN (` + findings + `)`,
					`DELETE FROM condition_finding WHERE detector = ? AND version = ? AND ` + units,
				} {
					if _, err := db.Exec(ctx, q, of...); err != nil {
						return err
					}
				}
				named := append([]any{d.name}, args...)
				for _, q := range []string{
					`DELETE FROM condition_risk WHERE detector = ? AND ` + units,
					`DELETE FROM condition_prediction WHERE detector = ? AND ` + units,
				} {
					if _, err := db.Exec(ctx, q, named...); err != nil {
						return err
					}
				}
				_, err := db.Exec(ctx, `UPDATE cohort_member SET reason = '' WHERE snapshot IN (SELECT id FROM cohort_snapshot WHERE product = ? AND definition LIKE ?) AND `+units,
					append([]any{product, `%"` + d.name + `"%`}, args...)...)
				return err
			})
			if err != nil {
				return fmt.Errorf("erase what was concluded by %s: %w", d.name, err)
			}
		}
	}
	for _, d := range all {
		for part := range slices.Chunk(keys, 500) {
			units, args := in("unit_key", part)
			if _, err := db.Exec(ctx, `DELETE FROM condition_exposure WHERE detector = ? AND version = ? AND `+units, append([]any{d.name, d.version}, args...)...); err != nil {
				return fmt.Errorf("erase exposures of %s: %w", d.name, err)
			}
		}
	}
	return eraseTrials(ctx, db, product, purpose)
}

// eraseTrials removes what trials for a purpose gave: their figures and alarms
// rest on all units that they judged. One that runs was given leave before: it
// is stopped.
func eraseTrials(ctx context.Context, db *sqldb.DB, product, purpose string) error {
	found, err := db.Query(ctx, `SELECT id, doc FROM condition_backtest WHERE product = ? AND state <> 'waiting'`, product)
	ids, err := rows.Collect(found, err, func(r *sql.Rows) (id string, err error) {
		var doc string
		if err := r.Scan(&id, &doc); err != nil {
			return "", err
		}
		var v struct {
			Request struct {
				Spec struct {
					Purpose string `json:"purpose"`
				} `json:"spec"`
			} `json:"request"`
		}
		if err := json.Unmarshal([]byte(doc), &v); err != nil || v.Request.Spec.Purpose != purpose {
			return "", err
		}
		return id, nil
	})
	if err != nil {
		return fmt.Errorf("erase trials: %w", err)
	}
	for _, id := range ids {
		for _, q := range []string{`DELETE FROM condition_backtest WHERE id = ? AND ended_at > 0`, `UPDATE condition_backtest SET state = 'stopping' WHERE id = ? AND state = 'running'`} {
			if _, err := db.Exec(ctx, q, id); err != nil {
				return fmt.Errorf("erase trials: %w", err)
			}
		}
	}
	return nil
}

// in writes "column IN (?,?,…)".
func in[T any](column string, values []T) (text string, args []any) {
	args = make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	return column + " IN (" + strings.TrimSuffix(strings.Repeat("?,", len(values)), ",") + ")", args
}

// Rates counts the active units of a product that are in sight: "" is all of
// them, a purpose those whose owners gave or refused it.
func Rates(ctx context.Context, db *sqldb.DB, product string) (given, refused map[string]int, err error) {
	given, refused = map[string]int{}, map[string]int{}
	var n int
	seen, args := rows.InSight(ctx, "product", "region")
	args = append([]any{product}, args...)
	if err := db.QueryRow(ctx, `SELECT COUNT(*) FROM fleet_unit WHERE product = ? AND state = 'active'`+seen, args...).Scan(&n); err != nil {
		return nil, nil, fmt.Errorf("count units of %s: %w", product, err)
	}
	given[""] = n
	found, err := db.Query(ctx, `SELECT m.purpose, m.given, COUNT(*) FROM consent_mask m JOIN fleet_unit u ON u.id = m.unit_id
		WHERE u.product = ? AND u.state = 'active'`+seen+` GROUP BY m.purpose, m.given`, args...)
	_, err = rows.Collect(found, err, func(r *sql.Rows) (struct{}, error) {
		var purpose string
		var yes bool
		var n int
		err := r.Scan(&purpose, &yes, &n)
		if yes {
			given[purpose] = n
		} else {
			refused[purpose] = n
		}
		return struct{}{}, err
	})
	return given, refused, err
}
