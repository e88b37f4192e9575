package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type conditionStore struct{ db *DB }

// Condition is the store of detectors, findings and the evaluator's state.
func (db *DB) Condition() condition.Store { return conditionStore{db} }

// detectorDoc is a detector version as the records hold it.
type detectorDoc struct {
	condition.Detector
	Basis *condition.Basis `json:"basis,omitempty"`
}

func (s conditionStore) PutDetector(ctx context.Context, d condition.Detector) (condition.Detector, error) {
	doc, err := json.Marshal(detectorDoc{d, d.Basis})
	if err != nil {
		return d, fmt.Errorf("keep detector %s: %w", d.Name, err)
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		var kept string
		var version int
		err := s.db.queryRow(ctx, `SELECT version, doc FROM condition_detector WHERE name = ? ORDER BY version DESC LIMIT 1`+s.db.forUpdate(), d.Name).Scan(&version, &kept)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		d.Version = version
		if err == nil && kept == string(doc) {
			_, err := s.db.exec(ctx, `UPDATE condition_detector SET deleted = FALSE WHERE name = ? AND version = ?`, d.Name, version)
			return err
		}
		d.Version++
		_, err = s.db.exec(ctx, `INSERT INTO condition_detector (name, version, product, type, doc, deleted) VALUES (?, ?, ?, ?, ?, FALSE)`,
			d.Name, d.Version, d.Product, string(d.Type), string(doc))
		return err
	})
	if err != nil {
		return d, fmt.Errorf("keep detector %s: %w", d.Name, err)
	}
	return d, nil
}

func scanDetector(scan func(...any) error) (condition.Detector, error) {
	var d detectorDoc
	var name, doc string
	var version int
	if err := scan(&name, &version, &doc); err != nil {
		return d.Detector, err
	}
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		return d.Detector, fmt.Errorf("detector %s in the records: %w", name, err)
	}
	d.Name, d.Version, d.Detector.Basis = name, version, d.Basis
	return d.Detector, nil
}

func (s conditionStore) Detector(ctx context.Context, name string, version int) (condition.Detector, error) {
	query, args := `SELECT name, version, doc FROM condition_detector WHERE name = ? AND version = ?`, []any{name, version}
	if version == 0 {
		query, args = `SELECT name, version, doc FROM condition_detector WHERE name = ? AND NOT deleted ORDER BY version DESC LIMIT 1`, args[:1]
	}
	if seen := fleet.SightOf(ctx); seen.Limited() {
		all, err := s.Detectors(ctx, "")
		if i := slices.IndexFunc(all, func(d condition.Detector) bool { return d.Name == name }); err != nil || i < 0 {
			return condition.Detector{}, cmp.Or(err, fault.New(fault.NotFound, "no detector %q", name))
		}
	}
	d, err := scanDetector(s.db.queryRow(ctx, query, args...).Scan)
	return d, missing(err, "no detector %q", name)
}

func (s conditionStore) Detectors(ctx context.Context, product string) ([]condition.Detector, error) {
	seen, args := rows.InSight(ctx, "product", "")
	found, err := s.db.query(ctx, `SELECT name, version, doc FROM condition_detector d WHERE NOT deleted AND (product = ? OR ? = '')`+seen+`
		AND version = (SELECT MAX(version) FROM condition_detector n WHERE n.name = d.name) ORDER BY name`, append([]any{product, product}, args...)...)
	return collect(found, err, func(r *sql.Rows) (condition.Detector, error) { return scanDetector(r.Scan) })
}

func (s conditionStore) DeleteDetector(ctx context.Context, name string) error {
	r, err := s.db.exec(ctx, `UPDATE condition_detector SET deleted = TRUE WHERE name = ? AND NOT deleted`, name)
	if err != nil {
		return fmt.Errorf("delete detector %s: %w", name, err)
	}
	if n, err := r.RowsAffected(); err == nil && n == 0 {
		return fault.New(fault.NotFound, "no detector %q", name)
	}
	return nil
}

func (s conditionStore) Commit(ctx context.Context, partition string, seq uint64, findings []condition.Finding, states []condition.State) error {
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		_, err := s.db.exec(ctx, `INSERT INTO condition_position (part, seq) VALUES (?, ?)
			ON CONFLICT (part) DO UPDATE SET seq = excluded.seq`, partition, int64(seq))
		if err != nil {
			return err
		}
		if err := s.PutFindings(ctx, findings); err != nil {
			return fmt.Errorf("findings: %w", err)
		}
		if err := s.putStates(ctx, partition, states); err != nil {
			return fmt.Errorf("states: %w", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("commit position %d of the evaluator: %w", seq, err)
	}
	return nil
}

func (s conditionStore) PutFindings(ctx context.Context, findings []condition.Finding) error {
	rows := make([][]any, len(findings))
	for i, f := range findings {
		rows[i] = []any{
			f.ID, f.Detector.Name, f.Detector.Version, string(f.Severity), f.UnitID, f.UnitKey, f.Product, string(f.State),
			millis(f.Onset), millis(f.OpenedAt), millis(f.SeenAt), millis(f.LastAt), millis(f.Cleared), f.Why, f.ClearWhy, f.Peak, f.Late, f.Place, f.Units,
		}
	}
	return s.db.insertRows(ctx, `INSERT INTO condition_finding
		(id, detector, version, severity, unit_id, unit_key, product, state, onset, opened_at, seen_at, last_at, cleared, why, clear_why, peak, late, place, units)`,
		` ON CONFLICT (id) DO UPDATE SET state = excluded.state, last_at = excluded.last_at, cleared = excluded.cleared,
		clear_why = excluded.clear_why, peak = excluded.peak, units = excluded.units`, rows)
}

func (s conditionStore) putStates(ctx context.Context, partition string, states []condition.State) error {
	var kept, exposures [][]any
	var gone []int64
	for i := range states {
		st := &states[i]
		if st.Data == nil {
			gone = append(gone, st.UnitKey)
			continue
		}
		kept = append(kept, []any{partition, st.UnitKey, st.Product, millis(st.JudgedAt), millis(st.SilentAt), st.Data})
		for _, x := range st.Exposures {
			exposures = append(exposures, exposureRow(x.Detector, x))
		}
	}
	err := s.db.insertRows(ctx, `INSERT INTO condition_state (part, unit_key, product, judged_at, silent_at, data)`,
		` ON CONFLICT (part, unit_key) DO UPDATE SET product = excluded.product, judged_at = excluded.judged_at, silent_at = excluded.silent_at, data = excluded.data`, kept)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(gone, maxParameters-1) {
		where, args := in("unit_key", part)
		if _, err := s.db.exec(ctx, `DELETE FROM condition_state WHERE part = ? AND `+where, append([]any{partition}, args...)...); err != nil {
			return err
		}
	}
	return s.insertExposures(ctx, exposures)
}

func exposureRow(d condition.Ref, x condition.Exposure) []any {
	return []any{d.Name, d.Version, x.UnitKey, millis(x.Since), x.For.Milliseconds(), millis(x.LastAt)}
}

func (s conditionStore) insertExposures(ctx context.Context, rows [][]any) error {
	return s.db.insertRows(ctx, `INSERT INTO condition_exposure (detector, version, unit_key, since, for_ms, last_at)`,
		` ON CONFLICT (detector, version, unit_key) DO UPDATE SET since = excluded.since, for_ms = excluded.for_ms, last_at = excluded.last_at`, rows)
}

// loadPage is how many states Load reads at once.
const loadPage = 1000

func (s conditionStore) Load(ctx context.Context, partition string, each func(ctx context.Context, states []condition.State) error) (uint64, error) {
	var seq int64
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		err := s.db.queryRow(ctx, `SELECT seq FROM condition_position WHERE part = ?`, partition).Scan(&seq)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		} else if err != nil {
			return err
		}
		for last := int64(-1); ; { // keys are positive
			found, err := s.db.query(ctx, `SELECT unit_key, product, judged_at, silent_at, data FROM condition_state
				WHERE part = ? AND unit_key > ? ORDER BY unit_key LIMIT ?`, partition, last, loadPage)
			states, err := collect(found, err, func(r *sql.Rows) (condition.State, error) {
				var st condition.State
				var judged, silent int64
				err := r.Scan(&st.UnitKey, &st.Product, &judged, &silent, &st.Data)
				st.JudgedAt, st.SilentAt = fromMillis(judged), fromMillis(silent)
				return st, err
			})
			if err != nil || len(states) == 0 {
				return err
			}
			if err := each(ctx, states); err != nil {
				return err
			}
			last = states[len(states)-1].UnitKey
		}
	})
	if err != nil {
		return 0, fmt.Errorf("load the evaluator's state: %w", err)
	}
	return uint64(seq), nil
}

func (s conditionStore) Kept(ctx context.Context, partition string, units []int64) (map[int64][]byte, error) {
	out := make(map[int64][]byte, len(units))
	for part := range slices.Chunk(units, maxParameters-1) {
		where, args := in("unit_key", part)
		found, err := s.db.query(ctx, `SELECT unit_key, data FROM condition_state WHERE part = ? AND `+where, append([]any{partition}, args...)...)
		_, err = collect(found, err, func(r *sql.Rows) (key int64, err error) {
			var data []byte
			err = r.Scan(&key, &data)
			out[key] = data
			return key, err
		})
		if err != nil {
			return nil, fmt.Errorf("the evaluator's state of %d units: %w", len(part), err)
		}
	}
	return out, nil
}

func (s conditionStore) Exposures(ctx context.Context, d condition.Ref, units []int64) ([]condition.Exposure, error) {
	const query = `SELECT unit_key, since, for_ms, last_at FROM condition_exposure WHERE detector = ? AND version = ?`
	if units == nil {
		return s.exposures(ctx, d, query+` ORDER BY unit_key`, d.Name, d.Version)
	}
	var out []condition.Exposure
	for part := range slices.Chunk(units, maxParameters-2) {
		where, args := in("unit_key", part)
		more, err := s.exposures(ctx, d, query+` AND `+where+` ORDER BY unit_key`, append([]any{d.Name, d.Version}, args...)...)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

func (s conditionStore) exposures(ctx context.Context, d condition.Ref, query string, args ...any) ([]condition.Exposure, error) {
	rows, err := s.db.query(ctx, query, args...)
	return collect(rows, err, func(r *sql.Rows) (condition.Exposure, error) {
		x := condition.Exposure{Detector: d}
		var since, length, last int64
		err := r.Scan(&x.UnitKey, &since, &length, &last)
		x.Since, x.For, x.LastAt = fromMillis(since), time.Duration(length)*time.Millisecond, fromMillis(last)
		return x, err
	})
}

func (s conditionStore) PutExposures(ctx context.Context, d condition.Ref, exposures []condition.Exposure) error {
	rows := make([][]any, len(exposures))
	for i, x := range exposures {
		rows[i] = exposureRow(d, x)
	}
	return s.db.InTx(ctx, func(ctx context.Context) error { return s.insertExposures(ctx, rows) })
}

func (s conditionStore) JudgedAt(ctx context.Context, product string, units []int64) (map[int64]time.Time, error) {
	return s.newest(ctx, "judged_at", product, units)
}

func (s conditionStore) SilentAt(ctx context.Context, product string, units []int64) (map[int64]time.Time, error) {
	return s.newest(ctx, "silent_at", product, units)
}

// newest is a time of each unit's states, where it has one.
func (s conditionStore) newest(ctx context.Context, column, product string, units []int64) (map[int64]time.Time, error) {
	out := map[int64]time.Time{}
	read := func(where string, args ...any) error {
		rows, err := s.db.query(ctx, `SELECT unit_key, MAX(`+column+`) FROM condition_state WHERE product = ? AND `+column+` > 0`+where+` GROUP BY unit_key`,
			append([]any{product}, args...)...)
		_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
			var key, at int64
			err := r.Scan(&key, &at)
			out[key] = fromMillis(at)
			return struct{}{}, err
		})
		return err
	}
	if units == nil {
		return out, read("")
	}
	for part := range slices.Chunk(units, maxParameters-1) {
		where, args := in("unit_key", part)
		if err := read(" AND "+where, args...); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s conditionStore) CountConditions(ctx context.Context, product string, stale time.Time) (map[condition.Condition]int, error) {
	seen, args := rows.InSight(ctx, "u.product", "u.region")
	found, err := s.db.query(ctx, strings.Join([]string{
		`SELECT state, COUNT(*) FROM (SELECT CASE`,
		`WHEN f.silent = 1 OR j.silent_at > 0 THEN 'silent' WHEN f.failed = 1 THEN 'failed' WHEN f.failed = 0 THEN 'degraded'`,
		`WHEN j.judged_at >= ? THEN 'normal' ELSE 'unknown' END AS state`,
		`FROM fleet_unit u`,
		`LEFT JOIN (SELECT o.unit_key, MAX(CASE WHEN d.type = 'silence' THEN 1 ELSE 0 END) AS silent, MAX(CASE WHEN o.severity = 'critical' THEN 1 ELSE 0 END) AS failed`,
		`FROM condition_finding o JOIN condition_detector d ON d.name = o.detector AND d.version = o.version`,
		`WHERE o.state = 'open' AND o.product = ? GROUP BY o.unit_key) f ON f.unit_key = u.unit_key`,
		`LEFT JOIN (SELECT unit_key, MAX(judged_at) AS judged_at, MAX(silent_at) AS silent_at FROM condition_state WHERE product = ? AND judged_at + silent_at > 0 GROUP BY unit_key) j ON j.unit_key = u.unit_key`,
		`WHERE u.product = ? AND u.state = 'active'` + seen + `) t GROUP BY state`,
	}, " "), append([]any{millis(stale), product, product, product}, args...)...)
	out := map[condition.Condition]int{}
	_, err = collect(found, err, func(r *sql.Rows) (struct{}, error) {
		var state string
		var n int
		err := r.Scan(&state, &n)
		out[condition.Condition(state)] = n
		return struct{}{}, err
	})
	return out, err
}
