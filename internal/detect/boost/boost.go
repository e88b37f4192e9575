// Package boost fits histogram gradient-boosted regression trees: Friedman
// 2001 (Annals of Statistics 29:1189) for the boosting of trees, Friedman 2002
// for its random subsamples, Ke et al. 2017 (LightGBM, NIPS) for histograms
// and for growing the leaf that gains most. The loss is the squared error, or
// the pinball loss of a quantile; a target may also be a lower bound, as of a
// life that was cut short while it was watched.
//
// A value that is missing (NaN) is smaller than every other. The same input
// and seed give the same model, bit for bit, on one processor architecture.
package boost

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
)

// maxBins is how many values of a feature are told apart, the missing one
// included: few enough that the histograms of some dozen features stay in the
// processor's cache.
const maxBins = 64

// Table holds rows of features, put into bins once for any number of fits.
type Table struct {
	edges [][]float64 // of each feature: ascending; bin b > 0 holds values above edges[b-2], up to edges[b-1]
	bins  [][]uint8   // of each feature: the bin of each row; 0 is missing
	rows  int
}

// NewTable takes the columns of features, each with a value a row.
func NewTable(columns [][]float64) (*Table, error) {
	if len(columns) == 0 || len(columns) > math.MaxUint16 {
		return nil, fmt.Errorf("boost: %d features; want 1 to %d", len(columns), math.MaxUint16)
	}
	t := &Table{rows: len(columns[0])}
	if t.rows == 0 || t.rows > math.MaxInt32 {
		return nil, fmt.Errorf("boost: %d rows", t.rows)
	}
	for f, col := range columns {
		if len(col) != t.rows {
			return nil, fmt.Errorf("boost: feature %d has %d rows, the first has %d", f, len(col), t.rows)
		}
		edges := cut(col)
		bins := make([]uint8, t.rows)
		for r, v := range col {
			bins[r] = bin(edges, v)
		}
		t.edges = append(t.edges, edges)
		t.bins = append(t.bins, bins)
	}
	return t, nil
}

// Rows is how many rows the table has.
func (t *Table) Rows() int { return t.rows }

// cut finds edges that leave about as many rows in each bin, each half way
// between two neighbouring values. Of many rows, evenly spread ones will do.
func cut(col []float64) []float64 {
	stride := 1 + len(col)/50_000
	sorted := make([]float64, 0, len(col)/stride+1)
	for r := 0; r < len(col); r += stride {
		if !math.IsNaN(col[r]) {
			sorted = append(sorted, col[r])
		}
	}
	slices.Sort(sorted)
	var edges []float64
	left := maxBins - 1 // bins yet to fill, of the present values
	for i := 0; i < len(sorted) && left > 1; left-- {
		i += max(1, (len(sorted)-i)/left)
		for i < len(sorted) && sorted[i] == sorted[i-1] {
			i++
		}
		if i < len(sorted) {
			edge := sorted[i-1]/2 + sorted[i]/2
			if !(edge < sorted[i]) { // neighbours in floating point, or infinite
				edge = sorted[i-1]
			}
			edges = append(edges, edge)
		}
	}
	return edges
}

func bin(edges []float64, v float64) uint8 {
	if math.IsNaN(v) {
		return 0
	}
	lo, hi := 0, len(edges)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if edges[mid] < v {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return uint8(lo + 1)
}

// Config says how to fit.
type Config struct {
	Trees   int     // how many
	Rate    float64 // share of each tree that counts (shrinkage)
	Leaves  int     // of a tree, at most
	MinLeaf float64 // weight of the rows in a leaf, at least; a row weighs 1 on average
	Ridge   float64 // weight of the prior that a leaf adds nothing
	// Rows is the share of rows, Columns that of features, that each tree sees.
	Rows, Columns float64
	// Quantile, between 0 and 1, fits that quantile; 0 the mean.
	Quantile float64
	Seed     uint64
}

func (c Config) check() error {
	switch {
	case c.Trees < 1 || c.Trees > maxTrees:
		return fmt.Errorf("boost: %d trees; want 1 to %d", c.Trees, maxTrees)
	case c.Leaves < 2 || c.Leaves > maxLeaves:
		return fmt.Errorf("boost: %d leaves; want 2 to %d", c.Leaves, maxLeaves)
	case !(c.Rate > 0 && c.Rate <= 1) || !(c.Rows > 0 && c.Rows <= 1) || !(c.Columns > 0 && c.Columns <= 1):
		return errors.New("boost: rate, rows and columns must be above 0, up to 1")
	case !(c.Quantile >= 0 && c.Quantile < 1):
		return errors.New("boost: the quantile must be between 0 and 1")
	case !(c.MinLeaf >= 0) || !(c.Ridge >= 0):
		return errors.New("boost: the weight of a leaf and of its prior can't be negative")
	}
	return nil
}

// Sample is what to fit to: rows of a Table with their targets.
type Sample struct {
	Rows     []int32   // which rows of the table; all of the following are by the table's rows
	Target   []float64 // finite
	Weight   []float64 // above 0; nil: all the same
	Censored []bool    // true: the true target is Target or more; nil: none
}

func (s Sample) check(t *Table) error {
	if len(s.Rows) == 0 {
		return errors.New("boost: no row to fit to")
	}
	if len(s.Target) != t.rows || (s.Weight != nil && len(s.Weight) != t.rows) || (s.Censored != nil && len(s.Censored) != t.rows) {
		return fmt.Errorf("boost: the table has %d rows; there are %d targets, %d weights, %d marks of censoring", t.rows, len(s.Target), len(s.Weight), len(s.Censored))
	}
	for _, r := range s.Rows {
		if r < 0 || int(r) >= t.rows {
			return fmt.Errorf("boost: row %d of %d", r, t.rows)
		}
		if v := s.Target[r]; math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("boost: row %d: target %g", r, v)
		}
		if s.Weight != nil && !(s.Weight[r] > 0 && s.Weight[r] < math.Inf(1)) {
			return fmt.Errorf("boost: row %d: weight %g", r, s.Weight[r])
		}
	}
	return nil
}

// Model is a sum of trees. It is safe for concurrent use.
type Model struct {
	base  float64
	edges [][]float64 // of each feature
	trees []tree
}

// tree's nodes stand in the order in which they were split; the first is the root.
type tree struct {
	nodes  []node
	leaves []float32
}

// node sends a row left when its bin of the feature is at most Bin. A child
// below 0 is the leaf ^child.
type node struct {
	feature     uint16
	bin         uint8
	left, right int16
}

// Features is how many features a row has.
func (m *Model) Features() int { return len(m.edges) }

// Bins puts a row of features into the bins that PredictBins takes. Models
// fitted on one Table share bins. It appends to dst.
func (m *Model) Bins(dst []uint8, row []float64) []uint8 {
	for f, v := range row[:len(m.edges)] {
		dst = append(dst, bin(m.edges[f], v))
	}
	return dst
}

// PredictBins predicts a row that Bins has put into bins.
func (m *Model) PredictBins(bins []uint8) float64 {
	sum := m.base
	for i := range m.trees {
		t := &m.trees[i]
		n := int16(-1)
		if len(t.nodes) > 0 {
			n = 0
		}
		for n >= 0 {
			if d := &t.nodes[n]; bins[d.feature] <= d.bin {
				n = d.left
			} else {
				n = d.right
			}
		}
		sum += float64(t.leaves[^n])
	}
	return sum
}

// Predict predicts a row of as many features as the table had.
func (m *Model) Predict(row []float64) float64 {
	var space [512]uint8
	return m.PredictBins(m.Bins(space[:0], row))
}

// PredictTable predicts rows of the table that the model was fitted on.
func (m *Model) PredictTable(t *Table, rows []int32) []float64 {
	out := make([]float64, len(rows))
	for i := range out {
		out[i] = m.base
	}
	for i := range m.trees {
		m.trees[i].add(out, t, rows)
	}
	return out
}

// Average is the mean of models of one table.
func Average(models ...*Model) *Model {
	out := &Model{edges: models[0].edges}
	share := 1 / float64(len(models))
	for _, m := range models {
		out.base += m.base * share
		for _, t := range m.trees {
			scaled := tree{nodes: t.nodes, leaves: make([]float32, len(t.leaves))}
			for i, v := range t.leaves {
				scaled.leaves[i] = float32(float64(v) * share)
			}
			out.trees = append(out.trees, scaled)
		}
	}
	return out
}

// add adds the tree's values for rows of the table.
func (t *tree) add(out []float64, table *Table, rows []int32) {
	for i, r := range rows {
		n := int16(-1)
		if len(t.nodes) > 0 {
			n = 0
		}
		for n >= 0 {
			if d := &t.nodes[n]; table.bins[d.feature][r] <= d.bin {
				n = d.left
			} else {
				n = d.right
			}
		}
		out[i] += float64(t.leaves[^n])
	}
}

// Importance is, for each feature, the share of the rows' loss that splits on
// it took away while fitting; all add up to 1. A decoded model has none.
type Importance []float64

// Most lists the features of greatest importance, greatest first.
func (v Importance) Most(n int) []int {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return v[order[a]] > v[order[b]] })
	return order[:min(n, len(order))]
}
