package rul

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"fettle.dev/fettle/internal/detect/boost"
	"fettle.dev/fettle/internal/detect/life"
)

const (
	folds   = 5    // each model has seen all units but those of its fold
	repeats = 2    // ways to deal units into folds: the average errs less, and about as it will
	rowsOf  = 120  // rows of a unit that are learned from, at most, evenly spread: neighbours are alike
	rowsAt  = 3000 // rows that a tree sees: many trees, each of few rows, for a unit's rows are much alike

	nearest = 0.025 // of a median life: rows that have less left weigh alike in the second trees
)

// How each fold's models are fitted. MinLeaf is in rows, of rowsAt; fewer of fewer.
var (
	pointTrees  = boost.Config{Trees: 300, Rate: 0.035, Leaves: 32, MinLeaf: 20, Ridge: 5, Columns: 0.3}
	courseTrees = boost.Config{Trees: 150, Rate: 0.04, Leaves: 8, MinLeaf: 80, Ridge: 5, Columns: 0.6}
)

// Model predicts remaining lives. It is safe for concurrent use.
type Model struct {
	columns  []string
	about    string
	limit    float64 // cap on the target; 0: none
	level    float64
	life     float64 // median life of the units that failed
	units    int     // learned from
	failed   int     // of them ran to failure
	rmse     float64 // of units that the predicting trees had not seen
	regimes  regimes
	signals  []signal
	mixtures [][]float64
	point    *boost.Model // from features
	course   *boost.Model // from point's predictions so far
	errors   interval
}

// training is what Fit works with.
type training struct {
	units    []*Unit
	fold     [repeats][]int // of each unit
	features [][]float64
	unit     []int32   // of each row; so are the following
	left     []float64 // until the unit failed or was last seen
	time     []float64
	weight   []float64 // each unit's rows weigh as much together
	target   []float64 // the same, capped
	censored []bool    // the target is a lower bound
	unseen   []float64 // prediction by the trees that have not seen the unit
}

// Fit learns from units of which five or more have run to failure. Units that
// had not failed at their end are used as what they are: a life of at least so
// long. In equal order, equal units and seeds give equal models.
func Fit(units []Unit, cfg Config) (*Model, error) {
	m, _, err := fit(units, cfg)
	return m, err
}

func fit(all []Unit, cfg Config) (*Model, *training, error) {
	m := &Model{columns: slices.Clone(cfg.Columns), about: cfg.About, limit: cfg.Cap, level: cfg.Level, units: len(all)}
	if m.level == 0 {
		m.level = 0.8
	}
	if !(m.limit >= 0) || math.IsInf(m.limit, 0) || !(m.level > 0 && m.level < 1) {
		return nil, nil, fmt.Errorf("rul: cap %g, level %g: want a cap of 0 or more, a level between 0 and 1", m.limit, m.level)
	}
	tr := &training{}
	var lives []float64
	for i := range all {
		u := &all[i]
		if err := check(u, len(m.columns)); err != nil {
			return nil, nil, err
		}
		tr.units = append(tr.units, u)
		if u.Failed {
			lives = append(lives, u.end()-u.start())
		}
	}
	m.failed = len(lives)
	if len(lives) < minFailures {
		return nil, nil, fmt.Errorf("%w: %d of %d; %d are needed", ErrFewFailures, len(lives), len(all), minFailures)
	}
	slices.Sort(lives)
	if m.life = lives[len(lives)/2]; !(m.life > 0) {
		return nil, nil, fmt.Errorf("%w: half of the lives last no time", ErrFewFailures)
	}
	m.regimes = findRegimes(tr.units, len(m.columns))
	labels := m.regimes.label(tr.units)
	if err := m.prepare(tr.units, labels); err != nil {
		return nil, nil, err
	}
	z := make([][][]float64, len(tr.units))
	for k, u := range tr.units {
		z[k] = m.normalised(u, labels[k])
	}
	m.mixtures = slow(z)
	rng := rand.New(rand.NewPCG(cfg.Seed, 0xf01d))
	tr.deal(rng)
	tr.rows(m, rng)
	if err := m.learn(tr, cfg); err != nil {
		return nil, nil, err
	}
	m.calibrate(tr)
	return m, tr, nil
}

// deal puts units into folds, so that each has long and short lives, failed
// units and others.
func (tr *training) deal(rng *rand.Rand) {
	order := rng.Perm(len(tr.units))
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := tr.units[a], tr.units[b]
		d := (x.end() - x.start()) - (y.end() - y.start())
		switch {
		case x.Failed != y.Failed && x.Failed, x.Failed == y.Failed && d < 0:
			return -1
		case x.Failed != y.Failed, d > 0:
			return 1
		}
		return 0
	})
	for i := range tr.fold {
		tr.fold[i] = make([]int, len(order))
		var deck []int
		for _, k := range order {
			if len(deck) == 0 {
				deck = rng.Perm(folds)
			}
			tr.fold[i][k], deck = deck[0], deck[1:]
		}
	}
}

// rows makes the rows to learn from.
func (tr *training) rows(m *Model, rng *rand.Rand) {
	for k, u := range tr.units {
		var at []int
		n := float64(len(u.Time))
		step := max(1, n/rowsOf)
		for x := step * rng.Float64(); x < n; x += step {
			at = append(at, int(x))
		}
		cols := m.features(u, at)
		if tr.features == nil {
			tr.features = make([][]float64, len(cols))
		}
		for f, col := range cols {
			tr.features[f] = append(tr.features[f], col...)
		}
		for _, i := range at {
			left, censored := u.end()-u.Time[i], !u.Failed
			tr.weight = append(tr.weight, 1/float64(len(at)))
			tr.unit, tr.left, tr.time = append(tr.unit, int32(k)), append(tr.left, left), append(tr.time, u.Time[i])
			if m.limit > 0 && left >= m.limit {
				left, censored = m.limit, false // it is known to reach the cap
			}
			tr.target, tr.censored = append(tr.target, left), append(tr.censored, censored)
		}
	}
}

// learn fits the trees: first from the features, then from the course of
// those first predictions over the unit's life so far, which steadies them
// (stacking, Wolpert 1992: the second learn from what the first say of units
// that they had not seen). Errors grow with the life that is left. Their plain
// squares would spend the second trees on long lives, and say of a unit's last
// readings that they are further from its end than they are; so a row weighs
// the less the longer the first trees say that it has (weighted least squares).
// Not where some units still work: at the same age those that failed would
// outweigh them.
func (m *Model) learn(tr *training, cfg Config) (err error) {
	first, second := pointTrees, courseTrees
	if cfg.Trees > 0 {
		share := float64(cfg.Trees) / float64(first.Trees)
		second.Trees = max(1, int(share*float64(second.Trees)))
		first.Trees = cfg.Trees
		first.Rate, second.Rate = min(0.3, first.Rate/share), min(0.3, second.Rate/share)
	}
	if m.point, err = m.cross(tr, tr.features, tr.weight, first, cfg.Seed); err != nil {
		return err
	}
	columns := make([][]float64, 1+len(lags))
	for from := 0; from < len(tr.unit); {
		to := from
		for to < len(tr.unit) && tr.unit[to] == tr.unit[from] {
			to++
		}
		c := course(tr.units[tr.unit[from]].start(), m.life, tr.time[from:to], tr.unseen[from:to])
		for f := range c {
			columns[f] = append(columns[f], c[f]...)
		}
		from = to
	}
	weight := tr.weight
	if m.failed == m.units {
		weight = slices.Clone(weight)
		for r, p := range tr.unseen {
			weight[r] /= max(p, nearest*m.life)
		}
	}
	m.course, err = m.cross(tr, columns, weight, second, cfg.Seed)
	return err
}

// cross fits a model a fold, which predicts the fold's units, and returns
// their average.
func (m *Model) cross(tr *training, columns [][]float64, weight []float64, c boost.Config, seed uint64) (*boost.Model, error) {
	table, err := boost.NewTable(columns)
	if err != nil {
		return nil, err
	}
	models, errs := make([]*boost.Model, repeats*folds), make([]error, repeats*folds)
	said := make([][]float64, repeats*folds)
	var wg sync.WaitGroup
	for k := range models {
		wg.Go(func() {
			in, out := tr.part(k)
			if !slices.ContainsFunc(in, func(r int32) bool { return tr.units[tr.unit[r]].Failed }) {
				return
			}
			c := c
			c.Seed = seed*repeats*folds + uint64(k)
			c.Rows = min(1, rowsAt/float64(len(in)))
			c.MinLeaf *= min(1, float64(len(in))/rowsAt)
			if models[k], _, errs[k] = table.Fit(boost.Sample{Rows: in, Target: tr.target, Weight: weight, Censored: tr.censored}, c); errs[k] == nil {
				said[k] = models[k].PredictTable(table, out)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	tr.unseen = make([]float64, len(tr.unit))
	for k := range models {
		_, out := tr.part(k)
		for i, p := range said[k] {
			tr.unseen[out[i]] += m.clamp(p) / repeats
		}
	}
	return boost.Average(slices.DeleteFunc(models, func(b *boost.Model) bool { return b == nil })...), nil
}

// part gives the rows that a model learns from, and those that it predicts.
func (tr *training) part(k int) (in, out []int32) {
	for r, u := range tr.unit {
		if tr.fold[k/folds][u] == k%folds {
			out = append(out, int32(r))
		} else {
			in = append(in, int32(r))
		}
	}
	return in, out
}

// clamp keeps a prediction between 0 and the cap.
func (m *Model) clamp(v float64) float64 {
	v = max(v, 0)
	if m.limit > 0 {
		v = min(v, m.limit)
	}
	return v
}

// calibrate learns the interval from the errors on unseen units. A failed
// unit stands for those of equal life whose end was not seen, too: its weight
// is 1 / the chance that watching lasted so long (Robins and Rotnitzky 1992),
// by Kaplan and Meier's curve of the ends of watching.
func (m *Model) calibrate(tr *training) {
	watched := make([]life.Observation, len(tr.units))
	for k, u := range tr.units {
		watched[k] = life.Observation{Age: u.end() - u.start(), Failed: !u.Failed}
	}
	curve, err := life.KaplanMeier(watched)
	var errs []miss
	var ss, n float64
	for r, k := range tr.unit {
		u := tr.units[k]
		if !u.Failed {
			continue
		}
		w := tr.weight[r]
		if s := curve.At(u.end() - u.start()); err == nil && s > 0 {
			w *= min(1/s, 10)
		}
		errs = append(errs, miss{tr.unseen[r], tr.target[r], w})
		d := tr.unseen[r] - tr.target[r]
		ss, n = ss+w*d*d, n+w
	}
	m.rmse = math.Sqrt(ss / n)
	m.errors = newInterval(errs, m.level, m.limit, m.failed)
}
