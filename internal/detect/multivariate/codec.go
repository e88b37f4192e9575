package multivariate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
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
	r := reader{rest: raw[1:]}
	signals, warmup := r.count(), r.count()
	st := state{open: r.flag(), quiet: r.count(), stood: r.count()}
	if r.bad || signals < 1 || warmup < leastWarmup || warmup > mostWarmup || signals > len(raw)/40 {
		return ErrState
	}
	n := New(signals, warmup)
	n.state = st
	for i := range n.signals {
		s := &n.signals[i]
		r.floats(&s.last, &s.blame)
		s.fresh, s.alike, s.longest = r.flag(), r.count(), r.count()
		if r.flag() {
			s.season = newSeason()
			r.season(s.season)
		}
		r.track(&s.level, warmup)
		r.track(&s.motion, warmup)
		r.track(&s.rest, warmup)
		r.bad = r.bad || s.blame < 0
	}
	n.waited = r.count()
	r.relations(&n.mutual, signals, warmup)
	if r.bad || len(r.rest) > 0 {
		return ErrState
	}
	*d = *n
	return nil
}

type writer []byte

func (w *writer) count(n int) { *w = binary.AppendUvarint(*w, uint64(max(n, 0))) }

func (w *writer) flag(b bool) {
	if b {
		*w = append(*w, 1)
	} else {
		*w = append(*w, 0)
	}
}

func (w *writer) floats(vs ...float64) {
	for _, v := range vs {
		*w = binary.LittleEndian.AppendUint64(*w, math.Float64bits(v))
	}
}

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
	*w = binary.AppendVarint(*w, s.hour)
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
		for _, v := range part {
			*w = binary.LittleEndian.AppendUint32(*w, math.Float32bits(v))
		}
	}
}

// reader reads what a writer wrote; bad once something was amiss.
type reader struct {
	rest []byte
	bad  bool
}

// most is the largest count: rows that a unit sends in some thousand years.
const most = 1 << 40

func (r *reader) count() int {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > most {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return int(v)
}

func (r *reader) flag() bool {
	if len(r.rest) == 0 || r.rest[0] > 1 {
		r.bad, r.rest = true, nil
		return false
	}
	b := r.rest[0] == 1
	r.rest = r.rest[1:]
	return b
}

// floats reads finite numbers.
func (r *reader) floats(to ...*float64) {
	for _, p := range to {
		if len(r.rest) < 8 {
			r.bad, r.rest = true, nil
			return
		}
		v := math.Float64frombits(binary.LittleEndian.Uint64(r.rest))
		r.rest = r.rest[8:]
		if math.IsNaN(v) || math.IsInf(v, 0) {
			r.bad = true
			return
		}
		*p = v
	}
}

func (r *reader) track(c *track, warmup int) {
	c.known = r.flag()
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
	c.adrift = r.flag()
	c.anew = r.flag()
	for _, v := range []float64{c.unit, c.spike, c.noise, c.bound, min(c.s2[0], c.s2[1], c.s2[2]), min(c.nu[0], c.nu[1], c.nu[2])} {
		r.bad = r.bad || !(v > 0)
	}
	r.bad = r.bad || min(c.unsure, c.peak, c.roam, c.out) < 0
}

func (r *reader) history(h *history, warmup int) {
	h.width, h.part, h.count = r.count(), r.count(), r.count()
	h.alike = r.flag()
	r.floats(&h.next, &h.first)
	n := r.count()
	if n >= kept || 8*n > len(r.rest) {
		r.bad = true
		return
	}
	if n > 0 {
		h.means = make([]float64, n)
		for i := range h.means {
			r.floats(&h.means[i])
		}
	}
	waiting := h.count == warmup && h.alike
	r.bad = r.bad || h.count > warmup || h.count == warmup && !waiting ||
		!waiting && (h.part >= h.width && h.count > 0 || n*h.width+h.part != h.count)
}

func (r *reader) season(s *season) {
	var n int
	if s.hour, n = binary.Varint(r.rest); n <= 0 {
		r.bad, r.rest = true, nil
		return
	}
	r.rest = r.rest[n:]
	s.n, s.based = r.count(), r.flag()
	r.floats(&s.sum, &s.base)
	use := r.count()
	if use > int(byWeek) {
		r.bad = true
		return
	}
	s.use = uint8(use)
	r.cycle(&s.daily, dailyRound)
	r.cycle(&s.weeks, weeklyRound)
}

func (r *reader) cycle(c *cycle, shape round) {
	c.judged = r.count()
	r.floats(&c.with, &c.without)
	if r.bad || len(r.rest) < len(c.seen)+4*(len(c.newest)+len(c.deviated)) {
		r.bad, r.rest = true, nil
		return
	}
	copy(c.seen, r.rest)
	r.rest = r.rest[len(c.seen):]
	for _, n := range c.seen {
		r.bad = r.bad || int(n) >= 2*shape.keep
	}
	for _, part := range [...][]float32{c.newest, c.deviated} {
		for i := range part {
			part[i] = math.Float32frombits(binary.LittleEndian.Uint32(r.rest))
			r.rest = r.rest[4:]
			r.bad = r.bad || !(math.Abs(float64(part[i])) <= 4*beyond)
		}
	}
	for h := range c.profile {
		c.settle(shape, h)
	}
	r.bad = r.bad || c.judged > verdicts || min(c.with, c.without) < 0 || max(c.with, c.without) > 100*beyond*beyond
}

func (r *reader) relations(m *relations, signals, warmup int) {
	n := r.count()
	if n == 0 || n > min(signals, mostRelated) || n == 1 {
		r.bad = r.bad || n != 0
		return
	}
	last := -1
	for range n {
		i := r.count()
		r.bad = r.bad || i <= last || i >= signals
		m.members, last = append(m.members, i), i
	}
	m.rows = r.count()
	learned := r.flag()
	if r.bad || 8*n*n > len(r.rest) || learned != (m.rows >= warmup) {
		r.bad = true
		return
	}
	m.moved = make([]float64, n)
	into := make([]float64, n*n)
	if learned {
		m.own, m.weights = make([]bool, n), into
		for k := range m.own {
			m.own[k] = r.flag()
		}
	} else {
		m.sums = into
	}
	for k := range into {
		r.floats(&into[k])
	}
}
