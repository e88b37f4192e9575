package sqldb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb/rows"
	"fettle.dev/fettle/internal/update"
)

type updateStore struct{ db *DB }

// Update is the store of artifacts, releases and assignments.
func (db *DB) Update() update.Store { return updateStore{db} }

func (s updateStore) PutRelease(ctx context.Context, r update.Release) error {
	doc, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keep release %s: %w", r.Name, err)
	}
	if _, err := s.db.exec(ctx, `INSERT INTO update_release (name, product, doc) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET product = excluded.product, doc = excluded.doc`, r.Name, r.Product, string(doc)); err != nil {
		return fmt.Errorf("keep release %s: %w", r.Name, err)
	}
	return nil
}

func scanRelease(name, doc, withdrawn string) (update.Release, error) {
	var r update.Release
	err := json.Unmarshal([]byte(doc), &r)
	if withdrawn != "" && err == nil {
		err = json.Unmarshal([]byte(withdrawn), &r.Withdrawn)
	}
	if err != nil {
		return r, fmt.Errorf("release %s in the records: %w", name, err)
	}
	r.Name = name
	return r, nil
}

func (s updateStore) Release(ctx context.Context, name string) (update.Release, error) {
	var doc, withdrawn string
	seen, args := rows.InSight(ctx, "product", "")
	if err := s.db.queryRow(ctx, `SELECT doc, withdrawn FROM update_release WHERE name = ?`+seen, append([]any{name}, args...)...).Scan(&doc, &withdrawn); err != nil {
		return update.Release{}, missing(err, "no release %q", name)
	}
	return scanRelease(name, doc, withdrawn)
}

func (s updateStore) Releases(ctx context.Context, product string) ([]update.Release, error) {
	seen, args := rows.InSight(ctx, "product", "")
	found, err := s.db.query(ctx, `SELECT name, doc, withdrawn FROM update_release WHERE (product = ? OR ? = '')`+seen+` ORDER BY name`,
		append([]any{product, product}, args...)...)
	return collect(found, err, func(r *sql.Rows) (update.Release, error) {
		var name, doc, withdrawn string
		if err := r.Scan(&name, &doc, &withdrawn); err != nil {
			return update.Release{}, err
		}
		return scanRelease(name, doc, withdrawn)
	})
}

func (s updateStore) DeleteRelease(ctx context.Context, name string) error {
	res, err := s.db.exec(ctx, `DELETE FROM update_release WHERE name = ?`, name)
	return rows.Gone(res, err, "no release %q", name)
}

func (s updateStore) ReleaseInUse(ctx context.Context, name string) (bool, error) {
	var n int
	err := s.db.queryRow(ctx, `SELECT count(*) FROM update_assignment WHERE release = ? AND state NOT IN (?, ?, ?)`,
		name, update.Installed, update.Failed, update.Canceled).Scan(&n)
	return n > 0, err
}

func (s updateStore) PutArtifact(ctx context.Context, a update.Artifact) error {
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		old, err := s.Artifact(ctx, a.SHA256)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		if old = old.Named(""); old.Filename != a.Filename {
			a.First = old.Filename // "" where it is new
		}
		doc, err := json.Marshal(a)
		if err != nil {
			return err
		}
		_, err = s.db.exec(ctx, `INSERT INTO update_artifact (sha256, doc) VALUES (?, ?)
			ON CONFLICT (sha256) DO UPDATE SET doc = excluded.doc`, a.SHA256, string(doc))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep artifact %s: %w", a.SHA256, err)
	}
	return nil
}

func (s updateStore) Artifact(ctx context.Context, sha256 string) (update.Artifact, error) {
	var doc string
	if err := s.db.queryRow(ctx, `SELECT doc FROM update_artifact WHERE sha256 = ?`, sha256).Scan(&doc); err != nil {
		return update.Artifact{}, missing(err, "no artifact sha256:%s", sha256)
	}
	var a update.Artifact
	if err := json.Unmarshal([]byte(doc), &a); err != nil {
		return a, fmt.Errorf("artifact %s in the records: %w", sha256, err)
	}
	return a, nil
}

const assignmentColumns = `id, unit_id, release, ref, state, done, total, updated, doc`

func scanAssignment(row scanner) (update.Assignment, error) {
	var a, cols update.Assignment
	var updated int64
	var doc string
	if err := row.Scan(&cols.ID, &cols.UnitID, &cols.Release, &cols.Ref, &cols.State, &cols.Done, &cols.Of, &updated, &doc); err != nil {
		return a, err
	}
	if err := json.Unmarshal([]byte(doc), &a); err != nil {
		return a, fmt.Errorf("assignment %d in the records: %w", cols.ID, err)
	}
	a.ID, a.Done, a.Of = cols.ID, cols.Done, cols.Of
	return a, nil
}

func (s updateStore) Assign(ctx context.Context, a update.Assignment) (update.Assignment, error) {
	doc, err := json.Marshal(a)
	if err != nil {
		return a, fmt.Errorf("keep assignment of %s: %w", a.Ref, err)
	}
	if _, err := s.db.exec(ctx, `INSERT INTO update_assignment (unit_id, release, ref, state, done, total, updated, doc)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (ref) DO NOTHING`,
		a.UnitID, a.Release, a.Ref, a.State, a.Done, a.Of, millis(a.Updated), string(doc)); err != nil {
		return a, fmt.Errorf("keep assignment of %s: %w", a.Ref, err)
	}
	// Read where it was written: outside a transaction the reading pool may be behind.
	row := s.db.at(ctx, s.db.write).QueryRowContext(ctx, s.db.rebind(`SELECT `+assignmentColumns+` FROM update_assignment WHERE ref = ?`), a.Ref)
	return scanAssignment(row)
}

func (s updateStore) Assignment(ctx context.Context, id int64) (update.Assignment, error) {
	seen, args := rows.UnitInSight(ctx, "unit_id")
	a, err := scanAssignment(s.db.queryRow(ctx, `SELECT `+assignmentColumns+` FROM update_assignment WHERE id = ?`+seen, append([]any{id}, args...)...))
	return a, missing(err, "no action %d", id)
}

func (s updateStore) AssignmentByRef(ctx context.Context, ref string) (update.Assignment, error) {
	a, err := scanAssignment(s.db.queryRow(ctx, `SELECT `+assignmentColumns+` FROM update_assignment WHERE ref = ?`, ref))
	return a, missing(err, "no assignment of %q", ref)
}

func (s updateStore) Current(ctx context.Context, unitID string) (update.Assignment, error) {
	a, err := scanAssignment(s.db.queryRow(ctx, `SELECT `+assignmentColumns+` FROM update_assignment
		WHERE unit_id = ? AND state NOT IN (?, ?, ?) ORDER BY id LIMIT 1`, unitID, update.Installed, update.Failed, update.Canceled))
	return a, missing(err, "unit %s has no update under way", unitID)
}

func (s updateStore) UpdateAssignment(ctx context.Context, id int64, change func(*update.Assignment) error) (update.Assignment, error) {
	var out update.Assignment
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		a, err := scanAssignment(s.db.queryRow(ctx, `SELECT `+assignmentColumns+` FROM update_assignment WHERE id = ?`+s.db.forUpdate(), id))
		if err != nil {
			return missing(err, "no action %d", id)
		}
		if err := change(&a); err != nil {
			return err
		}
		doc, err := json.Marshal(a)
		if err != nil {
			return err
		}
		if _, err := s.db.exec(ctx, `UPDATE update_assignment SET state = ?, done = ?, total = ?, updated = ?, doc = ? WHERE id = ?`,
			a.State, a.Done, a.Of, millis(a.Updated), string(doc), id); err != nil {
			return fmt.Errorf("keep assignment %d: %w", id, err)
		}
		out = a
		return nil
	})
	return out, err
}

func (s updateStore) ChangedSince(ctx context.Context, t time.Time, limit int) ([]update.Assignment, error) {
	rows, err := s.db.query(ctx, `SELECT `+assignmentColumns+` FROM update_assignment WHERE updated >= ? ORDER BY updated, id LIMIT ?`, millis(t), limit)
	return collect(rows, err, func(r *sql.Rows) (update.Assignment, error) { return scanAssignment(r) })
}

func (s updateStore) OfUnit(ctx context.Context, unitID string, limit int) ([]update.Assignment, error) {
	rows, err := s.db.query(ctx, `SELECT `+assignmentColumns+` FROM update_assignment WHERE unit_id = ? ORDER BY id DESC LIMIT ?`, unitID, limit)
	return collect(rows, err, func(r *sql.Rows) (update.Assignment, error) { return scanAssignment(r) })
}

func (s updateStore) Unended(ctx context.Context, fn func(update.Assignment) error) error {
	rows, err := s.db.query(ctx, `SELECT `+assignmentColumns+` FROM update_assignment WHERE state NOT IN (?, ?, ?) ORDER BY id`,
		update.Installed, update.Failed, update.Canceled)
	list, err := collect(rows, err, func(r *sql.Rows) (update.Assignment, error) { return scanAssignment(r) })
	if err != nil {
		return err
	}
	for _, a := range list {
		if err := fn(a); err != nil {
			return err
		}
	}
	return nil
}

// eachID gives one id after the other: there may be a million.
func (s updateStore) eachID(ctx context.Context, query string, fn func(string)) (err error) {
	rows, err := s.db.query(ctx, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var id sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&id); err != nil {
			return err
		}
		fn(string(id))
	}
	return rows.Err()
}

func (s updateStore) UnitsKnown(ctx context.Context, fn func(string)) error {
	return s.eachID(ctx, `SELECT DISTINCT unit_id FROM update_assignment`, fn)
}

func (s updateStore) AttributesKnown(ctx context.Context, fn func(string)) error {
	return s.eachID(ctx, `SELECT unit_id FROM update_attributes`, fn)
}

func (s updateStore) PutAttributes(ctx context.Context, unitID string, a map[string]string) error {
	doc, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = s.db.exec(ctx, `INSERT INTO update_attributes (unit_id, doc) VALUES (?, ?)
		ON CONFLICT (unit_id) DO UPDATE SET doc = excluded.doc`, unitID, string(doc))
	return err
}

func (s updateStore) DropAttributes(ctx context.Context, unitID string) error {
	_, err := s.db.exec(ctx, `DELETE FROM update_attributes WHERE unit_id = ?`, unitID)
	return err
}

func (s updateStore) Attributes(ctx context.Context, unitID string) (map[string]string, error) {
	out := map[string]string{}
	var doc string
	err := missing(s.db.queryRow(ctx, `SELECT doc FROM update_attributes WHERE unit_id = ?`, unitID).Scan(&doc), "none")
	if fault.KindOf(err) == fault.NotFound {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	return out, json.Unmarshal([]byte(doc), &out)
}
