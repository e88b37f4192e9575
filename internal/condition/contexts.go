package condition

import (
	"slices"
	"time"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Contexts tells when each band of a tolerance applied to one unit, for a
// chart: by the same expressions that the detectors run.
type Contexts struct {
	tolerance fleet.Tolerance
	whens     []*expression.Expression
	names     []string
	latest    []expression.Reading
	gap       int64 // ms
	from, to  int64
	step      int64 // two changes closer than this are not told apart
	next      int64
	current   int   // band that applies, -1: none
	since     int64 // from when
	until     int64 // to when it is known to apply
	out       []Applied
}

// Applied is a band and the time during which it applied.
type Applied struct {
	Band     fleet.Band
	From, To time.Time
}

// NewContexts reads the tolerance's contexts. Steps bounds how many times are
// told apart between from and to.
func NewContexts(p *fleet.Product, t fleet.Tolerance, from, to time.Time, steps int) (*Contexts, error) {
	c := &Contexts{
		tolerance: t, gap: p.Gap().Milliseconds(), from: from.UnixMilli(), to: to.UnixMilli(), current: -1,
	}
	c.step, c.next = (c.to-c.from)/int64(max(steps, 1)), c.from
	for _, b := range t.Bands {
		when, mistakes := expression.Parse(p, b.When, "when")
		if err := fault.Fields("tolerance "+t.Name, mistakes); err != nil {
			return nil, err
		}
		c.whens = append(c.whens, when)
		for _, name := range when.Signals() {
			if !slices.Contains(c.names, name) {
				c.names = append(c.names, name)
			}
		}
	}
	c.latest = make([]expression.Reading, len(c.names))
	for i := range c.latest {
		c.latest[i].At = expression.Never
	}
	for _, when := range c.whens {
		when.Bind(func(name string) int { return slices.Index(c.names, name) })
	}
	return c, nil
}

// Signals are those that the contexts read.
func (c *Contexts) Signals() []string { return c.names }

// Row takes the unit's next row; one that arrives out of order says nothing of
// what applied at its time.
func (c *Contexts) Row(r *telemetry.Row) {
	changed := false
	for _, v := range r.Values {
		i := slices.Index(c.names, v.Signal)
		if i < 0 || r.Event < c.latest[i].At {
			continue
		}
		c.latest[i] = expression.Reading{At: r.Event, Number: v.Number, Text: v.Text}
		changed = true
	}
	if !changed || r.Event < c.next {
		return
	}
	c.next = r.Event + c.step
	c.at(r.Event)
}

func (c *Contexts) at(event int64) {
	band := -1
	for i, when := range c.whens {
		holds, known := when.Eval(c.latest, event, c.gap, 0)
		if !known {
			break // as in judging: what comes after an unknown context does not apply either
		}
		if holds {
			band = i
			break
		}
	}
	if band != c.current || event > c.until {
		c.close(min(event, c.until))
		c.current, c.since = band, event
	}
	c.until = event + c.gap
}

func (c *Contexts) close(at int64) {
	if c.current >= 0 && at > c.since {
		c.out = append(c.out, Applied{
			Band: c.tolerance.Bands[c.current],
			From: time.UnixMilli(c.since).UTC(), To: time.UnixMilli(at).UTC(),
		})
	}
	c.current = -1
}

// Applied is what applied, in order of time. A tolerance without contexts
// applied all the time.
func (c *Contexts) Applied() []Applied {
	if len(c.names) == 0 {
		for i, when := range c.whens {
			if holds, known := when.Eval(c.latest, c.from, c.gap, 0); holds && known {
				return []Applied{{c.tolerance.Bands[i], time.UnixMilli(c.from).UTC(), time.UnixMilli(c.to).UTC()}}
			}
		}
		return nil
	}
	c.close(min(c.until, c.to))
	return c.out
}
