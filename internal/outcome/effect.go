package outcome

import (
	"fmt"
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
)

// significance is the p below which an effect counts as demonstrated.
const significance = 0.05

// comparison is the material of one comparison of waves.
type comparison struct {
	run       *campaign.Run
	drawn     []place
	exposures []condition.Exposure // under the frozen detector
	judgedAt  map[int64]time.Time  // receive time of the newest row that was judged
	findings  []condition.Finding  // of the frozen detector, overlapping the window
	from, to  time.Time
}

// place is where a unit stands in a campaign.
type place struct {
	unit int64 // key
	wave int
	lot  bool // drawn by lot at the start
}

// effect compares the waves that were offered the remedy with those that were
// not yet, over the same dates.
//
// Units count in the arm of the wave they were drawn into, whether or not they
// took the remedy (intention to treat): owners who say yes early are not like
// the others, and units that were ill get better by themselves. Drawing lots
// is what makes the arms alike; the same dates take away weather and season.
//
// A unit is judged where the detector watches it and data of it was judged in
// the window: its newest judged row is not older than the window's start. That is an
// approximation of "enough exposure in the window", the same for both arms
// (a version report does not reset it); it leaves out units that are silent or
// without consent. A unit that is
// judged has breached if a finding overlaps the window, in treated units also
// before the remedy was installed: that makes the effect look smaller than it
// is, never larger.
func (c comparison) effect(minJudged int) Effect {
	e := Effect{Verdict: NoComparison, From: c.from, To: c.to}
	seen := make(map[int64]bool, len(c.exposures))
	for _, x := range c.exposures {
		if at, ok := c.judgedAt[x.UnitKey]; ok && !at.Before(c.from) {
			seen[x.UnitKey] = true
		}
	}
	breached := make(map[int64]bool, len(c.findings))
	for _, f := range c.findings {
		if f.Onset.Before(c.to) && !f.LastAt.Before(c.from) {
			breached[f.UnitKey] = true
			seen[f.UnitKey] = true // a finding is made of judged data
		}
	}
	lots := c.arms(&e, seen, breached, func(p place) bool { return p.lot })
	least := max(1, minJudged)
	if e.Offered.Units < least || e.NotOffered.Units < least {
		drawn := e
		// A wave by list or attribute is not like the others; nor is who joined
		// later. What they show is better than nothing, and not a comparison.
		if lots = c.arms(&e, seen, breached, func(place) bool { return true }); e.Offered.Units < least || e.NotOffered.Units < least {
			drawn.Why = fmt.Sprintf("no comparison: %d units that were offered the remedy and %d that were not could be judged; %d of each are needed",
				drawn.Offered.Units, drawn.NotOffered.Units, least)
			return drawn
		}
	}
	e.Difference, e.Low, e.High = newcombe(e.NotOffered.Breached, e.NotOffered.Units, e.Offered.Breached, e.Offered.Units)
	e.P = fisher(e.NotOffered.Breached, e.NotOffered.Units, e.Offered.Breached, e.Offered.Units)
	e.Verdict = NotDemonstrated
	switch {
	case !lots:
		e.Verdict = Observational
	case e.P < significance && e.Difference > 0:
		e.Verdict = Demonstrated
	}
	e.Why = fmt.Sprintf("%s: the fault showed in %d of %d units offered the remedy and in %d of %d not yet offered it (difference %.0f %%, 95 %% interval %.0f to %.0f, p = %.2g)",
		e.Verdict, e.Offered.Breached, e.Offered.Units, e.NotOffered.Breached, e.NotOffered.Units,
		100*e.Difference, 100*e.Low, 100*e.High, e.P)
	if !lots {
		e.Why += "; the waves were not drawn by lot, so this may have other causes than the remedy"
	}
	return e
}

// arms counts the judged units that counts takes, and says whether all of them
// were drawn by lot.
func (c comparison) arms(e *Effect, seen, breached map[int64]bool, counts func(place) bool) (lots bool) {
	e.Offered, e.NotOffered, lots = Arm{}, Arm{}, true
	for _, p := range c.drawn {
		if !seen[p.unit] || !counts(p) {
			continue
		}
		lots = lots && p.lot
		arm := &e.NotOffered
		if p.wave <= c.run.WaveOpen {
			arm = &e.Offered
		}
		arm.Units++
		if breached[p.unit] {
			arm.Breached++
		}
	}
	return lots
}

// compared keeps a comparison made at the gate of a wave. The first gate at
// which both arms are large enough gives the primary one, and it alone says
// whether the remedy works: one comparison, fixed beforehand. Looking again at
// each gate until one of them says yes would make a placebo pass far more
// often than once in twenty.
func (r *Record) compared(wave int, e Effect) {
	r.Latest = &e
	if r.Primary == nil && e.Verdict != NoComparison && e.Verdict != Observational {
		r.Primary, r.PrimaryAt = &e, wave
	}
}

// effect is what the report says: the primary comparison, or why there is none.
func (r *Record) effect() Effect {
	switch {
	case r.Primary != nil:
		return *r.Primary
	case r.Latest != nil:
		return *r.Latest
	}
	return Effect{Verdict: NoComparison, Why: "no comparison: no gate has been decided while a wave was not yet offered the remedy"}
}
