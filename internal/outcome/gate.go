package outcome

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/outcome/sequential"
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

// tally counts the tasks of one wave, or of several.
type tally struct {
	total, begun, installed, verifying, verified, relapsed, failed, unjudged, declined int
	live                                                                               int // may still come to something
	underWay                                                                           int // of those: begun at the unit, or being watched
}

// The waves that a tally is of.
func anyWave(int) bool                { return true }
func oneWave(w int) func(int) bool    { return func(of int) bool { return of == w } }
func beforeWave(w int) func(int) bool { return func(of int) bool { return of < w } }

func tallyOf(counts []campaign.Count, waves func(int) bool) tally {
	var y tally
	for _, c := range counts {
		if !waves(c.Wave) {
			continue
		}
		y.total += c.N
		switch c.State {
		case campaign.Installing, campaign.Claimed, campaign.Retrying:
			y.begun += c.N
			y.live += c.N
			y.underWay += c.N
		case campaign.Verifying:
			y.begun += c.N
			y.installed += c.N
			y.verifying += c.N
			y.live += c.N
			y.underWay += c.N
		case campaign.Verified:
			y.begun += c.N
			y.installed += c.N
			y.verified += c.N
		case campaign.Relapsed:
			y.begun += c.N
			y.installed += c.N
			y.relapsed += c.N
		case campaign.FailedTask:
			y.begun += c.N
			y.failed += c.N
		case campaign.Unjudged:
			y.begun += c.N
			y.installed += c.N
			y.unjudged += c.N
		case campaign.Declined:
			y.declined += c.N
		case campaign.Planned, campaign.Offered, campaign.Scheduled, campaign.Snoozed, campaign.Accepted:
			y.live += c.N
		default: // blocked, expired, canceled, unreachable, superseded: nothing more comes of them
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
// of its arguments alone.
//
// A campaign pauses when the evidence says that the release does worse than
// those before it (see evidence), and when a wave has ended, or can only end,
// above a ceiling that was declared: a share of the first few units alone would
// stop good releases too.
func decide(r *campaign.Run, f *facts, now time.Time) (GateStatus, action) {
	g, w := &r.Campaign.Gate, r.WaveOpen
	name, opened := r.Campaign.Waves[w].Name, r.WaveOpened[w]
	y := tallyOf(f.counts, oneWave(w))
	s := GateStatus{Wave: w, State: GateOpen, At: now}
	fail := func(format string, args ...any) (GateStatus, action) {
		s.State, s.Why = GateFailed, fmt.Sprintf("gate of wave %s: ", name)+fmt.Sprintf(format, args...)
		return s, pause
	}
	for _, e := range f.evidence(r) {
		if e.Stops {
			return fail("%s", e.Why)
		}
	}
	if why := y.above(g, r.Excused); why != "" {
		return fail("%s", why)
	}
	// What relapses after its gate was passed counts too: a fault that comes
	// and goes may be quiet just long enough.
	before := tallyOf(f.counts, beforeWave(w))
	if why := before.above(g, r.ExcusedAll-r.Excused); why != "" {
		return fail("%s in the waves before it", why)
	}
	passed := len(r.GatePassed) > w
	judged := y.verified + max(0, y.relapsed+y.failed-r.Excused)
	soaked := !now.Before(opened.Add(time.Duration(g.Soak)))
	lacks := missing(g, f, y, judged, opened, now)
	holds := y.total == 0 || len(lacks) == 0
	said := standing(y, judged)
	if passed || holds {
		s.State, s.Why = GatePassed, said
	} else {
		s.Why = said + ", missing: " + strings.Join(lacks, ", ")
	}
	if r.Last() {
		return last(r, f.counts, s, passed, holds, soaked, now)
	}
	switch since := latest(opened, r.ResumedAt); {
	case holds:
		return s, openNext
	case soaked && y.live == 0 && now.After(since):
		return fail("nobody in it can be judged any more: %s, %d not judgeable, %d declined", said, y.unjudged, y.declined)
	case !now.Before(since.Add(g.WaitAtMost())):
		return fail("neither held nor failed for %s: %s", words.Span(now.Sub(since)), s.Why)
	}
	return s, wait
}

// last decides about the last wave: its gate, and whether the campaign is done.
func last(r *campaign.Run, counts []campaign.Count, s GateStatus, passed, holds, soaked bool, now time.Time) (GateStatus, action) {
	if holds && !passed {
		return s, passLast
	}
	all, opened := tallyOf(counts, anyWave), r.WaveOpened[r.WaveOpen]
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

// confidence is that of the interval of the share verified.
const confidence = 0.95

// standing says how many are verified of those judged, and what share that
// shows at least.
func standing(y tally, judged int) string {
	words := fmt.Sprintf("%d verified of %d judged (%s)", y.verified, judged, percent(share(y.verified, judged)))
	if judged > 0 {
		low, _ := sequential.Interval(y.verified, judged, 1-confidence)
		words += fmt.Sprintf(", at least %s with %s confidence", percent(low), percent(confidence))
	}
	return words
}

// missing says in words what a gate still waits for.
func missing(g *campaign.Gate, f *facts, y tally, judged int, opened, now time.Time) []string {
	var out []string
	if left := opened.Add(time.Duration(g.Soak)).Sub(now); left > 0 {
		out = append(out, "soak for another "+left.Round(time.Second).String())
	}
	if v := share(y.verified, judged); judged > 0 && v < g.Verified {
		out = append(out, fmt.Sprintf("a share of %s verified", percent(g.Verified)))
	} else if why := tooFew(g, y, judged); why != "" {
		out = append(out, why)
	}
	if need := int(math.Ceil(g.Installed*float64(y.total) - 1e-9)); y.installed < need {
		out = append(out, fmt.Sprintf("%d more installed (%s of the wave)", need-y.installed, percent(g.Installed)))
	}
	if g.Effect && !f.effect {
		out = append(out, "an effect that is demonstrated against units not yet offered it")
	}
	return out
}

// tooFew says how many units more must be verified before the share means
// anything.
//
// If the campaign names a number, that. Else the lower end of the interval of
// the share verified must reach the share that is asked for; in a wave so small
// that it could not even if all that may still be verified were, half of those
// must be.
func tooFew(g *campaign.Gate, y tally, judged int) string {
	var need int
	var why string
	switch best, _ := sequential.Interval(y.verified+y.live, judged+y.live, 1-confidence); {
	case g.MinVerified > 0:
		need = min(g.MinVerified, y.total)
	case best < g.Verified:
		need = max(1, (y.verified+y.live+y.relapsed+y.failed+1)/2)
		why = ", half of a wave too small to show more"
	default:
		low, _ := sequential.Interval(y.verified, judged, 1-confidence)
		if low >= g.Verified && y.verified > 0 {
			return ""
		}
		more := 1 + sort.Search(max(0, y.live-1), func(i int) bool {
			low, _ := sequential.Interval(y.verified+1+i, judged+1+i, 1-confidence)
			return low >= g.Verified
		})
		need = y.verified + more
		why = fmt.Sprintf(", if all go well, to show %s", percent(g.Verified))
	}
	if y.verified >= need {
		return ""
	}
	return fmt.Sprintf("%d more verified%s", need-y.verified, why)
}

// above says by what a wave has ended, or can only end, above a ceiling.
// excused of its failures and relapses have been looked at.
func (y *tally) above(g *campaign.Gate, excused int) string {
	if y.failed+y.relapsed <= excused || y.total == 0 {
		return ""
	}
	// A wave smaller than the least number of judged units can pause all the same.
	least := max(1, min(g.LeastJudged(), y.total))
	most := y.begun + y.live - y.underWay // that may have begun in the end
	if y.begun >= least && g.Failed > 0 && float64(y.failed) > g.Failed*float64(most) {
		return fmt.Sprintf("%d of %d begun failed (%s), more than %s", y.failed, y.begun, percent(share(y.failed, y.begun)), percent(g.Failed))
	}
	judged := y.verified + y.relapsed
	if judged >= least && g.Relapsed > 0 && float64(y.relapsed) > g.Relapsed*float64(judged+y.live) {
		return fmt.Sprintf("the fault came back in %d of %d judged (%s), more than %s", y.relapsed, judged, percent(share(y.relapsed, judged)), percent(g.Relapsed))
	}
	return ""
}
