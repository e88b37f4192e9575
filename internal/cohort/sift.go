package cohort

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// mostRows is how many rows of each unit are looked at before units of which
// more must be known are run through whole.
const mostRows = 500

// sift runs a trial, but not all rows of units that it is sure to find nothing
// on: those whose values history's rollups know to be inside of every band. Of
// such a unit it need only be known that it was judged, and had the least
// exposure. Exposure grows with every row, so rows are looked at, in stream
// order, until it is enough for nearly all; the exposure of those that atLeast
// tells of is what had come together then.
func (s *Service) sift(ctx context.Context, t condition.Trial, least time.Duration) (out *condition.TrialResult, atLeast map[int64]bool, err error) {
	sound, err := s.sound(ctx, &t)
	if err != nil {
		return nil, nil, err
	}
	known := map[int64]condition.Verdict{}
	first := t
	first.Units = slices.DeleteFunc(slices.Clone(t.Units), func(u fleet.Unit) bool { return !sound[u.Key] })
	cut := false
	if len(first.Units) > 0 {
		enough := func(v condition.Verdict) bool { return v.Judged && v.Exposure >= least }
		first.Enough, first.MostRows = enough, mostRows*len(first.Units)
		r, err := first.Run(ctx)
		if err != nil {
			return nil, nil, err
		}
		cut = r.Cut
		for key, v := range r.Units {
			if v.Rows > 0 && (enough(v) || !cut) {
				known[key] = v
			}
		}
		for _, f := range r.Findings { // there can be none
			delete(known, f.UnitKey)
		}
	}
	t.Units = slices.DeleteFunc(slices.Clone(t.Units), func(u fleet.Unit) bool { _, ok := known[u.Key]; return ok })
	if out, err = t.Run(ctx); err != nil {
		return nil, nil, err
	}
	atLeast = make(map[int64]bool, len(known))
	for key, v := range known {
		out.Units[key], atLeast[key] = v, cut
	}
	return out, atLeast, nil
}

// sound are the units that reported a value, and none outside of any of the
// detector's bands. Those that began anew in the time, by a version, a choice
// or an enrolment, are not among them: their exposure did, too.
func (s *Service) sound(ctx context.Context, t *condition.Trial) (map[int64]bool, error) {
	if t.Detector.Type != condition.TypeTolerance {
		return nil, nil
	}
	basis := condition.BasisOf(&t.Product, &t.Detector)
	if t.Detector.Basis != nil {
		basis = *t.Detector.Basis
	}
	low, high := math.Inf(-1), math.Inf(1) // inside of every band
	for _, b := range basis.Tolerance.Bands {
		if b.Min != nil {
			low = max(low, *b.Min)
		}
		if b.Max != nil {
			high = min(high, *b.Max)
		}
	}
	sound := map[int64]bool{}
	q := telemetry.WindowQuery{
		Product: t.Product.Name, Signals: []string{basis.Tolerance.Signal}, From: t.From, To: t.To,
		Measures: telemetry.MeasureCount | telemetry.MeasureMin | telemetry.MeasureMax,
	}
	err := s.c.History.Windows(ctx, q, func(w *telemetry.Window) error {
		v := &w.Stats[0]
		if v.Min >= low && v.Max <= high { // not so where a value is no number
			sound[w.Unit] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("units whose values are inside: %w", err)
	}
	// Marks alone: no product has no name.
	marks := telemetry.Query{Units: make([]int64, 0, len(sound)), UpTo: t.UpTo}
	for key := range sound {
		marks.Units = append(marks.Units, key)
	}
	begun := t.From.Add(-24 * time.Hour).UnixMilli()
	err = s.c.History.Replay(ctx, marks, func(_ *telemetry.Stored, m *telemetry.StoredMark) error {
		switch m.Kind {
		case telemetry.MarkVersion, telemetry.MarkConsent, telemetry.MarkRetired, telemetry.MarkEnrolled, telemetry.MarkMaintained:
			if m.At >= begun {
				delete(sound, m.Unit)
			}
		default:
		}
		return nil
	})
	return sound, err
}
