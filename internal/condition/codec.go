package condition

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"fettle.dev/fettle/internal/detect/code"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/detect"
)

// The encoding of states, version 2: a version byte, then varints (signed
// ones zigzag), floats as 8 bytes, texts with their length. A unit:
//
//	flags (1 chosen, 2 retired, 4 lag known, 8 versions known), given, lag, judged,
//	[versions: count, then component, version]
//	event times known: flags (1 forgotten), [floor], count, first, runs of (difference, length)
//	readings: count, then signal, time, number, text
//	watches: count, then detector, version, flags (1 finding, 2 exposed now, 4 exposure begun),
//	         since, newest, exposure: time, total, [finding], state of its kind
//
// Version 1, still read, had the states of tolerance and silence in one: see legacy.go.
const (
	stateVersion = 2
	inOne        = 1 // the version before kinds
)

type savedUnit struct {
	unit
	values  []savedReading
	watches []savedWatch
}

type savedReading struct {
	signal string
	expression.Reading
}

type savedWatch struct {
	ref    Ref
	watch  *kind.Watch // State nil: see data
	data   []byte      // of its state; nil: see legacy
	legacy map[kind.Type][]byte

	evicted bool // the watch's State is where it was kept
}

func (u *unit) sizeHint() int { return 96 + len(u.Values)*32 + len(u.watches)*160 + u.size }

// state is the unit's state with the columns that others read.
func (u *unit) state(data []byte) State {
	s := State{UnitKey: u.Key, Product: u.Product, Data: data}
	if u.judged > 0 {
		s.JudgedAt = moment(u.judged)
	}
	for _, w := range u.watches {
		if w == nil {
			continue
		}
		if a, ok := w.State.(kind.Away); ok && a.SilentSince() > 0 {
			s.SilentAt = moment(a.SilentSince())
		}
	}
	for i, w := range u.watches {
		if u.tells && w != nil && u.product.rules[i].Rows {
			s.Exposures = append(s.Exposures, u.exposure(i))
		}
	}
	return s
}

// exposure is that under the rule at a place.
func (u *unit) exposure(i int) Exposure {
	w := u.watches[i]
	x := Exposure{Detector: u.product.rules[i].Ref(), UnitKey: u.Key, Since: moment(w.Since), For: millis(w.Exposure.Total)}
	if w.Newest != 0 {
		x.LastAt = moment(w.Newest)
	}
	return x
}

// Exposure is that of a unit under a detector version, now; false: it is not
// watched under it.
func (e *Evaluator) Exposure(d Ref, key int64) (Exposure, bool) {
	if u := e.units[key]; u != nil {
		for i, w := range u.watches {
			if w != nil && u.product.rules[i].Rows && u.product.rules[i].Ref() == d {
				return u.exposure(i), true
			}
		}
	}
	return Exposure{}, false
}

// encode appends the unit, and tells how many bytes of it states are that may
// be evicted.
func (u *unit) encode(b []byte) (_ []byte, apart int) {
	b = append(b, stateVersion, code.Bits(u.chosen, u.retired, u.lagKnown, len(u.Versions) > 0))
	b = code.AppendString(b, u.given)
	b = code.AppendInt(b, u.Lag, u.judged)
	if len(u.Versions) > 0 {
		b = code.AppendCount(b, len(u.Versions))
		for _, component := range slices.Sorted(maps.Keys(u.Versions)) {
			b = code.AppendString(code.AppendString(b, component), u.Versions[component])
		}
	}
	b = encodeKnown(b, &u.known)
	held := 0
	for i := range u.Values {
		if u.Values[i].At != expression.Never {
			held++
		}
	}
	b = code.AppendCount(b, held)
	for i := range u.Values {
		if v := &u.Values[i]; v.At != expression.Never {
			b = code.AppendString(b, u.product.signals[i])
			b = code.AppendInt(b, v.At)
			b = code.AppendFloat(b, v.Number)
			b = code.AppendString(b, v.Text)
		}
	}
	held = 0
	for _, w := range u.watches {
		if w != nil {
			held++
		}
	}
	b = code.AppendCount(b, held)
	for i, w := range u.watches {
		if w == nil {
			continue
		}
		x := &w.Exposure
		b = code.AppendString(b, u.product.rules[i].Name)
		b = code.AppendCount(b, u.product.rules[i].Version)
		b = append(b, code.Bits(w.Finding != nil, x.Holds, x.Begun))
		b = code.AppendInt(b, w.Since, w.Newest, x.Prev, x.Total)
		if w.Finding != nil {
			b = encodeFinding(b, w.Finding)
		}
		begin := len(b)
		b = code.AppendBytes(b, w.State.Encode)
		if u.product.rules[i].Apart {
			apart += len(b) - begin
		}
	}
	return b, apart
}

// encodeKnown writes times that mostly come at a steady rate in a few bytes.
func encodeKnown(b []byte, k *detect.Known) []byte {
	b = append(b, code.Bits(k.Full))
	if k.Full {
		b = code.AppendInt(b, k.Floor)
	}
	b = code.AppendCount(b, len(k.Times))
	if len(k.Times) == 0 {
		return b
	}
	b = code.AppendInt(b, k.Times[0])
	for i := 1; i < len(k.Times); {
		step, run := k.Times[i]-k.Times[i-1], 1
		for i+run < len(k.Times) && k.Times[i+run]-k.Times[i+run-1] == step {
			run++
		}
		b = code.AppendCount(b, int(step))
		b = code.AppendCount(b, run)
		i += run
	}
	return b
}

func encodeFinding(b []byte, f *Finding) []byte {
	b = code.AppendInt(b, f.Onset.UnixMilli(), f.OpenedAt.UnixMilli(), f.SeenAt.UnixMilli(), f.LastAt.UnixMilli())
	b = code.AppendFloat(b, f.Peak)
	return code.AppendString(b, f.Why)
}

func decodeFinding(r *code.Reader, ref Ref) *Finding {
	f := &Finding{Detector: ref, State: Open}
	f.Onset, f.OpenedAt, f.SeenAt, f.LastAt = moment(r.Int()), moment(r.Int()), moment(r.Int()), moment(r.Int())
	f.Peak, f.Why = r.Float(), r.String()
	return f
}

func decodeUnit(data []byte) (*savedUnit, error) {
	r, version, err := kind.ReadState(data, stateVersion)
	if err != nil {
		return nil, err
	}
	u := &savedUnit{}
	flags := r.Byte()
	u.chosen, u.retired, u.lagKnown = flags&1 != 0, flags&2 != 0, flags&4 != 0
	u.given = r.String()
	u.Lag, u.judged = r.Int(), r.Int()
	if flags&8 != 0 {
		n := r.Count(2, math.MaxInt16)
		u.Versions = make(map[string]string, n)
		for range n {
			component := r.String()
			u.Versions[component] = r.String()
		}
	}
	u.known = decodeKnown(r)
	for range r.Count(11, math.MaxInt16) {
		v := savedReading{signal: r.String()}
		v.At, v.Number, v.Text = r.Int(), r.Float(), r.String()
		u.values = append(u.values, v)
	}
	for range r.Count(10, math.MaxInt16) {
		s := savedWatch{ref: Ref{Name: r.String(), Version: r.Count(0, math.MaxInt32)}}
		if version == inOne {
			s.decodeInOne(r)
		} else {
			s.decode(r)
		}
		u.watches = append(u.watches, s)
	}
	return u, kind.End(r)
}

func (s *savedWatch) decode(r *code.Reader) {
	flags := r.Byte()
	s.watch = &kind.Watch{Since: r.Int(), Newest: r.Int()}
	s.watch.Exposure = detect.Exposure{Prev: r.Int(), Total: r.Int(), Holds: flags&2 != 0, Begun: flags&4 != 0}
	if flags&1 != 0 {
		s.watch.Finding = decodeFinding(r, s.ref)
	}
	s.data = r.Bytes()
}

func decodeKnown(r *code.Reader) (k detect.Known) {
	k.Full = r.Byte()&1 != 0
	if k.Full {
		k.Floor = r.Int()
	}
	n := r.Count(0, detect.Remembered)
	if n == 0 {
		return k
	}
	k.Times = append(make([]int64, 0, n), r.Int())
	for len(k.Times) < n && !r.Bad() {
		step := int64(r.Count(0, math.MaxInt64))
		run := r.Count(0, n-len(k.Times))
		if step <= 0 || run == 0 {
			r.Fail()
		}
		for range run {
			k.Times = append(k.Times, k.Times[len(k.Times)-1]+step)
		}
	}
	return k
}

// The state of the stream, version 2: version, clock, groups: count, then
// product, detector, version, places: count, then place, units, finding; state
// of its kind. Version 1 had no groups.
func (e *Evaluator) encode(b []byte) []byte {
	b = e.desk.Clock.Append(append(b, stateVersion))
	groups := e.groups()
	b = code.AppendCount(b, len(groups))
	for _, g := range groups {
		b = code.AppendString(b, g.of)
		b = code.AppendString(b, g.ref.Name)
		b = code.AppendCount(b, g.ref.Version)
		b = code.AppendCount(b, len(g.places))
		for _, f := range g.places {
			b = code.AppendString(b, f.Place)
			b = code.AppendCount(b, f.Units)
			b = encodeFinding(b, f)
		}
		b = code.AppendBytes(b, func(b []byte) []byte { return append(b, g.data...) })
	}
	return b
}

func (e *Evaluator) decode(data []byte) ([]group, error) {
	r, version, err := kind.ReadState(data, stateVersion)
	if err != nil {
		return nil, err
	}
	clock := kind.ReadClock(r)
	var groups []group
	if version > inOne {
		for range r.Count(8, math.MaxInt16) {
			g := group{of: r.String(), ref: Ref{Name: r.String(), Version: r.Count(0, math.MaxInt32)}}
			for range r.Count(14, math.MaxInt32) {
				place, units := r.String(), r.Count(0, math.MaxInt32)
				f := decodeFinding(r, g.ref)
				f.Place, f.Units, f.Product = place, units, g.of
				f.ID = kind.PlaceID(g.ref, place, f.Onset.UnixMilli())
				g.places = append(g.places, f)
			}
			g.data = r.Bytes()
			groups = append(groups, g)
		}
	}
	if err := kind.End(r); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	e.desk.Clock = clock
	return groups, nil
}

func moment(ms int64) time.Time { return kind.Moment(ms) }

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
