package outlook

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/condition/kind/peers"
	"fettle.dev/fettle/internal/condition/kind/spec"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"

	compare "fettle.dev/fettle/internal/detect/peers"
)

// MostPeers are looked at for a comparison: of more, some spread over all by id.
const MostPeers = 60

// longest comparison, in periods.
const longest = 1000

// Comparison is how a unit stood among its peers, period by period.
type Comparison struct {
	Detector condition.Ref
	Signal   string
	Measure  string
	Period   time.Duration
	Like     []string // attributes that they have in common with it, as "hardware B"
	Peers    int      // that were looked at, without it
	Alike    int      // that there are
	Withheld bool     // the owner does not permit the detector's purpose: the rest is empty
	Points   []Standing
}

// Standing is one period.
type Standing struct {
	At          time.Time // its begin
	Value       *float64  // the unit's mean; nil: nothing measured
	Middle      float64   // of its peers' means
	Low, High   float64   // their middle half
	Least, Most float64   // their extremes
	Peers       int       // with data
}

// Compare compares a unit with the peers that it has now, over [from, to), by a
// detector of type peers. Units whose owners do not permit its purpose are left
// out.
func (s *Service) Compare(ctx context.Context, unitID string, of condition.Ref, from, to time.Time) (Comparison, error) {
	u, p, err := s.unit(ctx, unitID)
	if err != nil {
		return Comparison{}, err
	}
	ds, err := s.detectors(ctx, u.Product, of)
	if err != nil {
		return Comparison{}, err
	}
	d := &ds[0]
	if d.Type != condition.TypePeers || d.Peers == nil {
		return Comparison{}, fault.Fields("peers", []fault.Field{{Path: "query.detector", Expected: "a detector of type peers", Got: d.Name}})
	}
	c := Comparison{Detector: d.Ref(), Signal: d.Peers.Signal, Period: time.Duration(d.Peers.Period)}
	if c.Period == 0 {
		c.Period = spec.DefaultPeriod
	}
	if sig, ok := p.Signal(c.Signal); ok {
		c.Measure = sig.Unit
	}
	if from = from.Truncate(c.Period); to.Sub(from)/c.Period > longest {
		return Comparison{}, fault.Fields("peers", []fault.Field{{Path: "query.from", Expected: fmt.Sprintf("at most %d periods of %s before to", longest, fleet.Duration(c.Period)), Got: from.Format(time.RFC3339)}})
	}
	cohort, err := s.cohort(ctx, &u, &p, d, &c)
	if err != nil || c.Withheld {
		return c, err
	}
	means, err := s.means(ctx, &p, d, cohort, from, to, c.Period)
	if err != nil {
		return c, err
	}
	for at := from; at.Before(to); at = at.Add(c.Period) {
		at := at.UTC()
		var others []float64
		point := Standing{At: at}
		for _, k := range cohort {
			v, ok := means[at.UnixMilli()][k]
			switch {
			case ok && k == u.Key:
				point.Value = &v
			case ok:
				others = append(others, v)
			}
		}
		if point.Peers = len(others); point.Peers > 0 {
			slices.Sort(others)
			at := func(q float64) float64 { return others[int(q*float64(len(others)-1)+0.5)] }
			point.Middle, point.Low, point.High, point.Least, point.Most = at(0.5), at(0.25), at(0.75), at(0), at(1)
		}
		if point.Value != nil || point.Peers > 0 {
			c.Points = append(c.Points, point)
		}
	}
	return c, nil
}

// cohort picks the keys of the unit and its peers: the narrowest cohort that has
// the minimum.
func (s *Service) cohort(ctx context.Context, u *fleet.Unit, p *fleet.Product, d *condition.Detector, c *Comparison) ([]int64, error) {
	all, err := s.Fleet.Units(ctx, fleet.Filter{Product: p.Name, State: fleet.UnitActive})
	if err != nil {
		return nil, err
	}
	masks, err := s.Consents.Masks(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	if c.Withheld = !masks[u.ID].PermitsPurpose(p, d.Purpose); c.Withheld {
		return nil, nil
	}
	keys := func(u *fleet.Unit) []string {
		identity := condition.IdentityOf(u)
		return peers.Cohorts(d.Peers.By, func(name string) string {
			if name == peers.Version {
				return u.Versions[fleet.MainComponent]
			}
			return identity.Attributes[name]
		})
	}
	own := keys(u)
	alike := make([][]int64, len(own))
	for i := range all {
		o := &all[i]
		if o.ID == u.ID || !masks[o.ID].PermitsPurpose(p, d.Purpose) {
			continue
		}
		for width, key := range keys(o) {
			if key == own[width] {
				alike[width] = append(alike[width], o.Key)
			}
		}
	}
	minimum := compare.Config{Minimum: d.Peers.Minimum}.With().Minimum
	width := 0
	for width < len(alike)-1 && len(alike[width])+1 < minimum {
		width++
	}
	for _, name := range d.Peers.By[:len(d.Peers.By)-width] {
		value := condition.IdentityOf(u).Attributes[name]
		if name == peers.Version {
			value = u.Versions[fleet.MainComponent]
		}
		c.Like = append(c.Like, name+" "+value)
	}
	of := alike[width]
	c.Alike = len(of)
	picked := make([]int64, 0, MostPeers+1)
	for i := range min(len(of), MostPeers) {
		picked = append(picked, of[i*len(of)/min(len(of), MostPeers)])
	}
	c.Peers = len(picked)
	return append(picked, u.Key), nil
}

// means are the units' by the period's begin. Where no context is declared they
// come from history's rollups.
func (s *Service) means(ctx context.Context, p *fleet.Product, d *condition.Detector, units []int64, from, to time.Time, period time.Duration) (map[int64]map[int64]float64, error) {
	out := map[int64]map[int64]float64{}
	at := func(ms int64) map[int64]float64 {
		if out[ms] == nil {
			out[ms] = map[int64]float64{}
		}
		return out[ms]
	}
	when, mistakes := expression.Parse(p, d.Peers.When, "spec.peers.when")
	if err := fault.Fields("detector "+d.Name, mistakes); err != nil {
		return nil, err
	}
	slices.Sort(units)
	if when == nil {
		q := telemetry.WindowQuery{Product: p.Name, Units: units, Signals: []string{d.Peers.Signal}, From: from, To: to, Width: period, Measures: telemetry.MeasureMean}
		err := s.History.Windows(consent.For(ctx, d.Purpose), q, func(w *telemetry.Window) error {
			if w.Stats[0].Count > 0 {
				at(w.At.UnixMilli())[w.Unit] = w.Stats[0].Mean()
			}
			return nil
		})
		return out, err
	}
	names := append([]string{d.Peers.Signal}, when.Signals()...)
	slices.Sort(names)
	names = slices.Compact(names)
	when.Bind(func(name string) int { return slices.Index(names, name) })
	signal := slices.Index(names, d.Peers.Signal)
	latest, counts := map[int64][]expression.Reading{}, map[[2]int64]float64{}
	q := telemetry.Query{Product: p.Name, Units: units, Signals: names, From: from, To: to}
	gap := p.Gap().Milliseconds()
	err := s.History.Replay(consent.For(ctx, d.Purpose), q, func(row *telemetry.Stored, _ *telemetry.StoredMark) error {
		if row == nil {
			return nil
		}
		have := latest[row.Unit]
		if have == nil {
			have = make([]expression.Reading, len(names))
			for i := range have {
				have[i].At = expression.Never
			}
			latest[row.Unit] = have
		}
		for _, v := range row.Values {
			if i := slices.Index(names, v.Signal); i >= 0 && row.Event >= have[i].At {
				have[i] = expression.Reading{At: row.Event, Number: v.Number, Text: strings.Clone(v.Text)}
			}
		}
		if holds, known := when.Eval(have, row.Event, gap, 0); have[signal].At != row.Event || !holds || !known {
			return nil
		}
		begin := time.UnixMilli(row.Event).Truncate(period).UnixMilli()
		n := counts[[2]int64{begin, row.Unit}] + 1
		counts[[2]int64{begin, row.Unit}] = n
		of := at(begin)
		of[row.Unit] += (have[signal].Number - of[row.Unit]) / n
		return nil
	})
	return out, err
}
