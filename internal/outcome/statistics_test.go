package outcome

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
)

// Table II of Newcombe (1998) lists, for method 10, the intervals of these
// comparisons.
func TestNewcombeAgreesWithThePaper(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		x1, n1, x2, n2 int
		low, high      float64
	}{
		{56, 70, 48, 80, 0.0524, 0.3339},
		{9, 10, 3, 10, 0.1705, 0.8090},
		{6, 7, 2, 7, 0.0582, 0.8062},
		{5, 56, 0, 29, -0.0381, 0.1926},
		{0, 10, 0, 20, -0.1611, 0.2775},
		{0, 10, 0, 10, -0.2775, 0.2775},
		{10, 10, 0, 20, 0.6791, 1.0000},
		{10, 10, 0, 10, 0.6075, 1.0000},
	} {
		_, low, high := newcombe(c.x1, c.n1, c.x2, c.n2)
		require.InDelta(t, c.low, low, 0.00006, "%d/%d - %d/%d", c.x1, c.n1, c.x2, c.n2)
		require.InDelta(t, c.high, high, 0.00006, "%d/%d - %d/%d", c.x1, c.n1, c.x2, c.n2)
	}
}

func TestFisherAgreesWithPublishedValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what       string
		a, n, b, m int
		p          float64
	}{
		{"the lady tasting tea, three of four cups (Fisher 1935, Agresti: 0.486)", 3, 4, 1, 4, 0.4857},
		{"the lady tasting tea, all cups (2/70)", 4, 4, 0, 4, 0.0286},
		{"criminal twins (Fisher 1935; R's fisher.test: 0.0005367)", 10, 13, 2, 17, 0.0005367},
		{"job satisfaction of R's help, collapsed: 1 9 11 3 (0.002759)", 1, 10, 11, 14, 0.002759},
	} {
		require.InDelta(t, c.p, fisher(c.a, c.n, c.b, c.m), 0.00006, c.what)
		require.InDelta(t, fisher(c.a, c.n, c.b, c.m), fisher(c.b, c.m, c.a, c.n), 1e-12, "the arms may be swapped")
	}
	require.InDelta(t, 1, fisher(0, 10, 0, 10), 1e-9)
	require.InDelta(t, 1, fisher(5, 10, 5, 10), 1e-9)
}

// trial plays a campaign of three waves over a cohort whose units breach now
// and then, each with its own probability in a window, and gives the effect
// that its report would state. works is the share of treated units that the
// remedy cures.
func trial(seed uint64, units int, works float64) Effect {
	rng := rand.New(rand.NewPCG(seed, 42))
	now := time.Date(2014, 3, 3, 0, 0, 0, 0, time.UTC)
	run := campaign.Run{Campaign: campaign.Campaign{Waves: []campaign.Wave{{Share: 0.1}, {Share: 0.4}, {Share: 0.5}}}}
	tasks := make([]place, units)
	chance := make([]float64, units)
	judgedAt := map[int64]time.Time{}
	var exposures []condition.Exposure
	for i, j := range rng.Perm(units) {
		wave := 0
		if i >= units/10 {
			wave = 1
		}
		if i >= units/2 {
			wave = 2
		}
		tasks[i] = place{unit: int64(j), wave: wave, lot: true}
		chance[j] = 0.3 + 0.6*rng.Float64()
		exposures = append(exposures, condition.Exposure{UnitKey: int64(j)})
	}
	var rec Record
	for gate := range 2 {
		from, to := now, now.Add(24*time.Hour)
		run.WaveOpen = gate
		var findings []condition.Finding
		for i := range tasks {
			key := tasks[i].unit
			judgedAt[key] = to.Add(-time.Minute)
			treated := tasks[i].wave <= gate && rng.Float64() < 0.8 // owners who took it
			cured := treated && rng.Float64() < works
			if !cured && rng.Float64() < chance[key] {
				findings = append(findings, condition.Finding{UnitKey: key, Onset: from.Add(time.Hour), LastAt: from.Add(2 * time.Hour)})
			}
		}
		c := comparison{run: &run, drawn: tasks, exposures: exposures, judgedAt: judgedAt, findings: findings, from: from, to: to}
		rec.compared(gate, c.effect(5))
		now = to
	}
	return rec.effect()
}

// A remedy that changes nothing, on faults that come and go, must not be said
// to work: at most 5 of 100.
func TestPlaceboIsNotDemonstrated(t *testing.T) {
	t.Parallel()
	for units, seeds := range map[int]int{60: 1000, 200: 1000, 1000: 200} {
		t.Run(fmt.Sprint(units), func(t *testing.T) {
			t.Parallel()
			works := 0
			for seed := range uint64(seeds) {
				switch e := trial(seed, units, 0); e.Verdict {
				case Demonstrated:
					works++
					require.Greater(t, e.Difference, 0.0)
				case NoComparison:
					t.Fatal(e.Why)
				case NotDemonstrated, Observational:
				}
			}
			require.LessOrEqual(t, works, seeds*5/100, "a two-sided test at 5 % errs to this side in 2.5 %")
		})
	}
}

// The same trial must be able to show an effect that is there.
func TestARemedyThatWorksIsDemonstrated(t *testing.T) {
	t.Parallel()
	works := 0
	for seed := range uint64(100) {
		if trial(seed, 300, 1).Verdict == Demonstrated {
			works++
		}
	}
	require.GreaterOrEqual(t, works, 95)
}

// A remedy that does harm is never said to work, however small its p.
func TestHarmIsNoEffect(t *testing.T) {
	t.Parallel()
	c := arms(50, 40, 50, 10)
	e := c.effect(5)
	require.Less(t, e.P, 0.001)
	require.Less(t, e.Difference, 0.0)
	require.Equal(t, NotDemonstrated, e.Verdict)
	require.Equal(t, Demonstrated, func() Verdict { c := arms(50, 10, 50, 40); return c.effect(5).Verdict }())
}

// arms makes a comparison of n offered units of which a breach, and m not
// offered of which b breach.
func arms(n, a, m, b int) comparison {
	to := time.Date(2014, 3, 3, 0, 0, 0, 0, time.UTC)
	c := comparison{run: &campaign.Run{Campaign: campaign.Campaign{Waves: []campaign.Wave{{Share: 0.5}, {Share: 0.5}}}}, judgedAt: map[int64]time.Time{}, from: to.Add(-time.Hour), to: to}
	for i := range n + m {
		wave, breach := 0, i < a
		if i >= n {
			wave, breach = 1, i-n < b
		}
		key := int64(i)
		c.drawn = append(c.drawn, place{unit: key, wave: wave, lot: true})
		c.exposures = append(c.exposures, condition.Exposure{UnitKey: key})
		c.judgedAt[key] = to
		if breach {
			c.findings = append(c.findings, condition.Finding{UnitKey: key, Onset: c.from, LastAt: to})
		}
	}
	return c
}

func TestWhoIsCompared(t *testing.T) {
	t.Parallel()
	c := arms(10, 0, 10, 10)
	delete(c.judgedAt, 0)                    // silent, offered
	c.judgedAt[1] = c.from.Add(-time.Second) // silent since before the window
	c.exposures = c.exposures[:19]           // the last one is not watched ...
	c.findings = append(c.findings,          // ... but has a finding
		condition.Finding{UnitKey: 2, Onset: c.to, LastAt: c.to.Add(1)},              // after the window
		condition.Finding{UnitKey: 3, Onset: c.from.Add(-2), LastAt: c.from.Add(-1)}, // before it
		condition.Finding{UnitKey: 4, Onset: c.from.Add(-2), LastAt: c.from},         // into it
		condition.Finding{UnitKey: 99, Onset: c.from, LastAt: c.to},                  // not of the cohort
	)
	e := c.effect(5)
	require.Equal(t, Arm{Units: 8, Breached: 1}, e.Offered)
	require.Equal(t, Arm{Units: 10, Breached: 10}, e.NotOffered)
	require.Equal(t, NoComparison, c.effect(9).Verdict, "an arm is too small")
	c.run.WaveOpen = 1
	e = c.effect(5)
	require.Equal(t, NoComparison, e.Verdict, "no control is left")
	require.NotEmpty(t, e.Why)
}

func TestOneComparisonDecides(t *testing.T) {
	t.Parallel()
	var r Record
	require.Equal(t, NoComparison, r.effect().Verdict)
	small, no, yes := arms(2, 0, 2, 2), arms(50, 20, 50, 20), arms(50, 5, 50, 45)
	r.compared(0, small.effect(5))
	require.Nil(t, r.Primary)
	r.compared(1, no.effect(5))
	r.compared(2, yes.effect(5))
	require.Equal(t, NotDemonstrated, r.effect().Verdict, "the first that could be made, whatever comes after")
	require.Equal(t, 1, r.PrimaryAt)
	require.Equal(t, Demonstrated, r.Latest.Verdict)
}
