package rul

import (
	"math"
	"slices"
)

// Operating regimes are found without being told which columns are settings.
// A column is cut into a few clusters; the cut is an operating mode if it
// explains how the *other* columns jump from one reading to the next: if two
// readings of one unit in the same cluster, one soon after the other, are much
// more alike than neighbouring readings are. Wear doesn't do that: it is slow,
// and neighbouring readings differ by noise alone.
const (
	maxModes    = 12   // clusters of one column
	maxRegimes  = 24   // combinations of clusters
	minShare    = 0.01 // of the readings in a cluster, at least
	jumpRatio   = 0.5  // what is left of the jumps, at most, for a cut to be a mode
	furtherGain = 0.9  // what a further column must leave of what was left
	probeRows   = 6000 // readings looked at
)

// cutColumn is a setting: its values between two edges are one mode.
type cutColumn struct {
	column int
	edges  []float64
}

// regimes tells the regime of a reading.
type regimes struct {
	cuts  []cutColumn
	known []int // each regime's combination of modes
}

// count is how many regimes there are, at least 1.
func (g *regimes) count() int { return max(1, len(g.known)) }

// setting tells whether a column is one that regimes are told by.
func (g *regimes) setting(column int) bool {
	return slices.ContainsFunc(g.cuts, func(c cutColumn) bool { return c.column == column })
}

// mode is the cluster of v: the number of edges below it.
func (c *cutColumn) mode(v float64) int {
	i, _ := slices.BinarySearch(c.edges, v)
	return i
}

// of is the regime of reading i; -1 where a setting is missing.
func (g *regimes) of(values [][]float64, i int) int {
	if len(g.cuts) == 0 {
		return 0
	}
	code := 0
	for _, c := range g.cuts {
		v := values[c.column][i]
		if math.IsNaN(v) {
			return -1
		}
		code = code*maxModes + c.mode(v)
	}
	return slices.Index(g.known, code)
}

// all are the regimes of all the unit's readings. One that is missing or was
// never seen is that of the reading before, or regime 0 at the start.
func (g *regimes) all(u *Unit) []int {
	out := make([]int, len(u.Time))
	last := 0
	for i := range out {
		if r := g.of(u.Values, i); r >= 0 {
			last = r
		}
		out[i] = last
	}
	return out
}

// findRegimes looks for settings among the columns, one after the other. Of
// cuts that explain about as much, the one whose own column is tightest within
// its clusters is the setting; the others follow from it.
func findRegimes(units []*Unit, columns int) regimes {
	probe := probed(units)
	options := make([][]cutColumn, columns)
	for c := range options {
		options[c] = candidates(probe, c)
	}
	var g regimes
	now := g.jumps(probe, columns)
	for limit := jumpRatio; ; limit = furtherGain {
		type trial struct {
			cut   cutColumn
			jumps []float64
			own   float64 // how tight its clusters are: 1 as any cut of as many would be
			total float64
		}
		var trials []trial
		best := math.Inf(1)
		for c := range options {
			if g.setting(c) {
				continue
			}
			for _, cut := range options[c] {
				next := regimes{cuts: append(slices.Clone(g.cuts), cut)}
				if !next.learn(probe) {
					continue
				}
				t := trial{cut: cut, jumps: next.jumps(probe, columns)}
				if left(t.jumps, now, c) > limit {
					continue
				}
				t.own = min(1, t.jumps[c]/now[c]*float64(len(cut.edges)+1)*float64(len(cut.edges)+1))
				t.total = left(t.jumps, now, c) * max(t.own, 1e-4)
				best = min(best, t.total)
				trials = append(trials, t)
			}
		}
		if len(trials) == 0 {
			break
		}
		trials = slices.DeleteFunc(trials, func(t trial) bool { return t.total > 1.1*best })
		pick := slices.MinFunc(trials, func(a, b trial) int {
			switch {
			case a.own < b.own:
				return -1
			case a.own > b.own:
				return 1
			}
			return len(a.cut.edges) - len(b.cut.edges)
		})
		g.cuts, now = append(g.cuts, pick.cut), pick.jumps
	}
	if len(g.cuts) > 0 {
		g.learn(units)
	}
	return g
}

// probed are units, evenly chosen, with some thousand readings together.
func probed(units []*Unit) []*Unit {
	rows := 0
	for _, u := range units {
		rows += len(u.Time)
	}
	stride := max(1, rows/probeRows)
	var out []*Unit
	for i := 0; i < len(units); i += stride {
		out = append(out, units[i])
	}
	return out
}

// learn lists the combinations of modes that occur; false when they are too
// many, or one of a single column's is too rare.
func (g *regimes) learn(units []*Unit) bool {
	count := map[int]int{}
	rows := 0
	for _, u := range units {
	row:
		for i := range u.Time {
			code := 0
			for _, c := range g.cuts {
				v := u.Values[c.column][i]
				if math.IsNaN(v) {
					continue row
				}
				code = code*maxModes + c.mode(v)
			}
			count[code]++
			rows++
		}
	}
	g.known = g.known[:0]
	for code, n := range count {
		if float64(n) >= minShare*float64(rows)/2 {
			g.known = append(g.known, code)
		}
	}
	slices.Sort(g.known)
	return len(g.known) > 1 && len(g.known) <= maxRegimes
}

// alike is the mean square difference of a column between each reading and
// the unit's previous one in the same regime.
func alike(units []*Unit, column int, labels [][]int) float64 {
	var sum, n float64
	last := make([]float64, maxRegimes)
	for k, u := range units {
		for r := range last {
			last[r] = math.NaN()
		}
		for i, v := range u.Values[column] {
			r := labels[k][i]
			if d := v - last[r]; !math.IsNaN(d) {
				sum, n = sum+d*d, n+1
			}
			if !math.IsNaN(v) {
				last[r] = v
			}
		}
	}
	return sum / max(n, 1)
}

// label gives each reading its regime.
func (g *regimes) label(units []*Unit) [][]int {
	out := make([][]int, len(units))
	for k, u := range units {
		out[k] = g.all(u)
	}
	return out
}

// jumps are each column's mean square jumps within regimes.
func (g *regimes) jumps(units []*Unit, columns int) []float64 {
	labels := g.label(units)
	out := make([]float64, columns)
	for c := range out {
		out[c] = alike(units, c, labels)
	}
	return out
}

// left is how much of the columns' jumps is left, but for one column: the
// geometric mean over the columns that jumped at all; 1 without any.
func left(now, before []float64, but int) float64 {
	var sum, n float64
	for c, b := range before {
		if b > 0 && c != but {
			sum += math.Log(max(now[c]/b, 1e-4))
			n++
		}
	}
	return math.Exp(sum / max(n, 1))
}

// candidates are a column's best cuts into 2, 3, ... clusters.
func candidates(units []*Unit, column int) []cutColumn {
	var all []float64
	for _, u := range units {
		for _, v := range u.Values[column] {
			if !math.IsNaN(v) {
				all = append(all, v)
			}
		}
	}
	slices.Sort(all)
	if len(all) < 20 || all[0] == all[len(all)-1] {
		return nil
	}
	var out []cutColumn
	for k := 2; k <= maxModes; k++ {
		edges, ok := clusters(all, k)
		if !ok {
			break
		}
		if slices.ContainsFunc(shares(all, edges), func(s float64) bool { return s < minShare }) {
			continue
		}
		out = append(out, cutColumn{column, edges})
	}
	return out
}

// shares are the shares of sorted values between edges.
func shares(sorted, edges []float64) []float64 {
	var out []float64
	from := 0
	for _, e := range append(slices.Clone(edges), math.Inf(1)) {
		to, _ := slices.BinarySearch(sorted, e)
		out = append(out, float64(to-from)/float64(len(sorted)))
		from = to
	}
	return out
}

// cells is how finely values are told apart when they are clustered.
const cells = 200

// clusters cuts sorted values into k clusters with the least sum of squares
// within (k-means on a line, exactly, by dynamic programming: Fisher 1958,
// JASA 53:789). Edges are half way between neighbouring clusters. It is false
// when there are fewer than k distinct values.
func clusters(sorted []float64, k int) ([]float64, bool) {
	// The middle 99.8 %, in cells, so that a single stray value is no cluster.
	n := len(sorted)
	lo, hi := sorted[n/1000], sorted[n-1-n/1000]
	if !(hi > lo) {
		return nil, false
	}
	type cell struct{ n, sum, low, high float64 }
	all := make([]cell, cells)
	for _, v := range sorted {
		if v < lo || v > hi {
			continue
		}
		c := &all[min(cells-1, int((v-lo)/(hi-lo)*cells))]
		if c.n == 0 {
			c.low = v
		}
		c.n, c.sum, c.high = c.n+1, c.sum+(v-lo)/(hi-lo), v
	}
	all = slices.DeleteFunc(all, func(c cell) bool { return c.n == 0 })
	m := len(all)
	if m < k {
		return nil, false
	}
	// Prefix sums of count, value and square: the cost of cells i..j-1 together.
	cn, cs, cq := make([]float64, m+1), make([]float64, m+1), make([]float64, m+1)
	for i, c := range all {
		mean := c.sum / c.n
		cn[i+1], cs[i+1], cq[i+1] = cn[i]+c.n, cs[i]+c.sum, cq[i]+c.n*mean*mean
	}
	cost := func(i, j int) float64 {
		s := cs[j] - cs[i]
		return cq[j] - cq[i] - s*s/(cn[j]-cn[i])
	}
	best, from := make([]float64, m+1), make([][]int, k+1)
	for j := 1; j <= m; j++ {
		best[j] = cost(0, j)
	}
	for c := 2; c <= k; c++ {
		next := make([]float64, m+1)
		from[c] = make([]int, m+1)
		for j := c; j <= m; j++ {
			next[j] = math.Inf(1)
			for i := c - 1; i < j; i++ {
				if v := best[i] + cost(i, j); v < next[j] {
					next[j], from[c][j] = v, i
				}
			}
		}
		best = next
	}
	var edges []float64
	for c, j := k, m; c > 1; c-- {
		j = from[c][j]
		edges = append(edges, all[j-1].high/2+all[j].low/2)
	}
	slices.Reverse(edges)
	return edges, true
}
