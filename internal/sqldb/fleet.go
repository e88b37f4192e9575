package sqldb

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb/failure"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type fleetStore struct{ db *DB }

// Fleet is the store of products, units and owners.
func (db *DB) Fleet() fleet.Store { return fleetStore{db} }

func (s fleetStore) PutProduct(ctx context.Context, p fleet.Product) error {
	doc, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("keep product %s: %w", p.Name, err)
	}
	_, err = s.db.exec(ctx, `INSERT INTO fleet_product (name, doc) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET doc = excluded.doc`, p.Name, string(doc))
	if err != nil {
		return fmt.Errorf("keep product %s: %w", p.Name, err)
	}
	return nil
}

func scanProduct(name, doc string) (fleet.Product, error) {
	var p fleet.Product
	if err := json.Unmarshal([]byte(doc), &p); err != nil {
		return p, fmt.Errorf("product %s in the records: %w", name, err)
	}
	p.Name = name
	return p, nil
}

func (s fleetStore) Product(ctx context.Context, name string) (fleet.Product, error) {
	var doc string
	seen, args := rows.InSight(ctx, "name", "")
	err := s.db.queryRow(ctx, `SELECT doc FROM fleet_product WHERE name = ?`+seen, append([]any{name}, args...)...).Scan(&doc)
	if err != nil {
		return fleet.Product{}, missing(err, "no product %q", name)
	}
	return scanProduct(name, doc)
}

func (s fleetStore) Products(ctx context.Context) ([]fleet.Product, error) {
	seen, args := rows.InSight(ctx, "name", "")
	found, err := s.db.query(ctx, `SELECT name, doc FROM fleet_product WHERE 1 = 1`+seen+` ORDER BY name`, args...)
	return collect(found, err, func(r *sql.Rows) (fleet.Product, error) {
		var name, doc string
		if err := r.Scan(&name, &doc); err != nil {
			return fleet.Product{}, err
		}
		return scanProduct(name, doc)
	})
}

func (s fleetStore) DeleteProduct(ctx context.Context, name string) error {
	res, err := s.db.exec(ctx, `DELETE FROM fleet_product WHERE name = ?`, name)
	if failure.Foreign(err) {
		return fault.New(fault.Conflict, "product %q still has units", name)
	}
	return rows.Gone(res, err, "no product %q", name)
}

// Keys and versions of known units stay: the first names them in history, the
// second is what they report. So do state and creation.
const upsertUnit = ` ON CONFLICT (id) DO UPDATE SET product = excluded.product, serial = excluded.serial,
	hardware = excluded.hardware, batch = excluded.batch, region = excluded.region,
	attributes = excluded.attributes, owner_id = excluded.owner_id`

func (s fleetStore) PutUnits(ctx context.Context, units []fleet.Unit) error {
	place := make(map[string]int, len(units))
	rows := make([][]any, 0, len(units))
	for _, u := range units {
		owner := sql.NullString{String: u.OwnerID, Valid: u.OwnerID != ""}
		row := []any{
			u.ID, u.Key, u.Product, u.Serial, u.Hardware, u.Batch, u.Region, textMap(u.Attributes),
			textMap(u.Versions), u.Versions[fleet.MainComponent], millis(u.VersionAt), owner, string(u.State), millis(u.CreatedAt),
		}
		if i, ok := place[u.ID]; ok {
			rows[i] = row
			continue
		}
		place[u.ID] = len(rows)
		rows = append(rows, row)
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		return s.db.insertRows(ctx, `INSERT INTO fleet_unit (id, unit_key, product, serial, hardware, batch, region,
			attributes, versions, version, version_at, owner_id, state, created_at)`, upsertUnit, rows)
	})
	switch {
	case failure.Foreign(err):
		return fault.New(fault.NotFound, "keep units: a product or owner of them is not known: %w", err)
	case failure.Duplicate(err):
		return fault.New(fault.Conflict, "keep units: a serial of the product belongs to another unit: %w", err)
	case err != nil:
		return fmt.Errorf("keep units: %w", err)
	}
	return nil
}

func textMap(m map[string]string) string {
	if len(m) == 0 {
		return "{}"
	}
	b, _ := json.Marshal(m) // a map of strings always encodes
	return string(b)
}

type scanner interface{ Scan(dest ...any) error }

func (s fleetStore) Unit(ctx context.Context, id string) (fleet.Unit, error) {
	seen, args := rows.InSight(ctx, "product", "region")
	u, err := rows.ScanUnit(s.db.queryRow(ctx, `SELECT `+rows.UnitColumns+` FROM fleet_unit WHERE id = ?`+seen, append([]any{id}, args...)...))
	return u, missing(err, "no unit %q", id)
}

func (s fleetStore) UnitByKey(ctx context.Context, key int64) (fleet.Unit, error) {
	seen, args := rows.InSight(ctx, "product", "region")
	u, err := rows.ScanUnit(s.db.queryRow(ctx, `SELECT `+rows.UnitColumns+` FROM fleet_unit WHERE unit_key = ?`+seen, append([]any{key}, args...)...))
	return u, missing(err, "no unit has key %d", key)
}

// where writes a filter's conditions, paging apart.
func (s fleetStore) where(ctx context.Context, f fleet.Filter) (text string, args []any) {
	seen, args := rows.InSight(ctx, "product", "region")
	conditions := []string{"1 = 1" + seen}
	add := func(condition string, values ...any) {
		conditions, args = append(conditions, condition), append(args, values...)
	}
	for _, c := range []struct{ column, value string }{
		{"product", f.Product},
		{"state", string(f.State)},
		{"hardware", f.Hardware},
		{"batch", f.Batch},
		{"region", f.Region},
		{"version", f.Version},
		{"owner_id", f.OwnerID},
	} {
		if c.value != "" {
			add(c.column+" = ?", c.value)
		}
	}
	each := "json_each(attributes)"
	if s.db.postgres {
		each = "json_each_text(attributes::json)"
	}
	for _, k := range slices.Sorted(maps.Keys(f.Attributes)) {
		add("EXISTS (SELECT 1 FROM "+each+" AS a WHERE a.key = ? AND a.value = ?)", k, f.Attributes[k])
	}
	if f.Unwell {
		add(`id IN (SELECT unit_id FROM condition_finding WHERE state = 'open'
			UNION SELECT o.id FROM condition_state c JOIN fleet_unit o ON o.unit_key = c.unit_key WHERE c.silent_at > 0)`)
	}
	if f.Search != "" {
		part := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(f.Search)) + "%"
		add(`(lower(id) LIKE ? ESCAPE '\' OR lower(serial) LIKE ? ESCAPE '\')`, part, part)
	}
	return strings.Join(conditions, " AND "), args
}

func (s fleetStore) Units(ctx context.Context, f fleet.Filter) ([]fleet.Unit, error) {
	where, args := s.where(ctx, f)
	text := `SELECT ` + rows.UnitColumns + ` FROM fleet_unit WHERE ` + where
	if f.After != "" {
		text += ` AND id > ?`
		args = append(args, f.After)
	}
	text += ` ORDER BY id`
	if f.Limit > 0 {
		text += ` LIMIT ?`
		args = append(args, f.Limit)
	}
	found, err := s.db.query(ctx, text, args...)
	units, err := collect(found, err, func(r *sql.Rows) (fleet.Unit, error) { return rows.ScanUnit(r) })
	if err != nil {
		return nil, fmt.Errorf("units: %w", err)
	}
	return units, nil
}

func (s fleetStore) CountUnits(ctx context.Context, f fleet.Filter) (n int, err error) {
	where, args := s.where(ctx, f)
	if err := s.db.queryRow(ctx, `SELECT count(*) FROM fleet_unit WHERE `+where, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count units: %w", err)
	}
	return n, nil
}

func (s fleetStore) SetUnitState(ctx context.Context, id string, state fleet.UnitState) error {
	res, err := s.db.exec(ctx, `UPDATE fleet_unit SET state = ? WHERE id = ?`, string(state), id)
	return rows.Gone(res, err, "no unit %q", id)
}

func (s fleetStore) SetVersions(ctx context.Context, id string, versions map[string]string, at time.Time) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		var text string
		var last int64
		err := s.db.queryRow(ctx, `SELECT versions, version_at FROM fleet_unit WHERE id = ?`+s.db.forUpdate(), id).Scan(&text, &last)
		if err != nil {
			return missing(err, "no unit %q", id)
		}
		merged, err := rows.ReadMap(text)
		if err != nil {
			return fmt.Errorf("versions of unit %s in the records: %w", id, err)
		}
		if merged == nil {
			merged = map[string]string{}
		}
		maps.Copy(merged, versions)
		_, err = s.db.exec(ctx, `UPDATE fleet_unit SET versions = ?, version = ?, version_at = ? WHERE id = ?`,
			textMap(merged), merged[fleet.MainComponent], max(last, millis(at)), id)
		if err != nil {
			return fmt.Errorf("keep versions of unit %s: %w", id, err)
		}
		return nil
	})
}

func (s fleetStore) DeleteUnit(ctx context.Context, id string) error {
	res, err := s.db.exec(ctx, `DELETE FROM fleet_unit WHERE id = ?`, id)
	if failure.Foreign(err) {
		return fault.New(fault.Conflict, "unit %q is still referred to: %w", id, err)
	}
	return rows.Gone(res, err, "no unit %q", id)
}

const ownerColumns = `id, email, name, locale, time_zone`

func (s fleetStore) PutOwner(ctx context.Context, o fleet.Owner) (fleet.Owner, error) {
	var kept fleet.Owner
	o.Email = fleet.CanonicalEmail(o.Email)
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		_, err := s.db.exec(ctx, `INSERT INTO fleet_owner (`+ownerColumns+`) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (email) DO UPDATE SET name = excluded.name, locale = excluded.locale, time_zone = excluded.time_zone`,
			o.ID, o.Email, o.Name, o.Locale, o.TimeZone)
		if err != nil {
			return fmt.Errorf("keep owner: %w", err)
		}
		kept, err = s.owner(ctx, `email = ?`, o.Email)
		return err
	})
	return kept, err
}

func (s fleetStore) owner(ctx context.Context, where, value string) (o fleet.Owner, err error) {
	err = s.db.queryRow(ctx, `SELECT `+ownerColumns+` FROM fleet_owner WHERE `+where, value).
		Scan(&o.ID, &o.Email, &o.Name, &o.Locale, &o.TimeZone)
	return o, missing(err, "no such owner")
}

func (s fleetStore) Owner(ctx context.Context, id string) (fleet.Owner, error) {
	return s.owner(ctx, `id = ?`, id)
}

func (s fleetStore) OwnerByEmail(ctx context.Context, email string) (fleet.Owner, error) {
	return s.owner(ctx, `email = ?`, fleet.CanonicalEmail(email))
}
