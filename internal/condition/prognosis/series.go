package prognosis

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet/maintenance"
	"fettle.dev/fettle/internal/telemetry"
)

// Series is what a life showed: one row of readings for each whole step that
// had any. Ages are in steps since the life began.
type Series struct {
	Ages   []float64   // ascending, of the end of each step
	Values [][]float64 // of each column, one value an age; NaN where there was none
	End    float64     // age at which it failed, or was last seen working
	Failed bool
}

// columns are what a signal becomes: its mean over a step, and how far it went
// up and down within it.
func columns(signals []string) []string {
	out := make([]string, 0, 2*len(signals))
	for _, s := range signals {
		out = append(out, s, s+" (range)")
	}
	return out
}

// LifeSeries is a life with what it showed.
type LifeSeries struct {
	maintenance.Life
	Series
	Last time.Time // end of its last step with readings; zero: none
}

// Bounds of what is read at once.
const (
	mostRows  = 1_000 // newest readings of a life
	mostLives = 300   // failed, and as many others, that a model is learned from
)

// read calls fn for each of lives, by unit key and number, with what it showed
// until at. Lives without any reading are told, too. Only whole steps count:
// one in which a part was replaced is of neither.
func (m *Manager) read(ctx context.Context, d *condition.Detector, lives []maintenance.Life, at time.Time, fn func(l *LifeSeries) error) error {
	lives = slices.Clone(lives)
	slices.SortStableFunc(lives, func(a, b maintenance.Life) int {
		return cmp.Or(cmp.Compare(a.UnitKey, b.UnitKey), cmp.Compare(a.Number, b.Number))
	})
	step := d.Prognosis.Width()
	q := telemetry.WindowQuery{
		Product: d.Product, Units: []int64{}, Signals: d.Prognosis.Signals, From: at, To: at.Truncate(step), Width: step,
		Measures: telemetry.MeasureMean | telemetry.MeasureMin | telemetry.MeasureMax,
	}
	for _, l := range lives {
		if l.From.Before(q.From) {
			q.From = l.From
		}
		if n := len(q.Units); n == 0 || q.Units[n-1] != l.UnitKey {
			q.Units = append(q.Units, l.UnitKey)
		}
	}
	q.From = q.From.Truncate(step)
	next := 0 // of lives, the first that was not told yet
	var open *LifeSeries
	advance := func() error { // tell the open life, open the next one
		if open != nil {
			if err := fn(open); err != nil {
				return err
			}
		}
		open = nil
		if next < len(lives) {
			l := lives[next]
			open = &LifeSeries{Life: l, Series: Series{End: float64(l.Age()) / float64(step), Failed: l.Failed}}
			next++
		}
		return nil
	}
	if err := advance(); err != nil {
		return err
	}
	if q.From.Before(q.To) {
		err := m.c.History.Windows(consent.For(ctx, d.Purpose), q, func(w *telemetry.Window) error {
			end := w.At.Add(step)
			for open != nil && (open.UnitKey < w.Unit || open.UnitKey == w.Unit && end.After(open.To)) {
				if err := advance(); err != nil {
					return err
				}
			}
			if open != nil && open.UnitKey == w.Unit && !w.At.Before(open.From) {
				open.add(w, float64(end.Sub(open.From))/float64(step))
				open.Last = end
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read what units showed: %w", err)
		}
	}
	for open != nil {
		if err := advance(); err != nil {
			return err
		}
	}
	return nil
}

// add takes a window in. Of a very long life the first readings stay, from
// which is told what is healthy, and the newest.
func (s *Series) add(w *telemetry.Window, age float64) {
	if s.Values == nil {
		s.Values = make([][]float64, 2*len(w.Stats))
	}
	if len(s.Ages) == mostRows {
		const first, newest = mostRows / 4, mostRows / 4
		s.Ages = slices.Delete(s.Ages, first, mostRows-newest)
		for c := range s.Values {
			s.Values[c] = slices.Delete(s.Values[c], first, mostRows-newest)
		}
	}
	s.Ages = append(s.Ages, age)
	for i := range w.Stats {
		mean, spread := math.NaN(), math.NaN()
		if st := &w.Stats[i]; st.Count > 0 {
			mean, spread = st.Mean(), st.Max-st.Min
		}
		s.Values[2*i], s.Values[2*i+1] = append(s.Values[2*i], mean), append(s.Values[2*i+1], spread)
	}
}
