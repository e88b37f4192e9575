package tip

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"
	"time"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/tip/limit"
)

// Trial says who would have got a tip. No figure is of 1 to 9 units: it is
// then 0 with Few.
type Trial struct {
	From     time.Time        `json:"from"`
	To       time.Time        `json:"to"`
	Units    int              `json:"units" doc:"Active units of the product whose owners permit the tip's purpose."`
	Would    int              `json:"would" doc:"Of these, those that would have got it at least once; 0 with few."`
	Few      bool             `json:"few,omitempty" doc:"Somebody, but fewer than 10 units."`
	Given    int              `json:"given" doc:"How often in all, with the tip's own limits and those of owners; 0 with few."`
	Not      []limit.TrialNot `json:"not" doc:"Units for which the rule held and which would not have got it then, by what stood against it; one may have got it later."`
	Days     []TrialDay       `json:"days" doc:"By day (UTC)."`
	Unknown  []string         `json:"unknown,omitempty" doc:"Feeds that said nothing in that time: a condition that needs them never held."`
	K        int              `json:"k" doc:"No figure rests on fewer units."`
	Approach string           `json:"approach" doc:"What the figures leave out."`
}

// TrialDay is one day of a trial.
type TrialDay struct {
	Day   string `json:"day"`
	Given int    `json:"given"`
	Few   bool   `json:"few,omitempty"`
}

// Bounds of a trial.
const (
	longestTrial   = 31 * 24 * time.Hour
	maxTrialEvents = 2_000_000
)

const approach = "History as it is held; the owners' choices, switches, quiet hours, zones and regions, and unit.condition, as they are now. An owner's most in a day counts this tip and the others that were given then. Left out: what owners have set for messages by push."

// Try says who would have got a tip from one time to another. It runs the
// evaluator that runs live, on history.
func (s *Service) Try(ctx context.Context, t Tip, from, to time.Time) (Trial, error) {
	p, err := s.c.Fleet.Product(ctx, t.Product)
	if err != nil {
		return Trial{}, err
	}
	if err := fault.Fields("tip "+t.Name, Validate(&p, &t)); err != nil {
		return Trial{}, err
	}
	if !to.After(from) || to.Sub(from) > longestTrial {
		return Trial{}, fault.Fields("trial", []fault.Field{{Path: "from", Expected: "a time before to, by at most 31 days", Got: from.Format(time.RFC3339)}})
	}
	t.Paused = false
	out := Trial{From: from.UTC(), To: to.UTC(), Days: []TrialDay{}, K: Least, Approach: approach}
	people, keys, err := s.permitting(ctx, &p, &t)
	if err != nil {
		return Trial{}, err
	}
	if out.Units = len(keys); out.Units < Least {
		out.Units = 0
	}
	e, err := NewEvaluator(func(_ context.Context, key int64) (Facts, bool, error) { f, ok := people[key]; return f, ok, nil }, []Definition{{p, []Tip{t}}})
	if err != nil {
		return Trial{}, err
	}
	e.Condition = s.c.condition(ctx)
	if err := s.c.History.FeatureUse(ctx, p.Name, 0, from, func(unit int64, feature string, count, last int64) error {
		return e.Seed(ctx, unit, feature, count, last)
	}); err != nil {
		return Trial{}, err
	}
	e.Seeded(p.Name)
	l, err := s.limits(ctx, &t, people, from, to)
	if err != nil {
		return Trial{}, err
	}
	units, days, err := s.replay(ctx, e, l, &p, keys, from, to)
	if err != nil {
		return Trial{}, err
	}
	out.Not = l.Counted(Least)
	for _, n := range units {
		out.Given += n
	}
	if out.Would = len(units); out.Would > 0 && out.Would < Least {
		out.Would, out.Given, out.Few = 0, 0, true
	}
	for d := from.UTC().Truncate(24 * time.Hour); d.Before(to); d = d.AddDate(0, 0, 1) {
		day := TrialDay{Day: d.Format(time.DateOnly), Given: len(days[d.Format(time.DateOnly)])}
		if day.Given > 0 && day.Given < Least {
			day.Given, day.Few = 0, true
		}
		out.Days = append(out.Days, day)
	}
	for _, f := range e.products[p.Name].rules[0].feeds {
		said := false
		for at := range e.feeds {
			said = said || at.product == p.Name && at.feed == p.Feeds[f].Name
		}
		if !said {
			out.Unknown = append(out.Unknown, p.Feeds[f].Name)
		}
	}
	return out, nil
}

// permitting are the facts of a product's units, and the keys of those whose owners permit a tip.
func (s *Service) permitting(ctx context.Context, p *fleet.Product, t *Tip) (map[int64]Facts, []int64, error) {
	masks, err := s.c.Consents.Masks(ctx, p.Name)
	if err != nil {
		return nil, nil, err
	}
	people := map[int64]Facts{}
	keys := []int64{}
	zones := map[string]*time.Location{}
	for f := (fleet.Filter{Product: p.Name, State: fleet.UnitActive, Limit: 5000}); ; {
		units, err := s.c.Fleet.Units(ctx, f)
		if err != nil {
			return nil, nil, err
		}
		for i := range units {
			u := &units[i]
			if u.OwnerID == "" || !masks[u.ID].PermitsPurpose(p, t.Purpose) {
				continue
			}
			facts := FactsOf(u)
			for purpose, given := range masks[u.ID] {
				if given {
					facts.Given = append(facts.Given, purpose)
				}
			}
			if zones[u.OwnerID] == nil {
				o, err := s.c.Fleet.Owner(ctx, u.OwnerID)
				if err != nil {
					return nil, nil, err
				}
				zones[u.OwnerID] = o.Location()
			}
			facts.Zone = zones[u.OwnerID]
			people[u.Key] = facts
			keys = append(keys, u.Key)
		}
		if len(units) < f.Limit {
			return people, keys, nil
		}
		f.After = units[len(units)-1].ID
	}
}

// replay runs the evaluator on history and grants every wish that nothing stands
// against; it counts by unit, and by day the units.
func (s *Service) replay(ctx context.Context, e *Evaluator, l *limit.Limits, p *fleet.Product, keys []int64, from, to time.Time) (map[int64]int, map[string]map[int64]bool, error) {
	var events []telemetry.StoredEvent
	err := s.c.History.FeatureEvents(ctx, p.Name, from, 0, func(v *telemetry.StoredEvent) error {
		if v.Event.Event >= to.UnixMilli() {
			return nil
		}
		if len(events) == maxTrialEvents {
			return fault.New(fault.Invalid, "features were used more than %d times then: try a shorter time", maxTrialEvents)
		}
		events = append(events, *v)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	sort.SliceStable(events, func(i, j int) bool { return events[i].Seq < events[j].Seq })
	units, days := map[int64]int{}, map[string]map[int64]bool{}
	granted := func() error {
		for _, w := range e.asked {
			if w.kind != give {
				continue
			}
			if at := moment(w.at); at.Before(from) || !at.Before(to) {
				e.refused(w, from.UnixMilli())
				continue
			}
			until, err := l.Against(ctx, w.unit.key, w.unit.OwnerID, moment(w.at))
			if err != nil {
				return err
			}
			if until != 0 {
				e.refused(w, until)
				continue
			}
			held := Held(w.rule.Tip, w.unit.key)
			e.given(w, held)
			if held {
				l.Note(limit.ByLot, w.unit.key)
				continue
			}
			l.Gave(w.unit.OwnerID, moment(w.at))
			units[w.unit.key]++
			day := moment(w.at).Format(time.DateOnly)
			if days[day] == nil {
				days[day] = map[int64]bool{}
			}
			days[day][w.unit.key] = true
		}
		e.asked = e.asked[:0]
		return nil
	}
	product := e.products[p.Name]
	signals := make([]string, 0, len(product.slots))
	for i := range product.slots {
		signals = append(signals, product.slots[i].name)
	}
	q := telemetry.Query{Product: p.Name, Units: keys, Signals: signals, From: from.Add(-time.Duration(product.rules[0].age) * time.Millisecond), To: to}
	n := 0
	err = s.c.History.Replay(consent.For(ctx, product.rules[0].Purpose), q, func(row *telemetry.Stored, mark *telemetry.StoredMark) error {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var seq uint64
		if row != nil {
			seq = row.Seq
		} else {
			seq = mark.Seq
		}
		for len(events) > 0 && events[0].Seq < seq {
			if err := e.Event(ctx, 0, p.Name, &events[0].Event); err != nil {
				return err
			}
			events = events[1:]
		}
		var err error
		switch {
		case row != nil:
			err = e.Row(ctx, 0, p.Name, &row.Row)
		case mark.Kind == telemetry.MarkContext || mark.Kind == telemetry.MarkTick || mark.Kind == telemetry.MarkVersion:
			err = e.Mark(ctx, 0, &mark.Mark) // choices are as they are now
		}
		if err == nil {
			err = granted()
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("try a tip: %w", err)
	}
	for i := range events {
		if err := e.Event(ctx, 0, p.Name, &events[i].Event); err != nil {
			return nil, nil, err
		}
		if err := granted(); err != nil {
			return nil, nil, err
		}
	}
	return units, days, nil
}

// limits are those of the owners of some units, as they are now.
func (s *Service) limits(ctx context.Context, t *Tip, people map[int64]Facts, from, to time.Time) (*limit.Limits, error) {
	l, owners, quiet := limit.New(cmp.Or(s.c.PerDay, defaultPerDay), t.PerHour), map[string]fleet.Owner{}, s.c.Quiet
	if quiet == nil {
		quiet = atNight
	}
	l.Quiet = func(ctx context.Context, owner string, now time.Time) (time.Time, error) {
		return quiet(ctx, owners[owner], now)
	}
	for _, f := range people {
		if l.Zones[f.OwnerID] != nil {
			continue
		}
		off, err := s.c.Store.Switches(ctx, f.OwnerID)
		if err != nil {
			return nil, err
		}
		l.Zones[f.OwnerID], l.Off[f.OwnerID] = f.Zone, slices.Contains(off, "") || slices.Contains(off, t.Name)
		if owners[f.OwnerID], err = s.c.Fleet.Owner(ctx, f.OwnerID); err != nil {
			return nil, err
		}
	}
	return l, s.c.Store.GivenBetween(ctx, from.Add(-24*time.Hour), to, t.Name, l.Had)
}
