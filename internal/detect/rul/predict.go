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
	cols := m.features(u, at)
	out := make([]Estimate, len(at))
	row, bins := make([]float64, len(cols)), make([]uint8, 0, len(cols))
	for i := range out {
		for f := range cols {
			row[f] = cols[f][i]
		}
		p := m.clamp(m.point.PredictBins(m.point.Bins(bins[:0], row)))
		low, high := m.errors.around(p)
		out[i] = Estimate{p, min(p, m.clamp(low)), max(p, m.clamp(high))}
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
