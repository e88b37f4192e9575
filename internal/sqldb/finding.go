package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/sqldb/failure"
	"fettle.dev/fettle/internal/sqldb/rows"
)

const findingColumns = `id, detector, version, severity, unit_id, unit_key, product, state, onset, opened_at, seen_at, last_at, cleared,
	why, clear_why, peak, late, place, units, ack_by, ack_at, shelved_until, assessment, assessed_by`

func scanFinding(scan func(...any) error) (condition.Finding, error) {
	var f condition.Finding
	var onset, opened, seen, last, cleared, ack, shelved int64
	err := scan(&f.ID, &f.Detector.Name, &f.Detector.Version, &f.Severity, &f.UnitID, &f.UnitKey, &f.Product, &f.State,
		&onset, &opened, &seen, &last, &cleared, &f.Why, &f.ClearWhy, &f.Peak, &f.Late, &f.Place, &f.Units, &f.AckBy, &ack, &shelved, &f.Assessment, &f.AssessedBy)
	f.Onset, f.OpenedAt, f.SeenAt, f.LastAt, f.Cleared = fromMillis(onset), fromMillis(opened), fromMillis(seen), fromMillis(last), fromMillis(cleared)
	f.AckAt, f.ShelvedUntil = fromMillis(ack), fromMillis(shelved)
	return f, err
}

func (s conditionStore) Finding(ctx context.Context, id string) (condition.Finding, error) {
	seen, args := rows.UnitInSight(ctx, "unit_id")
	f, err := scanFinding(s.db.queryRow(ctx, `SELECT `+findingColumns+` FROM condition_finding WHERE id = ?`+seen, append([]any{id}, args...)...).Scan)
	return f, missing(err, "no finding %q", id)
}

func findingWhere(ctx context.Context, f condition.FindingFilter) (string, []any) {
	seen, args := rows.UnitInSight(ctx, "unit_id")
	where := []string{"1 = 1" + seen}
	add := func(set bool, text string, values ...any) {
		if set {
			where, args = append(where, text), append(args, values...)
		}
	}
	add(f.Product != "", "product = ?", f.Product)
	add(f.UnitID != "", "unit_id = ?", f.UnitID)
	if len(f.UnitIDs) > 0 {
		ids := make([]any, len(f.UnitIDs))
		for i, id := range f.UnitIDs {
			ids[i] = id
		}
		add(true, "unit_id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", ids...)
	}
	add(f.Detector != "", "detector = ?", f.Detector)
	add(f.Version != 0, "version = ?", f.Version)
	add(f.State == condition.Open, "state = 'open'")
	add(f.State != "" && f.State != condition.Open, "state = ?", string(f.State))
	add(f.Severity != "", "severity = ?", string(f.Severity))
	add(f.Assessment != "", "assessment = ?", string(f.Assessment))
	add(!f.HideShelvedAt.IsZero(), "shelved_until <= ?", millis(f.HideShelvedAt))
	add(!f.To.IsZero(), "onset < ?", millis(f.To))
	add(!f.From.IsZero(), "last_at >= ?", millis(f.From))
	add(f.Before != "", "(opened_at, id) < (SELECT opened_at, id FROM condition_finding WHERE id = ?)", f.Before)
	return strings.Join(where, " AND "), args
}

func (s conditionStore) Findings(ctx context.Context, f condition.FindingFilter) ([]condition.Finding, error) {
	where, args := findingWhere(ctx, f)
	query := `SELECT ` + findingColumns + ` FROM condition_finding WHERE ` + where + ` ORDER BY opened_at DESC, id DESC`
	if f.Limit > 0 {
		query += ` LIMIT ?`
		args = append(args, f.Limit)
	}
	found, err := s.db.query(ctx, query, args...)
	return collect(found, err, func(r *sql.Rows) (condition.Finding, error) { return scanFinding(r.Scan) })
}

func (s conditionStore) CountFindings(ctx context.Context, f condition.FindingFilter) (int, error) {
	where, args := findingWhere(ctx, f)
	var n int
	err := s.db.queryRow(ctx, `SELECT COUNT(*) FROM condition_finding WHERE `+where, args...).Scan(&n)
	return n, err
}

// UpdateFinding changes what people made of a finding; the rest is the evaluator's.
func (s conditionStore) UpdateFinding(ctx context.Context, id string, change func(*condition.Finding) error) (condition.Finding, error) {
	var f condition.Finding
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		var err error
		seen, args := rows.UnitInSight(ctx, "unit_id")
		f, err = scanFinding(s.db.queryRow(ctx, `SELECT `+findingColumns+` FROM condition_finding WHERE id = ?`+seen+s.db.forUpdate(), append([]any{id}, args...)...).Scan)
		if err != nil {
			return missing(err, "no finding %q", id)
		}
		if err := change(&f); err != nil {
			return err
		}
		_, err = s.db.exec(ctx, `UPDATE condition_finding SET ack_by = ?, ack_at = ?, shelved_until = ?, assessment = ?, assessed_by = ? WHERE id = ?`,
			f.AckBy, millis(f.AckAt), millis(f.ShelvedUntil), string(f.Assessment), f.AssessedBy, id)
		return err
	})
	if err != nil {
		return condition.Finding{}, fmt.Errorf("change finding: %w", err)
	}
	return f, nil
}

func (s conditionStore) AddComment(ctx context.Context, c condition.Comment) error {
	_, err := s.db.exec(ctx, `INSERT INTO condition_comment (id, finding_id, by_whom, at, text) VALUES (?, ?, ?, ?, ?)`, c.ID, c.FindingID, c.By, millis(c.At), c.Text)
	if failure.Foreign(err) {
		return missing(sql.ErrNoRows, "no finding %q", c.FindingID)
	}
	return err
}

func (s conditionStore) Comments(ctx context.Context, findingID string) ([]condition.Comment, error) {
	rows, err := s.db.query(ctx, `SELECT id, finding_id, by_whom, at, text FROM condition_comment WHERE finding_id = ? ORDER BY at, id`, findingID)
	return collect(rows, err, func(r *sql.Rows) (condition.Comment, error) {
		var c condition.Comment
		var at int64
		err := r.Scan(&c.ID, &c.FindingID, &c.By, &at, &c.Text)
		c.At = fromMillis(at)
		return c, err
	})
}
