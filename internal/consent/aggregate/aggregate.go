// Package aggregate is the one place where figures over many units are made
// fit to be shown for product development: none rests on fewer than K units, and
// none can be had by taking one answer from another.
//
// A group of fewer than K units is left out, and so is the next smallest while
// what is left out comes to fewer than K units together: else it would follow
// from the whole. The whole is told of the shown groups alone. Numbers of units
// are rounded down to Step; means and quantiles are of units' own means, and
// least and greatest, which are one unit's, are never told. Times are cut to
// whole days in UTC, and a unit counts when it reported on at least one of them.
// Figures are told no finer than one unit could move them: of two questions
// whose groups differ by one unit (by hardware, then by batch; a day more) the
// difference tells less of that unit than the span of all. Whoever asks twice gets the same answer: nothing random is added that could be
// averaged away.
package aggregate

import (
	"cmp"
	"math"
	"slices"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// K is the least number of units that a figure may rest on, and Step what
// numbers of units are rounded down to.
const (
	K    = 10
	Step = 5
)

// Rules say how a figure came about; every answer has them.
type Rules struct {
	K         int    `json:"k" doc:"No figure rests on fewer units."`
	Step      int    `json:"step" doc:"Numbers of units are rounded down to a multiple."`
	Withheld  int    `json:"withheldGroups" doc:"Groups that are not shown: too small, or such that a small one would follow from them."`
	Statement string `json:"statement"`
}

const statement = "Figures over at least 10 units whose owners permit the purpose. Smaller groups are left out, and with them as many of the next smallest as it takes " +
	"that nothing follows from what is shown. Numbers of units are rounded down to 5; times are whole days; no unit's own least or greatest value is told, and no figure finer than one unit could move it."

// Value is one unit's figure, in a group.
type Value struct {
	Group  string
	Number float64
}

// Cell is a group that may be shown.
type Cell struct {
	Group string  `json:"group"`
	Units int     `json:"units" doc:"Rounded down."`
	Mean  float64 `json:"mean" doc:"Of units' means; of a share: from 0 to 1."`
	P10   float64 `json:"p10"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
}

// Table is what may be shown of values.
type Table struct {
	Rules
	Groups []Cell `json:"groups" doc:"By name."`
	All    *Cell  `json:"all,omitempty" doc:"Over the groups shown; absent when none is."`
}

// Units is a number of units as it may be told; false: it may not be told at all.
func Units(n int) (int, bool) {
	if n < K {
		return 0, false
	}
	return n / Step * Step, true
}

// Enough refuses figures that would rest on fewer than K units.
func Enough(n int, what string) error {
	if n < K {
		return fault.New(fault.Denied, "%s would rest on fewer than %d units: it is not told (k = %d)", what, K, K)
	}
	return nil
}

// Shown are the groups that may be shown, of numbers of units by group, and how
// many may not.
func Shown(units map[string]int) (groups []string, withheld int) {
	type group struct {
		name string
		n    int
	}
	all := make([]group, 0, len(units))
	for name, n := range units {
		if n > 0 {
			all = append(all, group{name, n})
		}
	}
	slices.SortFunc(all, func(a, b group) int { return cmp.Or(cmp.Compare(a.n, b.n), cmp.Compare(a.name, b.name)) })
	i, hidden := 0, 0
	for i < len(all) && (all[i].n < K || hidden > 0 && hidden < K) {
		hidden += all[i].n
		i++
	}
	for _, g := range all[i:] {
		groups = append(groups, g.name)
	}
	slices.Sort(groups)
	return groups, i
}

// Of makes the table of values, one of each unit. decimals is how many
// significant digits are told.
func Of(values []Value) Table {
	const digits = 3
	byGroup := map[string][]float64{}
	for _, v := range values {
		if !math.IsNaN(v.Number) && !math.IsInf(v.Number, 0) {
			byGroup[v.Group] = append(byGroup[v.Group], v.Number)
		}
	}
	units := map[string]int{}
	for g, numbers := range byGroup {
		units[g] = len(numbers)
	}
	shown, withheld := Shown(units)
	t := Table{Rules: Say(withheld), Groups: []Cell{}}
	var all []float64
	for _, g := range shown {
		t.Groups = append(t.Groups, cell(g, byGroup[g], digits))
		all = append(all, byGroup[g]...)
	}
	if len(all) >= K {
		c := cell("", all, digits)
		t.All = &c
	}
	return t
}

// Say is what every answer says of how it came about.
func Say(withheld int) Rules {
	return Rules{K: K, Step: Step, Withheld: withheld, Statement: statement}
}

func cell(name string, numbers []float64, digits int) Cell {
	slices.Sort(numbers)
	sum := 0.0
	for _, n := range numbers {
		sum += n
	}
	units, _ := Units(len(numbers))
	tell := func(v float64) float64 {
		return round(coarse(v, (numbers[len(numbers)-1]-numbers[0])/float64(len(numbers))), digits)
	}
	c := Cell{Group: name, Units: units, Mean: tell(sum / float64(len(numbers)))}
	// The 10th of few is nearly the least: what is told lies between at least
	// two units' values.
	c.P10, c.P50, c.P90 = tell(quantile(numbers, 0.1)), tell(quantile(numbers, 0.5)), tell(quantile(numbers, 0.9))
	return c
}

// coarse rounds to a multiple of the next 1, 2 or 5 times a power of ten that
// is not below least: the multiples say no more of the span than its size.
func coarse(v, least float64) float64 {
	if least <= 0 || math.IsInf(least, 0) {
		return v
	}
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, m := range []float64{1, 2, 5, 10} {
		if step := m * power; step >= least && step > 0 {
			return math.Round(v/step) * step
		}
	}
	return v
}

// quantile of sorted numbers is the mean of three neighbours, so that it is no
// one unit's value.
func quantile(sorted []float64, q float64) float64 {
	i := int(q * float64(len(sorted)-1))
	i = min(max(i, 1), len(sorted)-2)
	return (sorted[i-1] + sorted[i] + sorted[i+1]) / 3
}

func round(v float64, digits int) float64 {
	if v == 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-float64(digits-1))
	return math.Round(v/unit) * unit
}

// Days cuts a span to whole days in UTC, from the day that it begins in to the
// day before the one that it ends in; no day that is still going on counts.
func Days(from, to, now time.Time) (time.Time, time.Time, error) {
	const day = 24 * time.Hour
	from, to = from.UTC().Truncate(day), to.UTC().Truncate(day)
	if today := now.UTC().Truncate(day); to.After(today) {
		to = today
	}
	if !from.Before(to) {
		return from, to, fault.New(fault.Invalid, "at least one whole day in UTC that is over")
	}
	return from, to, nil
}
