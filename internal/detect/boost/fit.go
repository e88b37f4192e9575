package boost

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Fit fits trees to a sample of the table's rows.
func (t *Table) Fit(s Sample, cfg Config) (*Model, Importance, error) {
	if err := cfg.check(); err != nil {
		return nil, nil, err
	}
	if err := s.check(t); err != nil {
		return nil, nil, err
	}
	f := newFitter(t, s, cfg)
	m := &Model{base: f.base, edges: t.edges}
	for range cfg.Trees {
		m.trees = append(m.trees, f.next())
	}
	total := 0.0
	for _, g := range f.gain {
		total += g
	}
	if total > 0 {
		for i := range f.gain {
			f.gain[i] /= total
		}
	}
	return m, f.gain, nil
}

// sums are a bin's gradient and weight.
type sums struct{ g, w float64 }

// histogram has maxBins sums a feature that the tree sees.
type histogram []sums

// fitter is the state between trees. Rows are counted by their place in the
// sample.
type fitter struct {
	t      *Table
	s      Sample
	cfg    Config
	rng    *rand.Rand
	base   float64
	weight []float64
	pred   []float64
	grad   []float64 // descent: what the row would like its prediction to grow by, times its weight
	gain   Importance
	spread float64 // deviation of the targets that are known from their own mean

	places   []int32 // shuffled; the first are the tree's
	rows     []int32 // of the tree: rows of the table, leaf by leaf
	at       []int32 // of the tree: places in the sample, alike
	g, w     []float64
	features []int32
	spare    []histogram
	scratch  []int32
	values   []float64 // of a leaf, and their
	weights  []float64
}

func newFitter(t *Table, s Sample, cfg Config) *fitter {
	n := len(s.Rows)
	f := &fitter{
		t: t, s: s, cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x5eed)),
		weight: make([]float64, n), pred: make([]float64, n), grad: make([]float64, n),
		gain: make(Importance, len(t.bins)), places: make([]int32, n), features: make([]int32, len(t.bins)),
	}
	sum := 0.0
	for i, r := range s.Rows {
		f.weight[i], f.places[i] = 1, int32(i)
		if s.Weight != nil {
			f.weight[i] = s.Weight[r]
		}
		sum += f.weight[i]
	}
	for i := range f.weight {
		f.weight[i] *= float64(n) / sum
	}
	for i := range f.features {
		f.features[i] = int32(i)
	}
	if cfg.Quantile > 0 {
		for i, r := range s.Rows {
			f.values, f.weights = append(f.values, s.Target[r]), append(f.weights, f.weight[i])
		}
		f.base = f.quantile()
	} else {
		for i, r := range s.Rows {
			f.base += f.weight[i] * s.Target[r] / float64(n)
		}
	}
	for i := range f.pred {
		f.pred[i] = f.base
	}
	if s.Censored != nil {
		f.spread = f.known()
	}
	return f
}

// known is the standard deviation of the targets that are known.
func (f *fitter) known() float64 {
	var n, mean, m2 float64
	for i, r := range f.s.Rows {
		if w := f.weight[i]; !f.s.Censored[r] && w > 0 {
			n += w
			d := f.s.Target[r] - mean
			mean += d * w / n
			m2 += w * d * (f.s.Target[r] - mean)
		}
	}
	return math.Sqrt(m2 / max(n, 1e-12))
}

// descend sets each row's descent.
func (f *fitter) descend() {
	q := f.cfg.Quantile
	var sigma [levels]float64
	var low, step float64
	if f.s.Censored != nil {
		low, step = f.deviations(&sigma)
	}
	for i, r := range f.s.Rows {
		d := f.s.Target[r] - f.pred[i]
		bound := f.s.Censored != nil && f.s.Censored[r]
		switch {
		case q > 0 && d > 0:
			f.grad[i] = q
		case q > 0 && bound:
			f.grad[i] = 0
		case q > 0:
			f.grad[i] = q - 1
		case bound:
			f.grad[i] = beyond(d, sigma[level(f.pred[i], low, step)])
		default:
			f.grad[i] = d
		}
		f.grad[i] *= f.weight[i]
	}
}

// levels of prediction have a deviation each: what is near is known better.
const levels = 10

func level(p, low, step float64) int { return max(0, min(levels-1, int((p-low)/step))) }

// deviations are those of the known targets from their predictions, by level.
func (f *fitter) deviations(sigma *[levels]float64) (low, step float64) {
	low = slices.Min(f.pred)
	step = max((slices.Max(f.pred)-low)/levels, 1e-300)
	var ss, n [levels + 1]float64 // the last of all
	for i, r := range f.s.Rows {
		if !f.s.Censored[r] {
			d := f.s.Target[r] - f.pred[i]
			for _, k := range [2]int{level(f.pred[i], low, step), levels} {
				ss[k], n[k] = ss[k]+f.weight[i]*d*d, n[k]+f.weight[i]
			}
		}
	}
	if n[levels] == 0 {
		return low, step
	}
	all := ss[levels] / n[levels]
	for k := range sigma {
		// A few rows at a level say little of it.
		const prior = 10
		// No more than a constant would err by: where most targets are bounds,
		// they would drive predictions up, these the deviation, and that the
		// bounds further still, without end.
		sigma[k] = min(math.Sqrt((ss[k]+prior*all)/(n[k]+prior)), f.spread)
	}
	return low, step
}

// beyond is how much more than its prediction a target is expected to be of
// which is known only that it is at least d more, with normal errors: the
// expectation step for censored data (Tobin 1958, Econometrica 26:24; as the
// gradient of boosted trees, Sigrist and Hirnschall 2019).
func beyond(d, sigma float64) float64 {
	if !(sigma > 0) {
		return max(d, 0)
	}
	z := d / sigma
	if z > 30 {
		return d
	}
	// The tail by Erfc: distuv's Survival, 1 less the distribution, is 0 beyond z of 8.
	return sigma * distuv.UnitNormal.Prob(z) / (math.Erfc(z/math.Sqrt2) / 2)
}

// leaf is a leaf while its tree grows: a stretch of the tree's rows.
type leaf struct {
	from, to int
	g, w     float64
	hist     histogram
	gain     float64 // of its best split; 0: there is none
	feature  int     // index into the tree's features
	bin      uint8
	parent   int16 // node, -1 for the root
	right    bool
}

// next grows a tree and moves the predictions by it.
func (f *fitter) next() tree {
	f.descend()
	n := max(1, int(math.Round(f.cfg.Rows*float64(len(f.places)))))
	c := max(1, int(math.Round(f.cfg.Columns*float64(len(f.features)))))
	if n < len(f.places) {
		for i := range n {
			j := i + f.rng.IntN(len(f.places)-i)
			f.places[i], f.places[j] = f.places[j], f.places[i]
		}
	}
	if c < len(f.features) {
		for i := range c {
			j := i + f.rng.IntN(len(f.features)-i)
			f.features[i], f.features[j] = f.features[j], f.features[i]
		}
	}
	seen := f.features[:c]
	f.at = append(f.at[:0], f.places[:n]...)
	slices.Sort(f.at) // sums in the order of rows, and memory read forwards
	f.rows = f.rows[:0]
	root := leaf{to: n, parent: -1}
	for _, p := range f.at {
		f.rows = append(f.rows, f.s.Rows[p])
		root.g += f.grad[p]
		root.w += f.weight[p]
	}
	root.hist = f.histogram(seen, 0, n)
	f.best(&root, seen)

	var tr tree
	leaves := []leaf{root}
	for len(leaves) < f.cfg.Leaves {
		best := 0
		for i := range leaves {
			if leaves[i].gain > leaves[best].gain {
				best = i
			}
		}
		l := leaves[best]
		if !(l.gain > 0) {
			break
		}
		f.gain[seen[l.feature]] += l.gain
		id := int16(len(tr.nodes))
		tr.nodes = append(tr.nodes, node{feature: uint16(seen[l.feature]), bin: l.bin})
		tr.link(l, id)
		a, b := f.split(l, seen, id)
		leaves[best] = a
		leaves = append(leaves, b)
	}
	for i := range leaves {
		l := &leaves[i]
		tr.link(*l, ^int16(i))
		tr.leaves = append(tr.leaves, float32(f.cfg.Rate*f.value(l)))
		if l.hist != nil {
			f.spare = append(f.spare, l.hist)
		}
	}
	tr.add(f.pred, f.t, f.s.Rows)
	return tr
}

// link makes a leaf's parent point to what the leaf has become.
func (t *tree) link(l leaf, child int16) {
	switch {
	case l.parent < 0:
	case l.right:
		t.nodes[l.parent].right = child
	default:
		t.nodes[l.parent].left = child
	}
}

// value is what a leaf adds before shrinkage.
func (f *fitter) value(l *leaf) float64 {
	if f.cfg.Quantile == 0 {
		return l.g / (l.w + f.cfg.Ridge + 1e-12)
	}
	f.values, f.weights = f.values[:0], f.weights[:0]
	for i := l.from; i < l.to; i++ {
		p := f.at[i]
		r := f.s.Rows[p]
		d := f.s.Target[r] - f.pred[p]
		if d < 0 && f.s.Censored != nil && f.s.Censored[r] {
			d = 0
		}
		f.values, f.weights = append(f.values, d), append(f.weights, f.weight[p])
	}
	return f.quantile() * l.w / (l.w + f.cfg.Ridge)
}

// quantile of the weighted values, which it sorts.
func (f *fitter) quantile() float64 {
	stat.SortWeighted(f.values, f.weights)
	return stat.Quantile(f.cfg.Quantile, stat.Empirical, f.values, f.weights)
}

// histogram sums a stretch of the tree's rows.
func (f *fitter) histogram(seen []int32, from, to int) histogram {
	var h histogram
	if n := len(f.spare); n > 0 && cap(f.spare[n-1]) >= len(seen)*maxBins {
		h = f.spare[n-1][:len(seen)*maxBins]
		f.spare = f.spare[:n-1]
		clear(h)
	} else {
		h = make(histogram, len(seen)*maxBins)
	}
	f.g, f.w = f.g[:0], f.w[:0]
	for _, p := range f.at[from:to] {
		f.g, f.w = append(f.g, f.grad[p]), append(f.w, f.weight[p])
	}
	rows := f.rows[from:to]
	g, w := f.g[:len(rows)], f.w[:len(rows)]
	for i, feature := range seen {
		bins := f.t.bins[feature]
		part := (*[maxBins]sums)(h[i*maxBins:])
		for k, r := range rows {
			s := &part[bins[r]&(maxBins-1)]
			s.g += g[k]
			s.w += w[k]
		}
	}
	return h
}

// best finds a leaf's best split.
func (f *fitter) best(l *leaf, seen []int32) {
	l.gain = 0
	if l.w < 2*f.cfg.MinLeaf || l.to-l.from < 2 {
		return
	}
	ridge := f.cfg.Ridge + 1e-12
	whole := l.g * l.g / (l.w + ridge)
	for i, feature := range seen {
		part := (*[maxBins]sums)(l.hist[i*maxBins:])
		var g, w float64
		for b := range len(f.t.edges[feature]) + 1 { // the last bin is never left of a split
			s := &part[b]
			if s.w == 0 {
				continue
			}
			g, w = g+s.g, w+s.w
			rest := l.w - w
			if w < f.cfg.MinLeaf || w <= 0 {
				continue
			}
			if rest < f.cfg.MinLeaf || rest < 1e-9 {
				break
			}
			gain := g*g/(w+ridge) + (l.g-g)*(l.g-g)/(rest+ridge) - whole
			if gain > l.gain && gain > 1e-12*whole {
				l.gain, l.feature, l.bin = gain, i, uint8(b)
			}
		}
	}
}

// split parts a leaf's rows and finds the best split of either side. Only the
// smaller side is summed; the other is the difference.
func (f *fitter) split(l leaf, seen []int32, id int16) (a, b leaf) {
	bins := f.t.bins[seen[l.feature]]
	f.scratch = f.scratch[:0]
	right := f.scratch
	n := l.from
	for i := l.from; i < l.to; i++ {
		if bins[f.rows[i]] <= l.bin {
			f.rows[n], f.at[n] = f.rows[i], f.at[i]
			n++
		} else {
			right = append(right, f.rows[i], f.at[i])
		}
	}
	for k := 0; k < len(right); k += 2 {
		f.rows[n+k/2], f.at[n+k/2] = right[k], right[k+1]
	}
	f.scratch = right
	a = leaf{from: l.from, to: n, parent: id}
	b = leaf{from: n, to: l.to, parent: id, right: true}
	for _, p := range f.at[a.from:a.to] {
		a.g += f.grad[p]
		a.w += f.weight[p]
	}
	for _, p := range f.at[b.from:b.to] {
		b.g += f.grad[p]
		b.w += f.weight[p]
	}
	small, large := &a, &b
	if a.to-a.from > b.to-b.from {
		small, large = &b, &a
	}
	small.hist = f.histogram(seen, small.from, small.to)
	large.hist = l.hist
	for i := range large.hist {
		large.hist[i].g -= small.hist[i].g
		large.hist[i].w -= small.hist[i].w
	}
	f.best(small, seen)
	f.best(large, seen)
	return a, b
}
