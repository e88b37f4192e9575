package prognosis

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/detect/rul"
	"fettle.dev/fettle/internal/fleet/maintenance"
)

// train gives the model that predicts, nil if there is none, and the status
// with the reason for that. It learns a new model when that is due.
func (m *Manager) train(ctx context.Context, d *condition.Detector, s Status, lives []maintenance.Life) (*Model, Status, error) {
	models, err := m.c.Store.Models(ctx, d.Name)
	if err != nil {
		return nil, s, err
	}
	learns := d.Prognosis.Learns()
	var champion, newest *Model // of this definition
	number := 0
	for i := range models {
		k := &models[i]
		number = max(number, k.Number)
		if k.Learns != learns {
			continue
		}
		if newest == nil {
			newest = k
		}
		if k.State == Champion {
			champion = k
		}
	}
	if champion != nil && s.RanAt.Before(s.TrainAt) {
		return champion, s, nil
	}
	if s.Failures < s.Needed {
		s.Why = fmt.Sprintf("it needs %d failures to learn from, and has %d", s.Needed, s.Failures)
		if champion != nil {
			s.Why = "" // some were taken back; what was learned stands
		}
		return champion, s, nil
	}
	if newest != nil && !news(newest, lives) {
		if champion == nil {
			s.Why = newest.Verdict
		} else {
			s.TrainAt = s.RanAt.Add(d.Prognosis.Retraining())
		}
		return champion, s, nil
	}
	training, test, err := m.collect(ctx, d, lives, s.RanAt)
	if err != nil {
		return nil, s, err
	}
	if have := failures(training) + len(test); have < s.Needed || len(test) < leastHeld {
		s.Why = fmt.Sprintf("it needs %d failures with at least %d steps of data before them, of which at least %d are held out for testing, and has %d, of which %d",
			s.Needed, atLeast, leastHeld, have, len(test))
		return champion, s, nil
	}
	model, err := m.learn(ctx, d, champion, training, test, s.RanAt)
	if errors.Is(err, rul.ErrNoSignal) || errors.Is(err, rul.ErrFewFailures) {
		s.Why = "nothing can be learned of these signals: " + err.Error()
		return champion, s, nil
	} else if err != nil {
		return nil, s, err
	}
	model.Number = number + 1
	s.TrainAt = s.RanAt.Add(d.Prognosis.Retraining())
	err = m.c.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := m.c.Store.PutModel(ctx, *model); err != nil {
			return err
		}
		for i := range models {
			k := &models[i]
			if k.State == Champion && (model.State == Champion || k.Learns != learns) {
				if err := m.c.Store.SetModelState(ctx, d.Name, k.Number, Retired, s.RanAt); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, s, err
	}
	m.c.Log.InfoContext(ctx, "a model was learned", "detector", d.Name, "model", model.Number, "state", model.State, "verdict", model.Verdict)
	switch {
	case model.State == Champion:
		return model, s, nil
	case champion == nil:
		s.Why = model.Verdict
	}
	return champion, s, nil
}

// held reports whether a unit is held out for testing, with all its lives:
// one in four, by its name alone, so that no model, now or later, is tested on
// what another one has seen anything of.
func held(detector, unitID string) bool {
	sum := sha256.Sum256([]byte(detector + "\x00" + unitID))
	return sum[0]%4 == 0
}

// leastHeld is how many failures a model must be tested on.
const leastHeld = 2

// news reports whether a unit has failed that the newest model does not know.
func news(newest *Model, lives []maintenance.Life) bool {
	known := map[Member]bool{}
	for _, k := range slices.Concat(newest.Training, newest.Test) {
		known[k] = true
	}
	return slices.ContainsFunc(lives, func(l maintenance.Life) bool { return l.Failed && !known[member(&l)] })
}

func member(l *maintenance.Life) Member {
	return Member{Unit: l.UnitKey, Number: l.Number, To: l.To.UTC(), Failed: l.Failed}
}

// collect reads the lives to learn from and those to test on: the newest
// failures, and as many others at most, which only say how long they lasted at
// least. Lives that showed too little are left out.
func (m *Manager) collect(ctx context.Context, d *condition.Detector, lives []maintenance.Life, at time.Time) (training, test []LifeSeries, err error) {
	sorted := slices.Clone(lives)
	slices.SortStableFunc(sorted, func(a, b maintenance.Life) int {
		return cmp.Or(b.To.Compare(a.To), cmp.Compare(a.UnitID, b.UnitID), cmp.Compare(a.Number, b.Number))
	})
	var chosen []maintenance.Life
	counts := map[bool]int{}
	for _, l := range sorted {
		if counts[l.Failed] == mostLives || !l.Failed && held(d.Name, l.UnitID) {
			continue
		}
		counts[l.Failed]++
		chosen = append(chosen, l)
	}
	err = m.read(ctx, d, chosen, at, func(l *LifeSeries) error {
		switch {
		case len(l.Ages) < atLeast:
		case held(d.Name, l.UnitID):
			test = append(test, *l)
		default:
			training = append(training, *l)
		}
		return nil
	})
	// In an order that does not hang on random keys.
	for _, list := range [][]LifeSeries{training, test} {
		slices.SortFunc(list, func(a, b LifeSeries) int {
			return cmp.Or(cmp.Compare(a.UnitID, b.UnitID), cmp.Compare(a.Number, b.Number))
		})
	}
	return training, test, err
}

func failures(lives []LifeSeries) (n int) {
	for i := range lives {
		if lives[i].Life.Failed {
			n++
		}
	}
	return n
}

// learn makes a model and holds it against the champion and against age alone.
func (m *Manager) learn(ctx context.Context, d *condition.Detector, champion *Model, training, test []LifeSeries, at time.Time) (*Model, error) {
	series := make([]Series, len(training))
	for i := range training {
		series[i] = training[i].Series
	}
	foresight, err := m.c.Learner.Learn(columns(d.Prognosis.Signals), series)
	if err != nil {
		return nil, fmt.Errorf("learn: %w", err)
	}
	unit := days(d.Prognosis.Width())
	model := &Model{
		Detector: d.Name, Learns: d.Prognosis.Learns(), TrainedAt: at, State: Champion,
		Training: members(training), Test: members(test),
	}
	told, err := outcomes(test, foresight.Predict)
	if err != nil {
		return nil, err
	}
	byAlone, err := outcomes(test, byAge(series))
	if err != nil {
		return nil, err
	}
	model.Figures, model.Age, model.Widening = figures(told, unit), figures(byAlone, unit), widening(told)
	if champion != nil {
		data, err := m.c.Store.ModelData(ctx, d.Name, champion.Number)
		if err != nil {
			return nil, err
		}
		if before, err := m.c.Learner.Open(data); err != nil {
			m.c.Log.WarnContext(ctx, "a model cannot be read any more, so that there is none to beat", "detector", d.Name, "model", champion.Number, "error", err)
		} else {
			told, err := outcomes(test, before.Predict)
			if err != nil {
				return nil, err
			}
			f := figures(told, unit)
			model.Before, model.Than = &f, champion.Number
		}
	}
	own := fmt.Sprintf("it errs by %s on %d held-out failures", long(model.Figures.MAE), model.Figures.Lives)
	switch {
	case !(model.Figures.Loss < model.Age.Loss):
		model.State = Rejected
		model.Verdict = fmt.Sprintf("what the signals tell is no better than age alone: %s, age alone by %s (loss %s, %s)",
			own, long(model.Age.MAE), long(model.Figures.Loss), long(model.Age.Loss))
	case model.Before == nil:
		model.Verdict = fmt.Sprintf("%s, age alone by %s", own, long(model.Age.MAE))
	case model.Figures.Loss > model.Before.Loss:
		model.State = Rejected
		model.Verdict = fmt.Sprintf("model %d stays: %s, model %d by %s (loss %s, %s)",
			model.Than, own, model.Than, long(model.Before.MAE), long(model.Figures.Loss), long(model.Before.Loss))
	default:
		model.Verdict = fmt.Sprintf("it takes over from model %d: %s, model %d by %s (loss %s, %s)",
			model.Than, own, model.Than, long(model.Before.MAE), long(model.Figures.Loss), long(model.Before.Loss))
	}
	model.Data, err = foresight.MarshalBinary()
	return model, err
}

func members(lives []LifeSeries) []Member {
	out := make([]Member, len(lives))
	for i := range lives {
		out[i] = member(&lives[i].Life)
	}
	return out
}

// long writes a length in days.
func long(d float64) string {
	switch {
	case d >= 10:
		return fmt.Sprintf("%.0f days", d)
	case d >= 2:
		return fmt.Sprintf("%.1f days", d)
	default:
		return fmt.Sprintf("%.1f hours", d*24)
	}
}

// mostReasons are told, of signals that have drifted by at least leastDrift.
const (
	mostReasons = 3
	leastDrift  = 1
)

// reasons tells which signals have moved most from the life's first readings.
func reasons(columns []string, drift []float64) []Reason {
	out := []Reason{}
	for i, v := range drift {
		if i >= len(columns) || math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v) < leastDrift {
			continue
		}
		signal, ranged := strings.CutSuffix(columns[i], " (range)")
		r := Reason{Signal: signal, Drift: v}
		switch {
		case ranged && v > 0:
			r.Text = fmt.Sprintf("%s varies more than at first (%+.1f σ)", signal, v)
		case ranged:
			r.Text = fmt.Sprintf("%s varies less than at first (%+.1f σ)", signal, v)
		case v > 0:
			r.Text = fmt.Sprintf("%s above its first readings (%+.1f σ)", signal, v)
		default:
			r.Text = fmt.Sprintf("%s below its first readings (%+.1f σ)", signal, v)
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b Reason) int { return cmp.Compare(math.Abs(b.Drift), math.Abs(a.Drift)) })
	return out[:min(len(out), mostReasons)]
}
