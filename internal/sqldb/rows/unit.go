package rows

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"fettle.dev/fettle/internal/fleet"
)

// UnitColumns are what ScanUnit reads, of table fleet_unit.
const UnitColumns = `id, unit_key, product, serial, hardware, batch, region, attributes, versions, version_at, owner_id, state, created_at`

// Scanner is a row.
type Scanner interface{ Scan(dest ...any) error }

// ScanUnit reads UnitColumns, and before them what else stands in the row.
func ScanUnit(r Scanner, before ...any) (u fleet.Unit, err error) {
	return scanUnit(r, ReadMap, before)
}

// UnitScanner reads many units. Units of a fleet are much alike: those with
// the same attributes or versions share one map, which must not be changed.
type UnitScanner struct{ maps map[string]map[string]string }

// mostMaps bounds what a UnitScanner remembers.
const mostMaps = 10_000

// Scan is ScanUnit.
func (s *UnitScanner) Scan(r Scanner, before ...any) (fleet.Unit, error) {
	return scanUnit(r, func(text string) (map[string]string, error) {
		if m, ok := s.maps[text]; ok {
			return m, nil
		}
		m, err := ReadMap(text)
		if s.maps == nil || len(s.maps) >= mostMaps {
			s.maps = map[string]map[string]string{}
		}
		s.maps[text] = m
		return m, err
	}, before)
}

func scanUnit(r Scanner, readMap func(string) (map[string]string, error), before []any) (u fleet.Unit, err error) {
	var attributes, versions, state string
	var owner sql.NullString
	var versionAt, created int64
	err = r.Scan(append(before, &u.ID, &u.Key, &u.Product, &u.Serial, &u.Hardware, &u.Batch, &u.Region, &attributes, &versions, &versionAt, &owner, &state, &created)...)
	if err != nil {
		return u, err
	}
	if u.Attributes, err = readMap(attributes); err != nil {
		return u, fmt.Errorf("attributes of unit %s in the records: %w", u.ID, err)
	}
	if u.Versions, err = readMap(versions); err != nil {
		return u, fmt.Errorf("versions of unit %s in the records: %w", u.ID, err)
	}
	u.OwnerID, u.State, u.VersionAt, u.CreatedAt = owner.String, fleet.UnitState(state), Time(versionAt), Time(created)
	return u, nil
}

// ReadMap reads names and values; none is nil.
func ReadMap(text string) (map[string]string, error) {
	if text == "{}" || text == "" {
		return nil, nil
	}
	var m map[string]string
	err := json.Unmarshal([]byte(text), &m)
	return m, err
}
