package outcome

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/outcome/sequential"
)

// plain is a large campaign that declares no ceiling.
func plain(usual float64) *campaign.Run {
	r := running(false)
	r.Campaign.Gate = campaign.Gate{Soak: fleet.Duration(2 * day), Verified: 0.9, Usual: usual}
	return r
}

func TestEvidencePausesAtOnce(t *testing.T) {
	t.Parallel()
	r := plain(0.01)
	few := states{campaign.FailedTask: 2, campaign.Verifying: 12, campaign.Offered: 500}
	_, act := decide(r, known(r, few.counts()), opened.Add(time.Hour))
	require.Equal(t, wait, act)
	three := states{campaign.FailedTask: 3, campaign.Verifying: 11, campaign.Offered: 500}
	s, act := decide(r, known(r, three.counts()), opened.Add(time.Hour))
	require.Equal(t, pause, act)
	require.Equal(t, "gate of wave first: 3 failed of 14 begun (21.4 %), where 1 % is usual; a release as good as before comes to that in fewer than 1 of 160 campaigns: stopped", s.Why)

	r.Campaign.Gate.FalseStops = 1
	_, act = decide(r, known(r, three.counts()), opened.Add(time.Hour))
	require.Equal(t, wait, act, "switched off")
	r.Campaign.Gate.FalseStops, r.Campaign.Gate.Tolerated = 0, 0.2
	_, act = decide(r, known(r, three.counts()), opened.Add(time.Hour))
	require.Equal(t, wait, act, "tolerated")
}

// What an operator has looked at does not pause it again; as many once more do.
func TestResumingIsANewStart(t *testing.T) {
	t.Parallel()
	r := plain(0.01)
	r.Looked = campaign.Looked{Ended: 10, Failed: 3} // and four on their way
	r.ResumedAt = opened.Add(time.Hour)
	seen := states{campaign.FailedTask: 3, campaign.Verifying: 10, campaign.Installing: 1, campaign.Offered: 500}
	f := known(r, seen.counts())
	require.Equal(t, 4, f.evidence(r)[0].Of)
	_, act := decide(r, f, opened.Add(2*time.Hour))
	require.Equal(t, wait, act)
	worse := states{campaign.FailedTask: 6, campaign.Verifying: 10, campaign.Offered: 500}
	s, act := decide(r, known(r, worse.counts()), opened.Add(2*time.Hour))
	require.Equal(t, pause, act)
	require.Contains(t, s.Why, "3 failed of 6 begun")
}

func TestRelapsesAreEvidence(t *testing.T) {
	t.Parallel()
	r := plain(0.01) // 90 % verified are asked for
	_, act := decide(r, known(r, states{campaign.Relapsed: 2, campaign.Verified: 30, campaign.Offered: 500}.counts()), opened.Add(day))
	require.Equal(t, wait, act)
	s, act := decide(r, known(r, states{campaign.Relapsed: 6, campaign.Verified: 2, campaign.Offered: 500}.counts()), opened.Add(day))
	require.Equal(t, pause, act)
	require.Contains(t, s.Why, "the fault came back in 6 of 8 watched (75 %), where 10 % may")
}

func TestHarmIsEvidenceWhereLotsWereDrawn(t *testing.T) {
	t.Parallel()
	r := plain(0.01)
	f := known(r, states{campaign.Verifying: 100, campaign.Offered: 100}.counts())
	events := make([]sequential.Event, 12)
	for i := range events {
		events[i] = sequential.Event{Treated: true, AtRisk: 200 - i, AtRiskOf: 400 - i}
	}
	f.harm = sequential.Compare(events)
	s, act := decide(r, f, opened.Add(time.Hour))
	require.Equal(t, pause, act)
	require.Contains(t, s.Why, "12 of the 12 units that showed something new had been offered the update, where 5.9 would have been if it did nothing")
	f.lots = false
	_, act = decide(r, f, opened.Add(time.Hour))
	require.Equal(t, wait, act)
	require.Contains(t, f.evidence(r)[2].Why, "observed, not drawn by lot")
}

func TestWhatIsUsual(t *testing.T) {
	t.Parallel()
	u, b := usual(&campaign.Gate{Usual: 0.02}, []sequential.Past{{Failed: 9, Begun: 10}})
	require.Equal(t, Usual{Share: 0.02, Source: "declared"}, u, "what is declared goes first")
	require.True(t, b.Exact)
	u, _ = usual(&campaign.Gate{}, nil)
	require.Equal(t, "assumed", u.Source)
	u, b = usual(&campaign.Gate{}, []sequential.Past{{Failed: 10, Begun: 1000}, {Begun: 0}, {Failed: 11, Begun: 1000}})
	require.Equal(t, Usual{Share: b.Rate, Source: "learned", Campaigns: 2, Units: 2000, Failed: 21, Weight: 2020}, u)
	require.InDelta(t, 0.0109, u.Share, 0.0001)
}

func TestAGateAsksForEvidence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		tasks  states
		change func(g *campaign.Gate)
		want   action
		why    string
	}{
		{name: "one of a thousand", tasks: states{campaign.Verified: 1, campaign.Offered: 999}, want: wait, why: "52 more verified, if all go well, to show 90 %"},
		{name: "fifty-two", tasks: states{campaign.Verified: 52, campaign.Offered: 948}, want: wait, why: "1 more verified"},
		{name: "fifty-three", tasks: states{campaign.Verified: 53, campaign.Offered: 947}, want: openNext, why: "53 verified of 53 judged (100 %), at least 90 % with 95 % confidence"},
		{name: "half of a small wave", tasks: states{campaign.Verified: 5, campaign.Offered: 5}, want: openNext},
		{name: "less than half", tasks: states{campaign.Verified: 4, campaign.Offered: 6}, want: wait, why: "1 more verified, half of a wave too small to show more"},
		{name: "owners who said no are not waited for", tasks: states{campaign.Verified: 4, campaign.Offered: 3, campaign.Declined: 3}, want: openNext},
		{name: "a number is declared", tasks: states{campaign.Verified: 2, campaign.Offered: 998}, change: func(g *campaign.Gate) { g.MinVerified = 2 }, want: openNext},
		{name: "installed", tasks: states{campaign.Verified: 60, campaign.Offered: 40}, change: func(g *campaign.Gate) { g.Installed = 0.7 }, want: wait, why: "10 more installed (70 % of the wave)"},
		{name: "installed enough", tasks: states{campaign.Verified: 60, campaign.Verifying: 10, campaign.Offered: 30}, change: func(g *campaign.Gate) { g.Installed = 0.7 }, want: openNext},
		{name: "effect", tasks: states{campaign.Verified: 60, campaign.Offered: 40}, change: func(g *campaign.Gate) { g.Effect = true }, want: wait, why: "an effect that is demonstrated"},
		{name: "nothing more comes", tasks: states{campaign.Verified: 5, campaign.FailedTask: 5}, change: func(g *campaign.Gate) { g.FalseStops = 1 }, want: pause, why: "nobody in it can be judged any more: 5 verified of 10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := plain(0.01)
			if c.change != nil {
				c.change(&r.Campaign.Gate)
			}
			s, act := decide(r, known(r, c.tasks.counts()), opened.Add(3*day))
			require.Equal(t, c.want, act, s.Why)
			require.Contains(t, s.Why, c.why)
		})
	}
}

// The line of the chart is the rule of the gate.
func TestLimitsAreWhereItStops(t *testing.T) {
	t.Parallel()
	r := plain(0.05)
	f := known(r, states{campaign.Planned: 5000}.counts())
	line := f.limits(r)
	require.NotEmpty(t, line)
	for _, l := range line {
		at := states{campaign.FailedTask: l.Failed, campaign.Verifying: l.Begun - l.Failed}
		require.True(t, known(r, at.counts()).evidence(r)[0].Stops, "%+v", l)
		below := states{campaign.FailedTask: l.Failed - 1, campaign.Verifying: l.Begun - l.Failed + 1}
		require.False(t, known(r, below.counts()).evidence(r)[0].Stops, "%+v", l)
	}
}

// A whole rollout through decide, one unit after the other, all three kinds of
// evidence watched and the gate looked at each time: at most 5 of 100 good
// releases are stopped before the wave could be judged, and a bad one is after
// few units.
func TestRolloutsThroughTheGate(t *testing.T) {
	t.Parallel()
	play := func(seed uint64, fails, relapses float64) (stopped bool, begun int) {
		rng := rand.New(rand.NewPCG(seed, 8))
		r := plain(0.05)
		r.Campaign.Gate.Verified = 0.8
		left, is := 400, states{}
		for left > 0 {
			left--
			switch {
			case rng.Float64() < fails:
				is[campaign.FailedTask]++
			case rng.Float64() < relapses:
				is[campaign.Relapsed]++
			default:
				is[campaign.Verified]++
			}
			is[campaign.Offered] = left
			if s, act := decide(r, known(r, is.counts()), opened.Add(time.Hour)); act == pause {
				require.Contains(t, s.Why, ": stopped")
				return true, 400 - left
			}
		}
		return false, 400
	}
	const times = 100
	good, bad, most := 0, 0, 0
	for seed := range uint64(times) {
		if stopped, _ := play(seed, 0.05, 0.05); stopped {
			good++
		}
		if stopped, begun := play(seed, 0.25, 0.05); stopped {
			bad++
			most += begun
		}
	}
	require.LessOrEqual(t, good, 5)
	require.Equal(t, times, bad)
	require.Less(t, most/times, 60, "units begun on average")
}

func TestWhoFellIll(t *testing.T) {
	t.Parallel()
	r := plain(0.01)
	r.Campaign.Waves = []campaign.Wave{{Name: "first", Count: 2}, {Name: "listed", Units: []string{"x"}}, {Name: "rest"}}
	r.WaveOpened = []time.Time{opened, opened.Add(day)}
	counts := []campaign.Count{{Wave: 0, State: campaign.Offered, N: 2}, {Wave: 1, State: campaign.Offered, N: 1}, {Wave: 2, State: campaign.Planned, N: 7}}
	n, lots := drawn(r, counts)
	require.Equal(t, []int{2, 0, 7}, n, "a wave by list is no lot")
	require.False(t, lots)
	x := ills{first: map[int64]ill{
		1: {at: opened.Add(time.Hour), wave: 0},
		2: {at: opened.Add(2 * time.Hour), wave: 2},
		3: {at: opened.Add(-time.Hour), wave: 0}, // nobody had been offered it
		4: {at: opened.Add(time.Hour), wave: -1},
	}}
	h := x.hazard(r, n)
	require.Equal(t, 1, h.Events, "then none is left of those offered")
	require.Equal(t, 1, h.Treated)
	require.InDelta(t, 1.0/8, h.Expected, 1e-9)
}
