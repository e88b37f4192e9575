package mine

import (
	"cmp"
	"context"
	"slices"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet/maintenance"
)

// most is how much of one kind a timeline reaches back to. Units have dozens of
// events in a life; one whose detector flaps has thousands, which nobody reads.
const most = 2000

type historyIn struct {
	frame.IDParam
	wire.PageParams
}

// history merges what the rooms know of a unit, newest first.
func (s *server) history(ctx context.Context, in *historyIn) (wire.Page[wire.MyEvent], error) {
	m, err := s.d.See(ctx, in.ID)
	if err != nil {
		return wire.Page[wire.MyEvent]{}, err
	}
	all, tasks, err := s.events(ctx, &m)
	if err != nil {
		return wire.Page[wire.MyEvent]{}, err
	}
	slices.SortFunc(all, func(a, b wire.MyEvent) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.ID, a.ID)) })
	pg := frame.PageAfter(all, in.PageParams, func(e wire.MyEvent) string { return e.ID })
	for i := range pg.Items { // only what is shown is put into words
		e := &pg.Items[i]
		if f := e.Found; f != nil {
			v, err := s.explain(ctx, &m, &condition.Finding{
				ID: f.ID, Detector: condition.Ref{Name: f.Detector, Version: f.Version}, Severity: f.Severity, State: f.State,
				Onset: f.Since, OpenedAt: f.FoundAt, LastAt: f.LastAt, Cleared: f.Until, Why: f.Why, Peak: f.Peak,
			})
			if err != nil {
				return pg, err
			}
			e.Found = &v
		}
		if t := tasks[e.ID]; t != nil {
			v, err := s.d.Update(ctx, t)
			if err != nil {
				return pg, err
			}
			e.Update = &v
		}
	}
	return pg, nil
}

func (s *server) events(ctx context.Context, m *Mine) ([]wire.MyEvent, map[string]*campaign.Task, error) {
	var out []wire.MyEvent
	add := func(e wire.MyEvent) {
		if !e.At.Before(m.Since) {
			out = append(out, e)
		}
	}
	found, err := s.d.Conditions.Findings(ctx, condition.FindingFilter{UnitID: m.Unit.ID, Limit: most})
	if err != nil {
		return nil, nil, err
	}
	for i := range found {
		f := &found[i]
		add(wire.MyEvent{ID: "finding-" + f.ID, At: f.Onset, Kind: wire.EventFound, Found: &wire.MyFinding{
			ID: f.ID, State: f.State, Severity: f.Severity, Since: f.Onset, FoundAt: f.OpenedAt, LastAt: f.LastAt, Until: f.Cleared,
			Why: f.Why, Peak: f.Peak, Detector: f.Detector.Name, Version: f.Detector.Version,
		}})
	}
	list, err := s.d.Runs.Tasks(ctx, campaign.TaskFilter{UnitID: m.Unit.ID, OwnerID: m.Unit.OwnerID, Wave: -1})
	if err != nil {
		return nil, nil, err
	}
	tasks := map[string]*campaign.Task{}
	for i := range list {
		t := &list[i]
		at := cmp.Or(t.InstalledAt, t.EndedAt)
		if t.OfferedAt.IsZero() || at.IsZero() { // not told of, or still ahead: that is the unit's own page
			continue
		}
		e := wire.MyEvent{ID: "update-" + t.ID, At: at, Kind: wire.EventUpdate}
		tasks[e.ID] = t
		add(e)
	}
	records, err := s.d.Maintenance.Records(ctx, maintenance.Filter{UnitID: m.Unit.ID, Limit: most})
	if err != nil {
		return nil, nil, err
	}
	for i := range records {
		r := &records[i]
		add(wire.MyEvent{ID: "visit-" + r.ID, At: r.At, Kind: wire.EventVisit, Visit: &wire.MyVisit{
			Kind: r.Kind, Part: r.Part, Reason: r.Reason, Serial: r.Serial, Version: r.Version, Note: r.Note,
		}})
	}
	if since := m.Since; !since.IsZero() {
		add(wire.MyEvent{ID: "yours", At: since, Kind: wire.EventYours})
	}
	return out, tasks, nil
}
