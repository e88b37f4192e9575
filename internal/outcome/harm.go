package outcome

import (
	"context"
	"fmt"
	"slices"
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/outcome/sequential"
)

// ills are the units of a campaign that showed something new, each when it
// first did. It is read from the newest finding back to where it was read
// before, so that a look costs what is new.
type ills struct {
	since time.Time // of the campaign's start, or of its resumption
	upTo  time.Time
	first map[int64]ill

	lookedAt time.Time
}

type ill struct {
	at   time.Time
	wave int // -1: not of this campaign, or of no wave that was drawn by lot
}

// illOverlap is how far back findings are read again: they are kept in another
// order than that of the times they opened.
const illOverlap = 10 * time.Minute

// look reads the findings of all detectors but the campaign's own that opened
// since the last look. What a unit showed before does not matter: whether it
// is in good health or not, the lot decided when it is offered the update.
func (m *Manager) look(ctx context.Context, r *campaign.Run, x *ills) (rows int, err error) {
	since := latest(r.StartedAt, r.ResumedAt)
	if x.first == nil || !x.since.Equal(since) {
		*x = ills{since: since, upTo: since, first: map[int64]ill{}}
	}
	f := condition.FindingFilter{Product: r.Campaign.Product, From: x.since, Limit: findingPage}
	back := latest(x.since, x.upTo.Add(-illOverlap))
	newest := x.upTo
	for {
		page, err := m.cfg.Condition.Findings(ctx, f) // newest first
		if err != nil {
			return rows, err
		}
		rows += len(page)
		done := len(page) < findingPage
		for i := range page {
			p := &page[i]
			if p.OpenedAt.Before(back) {
				done = true
				break
			}
			newest = latest(newest, p.OpenedAt)
			if p.Detector.Name == r.Detector.Name || !p.OpenedAt.After(x.since) {
				continue
			}
			if err := m.fellIll(ctx, r, x, p); err != nil {
				return rows, err
			}
		}
		if done {
			x.upTo = newest
			return rows, nil
		}
		f.Before = page[len(page)-1].ID
	}
}

func (m *Manager) fellIll(ctx context.Context, r *campaign.Run, x *ills, f *condition.Finding) error {
	known, ok := x.first[f.UnitKey]
	if !ok {
		known.wave = -1
		tasks, err := m.cfg.Runs.Tasks(ctx, campaign.TaskFilter{CampaignID: r.ID, UnitID: f.UnitID, Wave: -1, Limit: 1})
		if err != nil {
			return fmt.Errorf("task of %s: %w", f.UnitID, err)
		}
		if len(tasks) > 0 && r.Comparable(&tasks[0]) {
			known.wave = tasks[0].Wave
		}
		known.at = f.OpenedAt
	}
	if f.OpenedAt.Before(known.at) {
		known.at = f.OpenedAt
	}
	x.first[f.UnitKey] = known
	return nil
}

// hazard compares the waves that were offered the update with those that were
// not, by who fell ill while both were there. drawn is how many units each
// wave was drawn.
//
// Units count by the lot they drew, whether or not they took the update
// (intention to treat), for the reason that effect gives: it makes harm look
// smaller than it is while owners make up their minds, and never larger.
func (x *ills) hazard(r *campaign.Run, drawn []int) sequential.Hazard {
	list := make([]ill, 0, len(x.first))
	for _, i := range x.first {
		if i.wave >= 0 && i.wave < len(drawn) {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b ill) int { return a.at.Compare(b.at) })
	left := slices.Clone(drawn)
	events := make([]sequential.Event, 0, len(list))
	for _, i := range list {
		e := sequential.Event{}
		for w, n := range left {
			offered := w < len(r.WaveOpened) && !i.at.Before(r.WaveOpened[w])
			e.AtRiskOf += n
			if offered {
				e.AtRisk += n
			}
			if w == i.wave {
				e.Treated = offered
			}
		}
		left[i.wave] = max(0, left[i.wave]-1)
		events = append(events, e)
	}
	return sequential.Compare(events)
}

// drawn is how many units each wave of lots has; other waves count none.
func drawn(r *campaign.Run, counts []campaign.Count) (units []int, lots bool) {
	units, lots = make([]int, len(r.Campaign.Waves)), true
	for w := range r.Campaign.Waves {
		if !r.Campaign.Waves[w].Random() {
			lots = false
			continue
		}
		units[w] = tallyOf(counts, oneWave(w)).total
	}
	return units, lots
}
