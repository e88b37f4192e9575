// Package outlook answers what is foreseen of one unit, and how it stands among
// its peers, as detectors of these kinds see it: for people who look at a unit
// or a finding. It reads history; nothing of it is kept.
package outlook

import (
	"context"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/kind/trend"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"

	forecast "fettle.dev/fettle/internal/detect/trend"
)

// Service answers.
type Service struct {
	Detectors Detectors
	Fleet     fleet.Store
	Consents  consent.Store
	History   telemetry.History
}

// Detectors tells what is declared, as condition.Service does.
type Detectors interface {
	Detector(ctx context.Context, name string, version int) (condition.Detector, error)
	Detectors(ctx context.Context, product string) ([]condition.Detector, error)
}

// Forecast is what a detector of type trend foresees of a unit.
type Forecast struct {
	Detector condition.Ref
	Title    string
	Signal   string
	Measure  string // the signal's unit
	Horizon  time.Duration
	Withheld bool // the owner does not permit the detector's purpose: the rest is empty

	At        time.Time // event time of what it was made from; zero: nothing yet
	Supported bool
	Reason    string // why not
	Limit     float64
	Upper     bool // reached from below
	Level     float64
	Slope     float64 // an hour
	Low       time.Time
	Median    time.Time
	High      time.Time
}

// Forecasts are those of a unit by its product's detectors of type trend, or by
// one version of one (version 0: the newest), from what was measured up to an
// event time (zero: all).
func (s *Service) Forecasts(ctx context.Context, unitID string, of condition.Ref, at time.Time) ([]Forecast, error) {
	u, p, err := s.unit(ctx, unitID)
	if err != nil {
		return nil, err
	}
	detectors, err := s.detectors(ctx, u.Product, of)
	if err != nil {
		return nil, err
	}
	mask, err := s.Consents.Mask(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	var out []Forecast
	for i := range detectors {
		d := &detectors[i]
		if d.Type != condition.TypeTrend || d.Trend == nil {
			continue
		}
		f := Forecast{Detector: d.Ref(), Title: d.Title, Horizon: time.Duration(d.Trend.Horizon), Signal: d.Trend.Signal}
		if t, ok := tolerance(&p, d); ok {
			f.Signal = t.Signal
		}
		if sig, ok := p.Signal(f.Signal); ok {
			f.Measure = sig.Unit
		}
		if f.Withheld = !mask.PermitsPurpose(&p, d.Purpose); !f.Withheld {
			if err := s.foresee(ctx, &u, &p, d, at, &f); err != nil {
				return nil, err
			}
		}
		out = append(out, f)
	}
	return out, nil
}

func tolerance(p *fleet.Product, d *condition.Detector) (fleet.Tolerance, bool) {
	if d.Basis != nil {
		return d.Basis.Tolerance, d.Basis.Tolerance.Name != ""
	}
	return p.Tolerance(d.Trend.Tolerance)
}

// foresee runs the detector over the unit's history, as live did.
func (s *Service) foresee(ctx context.Context, u *fleet.Unit, p *fleet.Product, d *condition.Detector, at time.Time, f *Forecast) error {
	identity := condition.IdentityOf(u)
	directory := func(_ context.Context, key int64) (condition.Identity, bool, error) {
		return identity, key == u.Key, nil
	}
	e, err := condition.NewReplay(directory, []condition.Definition{{Product: *p, Detectors: []condition.Detector{*d}}}, true)
	if err != nil {
		return err
	}
	q := telemetry.Query{Product: p.Name, Units: []int64{u.Key}, Signals: e.Signals(p.Name)}
	if !at.IsZero() {
		q.To = at.Add(time.Millisecond)
	}
	lag, known, looks := int64(0), false, false
	err = s.History.Replay(consent.For(ctx, d.Purpose), q, func(row *telemetry.Stored, mark *telemetry.StoredMark) error {
		if mark != nil {
			if mark.Unit != u.Key || known && !at.IsZero() && mark.At > at.UnixMilli()+lag {
				return nil // of others, or later
			}
			return e.Mark(ctx, &mark.Mark)
		}
		if d := row.Received - row.Event; !known || d < lag {
			lag, known = d, true
		}
		err := e.Row(ctx, &row.Row)
		if w := e.Watch(u.Key, d.Ref()); w != nil && !looks {
			w.Bound.Rule.(*trend.Rule).LookOnly()
			looks = true
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("replay unit %s for detector %s: %w", u.ID, d.Name, err)
	}
	f.Reason = forecast.TooShort.String()
	w := e.Watch(u.Key, d.Ref())
	if w == nil {
		return nil
	}
	o, ok := w.Bound.Rule.(*trend.Rule).Look(w)
	if !ok {
		return nil
	}
	f.Supported, f.Limit, f.Upper = o.Support == forecast.Supported, o.Limit.Value, o.Limit.Upper
	f.Level, f.Slope = o.Level, o.Slope
	if o.At != 0 {
		f.At = time.UnixMilli(o.At).UTC()
	}
	if !f.Supported {
		f.Reason = o.Support.String()
		return nil
	}
	f.Reason = ""
	f.Low, f.Median, f.High = f.At.Add(o.Low), f.At.Add(o.Median), f.At.Add(o.High)
	return nil
}

func (s *Service) unit(ctx context.Context, id string) (fleet.Unit, fleet.Product, error) {
	u, err := s.Fleet.Unit(ctx, id)
	if err != nil {
		return u, fleet.Product{}, err
	}
	p, err := s.Fleet.Product(ctx, u.Product)
	return u, p, err
}

func (s *Service) detectors(ctx context.Context, product string, of condition.Ref) ([]condition.Detector, error) {
	if of.Name == "" {
		return s.Detectors.Detectors(ctx, product)
	}
	d, err := s.Detectors.Detector(ctx, of.Name, of.Version)
	if err != nil {
		return nil, err
	}
	if d.Product != product {
		return nil, fault.New(fault.NotFound, "detector %s is of product %s, the unit of %s", d.Name, d.Product, product)
	}
	return []condition.Detector{d}, nil
}
