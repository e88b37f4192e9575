package trend

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// version of the encoding: a version byte, season, bucket, flags (1 a sample
// was seen, 2 a bucket is open), newest sample and smallest step, buckets
// (count, then the times since the one before, mean, merged buckets, level),
// the open bucket with its samples, and the cycles that the season has.
const version = 1

// ErrDamaged is the cause of a refusal of an encoded tracker.
var ErrDamaged = errors.New("trend: state is damaged")

// MarshalBinary encodes the whole state; equal trackers give equal bytes.
func (t *Tracker) MarshalBinary() ([]byte, error) { return t.AppendBinary(nil) }

// AppendBinary is MarshalBinary at the end of b.
func (t *Tracker) AppendBinary(b []byte) ([]byte, error) {
	var flags byte
	if t.any {
		flags |= 1
	}
	if t.past.n > 0 {
		flags |= 2
	}
	b = append(b, version, byte(t.c.Season), flags)
	b = binary.AppendUvarint(b, uint64(t.c.Bucket))
	b = appendFloats(b, t.last, t.grain)
	b = binary.AppendUvarint(b, uint64(len(t.past.closed)))
	before := int64(0)
	for i := range t.past.closed {
		b = appendBucket(b, &t.past.closed[i], before)
		before = t.past.closed[i].to
	}
	if t.past.n > 0 {
		b = appendBucket(b, &t.past.open, before)
		b = binary.AppendUvarint(b, uint64(t.past.n))
	}
	for _, c := range t.cycles() {
		b = c.append(b)
	}
	return b, nil
}

func (t *Tracker) cycles() []*cycle {
	return []*cycle{&t.day, &t.week}[:t.c.Season]
}

func appendFloats(b []byte, values ...float64) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}

func appendBucket(b []byte, k *bucket, before int64) []byte {
	b = binary.AppendVarint(b, k.from-before)
	b = binary.AppendUvarint(b, uint64(k.to-k.from))
	b = appendFloats(b, k.mean)
	b = binary.AppendUvarint(b, uint64(k.count))
	return append(b, k.level)
}

// append leaves out the slots that a cycle does not have.
func (c *cycle) append(b []byte) []byte {
	var flags byte
	if c.begun {
		flags |= 1
	}
	b = append(b, flags)
	for _, v := range []int64{int64(c.whole), c.index, c.after} {
		b = binary.AppendVarint(b, v)
	}
	b = appendFloats(b, c.before)
	for _, v := range []*[24]float64{&c.mean, &c.noise, &c.sum, &c.count} {
		b = appendFloats(b, v[:c.slots]...)
	}
	return b
}

// UnmarshalBinary restores what MarshalBinary wrote; ErrDamaged, and the
// tracker as it was, where it can't.
func (t *Tracker) UnmarshalBinary(data []byte) error {
	r := reader{Reader: bytes.NewReader(data)}
	if v := r.byte(); r.err == nil && v != version {
		return fmt.Errorf("trend: state of version %d, this one reads %d", v, version)
	}
	season, flags := Season(r.byte()), r.byte()
	got := New(Config{Season: season, Bucket: int64(r.uint(math.MaxInt64))})
	got.any = flags&1 != 0
	got.last, got.grain = r.float(), r.float()
	n := int(r.uint(most))
	if season > Weekly || flags > 3 || got.grain < 0 || n > r.Len()/leastBucket {
		return ErrDamaged
	}
	got.past.closed = make([]bucket, n)
	before := int64(math.MinInt64)
	for i := range got.past.closed {
		before = r.bucket(&got.past.closed[i], before, i == 0)
	}
	if flags&2 != 0 {
		r.bucket(&got.past.open, before, n == 0)
		got.past.n = int64(r.uint(math.MaxInt64))
		if got.past.n == 0 {
			return ErrDamaged
		}
	}
	for _, c := range got.cycles() {
		c.begun = r.byte() == 1
		c.whole, c.index, c.after = int(r.int()), r.int(), r.int()
		c.before = r.float()
		for _, v := range []*[24]float64{&c.mean, &c.noise, &c.sum, &c.count} {
			for s := range c.slots {
				v[s] = r.float()
			}
		}
		if c.whole < 0 || c.whole > math.MaxInt32 {
			return ErrDamaged
		}
	}
	if r.err != nil || r.Len() > 0 {
		return ErrDamaged
	}
	*t = *got
	return nil
}

const (
	most        = (abreast + 2) * (mostLevel + 1) // buckets
	leastBucket = 12                              // bytes of one
)

// reader reads numbers; after an error everything is zero.
type reader struct {
	*bytes.Reader
	err error
}

func (r *reader) fail() { r.err = ErrDamaged }

func (r *reader) byte() byte {
	v, err := r.ReadByte()
	if err != nil {
		r.fail()
	}
	return v
}

func (r *reader) uint(limit uint64) uint64 {
	v, err := binary.ReadUvarint(r)
	if err != nil || v > limit {
		r.fail()
		return 0
	}
	return v
}

func (r *reader) int() int64 {
	v, err := binary.ReadVarint(r)
	if err != nil {
		r.fail()
		return 0
	}
	return v
}

func (r *reader) float() float64 {
	var raw [8]byte
	if _, err := io.ReadFull(r, raw[:]); err != nil {
		r.fail()
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(raw[:]))
	if math.IsNaN(v) || math.IsInf(v, 0) {
		r.fail()
		return 0
	}
	return v
}

// bucket reads one that follows another; it gives where it ends.
func (r *reader) bucket(k *bucket, before int64, first bool) int64 {
	base := before
	if first {
		base = 0
	}
	k.from = base + r.int()
	length := r.uint(math.MaxInt64)
	k.to = k.from + int64(length)
	k.mean = r.float()
	k.count = float64(r.uint(1 << 53))
	k.level = r.byte()
	if k.from < before || k.to < k.from || k.count < 1 || k.level > mostLevel {
		r.fail()
	}
	return k.to
}
