package condition

import (
	"context"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/fleet"
)

// Health is a unit's condition and what it rests on.
type Health struct {
	Condition Condition `json:"condition"`
	Why       string    `json:"why"`
	Open      []Finding `json:"open,omitempty"`    // open findings, newest first
	JudgedAt  time.Time `json:"judgedAt,omitzero"` // when data of it was last judged
}

// stale is the age at which the last judgement no longer says anything.
const stale = 7 * 24 * time.Hour

// ConditionOf is one unit's condition.
func (s *Service) ConditionOf(ctx context.Context, u fleet.Unit) (Health, error) {
	open, err := s.c.Store.Findings(ctx, FindingFilter{UnitID: u.ID, State: Open})
	if err != nil {
		return Health{}, err
	}
	judged, err := s.c.Store.JudgedAt(ctx, u.Product, []int64{u.Key})
	if err != nil {
		return Health{}, err
	}
	types, err := s.types(ctx, u.Product)
	if err != nil {
		return Health{}, err
	}
	silent, err := s.c.Store.SilentAt(ctx, u.Product, []int64{u.Key})
	if err != nil {
		return Health{}, err
	}
	return s.health(u, open, judged[u.Key], silent[u.Key], types), nil
}

// Conditions is the condition of units of one product, by unit id: what a list
// of units shows.
func (s *Service) Conditions(ctx context.Context, product string, units []fleet.Unit) (map[string]Condition, error) {
	if len(units) == 0 {
		return map[string]Condition{}, nil
	}
	keys, ids := make([]int64, len(units)), make([]string, len(units))
	for i, u := range units {
		keys[i], ids[i] = u.Key, u.ID
	}
	judged, err := s.c.Store.JudgedAt(ctx, product, keys)
	if err != nil {
		return nil, err
	}
	open, err := s.c.Store.Findings(ctx, FindingFilter{Product: product, UnitIDs: ids, State: Open})
	if err != nil {
		return nil, err
	}
	silent, err := s.c.Store.SilentAt(ctx, product, keys)
	if err != nil {
		return nil, err
	}
	types, err := s.types(ctx, product)
	if err != nil {
		return nil, err
	}
	byUnit := make(map[string][]Finding)
	for _, f := range open {
		byUnit[f.UnitID] = append(byUnit[f.UnitID], f)
	}
	out := make(map[string]Condition, len(units))
	for _, u := range units {
		out[u.ID] = s.health(u, byUnit[u.ID], judged[u.Key], silent[u.Key], types).Condition
	}
	return out, nil
}

// CountConditions counts the active units of a product by condition.
func (s *Service) CountConditions(ctx context.Context, product string) (map[Condition]int, error) {
	return s.c.Store.CountConditions(ctx, product, s.c.Clock.Now().Add(-stale))
}

func (s *Service) types(ctx context.Context, product string) (map[string]DetectorType, error) {
	ds, err := s.c.Store.Detectors(ctx, product)
	if err != nil {
		return nil, err
	}
	out := make(map[string]DetectorType, len(ds))
	for _, d := range ds {
		out[d.Name] = d.Type
	}
	return out, nil
}

func (s *Service) health(u fleet.Unit, open []Finding, judged, silent time.Time, types map[string]DetectorType) Health {
	h := Health{Open: open, JudgedAt: judged}
	if u.State != fleet.UnitActive {
		h.Condition, h.Why = Unknown, fmt.Sprintf("the unit is %s", u.State)
		return h
	}
	var worst *Finding
	for i := range open {
		f := &open[i]
		if types[f.Detector.Name] == TypeSilence {
			h.Condition, h.Why = Silent, f.Why
			return h
		}
		if worst == nil || !worst.Severity.AtLeast(f.Severity) {
			worst = f
		}
	}
	switch {
	case !silent.IsZero():
		h.Condition, h.Why = Silent, "nothing heard of it, as of others: it is part of an outage since "+words.Instant(silent)
	case worst != nil && worst.Severity == Critical:
		h.Condition, h.Why = Failed, worst.Why
	case worst != nil:
		h.Condition, h.Why = Degraded, worst.Why
	case judged.IsZero() && len(types) == 0:
		h.Condition, h.Why = Unknown, "no detector watches its product"
	case judged.IsZero():
		h.Condition, h.Why = Unknown, "there is no data of it that may be looked at"
	case judged.Before(s.c.Clock.Now().Add(-stale)):
		h.Condition, h.Why = Unknown, "nothing that could be judged has arrived since "+words.Instant(judged)
	default:
		h.Condition, h.Why = Normal, "within its tolerances"
	}
	return h
}
