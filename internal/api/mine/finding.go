package mine

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

type findingsIn struct {
	frame.IDParam
	wire.PageParams
	State string `query:"state" enum:"open,cleared"`
}

type findingIn struct {
	frame.IDParam
	Finding string `path:"finding" maxLength:"200"`
}

func (s *server) findings(ctx context.Context, in *findingsIn) (wire.Page[wire.MyFinding], error) {
	m, err := s.d.See(ctx, in.ID)
	if err != nil {
		return wire.Page[wire.MyFinding]{}, err
	}
	list, err := s.d.Conditions.Findings(ctx, condition.FindingFilter{
		UnitID: m.Unit.ID, State: condition.FindingState(in.State), Before: in.After, Limit: in.Limit + 1,
	})
	if err != nil {
		return wire.Page[wire.MyFinding]{}, err
	}
	// A page may hold fewer than asked for where a former owner's are left out; its next is of all.
	pg := frame.Page(list, in.Limit, func(f condition.Finding) string { return f.ID })
	out := wire.Page[wire.MyFinding]{Items: []wire.MyFinding{}, Next: pg.Next}
	for i := range pg.Items {
		if !shown(&pg.Items[i], m.Since) {
			continue
		}
		v, err := s.explain(ctx, &m, &pg.Items[i])
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, v)
	}
	return out, nil
}

func (s *server) finding(ctx context.Context, in *findingIn) (wire.MyFinding, error) {
	m, err := s.d.See(ctx, in.ID)
	if err != nil {
		return wire.MyFinding{}, err
	}
	f, _, err := s.d.Conditions.Finding(ctx, in.Finding)
	if err == nil && (f.UnitID != m.Unit.ID || !shown(&f, m.Since)) {
		err = fault.New(fault.NotFound, "no finding %q", in.Finding)
	}
	if err != nil {
		return wire.MyFinding{}, err
	}
	return s.explain(ctx, &m, &f)
}

// shown reports whether a finding is the asking person's to see: one that was
// found in their time. What is still open is so, whenever it began: it is the
// unit's condition now.
func shown(f *condition.Finding, since time.Time) bool {
	return f.State == condition.Open || !f.Onset.Before(since)
}

// explain puts a finding into the owner's words, with the figures behind it. A
// detector that is gone leaves the finding with its own words alone.
func (s *server) explain(ctx context.Context, m *Mine, f *condition.Finding) (wire.MyFinding, error) {
	d, err := s.d.Conditions.Detector(ctx, f.Detector.Name, f.Detector.Version)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return wire.MyFinding{}, err
	}
	out := wire.MyFinding{
		ID: f.ID, State: f.State, Severity: f.Severity, Since: f.Onset, FoundAt: f.OpenedAt, LastAt: f.LastAt, Until: f.Cleared,
		Why: f.Why, Peak: f.Peak, Detector: f.Detector.Name, Type: d.Type, Bands: []fleet.Band{},
	}
	if since := m.Since; out.Since.Before(since) { // what another owner saw of it is theirs
		out.Since = since
	}
	words := d.Words(m.Locale)
	if out.Title, out.Meaning = words.Title, words.Description; out.Title == "" {
		out.Title = f.Detector.Name
	}
	var name string
	switch {
	case d.Type == condition.TypeTolerance:
		t, _ := m.Product.Tolerance(d.Tolerance)
		if d.Basis != nil {
			t = d.Basis.Tolerance
		}
		name, out.Within = t.Signal, t.Rate
		out.Bands = append(out.Bands, t.Bands...)
		out.Hold, out.Window, out.Share, out.Count = d.Hold, d.Window, d.Share, d.Count
	case d.Trend != nil:
		name = d.Trend.Signal
		if t, ok := m.Product.Tolerance(d.Trend.Tolerance); ok {
			out.Bands = append(out.Bands, t.Bands...)
			if name == "" {
				name = t.Signal
			}
		} else {
			out.Bands = append(out.Bands, fleet.Band{Min: d.Trend.Min, Max: d.Trend.Max})
		}
	case d.Peers != nil:
		name = d.Peers.Signal
	}
	if sig, ok := m.Product.Signal(name); ok {
		out.Signal, out.SignalTitle, out.Unit = sig.Name, sig.Words(m.Locale).Title, sig.Unit
	}
	return out, nil
}
