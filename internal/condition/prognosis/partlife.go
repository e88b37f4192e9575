package prognosis

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/detect/life"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/maintenance"
)

// By is what lives are told apart by.
type By string

// The ways to tell lives apart; All makes one group.
const (
	ByBatch   By = "batch"
	ByVersion By = "version"
	All       By = "all"
)

// confidence of every interval of part life: of parameters and curves 95 %, of
// numbers to come 80 %.
const (
	confidence         = .95
	forecastConfidence = .80
)

// PartLife is how long a part lasts, from maintenance records alone. Ages are
// in days of calendar time since it was put in.
type PartLife struct {
	Product    string    `json:"product"`
	Part       string    `json:"part,omitempty"`
	By         By        `json:"by"`
	At         time.Time `json:"at"`
	Months     int       `json:"months"`
	Groups     []Group   `json:"groups"`
	Comparison string    `json:"comparison"`  // whether groups differ, in words
	P          *float64  `json:"p,omitempty"` // chance of so great a difference between equals
	Unknown    int       `json:"unknown" doc:"Lives without a known beginning, left out."`
	Left       int       `json:"leftOut" doc:"Groups beyond the twelve largest, left out."`
}

// Group is one batch or version.
type Group struct {
	Name     string   `json:"name"`
	Lives    int      `json:"lives"`
	Failures int      `json:"failures"`
	Alive    int      `json:"alive" doc:"In use now."`
	Curve    []Point  `json:"curve" doc:"Kaplan and Meier's survival curve with its 95 % band."`
	Fit      *Fit     `json:"fit,omitempty"`
	Why      string   `json:"why,omitempty" doc:"Why there is no fit."`
	Expected []Number `json:"expected" doc:"Failures expected of those in use, by the end of each month from now."`
}

// Point is the share that outlives an age.
type Point struct {
	Days     float64 `json:"days"`
	Survival float64 `json:"survival"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	AtRisk   int     `json:"atRisk"`
}

// Estimate is a figure with its 95 % interval.
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Fit is a Weibull distribution.
type Fit struct {
	Shape  Estimate `json:"shape"`
	Scale  Estimate `json:"scale" doc:"Age by which 63.2 % have failed, in days."`
	B10    Estimate `json:"b10" doc:"Age by which 10 % have failed, in days."`
	Median float64  `json:"median" doc:"Age by which half have failed, in days."`
	Words  string   `json:"words" doc:"What the shape says."`
}

// Number is an expected number of failures with its 80 % interval.
type Number struct {
	Months int     `json:"months"`
	Value  float64 `json:"value"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

const month = 365.25 / 12 // days

// most groups that are told apart: more are no table one can read.
const mostGroups = 12

// LivesOf is what PartLife reads.
type LivesOf interface {
	Lives(ctx context.Context, product, part string, now time.Time) (lives []maintenance.Life, unknown int, err error)
}

// PartLives estimates how long a part of a product lasts, and how many will
// fail in the months to come.
func PartLives(ctx context.Context, from LivesOf, c clock.Clock, product, part string, by By, months int) (PartLife, error) {
	switch by {
	case ByBatch, ByVersion, All:
	default:
		return PartLife{}, fault.Fields("part life", []fault.Field{{Path: "query.by", Expected: "batch, version or all", Got: string(by)}})
	}
	if months < 1 || months > 60 {
		return PartLife{}, fault.Fields("part life", []fault.Field{{Path: "query.months", Expected: "1 to 60", Got: fmt.Sprint(months)}})
	}
	now := c.Now()
	lives, unknown, err := from.Lives(ctx, product, part, now)
	if err != nil {
		return PartLife{}, err
	}
	return partLife(product, part, by, months, now, lives, unknown), nil
}

func partLife(product, part string, by By, months int, now time.Time, lives []maintenance.Life, unknown int) PartLife {
	out := PartLife{Product: product, Part: part, By: by, At: now, Months: months, Unknown: unknown, Groups: []Group{}}
	of := map[string][]maintenance.Life{}
	for _, l := range lives {
		name := map[By]string{ByBatch: l.Batch, ByVersion: l.Version, All: "all"}[by]
		of[name] = append(of[name], l)
	}
	for name, ls := range of {
		out.Groups = append(out.Groups, newGroup(name, ls, months))
	}
	slices.SortFunc(out.Groups, func(a, b Group) int { return cmp.Or(cmp.Compare(b.Lives, a.Lives), cmp.Compare(a.Name, b.Name)) })
	if n := len(out.Groups); n > mostGroups {
		out.Groups, out.Left = out.Groups[:mostGroups], n-mostGroups
	}
	slices.SortFunc(out.Groups, func(a, b Group) int { return cmp.Compare(a.Name, b.Name) })
	observed := make([][]life.Observation, len(out.Groups))
	for i, g := range out.Groups {
		observed[i] = observations(of[g.Name])
	}
	out.compare(observed)
	return out
}

func days(d time.Duration) float64 { return d.Hours() / 24 }

func observations(lives []maintenance.Life) []life.Observation {
	out := make([]life.Observation, len(lives))
	for i := range lives {
		out[i] = life.Observation{Age: days(lives[i].Age()), Failed: lives[i].Failed}
	}
	return out
}

func newGroup(name string, lives []maintenance.Life, months int) Group {
	g := Group{Name: name, Lives: len(lives), Curve: []Point{}, Expected: []Number{}}
	obs := observations(lives)
	var alive []float64
	for i := range lives {
		if lives[i].Failed {
			g.Failures++
		}
		if lives[i].Alive {
			alive = append(alive, obs[i].Age)
		}
	}
	g.Alive = len(alive)
	if curve, err := life.KaplanMeier(obs); err == nil {
		g.Curve = append(g.Curve, Point{Survival: 1, Low: 1, High: 1, AtRisk: g.Lives})
		for _, s := range curve.Steps {
			low, high := curve.Interval(s.Age, confidence)
			g.Curve = append(g.Curve, Point{s.Age, s.Survival, low, high, s.AtRisk})
		}
		if last := g.Curve[len(g.Curve)-1]; curve.End > last.Days {
			last.Days, last.AtRisk = curve.End, 1
			g.Curve = append(g.Curve, last)
		}
	}
	w, err := life.FitWeibull(obs)
	if err != nil {
		g.Why = fmt.Sprintf("Weibull's distribution wants two failures at different ages; on record: %d", g.Failures)
		return g
	}
	g.Fit = newFit(w)
	for m := 1; m <= months; m++ {
		g.Expected = append(g.Expected, expected(w, alive, m))
	}
	return g
}

func newFit(w life.Weibull) *Fit {
	estimate := func(v float64, low, high float64) Estimate { return Estimate{finite(v), finite(low), finite(high)} }
	shapeLow, shapeHigh := w.ShapeInterval(confidence)
	scaleLow, scaleHigh := w.ScaleInterval(confidence)
	b10Low, b10High := w.QuantileInterval(.1, confidence)
	f := &Fit{
		Shape:  estimate(w.Shape, shapeLow, shapeHigh),
		Scale:  estimate(w.Scale, scaleLow, scaleHigh),
		B10:    estimate(w.Quantile(.1), b10Low, b10High),
		Median: finite(w.Quantile(.5)),
	}
	switch {
	case shapeLow > 1:
		f.Words = "wears out: the older, the likelier to fail"
	case shapeHigh < 1:
		f.Words = "fails young: weak ones fail early, the rest lasts"
	default:
		f.Words = "no aging shown: it fails about as often at any age, as far as these failures tell"
	}
	return f
}

// finite keeps figures that JSON can say.
func finite(v float64) float64 {
	const most = 1e9
	if math.IsNaN(v) {
		return 0
	}
	return max(-most, min(v, most))
}

// expected is how many of those alive, of the given ages, fail within some
// months. Its interval holds both what is not known of the distribution (all
// parts err together) and chance (each by itself).
func expected(w life.Weibull, ages []float64, months int) Number {
	horizon := float64(months) * month
	var mean, low, high, variance float64
	for _, age := range ages {
		p := w.Risk(age, horizon)
		l, h := w.RiskInterval(age, horizon, forecastConfidence)
		mean, low, high, variance = mean+p, low+l, high+h, variance+p*(1-p)
	}
	const z = 1.2815515655446004 // 90 % quantile of the normal distribution
	chance := z * z * variance
	return Number{
		Months: months, Value: finite(mean),
		Low:  finite(max(0, mean-math.Sqrt((mean-low)*(mean-low)+chance))),
		High: finite(min(float64(len(ages)), mean+math.Sqrt((high-mean)*(high-mean)+chance))),
	}
}

// compare says in words whether the groups differ.
func (p *PartLife) compare(groups [][]life.Observation) {
	what := map[By]string{ByBatch: "batches", ByVersion: "versions"}[p.By]
	switch {
	case len(groups) == 0:
		p.Comparison = "There is nothing to compare: no unit has this part on record."
		return
	case p.By == All || len(groups) == 1:
		p.Comparison = "There is one group, so there is nothing to compare."
		return
	}
	c, err := life.LogRank(groups...)
	if err != nil || math.IsNaN(c.P) {
		p.Comparison = fmt.Sprintf("Whether the %s differ cannot be told: too little has failed at ages that more than one of them has reached.", what)
		return
	}
	p.P = &c.P
	worst, ratio := -1, 1.0
	for i := range groups {
		if c.Expected[i] > 0 && float64(c.Failures[i])/c.Expected[i] > ratio {
			worst, ratio = i, float64(c.Failures[i])/c.Expected[i]
		}
	}
	test := fmt.Sprintf("log-rank test, chi-square %.1f on %d, p %s", c.ChiSquare, c.Freedom, chance(c.P))
	switch {
	case c.P < .05 && worst >= 0:
		how := "differ"
		if c.P < .001 {
			how = "differ clearly"
		}
		p.Comparison = fmt.Sprintf("The %s %s (%s). Most fail of %s: %d, where %.1f would have if all were alike.",
			what, how, test, named(p.Groups[worst].Name), c.Failures[worst], c.Expected[worst])
	default:
		p.Comparison = fmt.Sprintf("No difference between the %s is shown (%s). With few failures one may be there and not be seen.", what, test)
	}
}

func named(group string) string {
	if group == "" {
		return "those without one on record"
	}
	return group
}

func chance(p float64) string {
	if p < .0001 {
		return "below 0.0001"
	}
	return fmt.Sprintf("%.2g", p)
}
