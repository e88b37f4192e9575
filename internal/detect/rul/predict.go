package rul

import "slices"

// Predict estimates the remaining life at each of a unit's readings, from the
// readings up to it.
func (m *Model) Predict(u Unit) ([]Estimate, error) {
	at := make([]int, len(u.Time))
	for i := range at {
		at[i] = i
	}
	return m.predict(&u, at)
}

// PredictLast estimates the remaining life at a unit's last reading.
func (m *Model) PredictLast(u Unit) (Estimate, error) {
	out, err := m.predict(&u, []int{len(u.Time) - 1})
	if err != nil {
		return Estimate{}, err
	}
	return out[0], nil
}

func (m *Model) predict(u *Unit, at []int) ([]Estimate, error) {
	if err := check(u, len(m.columns)); err != nil {
		return nil, err
	}
	// The first predictions of the rows asked for, and of those lags before.
	wanted := make([]bool, len(u.Time))
	for _, i := range at {
		for _, lag := range lags {
			wanted[before(u.Time[:i+1], u.Time[i]-lag*m.life)] = true
		}
	}
	var rows []int
	place := make([]int, len(u.Time)) // of a row among rows
	for i, w := range wanted {
		if w {
			place[i] = len(rows)
			rows = append(rows, i)
		}
	}
	cols := m.features(u, rows)
	predicted := make([]float64, len(rows))
	row, bins := make([]float64, len(cols)), make([]uint8, 0, len(cols))
	for k := range rows {
		for f := range cols {
			row[f] = cols[f][k]
		}
		predicted[k] = m.clamp(m.point.PredictBins(m.point.Bins(bins[:0], row)))
	}
	out := make([]Estimate, len(at))
	row = row[:1+len(lags)]
	for k, i := range at {
		row[0] = (u.Time[i] - u.start()) / m.life
		for j, lag := range lags {
			row[j+1] = predicted[place[before(u.Time[:i+1], u.Time[i]-lag*m.life)]]
		}
		p := m.clamp(m.course.Predict(row))
		low, high := m.errors.around(p)
		out[k] = Estimate{p, min(p, m.clamp(low)), max(p, m.clamp(high))}
	}
	return out, nil
}

// Columns are the columns that units to predict must have, in this order.
func (m *Model) Columns() []string { return slices.Clone(m.columns) }

// About is what Config.About said.
func (m *Model) About() string { return m.about }

// Facts say what a model has learned from, and how well.
type Facts struct {
	Units, Failed int
	Cap           float64  // 0: none
	Level         float64  // of the intervals
	Life          float64  // median of the failed units
	RMSE          float64  // over all rows of failed units, each predicted by trees that had not seen it
	Settings      []string // columns that were found to tell the operating regime
	Regimes       int
	Signals       []string // columns that were learned from
}

// Facts about the model.
func (m *Model) Facts() Facts {
	f := Facts{Units: m.units, Failed: m.failed, Cap: m.limit, Level: m.level, Life: m.life, RMSE: m.rmse, Regimes: m.regimes.count()}
	for _, c := range m.regimes.cuts {
		f.Settings = append(f.Settings, m.columns[c.column])
	}
	for _, s := range m.signals {
		f.Signals = append(f.Signals, m.columns[s.column])
	}
	return f
}
