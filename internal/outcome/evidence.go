package outcome

import (
	"fmt"
	"math"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/outcome/sequential"
)

// What is watched.
const (
	WatchFailed   = "failed"   // installations that fail
	WatchRelapsed = "relapsed" // units in which the fault comes back
	WatchHarm     = "harm"     // other findings, against units that were not yet offered the update
)

// Usual is the share of units that fail with a good release, as far as it is
// known, and from where.
type Usual struct {
	Share     float64 `json:"share"`
	Source    string  `json:"source" enum:"declared,learned,assumed"`
	Campaigns int     `json:"campaigns,omitempty" doc:"Earlier ones that it was learned from."`
	Units     int     `json:"units,omitempty" doc:"That began in those."`
	Failed    int     `json:"failed,omitempty" doc:"Of those."`
	Weight    float64 `json:"weight,omitempty" doc:"In units; less than Units where campaigns differ by more than chance. 0: declared, exact."`
}

// Evidence is how strongly what has been seen says that the release does worse
// than a good one, at this moment and however often it was looked at.
type Evidence struct {
	What     string  `json:"what" enum:"failed,relapsed,harm"`
	Bad      int     `json:"bad" doc:"Units that failed, relapsed or fell ill. Of harm: of those offered."`
	Of       int     `json:"of" doc:"Units begun, judged or, of harm, all that fell ill."`
	Low      float64 `json:"low" doc:"95 % interval of the share, valid however often one looks."`
	High     float64 `json:"high"`
	Expected float64 `json:"expected" doc:"Share with a good release; of harm, the number of units offered that would fall ill if the update did nothing."`
	Evidence float64 `json:"evidence" doc:"How many times better worse explains what is seen than as good. A good release comes to x in at most one of x campaigns."`
	StopsAt  float64 `json:"stopsAt" doc:"The campaign pauses when the evidence comes to this; 0: it does not pause."`
	Stops    bool    `json:"stops"`
	Observed bool    `json:"observed,omitempty" doc:"The waves were not drawn by lot: shown, and never a reason to pause."`
	Why      string  `json:"why" doc:"In a sentence."`
	Limits   []Limit `json:"limits,omitempty" doc:"Failures among so many begun that pause the campaign."`
}

// Limit is a point of the line that pauses a campaign.
type Limit struct {
	Begun  int `json:"begun"`
	Failed int `json:"failed"`
}

// facts are what a gate is decided by.
type facts struct {
	counts   []campaign.Count
	usual    Usual
	baseline sequential.Baseline
	harm     sequential.Hazard
	lots     bool // every wave was drawn by lot
	effect   bool // demonstrated
}

// evidence weighs what has been seen since the campaign began, or since an
// operator looked and resumed it.
//
// Units that have begun and not ended count as not failed: that can only delay
// the evidence. Were only those counted that have ended, failures that show
// sooner than successes would look like more than they are.
func (f *facts) evidence(r *campaign.Run) []Evidence {
	g, all := &r.Campaign.Gate, tallyOf(f.counts, anyWave)
	failed, relapsed, harm := sequential.Budget(g.MostFalseStops())
	off := g.MostFalseStops() >= 1
	settle := func(e Evidence, alpha float64, what string) Evidence {
		if !off && !e.Observed {
			e.StopsAt = 1 / alpha
			e.Stops = e.Evidence >= e.StopsAt
		}
		e.Why = what
		if e.Evidence > 1 {
			e.Why += "; " + seldom(e.Evidence)
		}
		if e.Stops {
			e.Why += ": stopped"
		}
		return e
	}
	begun := max(0, all.begun-r.Looked.Ended)
	bad := min(begun, max(0, all.failed-r.Looked.Failed))
	test := sequential.New(f.baseline, g.Tolerated)
	fails := Evidence{What: WatchFailed, Bad: bad, Of: begun, Expected: f.usual.Share + g.Tolerated*(1-f.usual.Share), Evidence: test.Evidence(bad, begun)}
	fails.Low, fails.High = sequential.Interval(bad, begun, 1-confidence)
	fails = settle(fails, failed, fmt.Sprintf("%d failed of %d begun (%s), where %s", bad, begun, percent(share(bad, begun)), f.usual.words(g.Tolerated)))

	may := 1 - g.Verified
	if g.Relapsed > 0 {
		may = g.Relapsed
	}
	judged := all.verified + all.relapsed + all.verifying
	of := max(0, judged-r.Looked.Judged)
	back := min(of, max(0, all.relapsed-r.Looked.Relapsed))
	relapses := Evidence{What: WatchRelapsed, Bad: back, Of: of, Expected: may, Evidence: sequential.New(sequential.Declared(may), 0).Evidence(back, of)}
	relapses.Low, relapses.High = sequential.Interval(back, of, 1-confidence)
	relapses = settle(relapses, relapsed, fmt.Sprintf("the fault came back in %d of %d watched (%s), where %s may", back, of, percent(share(back, of)), percent(may)))

	h := Evidence{What: WatchHarm, Bad: f.harm.Treated, Of: f.harm.Events, Expected: f.harm.Expected, Evidence: f.harm.Evidence, Observed: !f.lots}
	h.Low, h.High = sequential.Interval(h.Bad, h.Of, 1-confidence)
	words := fmt.Sprintf("%d of the %d units that showed something new had been offered the update, where %.1f would have been if it did nothing", h.Bad, h.Of, h.Expected)
	if h.Observed {
		words = "observed, not drawn by lot: " + words
	}
	return []Evidence{fails, relapses, settle(h, harm, words)}
}

// seldom says how rarely a good release comes to some evidence.
func seldom(evidence float64) string {
	n := fmt.Sprintf("%.0f", math.Floor(evidence))
	switch {
	case evidence < 2:
		return "a release as good as before often comes to that"
	case evidence >= 1e6:
		n = "a million"
	}
	return "a release as good as before comes to that in fewer than 1 of " + n + " campaigns"
}

func (u *Usual) words(tolerated float64) string {
	out := percent(u.Share)
	switch u.Source {
	case sourceDeclared:
		out += " is usual"
	case sourceLearned:
		out += fmt.Sprintf(" is usual (%d of %d units in %d earlier campaigns)", u.Failed, u.Units, u.Campaigns)
	default:
		out += " is assumed, as nothing is known of earlier campaigns"
	}
	if tolerated > 0 {
		out += fmt.Sprintf(" and %s more is tolerated", percent(tolerated))
	}
	return out
}

const (
	sourceDeclared = "declared"
	sourceLearned  = "learned"
	sourceAssumed  = "assumed"
)

// usual is what a campaign may expect: what it declares, or what earlier ones
// of the product came to.
func usual(g *campaign.Gate, past []sequential.Past) (Usual, sequential.Baseline) {
	if g.Usual > 0 {
		return Usual{Share: g.Usual, Source: sourceDeclared}, sequential.Declared(g.Usual)
	}
	b := sequential.Learned(past)
	u := Usual{Share: b.Rate, Source: sourceAssumed, Weight: b.A + b.B}
	for _, p := range past {
		if p.Begun > 0 {
			u.Source = sourceLearned
			u.Campaigns++
			u.Units += p.Begun
			u.Failed += p.Failed
		}
	}
	return u, b
}

// limits are points of the line that pauses a campaign of so many units, ever
// wider apart; none where the evidence pauses nothing.
func (f *facts) limits(r *campaign.Run) []Limit {
	g := &r.Campaign.Gate
	if g.MostFalseStops() >= 1 {
		return nil
	}
	alpha, _, _ := sequential.Budget(g.MostFalseStops())
	t, units := sequential.New(f.baseline, g.Tolerated), tallyOf(f.counts, anyWave).total-r.Looked.Ended
	var out []Limit
	for n := 1; n <= units; n = max(n+1, n*5/4) {
		if at := t.StopsAt(n, alpha); at <= n {
			out = append(out, Limit{Begun: n, Failed: at})
		}
	}
	return out
}
