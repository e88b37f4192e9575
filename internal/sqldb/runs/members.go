package runs

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb/rows"
)

// A member whose unit is gone has no row in fleet_unit.
const memberUnit = `m.unit_id, m.unit_key, COALESCE(u.product, ''), COALESCE(u.serial, ''), COALESCE(u.hardware, ''), COALESCE(u.batch, ''),
	COALESCE(u.region, ''), COALESCE(u.attributes, ''), COALESCE(u.versions, ''), COALESCE(u.version_at, 0), u.owner_id, COALESCE(u.state, ''), COALESCE(u.created_at, 0)`

func (s store) Members(ctx context.Context, q campaign.MemberQuery) ([]campaign.Member, error) {
	var args []any
	found, busy := `0`, `''`
	if q.Detector != "" {
		found, args = `COALESCE((SELECT MIN(f.opened_at) FROM condition_finding f WHERE f.unit_id = m.unit_id AND f.detector = ?), 0)`, []any{q.Detector}
	}
	if q.Except != "" {
		text, states := in("t.state", campaign.Busy)
		busy = `COALESCE((SELECT r.name FROM campaign_task t JOIN campaign_run r ON r.id = t.campaign_id
			WHERE t.unit_id = m.unit_id AND r.id <> ? AND r.state IN (?, ?) AND ` + text + ` ORDER BY r.name LIMIT 1), '')`
		args = append(append(args, q.Except, campaign.Running, campaign.Paused), states...)
	}
	args = append(args, q.Snapshot, q.After)
	to := ``
	if q.To != "" {
		to, args = ` AND m.unit_id <= ?`, append(args, q.To)
	}
	args = append(args, q.Limit)
	list, err := s.db.Query(ctx, `SELECT `+found+`, `+busy+`,
		u.id IS NOT NULL, `+memberUnit+` FROM cohort_member m LEFT JOIN fleet_unit u ON u.id = m.unit_id
		WHERE m.snapshot = ? AND m.list = 'in' AND m.unit_id > ?`+to+` ORDER BY m.unit_id LIMIT ?`, args...)
	var units rows.UnitScanner
	return rows.Collect(list, err, func(r *sql.Rows) (campaign.Member, error) {
		var m campaign.Member
		var at int64
		var err error
		m.Unit, err = units.Scan(r, &at, &m.Busy, &m.Known)
		m.FoundAt = rows.Time(at)
		return m, err
	})
}

func (s store) Watch(ctx context.Context, campaignID, product string, on bool) error {
	if !on {
		_, err := s.db.Exec(ctx, `DELETE FROM campaign_dynamic WHERE campaign_id = ?`, campaignID)
		return err
	}
	_, err := s.db.Exec(ctx, `INSERT INTO campaign_dynamic (campaign_id, product) VALUES (?, ?) ON CONFLICT (campaign_id) DO NOTHING`, campaignID, product)
	return err
}

// overlap is how many changes before the last one seen are looked at again:
// on PostgreSQL an earlier number may be committed after a later one.
const overlap = 1000

func (s store) ChangedUnits(ctx context.Context, product string, after int64, limit int) (units []fleet.Unit, last int64, err error) {
	if err := s.db.QueryRow(ctx, `SELECT COALESCE(MAX(seq), 0) FROM campaign_unit_change WHERE product = ?`, product).Scan(&last); err != nil || last <= after {
		return nil, max(last, after), err
	}
	found, err := s.db.Query(ctx, `SELECT c.seq, `+unitOf("u")+` FROM campaign_unit_change c JOIN fleet_unit u ON u.id = c.unit_id
		WHERE c.product = ? AND c.seq > ? ORDER BY c.seq LIMIT ?`, product, after-overlap, limit+overlap)
	n := 0
	units, err = rows.Collect(found, err, func(r *sql.Rows) (fleet.Unit, error) {
		var seq int64
		u, err := rows.ScanUnit(r, &seq)
		n, last = n+1, max(after, seq)
		return u, err
	})
	return units, last, err
}

func unitOf(table string) string {
	return table + `.` + strings.ReplaceAll(rows.UnitColumns, `, `, `, `+table+`.`)
}

func (s store) FoundSince(ctx context.Context, product, detector string, since time.Time, after string, limit int) ([]campaign.Member, error) {
	found, err := s.db.Query(ctx, `SELECT f.id, f.opened_at, f.why, `+unitOf("u")+` FROM condition_finding f JOIN fleet_unit u ON u.id = f.unit_id
		WHERE f.product = ? AND f.detector = ? AND f.opened_at >= ? AND (f.opened_at, f.id) > (SELECT COALESCE(MAX(opened_at), 0), COALESCE(MAX(id), '') FROM condition_finding WHERE id = ?)
		ORDER BY f.opened_at, f.id LIMIT ?`, product, detector, rows.Millis(since), after, limit)
	return rows.Collect(found, err, func(r *sql.Rows) (campaign.Member, error) {
		m := campaign.Member{Known: true}
		var at int64
		var err error
		m.Unit, err = rows.ScanUnit(r, &m.FindingID, &at, &m.Why)
		m.FoundAt = rows.Time(at)
		return m, err
	})
}
