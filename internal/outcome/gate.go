package outcome

import (
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/campaign"
)

// The states of a gate.
const (
	GateWaiting = "waiting" // its wave is not open
	GateOpen    = "open"    // its wave is open, and it is not decided
	GatePassed  = "passed"
	GateFailed  = "failed"
)

// GateStatus says where the gate of a wave stands, in words.
type GateStatus struct {
	Wave  int       `json:"wave"`
	State string    `json:"state" enum:"waiting,open,passed,failed"`
	Why   string    `json:"why"`
	At    time.Time `json:"at,omitzero"`
}

// action is what a gate's decision asks for.
type action int

const (
	wait action = iota
	openNext
	pause
	passLast
	finish
)

// tally counts the tasks of one wave, or of all.
type tally struct {
	total, begun, verified, relapsed, failed, unjudged, declined int
	live                                                         int // may still come to something
	underWay                                                     int // of those: begun at the unit, or being watched
}

func tallyOf(counts []campaign.Count, wave int) tally {
	var y tally
	for _, c := range counts {
		if wave >= 0 && c.Wave != wave {
			continue
		}
		y.total += c.N
		switch c.State {
		case campaign.Installing, campaign.Claimed, campaign.Verifying:
			y.begun += c.N
			y.live += c.N
			y.underWay += c.N
		case campaign.Verified:
			y.begun += c.N
			y.verified += c.N
		case campaign.Relapsed:
			y.begun += c.N
			y.relapsed += c.N
		case campaign.FailedTask:
			y.begun += c.N
			y.failed += c.N
		case campaign.Unjudged:
			y.begun += c.N
			y.unjudged += c.N
		case campaign.Declined:
			y.declined += c.N
		case campaign.Planned, campaign.Offered, campaign.Scheduled, campaign.Snoozed, campaign.Accepted:
			y.live += c.N
		default: // blocked, expired, canceled, unreachable: nothing more comes of them
		}
	}
	return y
}

func share(part, whole int) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func percent(v float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", 100*v), ".0") + " %"
}

// decide looks at the gate of the wave that was opened last. It is a function
// of its arguments alone. No gate waits for the effect to be demonstrated:
// that would keep a remedy for a danger from those who wait for it; only harm
// (failures, relapses) or a lack of verified units holds a wave back.
func decide(r *campaign.Run, counts []campaign.Count, now time.Time) (GateStatus, action) {
	g, w := &r.Campaign.Gate, r.WaveOpen
	name, opened := r.Campaign.Waves[w].Name, r.WaveOpened[w]
	y := tallyOf(counts, w)
	s := GateStatus{Wave: w, State: GateOpen, At: now}
	fail := func(format string, args ...any) (GateStatus, action) {
		s.State, s.Why = GateFailed, fmt.Sprintf("gate of wave %s: ", name)+fmt.Sprintf(format, args...)
		return s, pause
	}
	// A wave smaller than the least number of judged units can pause all the same.
	least := max(1, min(g.LeastJudged(), y.total))
	if bad := y.failed + y.relapsed; bad > r.Excused {
		if v := share(y.failed, y.begun); y.begun >= least && v > g.Failed {
			return fail("%d of %d begun failed (%s), more than %s", y.failed, y.begun, percent(v), percent(g.Failed))
		}
		if v := share(y.relapsed, y.verified+y.relapsed); y.verified+y.relapsed >= least && v > g.Relapsed {
			return fail("the fault came back in %d of %d judged (%s), more than %s", y.relapsed, y.verified+y.relapsed, percent(v), percent(g.Relapsed))
		}
	}
	// What relapses after its gate was passed counts too: a fault that comes
	// and goes may be quiet just long enough.
	if all := tallyOf(counts, -1); all.failed+all.relapsed > r.ExcusedAll && all.verified+all.relapsed >= g.LeastJudged() {
		if v := share(all.relapsed, all.verified+all.relapsed); v > g.Relapsed {
			return fail("the fault came back in %d of %d judged of all waves (%s), more than %s", all.relapsed, all.verified+all.relapsed, percent(v), percent(g.Relapsed))
		}
	}
	passed := len(r.GatePassed) > w
	judged := y.verified + max(0, y.relapsed+y.failed-r.Excused)
	soaked := !now.Before(opened.Add(time.Duration(g.Soak)))
	need := max(1, min(g.LeastVerified(), y.total))
	holds := y.total == 0 || soaked && y.verified >= need && share(y.verified, judged) >= g.Verified
	words := fmt.Sprintf("%d verified of %d judged (%s)", y.verified, judged, percent(share(y.verified, judged)))
	if passed || holds {
		s.State, s.Why = GatePassed, words
	} else {
		s.Why = words + ", missing: " + missing(g, y, judged, need, opened, now)
	}
	if r.Last() {
		return last(r, counts, s, passed, holds, soaked, now)
	}
	switch since := latest(opened, r.ResumedAt); {
	case holds:
		return s, openNext
	case soaked && y.live == 0 && now.After(since):
		return fail("nobody in it can be judged any more: %s, %d not judgeable, %d declined", words, y.unjudged, y.declined)
	case !now.Before(since.Add(g.WaitAtMost())):
		return fail("neither held nor failed for %s: %s", now.Sub(since).Round(time.Minute), s.Why)
	}
	return s, wait
}

// last decides about the last wave: its gate, and whether the campaign is done.
func last(r *campaign.Run, counts []campaign.Count, s GateStatus, passed, holds, soaked bool, now time.Time) (GateStatus, action) {
	if holds && !passed {
		return s, passLast
	}
	all, opened := tallyOf(counts, -1), r.WaveOpened[r.WaveOpen]
	end := opened.Add(time.Duration(r.Campaign.Deadline))
	switch {
	case soaked && all.live == 0:
		return s, finish
	case all.underWay == 0 && !now.Before(end.Add(time.Duration(r.Campaign.Gate.Soak))):
		return s, finish
	case !now.Before(end.Add(r.Campaign.Gate.WaitAtMost())):
		return s, finish
	}
	return s, wait
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// missing says in words what a gate still waits for.
func missing(g *campaign.Gate, y tally, judged, need int, opened, now time.Time) string {
	var out []string
	if left := opened.Add(time.Duration(g.Soak)).Sub(now); left > 0 {
		out = append(out, "soak for another "+left.Round(time.Second).String())
	}
	if y.verified < need {
		out = append(out, fmt.Sprintf("%d more verified", need-y.verified))
	}
	if v := share(y.verified, judged); judged > 0 && v < g.Verified {
		out = append(out, fmt.Sprintf("a share of %s verified", percent(g.Verified)))
	}
	return strings.Join(out, ", ")
}
