package api

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

type seriesIn struct {
	frame.IDParam
	Signal  string    `query:"signal" required:"true" doc:"Name of a signal of type number or boolean."`
	From    time.Time `query:"from" required:"true" doc:"Event time, included."`
	To      time.Time `query:"to" required:"true" doc:"Event time, not included."`
	Buckets int       `query:"buckets" default:"500" minimum:"1" maximum:"5000" doc:"Most points to return."`
}

func (s *server) series(ctx context.Context, in *seriesIn) (wire.Series, error) {
	u, err := s.d.Fleet.Unit(ctx, in.ID)
	if err != nil {
		return wire.Series{}, err
	}
	p, err := s.d.Fleet.Product(ctx, u.Product)
	if err != nil {
		return wire.Series{}, err
	}
	sig, ok := p.Signal(in.Signal)
	if !ok || sig.Type == fleet.Text {
		return wire.Series{}, fault.Fields("series", []fault.Field{{Path: "query.signal", Expected: "a signal of the product, of type number or boolean", Got: in.Signal}})
	}
	if err := badTimes(in.From, in.To); err != nil {
		return wire.Series{}, err
	}
	mask, err := s.d.Choices.Mask(ctx, u.ID)
	if err != nil {
		return wire.Series{}, err
	}
	out := wire.Series{Signal: sig.Name, Unit: sig.Unit, From: in.From.UTC(), To: in.To.UTC(), Points: []wire.Reading{}, Bands: []wire.Band{}}
	if out.Withheld = !mask.Permits(&p, sig); out.Withheld {
		return out, nil
	}
	points, err := s.d.History.Series(consent.ForShown(ctx), u.Product, u.Key, sig.Name, in.From, in.To, in.Buckets)
	if err != nil {
		return wire.Series{}, err
	}
	for _, v := range points {
		out.Points = append(out.Points, wire.Reading{At: v.At, Min: v.Min, Max: v.Max, Mean: v.Mean, Count: v.Count})
	}
	permitted := map[string]bool{}
	for _, other := range p.Signals {
		permitted[other.Name] = mask.Permits(&p, other)
	}
	for _, t := range p.Tolerances {
		if t.Signal != sig.Name || t.Rate != 0 {
			continue
		}
		bands, err := s.bands(ctx, &p, t, u.Key, permitted, in)
		if err != nil {
			return wire.Series{}, err
		}
		out.Bands = append(out.Bands, bands...)
	}
	return out, nil
}

// bands tells when each band of a tolerance applied, by the operating contexts
// that the unit was in, at the chart's own resolution.
func (s *server) bands(ctx context.Context, p *fleet.Product, t fleet.Tolerance, unit int64, permitted map[string]bool, in *seriesIn) ([]wire.Band, error) {
	c, err := condition.NewContexts(p, t, in.From, in.To, in.Buckets)
	if err != nil {
		return nil, err
	}
	reads := c.Signals()
	known := reads[:0:0]
	for _, name := range reads {
		if permitted[name] {
			known = append(known, name)
		}
	}
	if len(known) > 0 {
		err = s.d.History.Replay(consent.ForShown(ctx), telemetry.Query{Product: p.Name, Units: []int64{unit}, Signals: known, From: in.From, To: in.To},
			func(row *telemetry.Stored, _ *telemetry.StoredMark) error {
				if row != nil {
					c.Row(&row.Row)
				}
				return nil
			})
		if err != nil {
			return nil, err
		}
	}
	var out []wire.Band
	for _, a := range c.Applied() {
		out = append(out, wire.Band{Tolerance: t.Name, From: a.From, To: a.To, Min: a.Band.Min, Max: a.Band.Max, When: a.Band.When})
	}
	return out, nil
}
