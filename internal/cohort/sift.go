package cohort

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// sift runs a trial, but not all rows of units that it is sure to find nothing
// on: those whose values history's rollups know to be inside of every band. Of
// such a unit it need only be known that it was judged, and had the least
// exposure. Exposure grows with every row, so rows are looked at, in stream
// order, until it is enough; the exposure of those that atLeast tells of is what
// had come together then.
func (s *Service) sift(ctx context.Context, t condition.Trial, least time.Duration) (out *condition.TrialResult, atLeast map[int64]bool, err error) {
	if t.Detector.Type != condition.TypeTolerance { // units may be judged by one another, or by what was not sent
		out, err = t.Run(ctx)
		return out, nil, err
	}
	marked, err := s.marked(ctx, &t)
	if err != nil {
		return nil, nil, err
	}
	sound, values, err := s.sound(ctx, &t)
	if err != nil {
		return nil, nil, err
	}
	if values < s.c.SiftFrom {
		clear(sound)
	}
	out, atLeast = &condition.TrialResult{Units: map[int64]condition.Verdict{}}, map[int64]bool{}
	var mu sync.Mutex
	run := func(pick func(u *fleet.Unit) bool, share func(ctx context.Context, t condition.Trial) (*condition.TrialResult, error)) {
		some := t
		some.Units = slices.DeleteFunc(slices.Clone(t.Units), func(u fleet.Unit) bool {
			_, done := out.Units[u.Key]
			return done || !pick(&u)
		})
		if err != nil {
			return
		}
		err = divide(ctx, some, func(ctx context.Context, t condition.Trial) error {
			r, err := share(ctx, t)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(out.Units, r.Units)
			out.Findings = append(out.Findings, r.Findings...)
			return nil
		})
	}
	run(func(u *fleet.Unit) bool { return sound[u.Key] && !marked[u.Key] }, func(ctx context.Context, t condition.Trial) (*condition.TrialResult, error) {
		enough := func(v condition.Verdict) bool { return v.Judged && v.Exposure >= least }
		p := &apart{History: t.History, enough: map[int64]bool{}}
		t.History, t.MostRows = p, math.MaxInt
		t.Enough = func(v condition.Verdict) bool {
			if p.done = enough(v); p.done {
				p.enough[p.unit] = true
			}
			return p.done
		}
		r, err := t.Run(ctx)
		if err != nil {
			return nil, err
		}
		for _, f := range r.Findings { // there can be none
			delete(r.Units, f.UnitKey)
		}
		r.Findings = nil
		maps.DeleteFunc(r.Units, func(_ int64, v condition.Verdict) bool { return v.Rows == 0 || r.Cut && !enough(v) })
		mu.Lock()
		defer mu.Unlock()
		for key, v := range r.Units {
			atLeast[key] = enough(v)
		}
		return r, nil
	})
	run(func(u *fleet.Unit) bool { return !marked[u.Key] }, func(ctx context.Context, t condition.Trial) (*condition.TrialResult, error) {
		t.History = &apart{History: t.History}
		return t.Run(ctx)
	})
	run(func(u *fleet.Unit) bool { return marked[u.Key] }, func(ctx context.Context, t condition.Trial) (*condition.TrialResult, error) { return t.Run(ctx) })
	slices.SortFunc(out.Findings, func(a, b condition.Finding) int {
		return cmp.Or(a.OpenedAt.Compare(b.OpenedAt), strings.Compare(a.ID, b.ID))
	})
	return out, atLeast, err
}

// divide shares a trial's units, of which each is judged by itself, among the
// processors.
func divide(ctx context.Context, t condition.Trial, run func(ctx context.Context, t condition.Trial) error) error {
	units := slices.SortedFunc(slices.Values(t.Units), func(a, b fleet.Unit) int { return cmp.Compare(a.Key, b.Key) })
	var mu sync.Mutex
	total := map[int]int{} // rows by share
	g, ctx := errgroup.WithContext(ctx)
	parts := runtime.GOMAXPROCS(0)
	for i := range parts {
		part := t
		part.Units = units[len(units)*i/parts : len(units)*(i+1)/parts]
		if len(part.Units) == 0 {
			continue
		}
		if t.Rows != nil {
			part.Rows = func(n int) {
				mu.Lock()
				defer mu.Unlock()
				total[i], n = n, 0
				for _, rows := range total {
					n += rows
				}
				t.Rows(n)
			}
		}
		g.Go(func() error { return run(ctx, part) })
	}
	return g.Wait()
}

// apart is a history of which each unit's rows are told by themselves, and none
// once enough is known of it.
type apart struct {
	telemetry.History
	unit   int64 // whose row was told last
	done   bool  // it has enough
	enough map[int64]bool
}

// Replay tells rows alone: no mark that the units have means anything to a
// detector that judges values.
func (h *apart) Replay(ctx context.Context, q telemetry.Query, fn func(row *telemetry.Stored, mark *telemetry.StoredMark) error) error {
	q.NoMarks, q.Apart = true, true
	if h.enough != nil {
		q.Enough = func(unit int64) bool {
			if unit == h.unit {
				return h.done
			}
			return h.enough[unit]
		}
	}
	return h.History.Replay(ctx, q, func(row *telemetry.Stored, mark *telemetry.StoredMark) error {
		if h.unit != row.Unit {
			h.unit, h.done = row.Unit, h.enough[row.Unit]
		}
		return fn(row, mark)
	})
}

// marked are the units that began anew in the time, as by a version, a choice
// or an enrolment: their exposure did, too.
func (s *Service) marked(ctx context.Context, t *condition.Trial) (map[int64]bool, error) {
	q := telemetry.Query{UpTo: t.UpTo} // marks alone: no product has no name
	for _, u := range t.Units {
		q.Units = append(q.Units, u.Key)
	}
	marked := map[int64]bool{}
	begun := t.From.Add(-24 * time.Hour).UnixMilli()
	err := s.c.History.Replay(ctx, q, func(_ *telemetry.Stored, m *telemetry.StoredMark) error {
		if m.Kind != telemetry.MarkContact && m.Kind != telemetry.MarkTick && m.At >= begun {
			marked[m.Unit] = true
		}
		return nil
	})
	return marked, err
}

// sound are the units that reported a value, and none outside of any of the
// detector's bands. values is how many there are to judge of all units.
func (s *Service) sound(ctx context.Context, t *condition.Trial) (_ map[int64]bool, values int64, err error) {
	basis := condition.BasisOf(&t.Product, &t.Detector)
	if t.Detector.Basis != nil {
		basis = *t.Detector.Basis
	}
	if tol := &basis.Tolerance; tol.Breach != "" || tol.Rate != 0 {
		return nil, 0, nil // not known by how far a signal went
	}
	low, high := math.Inf(-1), math.Inf(1) // inside of every band
	for _, b := range basis.Tolerance.Bands {
		if b.Min != nil {
			low = max(low, *b.Min-t.Detector.Margin)
		}
		if b.Max != nil {
			high = min(high, *b.Max+t.Detector.Margin)
		}
	}
	sound := map[int64]bool{}
	q := telemetry.WindowQuery{
		Product: t.Product.Name, Signals: []string{basis.Tolerance.Signal}, From: t.From, To: t.To,
		Measures: telemetry.MeasureCount | telemetry.MeasureMin | telemetry.MeasureMax,
	}
	err = s.c.History.Windows(consent.For(ctx, t.Detector.Purpose), q, func(w *telemetry.Window) error {
		v := &w.Stats[0]
		values += v.Count
		if v.Min >= low && v.Max <= high { // not so where a value is no number
			sound[w.Unit] = true
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("units whose values are inside: %w", err)
	}
	return sound, values, nil
}
