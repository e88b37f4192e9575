package campaign

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/campaign/wave"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/fleet"
)

// A dynamic cohort's definition is looked at again, on a schedule, for the
// units that may have come to match it: those that changed, and those of new
// findings. The first look is at every unit once, since the snapshot may be
// older than the campaign. What a look costs grows with what changed.

// lookBack is how long before the last look findings are read again: what was
// found then may have been kept later.
const lookBack = 10 * time.Minute

// look lets units join a campaign that came to match its cohort's definition.
func (m *Manager) look(ctx context.Context, r *Run, now time.Time) (joined int, err error) {
	snapshot, err := m.cfg.Cohorts.Snapshot(ctx, r.SnapshotID)
	if err != nil {
		return 0, fmt.Errorf("cohort: %w", err)
	}
	d := &snapshot.Definition
	if r.SweptAt.IsZero() {
		return m.sweep(ctx, r, &snapshot, now)
	}
	units, seq, err := m.cfg.Store.ChangedUnits(ctx, r.Campaign.Product, r.LookSeq, memberPage)
	if err != nil {
		return 0, err
	}
	more := len(units) >= memberPage
	found := map[string]Member{}
	if d.Evidence != nil {
		if found, err = m.found(ctx, r, d); err != nil {
			return 0, err
		}
	}
	seen := map[string]bool{}
	var list []Member
	for i := range units {
		if u := &units[i]; !seen[u.ID] {
			seen[u.ID] = true
			x := found[u.ID]
			x.Unit = *u
			list = append(list, x)
		}
	}
	for id, x := range found {
		if !seen[id] {
			list = append(list, x)
		}
	}
	return m.join(ctx, r, d, list, now, func(r *Run) {
		r.LookSeq, r.LookFor = seq, now.Add(-lookBack)
		if r.LookAt = now.Add(r.Campaign.LookEvery()); more {
			r.LookAt = now // the rest at once
		}
	})
}

// found are the units of new findings of the cohort's detector.
func (m *Manager) found(ctx context.Context, r *Run, d *cohort.Definition) (map[string]Member, error) {
	out, after := map[string]Member{}, ""
	for {
		page, err := m.cfg.Store.FoundSince(ctx, r.Campaign.Product, d.Evidence.Detector.Name, r.LookFor, after, memberPage)
		if err != nil {
			return nil, err
		}
		for _, x := range page {
			if _, known := out[x.Unit.ID]; !known { // the earliest
				out[x.Unit.ID] = x
			}
		}
		if len(page) < memberPage {
			return out, nil
		}
		after = page[len(page)-1].FindingID
	}
}

// sweep looks at a page of all units of the product, once after the start.
func (m *Manager) sweep(ctx context.Context, r *Run, snapshot *cohort.Snapshot, now time.Time) (int, error) {
	d := &snapshot.Definition
	var page []fleet.Unit
	var err error
	if d.Attributes != nil {
		if page, err = m.cfg.Fleet.Units(ctx, fleet.Filter{Product: r.Campaign.Product, After: r.Swept, Limit: memberPage}); err != nil {
			return 0, err
		}
	}
	list := make([]Member, len(page))
	for i := range page {
		list[i].Unit = page[i]
	}
	return m.join(ctx, r, d, list, now, func(r *Run) {
		if len(page) > 0 {
			r.Swept = page[len(page)-1].ID
		}
		if len(page) < memberPage {
			r.SweptAt, r.LookFor = now, snapshot.At.Add(-lookBack)
		}
	})
}

// join plans tasks for those of a list that match and have none, and notes how
// far the look has come, in one transaction.
func (m *Manager) join(ctx context.Context, r *Run, d *cohort.Definition, list []Member, now time.Time, come func(r *Run)) (joined int, err error) {
	var candidates []Member
	for _, x := range list {
		if ok, why := d.Takes(&x.Unit, x.Why); ok {
			x.Why = why
			candidates = append(candidates, x)
		}
	}
	_, err = m.control(ctx, "look for units that join", r.Campaign.Name, func(ctx context.Context, r *Run) error {
		joined = 0
		if r.State != Running {
			return errSame
		}
		draw, err := wave.New(r.seed(), r.Campaign.Waves)
		if err != nil {
			return err
		}
		var tasks []Task
		for i := range candidates {
			x := &candidates[i]
			known, err := m.cfg.Store.Tasks(ctx, TaskFilter{CampaignID: r.ID, UnitID: x.Unit.ID, Wave: -1, Limit: 1})
			if err != nil {
				return err
			}
			if len(known) > 0 {
				continue
			}
			t := m.newTask(r, x, draw.Wave(&x.Unit, r.Cuts, true), now)
			t.JoinedAt, t.JoinedWhy = now, x.Why
			tasks = append(tasks, t)
		}
		come(r)
		joined = len(tasks)
		r.Joined += joined
		return m.cfg.Store.AddTasks(ctx, tasks)
	})
	if errors.Is(err, errSame) {
		return 0, nil
	}
	return joined, err
}
