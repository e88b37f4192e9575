package wear

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type prognosisStore struct{ db *sqldb.DB }

// Prognosis is the store of models and predictions.
func Prognosis(db *sqldb.DB) prognosis.Store { return prognosisStore{db} }

// read scans a structure.
func read[T any](r *sql.Rows) (v T, err error) {
	var doc string
	if err := r.Scan(&doc); err != nil {
		return v, err
	}
	return v, json.Unmarshal([]byte(doc), &v)
}

func (s prognosisStore) Statuses(ctx context.Context) ([]prognosis.Status, error) {
	seen, args := rows.InSight(ctx, "product", "")
	found, err := s.db.Query(ctx, `SELECT doc FROM condition_prognosis WHERE 1 = 1`+seen+` ORDER BY detector`, args...)
	return rows.Collect(found, err, read[prognosis.Status])
}

func (s prognosisStore) PutStatus(ctx context.Context, st prognosis.Status) error {
	doc, err := json.Marshal(st)
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, `INSERT INTO condition_prognosis (detector, product, next_at, doc) VALUES (?, ?, ?, ?)
		ON CONFLICT (detector) DO UPDATE SET product = excluded.product, next_at = excluded.next_at, doc = excluded.doc`,
		st.Detector, st.Product, rows.Millis(st.NextAt), string(doc))
	if err != nil {
		return fmt.Errorf("keep where prognosis %s stands: %w", st.Detector, err)
	}
	return nil
}

func (s prognosisStore) DeleteStatus(ctx context.Context, detector string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, table := range []string{"condition_prognosis", "condition_risk"} {
			if _, err := s.db.Exec(ctx, `DELETE FROM `+table+` WHERE detector = ?`, detector); err != nil {
				return fmt.Errorf("end prognosis %s: %w", detector, err)
			}
		}
		return nil
	})
}

// modelDoc is a model as the records hold it.
type modelDoc struct {
	prognosis.Model
	Learns string `json:"learns"`
}

func (s prognosisStore) Models(ctx context.Context, detector string) ([]prognosis.Model, error) {
	args := []any{detector}
	seen, products := rows.InSight(ctx, "product", "")
	if seen != "" {
		seen, args = ` AND detector IN (SELECT detector FROM condition_prognosis WHERE 1 = 1`+seen+`)`, append(args, products...)
	}
	found, err := s.db.Query(ctx, `SELECT doc FROM condition_model WHERE detector = ?`+seen+` ORDER BY number DESC`, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (prognosis.Model, error) {
		d, err := read[modelDoc](r)
		d.Model.Learns = d.Learns
		return d.Model, err
	})
}

func (s prognosisStore) ModelData(ctx context.Context, detector string, number int) (data []byte, err error) {
	err = s.db.QueryRow(ctx, `SELECT data FROM condition_model WHERE detector = ? AND number = ?`, detector, number).Scan(&data)
	return data, rows.Missing(err, "no model %d of %q", number, detector)
}

func (s prognosisStore) PutModel(ctx context.Context, m prognosis.Model) error {
	doc, err := json.Marshal(modelDoc{m, m.Learns})
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, `INSERT INTO condition_model (detector, number, state, learns, doc, data) VALUES (?, ?, ?, ?, ?, ?)`,
		m.Detector, m.Number, string(m.State), m.Learns, string(doc), m.Data)
	if err != nil {
		return fmt.Errorf("keep model %d of %s: %w", m.Number, m.Detector, err)
	}
	return nil
}

func (s prognosisStore) SetModelState(ctx context.Context, detector string, number int, state prognosis.ModelState, retired time.Time) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		var doc string
		err := s.db.QueryRow(ctx, `SELECT doc FROM condition_model WHERE detector = ? AND number = ?`, detector, number).Scan(&doc)
		if err != nil {
			return rows.Missing(err, "no model %d of %q", number, detector)
		}
		var m modelDoc
		if err := json.Unmarshal([]byte(doc), &m); err != nil {
			return err
		}
		m.State, m.RetiredAt = state, retired
		changed, err := json.Marshal(m)
		if err != nil {
			return err
		}
		_, err = s.db.Exec(ctx, `UPDATE condition_model SET state = ?, doc = ? WHERE detector = ? AND number = ?`, string(state), string(changed), detector, number)
		return err
	})
}

// last is the place of predictions that say nothing: behind all.
const last = 1e12

// predictionDoc is a prediction as the records hold it.
type predictionDoc struct {
	prognosis.Prediction
	UnitKey int64 `json:"key"`
}

func (s prognosisStore) PutPredictions(ctx context.Context, detector string, all []prognosis.Prediction, keep time.Time) error {
	risks, history := make([][]any, 0, len(all)), make([][]any, 0, len(all))
	for _, p := range all {
		doc, err := json.Marshal(predictionDoc{p, p.UnitKey})
		if err != nil {
			return err
		}
		place := p.Median
		if p.State == prognosis.Unknown {
			place = last
		} else {
			history = append(history, []any{detector, p.UnitID, rows.Millis(p.At), string(doc)})
		}
		risks = append(risks, []any{detector, p.UnitID, p.Product, string(p.State), place, rows.Millis(p.At), string(doc)})
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.db.Exec(ctx, `DELETE FROM condition_risk WHERE detector = ?`, detector); err != nil {
			return err
		}
		if err := s.db.InsertRows(ctx, `INSERT INTO condition_risk (detector, unit_id, product, state, place, at, doc)`, ``, risks); err != nil {
			return err
		}
		err := s.db.InsertRows(ctx, `INSERT INTO condition_prediction (detector, unit_id, at, doc)`,
			` ON CONFLICT (detector, unit_id, at) DO UPDATE SET doc = excluded.doc`, history)
		if err != nil {
			return err
		}
		_, err = s.db.Exec(ctx, `DELETE FROM condition_prediction WHERE detector = ? AND at < ?`, detector, rows.Millis(keep))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep predictions of %s: %w", detector, err)
	}
	return nil
}

func (s prognosisStore) DropRisks(ctx context.Context, detector string, unitIDs []string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for part := range slices.Chunk(unitIDs, most) {
			where, args := in("unit_id", part)
			if _, err := s.db.Exec(ctx, `DELETE FROM condition_risk WHERE detector = ? AND `+where, append([]any{detector}, args...)...); err != nil {
				return fmt.Errorf("drop predictions of %s: %w", detector, err)
			}
		}
		return nil
	})
}

func (s prognosisStore) Risks(ctx context.Context, f prognosis.RiskFilter) ([]prognosis.Prediction, error) {
	seen, args := rows.UnitInSight(ctx, "unit_id")
	where := []string{"1 = 1" + seen}
	add := func(set bool, text string, values ...any) {
		if set {
			where, args = append(where, text), append(args, values...)
		}
	}
	add(f.Product != "", "product = ?", f.Product)
	add(f.Detector != "", "detector = ?", f.Detector)
	add(f.UnitID != "", "unit_id = ?", f.UnitID)
	add(f.State != "", "state = ?", string(f.State))
	if f.After != "" {
		detector, unit, _ := strings.Cut(f.After, "/")
		add(true, "(place, detector, unit_id) > (SELECT place, detector, unit_id FROM condition_risk WHERE detector = ? AND unit_id = ?)", detector, unit)
	}
	query := `SELECT doc FROM condition_risk WHERE ` + strings.Join(where, " AND ") + ` ORDER BY place, detector, unit_id`
	if f.Limit > 0 {
		query += ` LIMIT ?`
		args = append(args, f.Limit)
	}
	found, err := s.db.Query(ctx, query, args...)
	return rows.Collect(found, err, readPrediction)
}

func readPrediction(r *sql.Rows) (prognosis.Prediction, error) {
	d, err := read[predictionDoc](r)
	d.Prediction.UnitKey = d.UnitKey
	return d.Prediction, err
}

func (s prognosisStore) Predictions(ctx context.Context, unitID, detector string, limit int) ([]prognosis.Prediction, error) {
	seen, args := rows.UnitInSight(ctx, "unit_id")
	args = append(append([]any{unitID, detector, detector}, args...), limit)
	found, err := s.db.Query(ctx, `SELECT doc FROM condition_prediction WHERE unit_id = ? AND (detector = ? OR ? = '')`+seen+` ORDER BY at DESC, detector LIMIT ?`, args...)
	return rows.Collect(found, err, readPrediction)
}
