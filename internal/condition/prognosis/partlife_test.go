package prognosis_test

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/maintenance"
)

type onRecord []maintenance.Life

func (r onRecord) Lives(context.Context, string, string, time.Time) ([]maintenance.Life, int, error) {
	return r, 2, nil
}

// batch makes lives of parts that wear out after about scale days, looked at
// after 300 days.
func batch(rng *rand.Rand, name string, n int, scale, shape float64) (out []maintenance.Life) {
	for range n {
		age := scale * math.Pow(-math.Log(rng.Float64()), 1/shape)
		l := maintenance.Life{From: at(0), Batch: name, Version: "1", To: at(0).Add(time.Duration(age * float64(day))), Failed: true}
		if age > 300 {
			l.To, l.Failed, l.Alive = at(300), false, true
		}
		out = append(out, l)
	}
	return out
}

func partLife(t *testing.T, lives []maintenance.Life, by prognosis.By) prognosis.PartLife {
	t.Helper()
	got, err := prognosis.PartLives(t.Context(), onRecord(lives), clock.NewManual(at(300)), "fan", "bearing", by, 12)
	require.NoError(t, err)
	_, err = json.Marshal(got)
	require.NoError(t, err, "figures that JSON can say")
	return got
}

func TestPartLifeByBatch(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	lives := append(batch(rng, "b1", 150, 500, 2), batch(rng, "b2", 150, 250, 2)...)
	p := partLife(t, lives, prognosis.ByBatch)
	require.Len(t, p.Groups, 2)
	require.Equal(t, 2, p.Unknown)
	require.Contains(t, p.Comparison, "The batches differ clearly")
	require.Contains(t, p.Comparison, "Most fail of b2")
	require.Less(t, *p.P, 1e-6)
	for i, scale := range []float64{500, 250} {
		g := p.Groups[i]
		require.Equal(t, []string{"b1", "b2"}[i], g.Name)
		require.Equal(t, 150, g.Lives)
		require.Equal(t, 150, g.Alive+g.Failures)
		require.NotNil(t, g.Fit)
		require.Equal(t, "wears out: the older, the likelier to fail", g.Fit.Words)
		within(t, 2, g.Fit.Shape)
		within(t, scale, g.Fit.Scale)
		within(t, scale*math.Sqrt(-math.Log(.9)), g.Fit.B10)
		require.InDelta(t, scale*math.Sqrt(math.Ln2), g.Fit.Median, scale/8)
		require.Len(t, g.Expected, 12)
		last := 0.
		for _, e := range g.Expected {
			require.Greater(t, e.Value, last)
			require.LessOrEqual(t, e.Low, e.Value)
			require.GreaterOrEqual(t, e.High, e.Value)
			require.LessOrEqual(t, e.High, float64(g.Alive))
			last = e.Value
		}
		require.InDelta(t, 1, g.Curve[0].Survival, 0)
		for k := 1; k < len(g.Curve); k++ {
			a, b := g.Curve[k-1], g.Curve[k]
			require.Greater(t, b.Days, a.Days)
			require.LessOrEqual(t, b.Survival, a.Survival)
			require.LessOrEqual(t, b.Low, b.Survival)
			require.GreaterOrEqual(t, b.High, b.Survival)
		}
		require.InDelta(t, 300, g.Curve[len(g.Curve)-1].Days, 30, "to where it was looked at")
	}
	// All are of one version.
	one := partLife(t, lives, prognosis.ByVersion)
	require.Len(t, one.Groups, 1)
	require.Equal(t, "1", one.Groups[0].Name)
	require.Nil(t, one.P)
}

// within: an interval of 95 % misses now and then, the estimate is never far.
func within(t *testing.T, truth float64, e prognosis.Estimate) {
	t.Helper()
	require.InEpsilon(t, truth, e.Value, .3)
	require.Greater(t, e.Value, e.Low)
	require.Less(t, e.Value, e.High)
	require.Less(t, e.High-e.Low, truth)
}

// Of expected failures, as many come true as their interval says.
func TestExpectedFailures(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	inside, n := 0, 300
	for range n {
		var truth float64
		lives := batch(rng, "", 120, 400, 2.5)
		for i := range lives {
			if !lives[i].Alive {
				continue
			}
			// Its life goes on: the rest of a Weibull life, given 300 days.
			h := math.Pow(300./400, 2.5) - math.Log(rng.Float64())
			if 400*math.Pow(h, 1/2.5) < 300+365.25/4 {
				truth++
			}
		}
		e := partLife(t, lives, prognosis.All).Groups[0].Expected[2]
		if e.Low <= truth && truth <= e.High {
			inside++
		}
	}
	require.InDelta(t, .8, float64(inside)/float64(n), .06)
}

func TestPartLifeOfLittle(t *testing.T) {
	t.Parallel()
	none := partLife(t, nil, prognosis.ByBatch)
	require.Empty(t, none.Groups)
	require.Contains(t, none.Comparison, "nothing to compare")

	few := []maintenance.Life{
		{From: at(0), To: at(10), Failed: true, Batch: "b1"},
		{From: at(0), To: at(300), Alive: true, Batch: "b1"},
		{From: at(0), To: at(300), Alive: true, Batch: "b2"},
	}
	p := partLife(t, few, prognosis.ByBatch)
	require.Nil(t, p.Groups[0].Fit)
	require.Contains(t, p.Groups[0].Why, "on record: 1")
	require.Empty(t, p.Groups[0].Expected)
	require.Contains(t, p.Comparison, "No difference")

	for by, months := range map[prognosis.By]int{"colour": 12, prognosis.All: 0} {
		_, err := prognosis.PartLives(t.Context(), onRecord(few), clock.NewManual(at(300)), "fan", "bearing", by, months)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	}
	var many []maintenance.Life
	for i := range 40 {
		many = append(many, maintenance.Life{From: at(0), To: at(300), Alive: true, Batch: string(rune('a' + i))})
	}
	require.Equal(t, 28, partLife(t, many, prognosis.ByBatch).Left)
}
