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
	tasks     []campaign.Task
	exposures []condition.Exposure // under the frozen detector
	judgedAt  map[int64]time.Time  // receive time of the newest row that was judged
	findings  []condition.Finding  // of the frozen detector, overlapping the window
	from, to  time.Time
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
	for _, t := range c.tasks {
		if !seen[t.UnitKey] {
			continue
		}
		arm := &e.NotOffered
		if t.Wave <= c.run.WaveOpen {
			arm = &e.Offered
		}
		arm.Units++
		if breached[t.UnitKey] {
			arm.Breached++
		}
	}
	if e.Offered.Units < max(1, minJudged) || e.NotOffered.Units < max(1, minJudged) {
		e.Why = fmt.Sprintf("no comparison: %d units that were offered the remedy and %d that were not could be judged; %d of each are needed",
			e.Offered.Units, e.NotOffered.Units, max(1, minJudged))
		return e
	}
	e.Difference, e.Low, e.High = newcombe(e.NotOffered.Breached, e.NotOffered.Units, e.Offered.Breached, e.Offered.Units)
	e.P = fisher(e.NotOffered.Breached, e.NotOffered.Units, e.Offered.Breached, e.Offered.Units)
	e.Verdict = NotDemonstrated
	if e.P < significance && e.Difference > 0 {
		e.Verdict = Demonstrated
	}
	e.Why = fmt.Sprintf("%s: the fault showed in %d of %d units offered the remedy and in %d of %d not yet offered it (difference %.0f %%, 95 %% interval %.0f to %.0f, p = %.2g)",
		e.Verdict, e.Offered.Breached, e.Offered.Units, e.NotOffered.Breached, e.NotOffered.Units,
		100*e.Difference, 100*e.Low, 100*e.High, e.P)
	return e
}

// compared keeps a comparison made at the gate of a wave. The first gate at
// which both arms are large enough gives the primary one, and it alone says
// whether the remedy works: one comparison, fixed beforehand. Looking again at
// each gate until one of them says yes would make a placebo pass far more
// often than once in twenty.
func (r *Record) compared(wave int, e Effect) {
	r.Latest = &e
	if r.Primary == nil && e.Verdict != NoComparison {
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
