package multivariate

import (
	"errors"
	"fmt"
	"math"

	"fettle.dev/fettle/internal/detect/code"
)

// version of the encoding; it stands for the tuning, too.
const version = 1

// ErrState is what a state that cannot be read is refused with.
var ErrState = errors.New("multivariate: not a state")

// MarshalBinary encodes the whole state; equal detectors give equal bytes. A
// signal takes some 1.5 KiB, 3.6 KiB more with times, and up to 8 KiB more
// while it is learned.
func (d *Detector) MarshalBinary() ([]byte, error) {
	w := writer{version}
	w.count(len(d.signals))
	w.count(d.warmup)
	w.flag(d.state.open)
	w.count(d.state.quiet)
	w.count(d.state.stood)
	for i := range d.signals {
		s := &d.signals[i]
		w.floats(s.last, s.blame)
		w.flag(s.fresh)
		w.count(s.alike)
		w.count(s.longest)
		w.flag(s.season != nil)
		if s.season != nil {
			w.season(s.season)
		}
		w.track(&s.level)
		w.track(&s.motion)
		w.track(&s.rest)
	}
	w.count(d.waited)
	r := &d.mutual
	w.count(len(r.members))
	if len(r.members) == 0 {
		return w, nil
	}
	for _, i := range r.members {
		w.count(i)
	}
	w.count(r.rows)
	w.flag(r.own != nil)
	for _, own := range r.own {
		w.flag(own)
	}
	w.floats(r.weights...)
	w.floats(r.sums...)
	return w, nil
}

// UnmarshalBinary restores what MarshalBinary wrote, or refuses with ErrState
// and leaves the detector as it was.
func (d *Detector) UnmarshalBinary(raw []byte) error {
	if len(raw) == 0 || raw[0] != version {
		return fmt.Errorf("%w of version %d", ErrState, version)
	}
	r := reader{code.NewReader(raw[1:])}
	signals, warmup := r.count(), r.count()
	st := state{open: r.Flag(), quiet: r.count(), stood: r.count()}
	if r.Bad() || signals < 1 || warmup < leastWarmup || warmup > mostWarmup || signals > len(raw)/40 {
		return ErrState
	}
	n := New(signals, warmup)
	n.state = st
	for i := range n.signals {
		s := &n.signals[i]
		r.floats(&s.last, &s.blame)
		s.fresh, s.alike, s.longest = r.Flag(), r.count(), r.count()
		if r.Flag() {
			s.season = newSeason()
			r.season(s.season)
		}
		r.track(&s.level, warmup)
		r.track(&s.motion, warmup)
		r.track(&s.rest, warmup)
		r.check(s.blame >= 0)
	}
	n.waited = r.count()
	r.relations(&n.mutual, signals, warmup)
	if !r.Whole() {
		return ErrState
	}
	*d = *n
	return nil
}

type writer []byte

func (w *writer) count(n int) { *w = code.AppendCount(*w, max(n, 0)) }

func (w *writer) flag(b bool) { *w = append(*w, code.Bits(b)) }

func (w *writer) floats(vs ...float64) { *w = code.AppendFloat(*w, vs...) }

func (w *writer) track(c *track) {
	w.flag(c.known)
	w.count(c.missed)
	w.floats(c.out)
	if !c.known {
		w.history(&c.past)
		return
	}
	w.floats(c.mid, c.unit, c.spike, c.noise)
	w.floats(c.s2[:]...)
	w.floats(c.nu[:]...)
	w.floats(c.mean[:]...)
	w.floats(c.ref, c.unsure, c.peak, c.anchor, c.bound, c.roam)
	w.count(c.lived)
	w.count(c.age)
	w.flag(c.adrift)
	w.flag(c.anew)
}

func (w *writer) history(h *history) {
	w.count(h.width)
	w.count(h.part)
	w.count(h.count)
	w.flag(h.alike)
	w.floats(h.next, h.first)
	w.count(len(h.means))
	w.floats(h.means...)
}

func (w *writer) season(s *season) {
	*w = code.AppendInt(*w, s.hour)
	w.count(s.n)
	w.flag(s.based)
	w.floats(s.sum, s.base)
	w.count(int(s.use))
	w.cycle(&s.daily)
	w.cycle(&s.weeks)
}

func (w *writer) cycle(c *cycle) {
	w.count(c.judged)
	w.floats(c.with, c.without)
	*w = append(*w, c.seen...)
	for _, part := range [...][]float32{c.newest, c.deviated} {
		*w = code.AppendFloat32(*w, part...)
	}
}

// reader reads what a writer wrote.
type reader struct{ *code.Reader }

// most is the largest count: rows that a unit sends in some thousand years.
const most = 1 << 40

func (r reader) count() int { return r.Count(0, most) }

// floats reads finite numbers.
func (r reader) floats(to ...*float64) {
	for _, p := range to {
		*p = r.Finite()
	}
}

// check marks the state as damaged where something does not hold.
func (r reader) check(ok bool) {
	if !ok {
		r.Fail()
	}
}

func (r reader) track(c *track, warmup int) {
	c.known = r.Flag()
	c.missed = r.count()
	r.floats(&c.out)
	if !c.known {
		r.history(&c.past, warmup)
		return
	}
	r.floats(&c.mid, &c.unit, &c.spike, &c.noise)
	for _, a := range []*[scales]float64{&c.s2, &c.nu, &c.mean} {
		r.floats(&a[0], &a[1], &a[2])
	}
	r.floats(&c.ref, &c.unsure, &c.peak, &c.anchor, &c.bound, &c.roam)
	c.lived = r.count()
	c.age = r.count()
	c.adrift = r.Flag()
	c.anew = r.Flag()
	for _, v := range []float64{c.unit, c.spike, c.noise, c.bound, min(c.s2[0], c.s2[1], c.s2[2]), min(c.nu[0], c.nu[1], c.nu[2])} {
		r.check(v > 0)
	}
	r.check(min(c.unsure, c.peak, c.roam, c.out) >= 0)
}

func (r reader) history(h *history, warmup int) {
	h.width, h.part, h.count = r.count(), r.count(), r.count()
	h.alike = r.Flag()
	r.floats(&h.next, &h.first)
	n := r.Count(8, kept-1)
	if n > 0 {
		h.means = r.FiniteList(n)
	}
	waiting := h.count == warmup && h.alike
	r.check(h.count < warmup || waiting)
	r.check(waiting || (h.part < h.width || h.count <= 0) && n*h.width+h.part == h.count)
}

func (r reader) season(s *season) {
	s.hour, s.n, s.based = r.Int(), r.count(), r.Flag()
	r.floats(&s.sum, &s.base)
	s.use = uint8(r.Count(0, int(byWeek)))
	r.cycle(&s.daily, dailyRound)
	r.cycle(&s.weeks, weeklyRound)
}

func (r reader) cycle(c *cycle, shape round) {
	c.judged = r.count()
	r.floats(&c.with, &c.without)
	copy(c.seen, r.Take(len(c.seen)))
	for _, n := range c.seen {
		r.check(int(n) < 2*shape.keep)
	}
	for _, part := range [...][]float32{c.newest, c.deviated} {
		for i := range part {
			part[i] = r.Float32()
			r.check(math.Abs(float64(part[i])) <= 4*beyond)
		}
	}
	if r.Bad() {
		return
	}
	for h := range c.profile {
		c.settle(shape, h)
	}
	r.check(c.judged <= verdicts && min(c.with, c.without) >= 0 && max(c.with, c.without) <= 100*beyond*beyond)
}

func (r reader) relations(m *relations, signals, warmup int) {
	n := r.count()
	if n == 0 || n > min(signals, mostRelated) || n == 1 {
		r.check(n == 0)
		return
	}
	last := -1
	for range n {
		i := r.count()
		r.check(i > last && i < signals)
		m.members, last = append(m.members, i), i
	}
	m.rows = r.count()
	learned := r.Flag()
	if r.check(learned == (m.rows >= warmup)); r.Bad() {
		return
	}
	m.moved = make([]float64, n)
	if !learned {
		m.sums = r.FiniteList(n * n)
		return
	}
	m.own = make([]bool, n)
	for k := range m.own {
		m.own[k] = r.Flag()
	}
	m.weights = r.FiniteList(n * n)
}
