package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb/failure"
)

type consentStore struct{ db *DB }

// Consent is the store of owners' choices.
func (db *DB) Consent() consent.Store { return consentStore{db} }

func (s consentStore) AddChoices(ctx context.Context, choices []consent.Choice) error {
	if len(choices) == 0 {
		return nil
	}
	type key struct{ unit, purpose string }
	latest := make(map[key]int, len(choices)) // place in mask
	changed := make(map[string]bool, len(choices))
	var mask, all, units [][]any
	for _, c := range choices {
		if !changed[c.UnitID] {
			changed[c.UnitID] = true
			units = append(units, []any{c.UnitID, 1})
		}
		all = append(all, []any{c.ID, c.UnitID, c.Purpose, c.Given, millis(c.At), c.Notice, c.Language, c.By})
		k, row := key{c.UnitID, c.Purpose}, []any{c.UnitID, c.Purpose, c.Given}
		if i, ok := latest[k]; ok {
			mask[i] = row
			continue
		}
		latest[k] = len(mask)
		mask = append(mask, row)
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		err := s.db.insertRows(ctx, `INSERT INTO consent_mask (unit_id, purpose, given)`,
			` ON CONFLICT (unit_id, purpose) DO UPDATE SET given = excluded.given`, mask)
		if err != nil {
			return err
		}
		err = s.db.insertRows(ctx, `INSERT INTO consent_untold (unit_id, changes)`,
			` ON CONFLICT (unit_id) DO UPDATE SET changes = consent_untold.changes + 1`, units)
		if err != nil {
			return err
		}
		return s.db.insertRows(ctx, `INSERT INTO consent_choice (id, unit_id, purpose, given, at, notice, language, made_by)`, ``, all)
	})
	switch {
	case failure.Foreign(err):
		return fault.New(fault.NotFound, "keep choices: a unit of them is not known: %w", err)
	case err != nil:
		return fmt.Errorf("keep choices: %w", err)
	}
	return nil
}

func (s consentStore) Mask(ctx context.Context, unitID string) (consent.Mask, error) {
	rows, err := s.db.query(ctx, `SELECT purpose, given FROM consent_mask WHERE unit_id = ?`, unitID)
	if err != nil {
		return nil, fmt.Errorf("mask of unit %s: %w", unitID, err)
	}
	defer rows.Close()
	m := consent.Mask{}
	for rows.Next() {
		var purpose string
		var given bool
		if err := rows.Scan(&purpose, &given); err != nil {
			return nil, fmt.Errorf("mask of unit %s: %w", unitID, err)
		}
		m[purpose] = given
	}
	return m, rows.Err()
}

func (s consentStore) Masks(ctx context.Context, product string) (map[string]consent.Mask, error) {
	rows, err := s.db.query(ctx, `SELECT m.unit_id, m.purpose, m.given FROM consent_mask m
		JOIN fleet_unit u ON u.id = m.unit_id WHERE u.product = ?`, product)
	if err != nil {
		return nil, fmt.Errorf("masks of product %s: %w", product, err)
	}
	defer rows.Close()
	all := map[string]consent.Mask{}
	for rows.Next() {
		var unit, purpose string
		var given bool
		if err := rows.Scan(&unit, &purpose, &given); err != nil {
			return nil, fmt.Errorf("masks of product %s: %w", product, err)
		}
		m := all[unit]
		if m == nil {
			m = consent.Mask{}
			all[unit] = m
		}
		m[purpose] = given
	}
	return all, rows.Err()
}

func (s consentStore) Choices(ctx context.Context, unitID string) ([]consent.Choice, error) {
	rows, err := s.db.query(ctx, `SELECT id, unit_id, purpose, given, at, notice, language, made_by FROM consent_choice WHERE unit_id = ? ORDER BY seq`, unitID)
	out, err := collect(rows, err, func(r *sql.Rows) (c consent.Choice, err error) {
		var at int64
		err = r.Scan(&c.ID, &c.UnitID, &c.Purpose, &c.Given, &at, &c.Notice, &c.Language, &c.By)
		c.At = fromMillis(at)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("choices of unit %s: %w", unitID, err)
	}
	return out, nil
}

func (s consentStore) MasksOf(ctx context.Context, product string, units []int64) (map[int64]consent.Mask, error) {
	all := map[int64]consent.Mask{}
	if units == nil {
		return all, s.addMasks(ctx, all, ``, product)
	}
	for part := range slices.Chunk(units, maxParameters-1) {
		where, args := in("u.unit_key", part)
		if err := s.addMasks(ctx, all, ` AND `+where, append([]any{product}, args...)...); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s consentStore) Uncovered(ctx context.Context, product string) (map[int64]consent.Mask, error) {
	all := map[int64]consent.Mask{}
	return all, s.addMasks(ctx, all, ` AND m.purpose LIKE '%+%'`, product)
}

func (s consentStore) addMasks(ctx context.Context, all map[int64]consent.Mask, where string, args ...any) error {
	rows, err := s.db.query(ctx, `SELECT u.unit_key, m.purpose, m.given FROM consent_mask m JOIN fleet_unit u ON u.id = m.unit_id WHERE u.product = ?`+where, args...)
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var key int64
		var purpose string
		var given bool
		err := r.Scan(&key, &purpose, &given)
		if all[key] == nil {
			all[key] = consent.Mask{}
		}
		all[key][purpose] = given
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("masks by unit: %w", err)
	}
	return nil
}

func (s consentStore) Uncover(ctx context.Context, product, purpose string, items []string) error {
	for _, item := range items {
		_, err := s.db.exec(ctx, `INSERT INTO consent_mask (unit_id, purpose, given) SELECT m.unit_id, ?, FALSE FROM consent_mask m
			JOIN fleet_unit u ON u.id = m.unit_id WHERE u.product = ? AND m.purpose = ? AND m.given ON CONFLICT DO NOTHING`, purpose+"+"+item, product, purpose)
		if err != nil {
			return fmt.Errorf("what %s does not cover: %w", purpose, err)
		}
	}
	return nil
}

func (s consentStore) Cover(ctx context.Context, unitID, purpose string) error {
	_, err := s.db.exec(ctx, `DELETE FROM consent_mask WHERE unit_id = ? AND substr(purpose, 1, ?) = ?`, unitID, len(purpose)+1, purpose+"+")
	if err != nil {
		return fmt.Errorf("what %s covers: %w", purpose, err)
	}
	return nil
}

func (s consentStore) Permits(ctx context.Context, product, purpose string, necessary bool) (map[int64]bool, error) {
	rows, err := s.db.query(ctx, `SELECT u.unit_key, (? OR COALESCE(m.given, FALSE)) AND NOT EXISTS
		(SELECT 1 FROM consent_mask x WHERE x.unit_id = u.id AND x.given AND x.purpose IN (?, ?)) FROM fleet_unit u
		LEFT JOIN consent_mask m ON m.unit_id = u.id AND m.purpose = ? WHERE u.product = ?`,
		necessary, consent.Restricted, consent.Objected+purpose, purpose, product)
	if err != nil {
		return nil, fmt.Errorf("who permits %s: %w", purpose, err)
	}
	defer rows.Close()
	all := map[int64]bool{}
	for rows.Next() {
		var key int64
		var given sql.NullBool
		if err := rows.Scan(&key, &given); err != nil {
			return nil, fmt.Errorf("who permits %s: %w", purpose, err)
		}
		all[key] = given.Bool
	}
	return all, rows.Err()
}

func (s consentStore) Untold(ctx context.Context, limit int) ([]consent.Change, error) {
	rows, err := s.db.query(ctx, `SELECT u.id, u.unit_key, u.product, t.changes, m.purpose, m.given
		FROM (SELECT unit_id, changes FROM consent_untold ORDER BY unit_id LIMIT ?) t
		JOIN fleet_unit u ON u.id = t.unit_id LEFT JOIN consent_mask m ON m.unit_id = u.id ORDER BY u.id`, limit)
	if err != nil {
		return nil, fmt.Errorf("untold choices: %w", err)
	}
	defer rows.Close()
	var out []consent.Change
	for rows.Next() {
		var c consent.Change
		var purpose sql.NullString
		var given sql.NullBool
		if err := rows.Scan(&c.UnitID, &c.Key, &c.Product, &c.Changes, &purpose, &given); err != nil {
			return nil, fmt.Errorf("untold choices: %w", err)
		}
		if n := len(out); n == 0 || out[n-1].UnitID != c.UnitID {
			c.Mask = consent.Mask{}
			out = append(out, c)
		}
		if purpose.Valid {
			out[len(out)-1].Mask[purpose.String] = given.Bool
		}
	}
	return out, rows.Err()
}

func (s consentStore) Told(ctx context.Context, told []consent.Change) error {
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		for part := range slices.Chunk(told, maxParameters/2) {
			args := make([]any, 0, 2*len(part))
			for _, c := range part {
				args = append(args, c.UnitID, c.Changes)
			}
			pairs := strings.TrimSuffix(strings.Repeat("(CAST(? AS TEXT),CAST(? AS BIGINT)),", len(part)), ",")
			if _, err := s.db.exec(ctx, `DELETE FROM consent_untold WHERE (unit_id, changes) IN (VALUES `+pairs+`)`, args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("told choices: %w", err)
	}
	return nil
}
