package condition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/detect"
)

// The encoding of states, version 1: a version byte, then varints (signed
// ones zigzag), floats as 8 bytes, texts with their length. A unit:
//
//	flags (1 chosen, 2 retired, 4 lag known), given, lag, judged,
//	event times known: flags (1 forgotten), [floor], count, first, runs of (difference, length)
//	readings: count, then signal, time, number, text
//	watches: count, then detector, version and the watch
const stateVersion = 1

var errState = errors.New("state is damaged")

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
	ref   Ref
	watch *watch
}

func (u *unit) sizeHint() int { return 96 + len(u.values)*32 + len(u.watches)*128 }

// state is the unit's state with the columns that others read.
func (u *unit) state(data []byte) State {
	s := State{UnitKey: u.key, Product: u.of, Data: data}
	if u.judged > 0 {
		s.JudgedAt = moment(u.judged)
	}
	for i, w := range u.watches {
		if !u.tells || w == nil || u.product.rules[i].Type != TypeTolerance {
			continue
		}
		x := w.exposed(u.key, u.product.rules[i].Ref())
		s.Exposures = append(s.Exposures, x)
	}
	return s
}

func writeString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func writeFloat(b []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
}

func bits(flags ...bool) byte {
	var b byte
	for i, f := range flags {
		if f {
			b |= 1 << i
		}
	}
	return b
}

func (u *unit) encode(b []byte) []byte {
	b = append(b, stateVersion, bits(u.chosen, u.retired, u.lagKnown))
	b = writeString(b, u.given)
	b = binary.AppendVarint(b, u.lag)
	b = binary.AppendVarint(b, u.judged)
	b = encodeKnown(b, &u.known)
	held := 0
	for i := range u.values {
		if u.values[i].At != expression.Never {
			held++
		}
	}
	b = binary.AppendUvarint(b, uint64(held))
	for i := range u.values {
		if v := &u.values[i]; v.At != expression.Never {
			b = writeString(b, u.product.signals[i])
			b = binary.AppendVarint(b, v.At)
			b = writeFloat(b, v.Number)
			b = writeString(b, v.Text)
		}
	}
	held = 0
	for _, w := range u.watches {
		if w != nil {
			held++
		}
	}
	b = binary.AppendUvarint(b, uint64(held))
	for i, w := range u.watches {
		if w != nil {
			b = writeString(b, u.product.rules[i].Name)
			b = binary.AppendUvarint(b, uint64(u.product.rules[i].Version))
			b = w.encode(b)
		}
	}
	return b
}

// encodeKnown writes times that mostly come at a steady rate in a few bytes.
func encodeKnown(b []byte, k *detect.Known) []byte {
	b = append(b, bits(k.Full))
	if k.Full {
		b = binary.AppendVarint(b, k.Floor)
	}
	b = binary.AppendUvarint(b, uint64(len(k.Times)))
	if len(k.Times) == 0 {
		return b
	}
	b = binary.AppendVarint(b, k.Times[0])
	for i := 1; i < len(k.Times); {
		step, run := k.Times[i]-k.Times[i-1], 1
		for i+run < len(k.Times) && k.Times[i+run]-k.Times[i+run-1] == step {
			run++
		}
		b = binary.AppendUvarint(b, uint64(step))
		b = binary.AppendUvarint(b, uint64(run))
		i += run
	}
	return b
}

func (w *watch) encode(b []byte) []byte {
	x := &w.exposure
	b = append(b, bits(w.late != nil, w.finding != nil, x.Holds, x.Begun, w.interval.Learned))
	b = binary.AppendVarint(b, w.since)
	b = binary.AppendVarint(b, w.newest)
	b = encodeEpisode(b, &w.episode)
	if w.late != nil {
		b = encodeEpisode(b, w.late)
	}
	b = binary.AppendVarint(b, x.Prev)
	b = binary.AppendVarint(b, x.Total)
	b = binary.AppendVarint(b, w.contact)
	b = writeFloat(b, w.interval.Estimate)
	b = binary.AppendUvarint(b, uint64(w.interval.Count))
	b = binary.AppendVarint(b, w.interval.Span)
	if f := w.finding; f != nil {
		for _, t := range []int64{f.Onset.UnixMilli(), f.OpenedAt.UnixMilli(), f.SeenAt.UnixMilli(), f.LastAt.UnixMilli()} {
			b = binary.AppendVarint(b, t)
		}
		b = writeFloat(b, f.Peak)
		b = writeString(b, f.Why)
	}
	return b
}

func encodeEpisode(b []byte, e *detect.Episode) []byte {
	b = append(b, bits(e.Open, e.Outside, e.Judged))
	for _, v := range []int64{e.Prev, e.Onset, e.Last, e.Held, e.Calm} {
		b = binary.AppendVarint(b, v)
	}
	b = writeFloat(b, e.Peak)
	return writeFloat(b, e.Excess)
}

// reader reads what the above wrote; after an error everything is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() { r.b, r.bad = nil, true }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of things of at least size bytes each, at most limit.
func (r *reader) count(size, limit int) int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(limit) || v > uint64((len(r.b)-n)/max(size, 1)) && size > 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *reader) float() float64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	return v
}

func (r *reader) string() string {
	n := r.count(1, math.MaxInt32)
	if r.bad {
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func decodeUnit(data []byte) (*savedUnit, error) {
	r := &reader{b: data}
	if v := r.byte(); !r.bad && v != stateVersion {
		return nil, fmt.Errorf("%w: version %d, expected %d", errState, v, stateVersion)
	}
	u := &savedUnit{}
	flags := r.byte()
	u.chosen, u.retired, u.lagKnown = flags&1 != 0, flags&2 != 0, flags&4 != 0
	u.given = r.string()
	u.lag, u.judged = r.int(), r.int()
	u.known = decodeKnown(r)
	for range r.count(11, math.MaxInt16) {
		v := savedReading{signal: r.string()}
		v.At, v.Number, v.Text = r.int(), r.float(), r.string()
		u.values = append(u.values, v)
	}
	for range r.count(50, math.MaxInt16) {
		s := savedWatch{ref: Ref{Name: r.string(), Version: r.count(0, math.MaxInt32)}}
		s.watch = decodeWatch(r, s.ref)
		u.watches = append(u.watches, s)
	}
	if r.bad || len(r.b) > 0 {
		return nil, errState
	}
	return u, nil
}

func decodeKnown(r *reader) (k detect.Known) {
	k.Full = r.byte()&1 != 0
	if k.Full {
		k.Floor = r.int()
	}
	n := r.count(0, detect.Remembered)
	if n == 0 {
		return k
	}
	k.Times = append(make([]int64, 0, n), r.int())
	for len(k.Times) < n && !r.bad {
		step := int64(r.count(0, math.MaxInt64))
		run := r.count(0, n-len(k.Times))
		if step <= 0 || run == 0 {
			r.fail()
		}
		for range run {
			k.Times = append(k.Times, k.Times[len(k.Times)-1]+step)
		}
	}
	return k
}

func decodeWatch(r *reader, ref Ref) *watch {
	flags := r.byte()
	w := &watch{since: r.int(), newest: r.int(), episode: decodeEpisode(r)}
	if flags&1 != 0 {
		late := decodeEpisode(r)
		w.late = &late
	}
	w.exposure = detect.Exposure{Prev: r.int(), Total: r.int(), Holds: flags&4 != 0, Begun: flags&8 != 0}
	w.contact = r.int()
	w.interval = detect.Interval{Estimate: r.float(), Count: r.count(0, math.MaxInt32), Span: r.int(), Learned: flags&16 != 0}
	if flags&2 != 0 {
		f := &Finding{Detector: ref, State: Open}
		f.Onset, f.OpenedAt, f.SeenAt, f.LastAt = moment(r.int()), moment(r.int()), moment(r.int()), moment(r.int())
		f.Peak, f.Why = r.float(), r.string()
		w.finding = f
	}
	return w
}

func decodeEpisode(r *reader) detect.Episode {
	flags := r.byte()
	return detect.Episode{
		Open: flags&1 != 0, Outside: flags&2 != 0, Judged: flags&4 != 0,
		Prev: r.int(), Onset: r.int(), Last: r.int(), Held: r.int(), Calm: r.int(),
		Peak: r.float(), Excess: r.float(),
	}
}

func (t *ticks) encode(b []byte, now int64) []byte {
	b = append(b, stateVersion)
	b = binary.AppendVarint(b, now)
	b = binary.AppendVarint(b, t.last)
	b = binary.AppendUvarint(b, uint64(len(t.outages)))
	for _, o := range t.outages {
		b = binary.AppendVarint(b, o.from)
		b = binary.AppendVarint(b, o.to)
	}
	return b
}

func (t *ticks) decode(data []byte) (now int64, err error) {
	r := &reader{b: data}
	if v := r.byte(); !r.bad && v != stateVersion {
		return 0, fmt.Errorf("%w: version %d, expected %d", errState, v, stateVersion)
	}
	now = r.int()
	*t = ticks{last: r.int()}
	for range r.count(2, maxOutages) {
		t.outages = append(t.outages, outage{r.int(), r.int()})
	}
	if r.bad || len(r.b) > 0 {
		return 0, errState
	}
	return now, nil
}

// exposed is the watch's exposure as others read it.
func (w *watch) exposed(unit int64, ref Ref) Exposure {
	x := Exposure{Detector: ref, UnitKey: unit, Since: moment(w.since), For: millis(w.exposure.Total)}
	if w.newest != 0 {
		x.LastAt = moment(w.newest)
	}
	return x
}
