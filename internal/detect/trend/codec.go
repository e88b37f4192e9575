package trend

import (
	"errors"
	"fmt"
	"math"

	"fettle.dev/fettle/internal/detect/code"
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
	b = code.AppendCount(b, int(t.c.Bucket))
	b = code.AppendFloat(b, t.last, t.grain)
	b = code.AppendCount(b, len(t.past.closed))
	before := int64(0)
	for i := range t.past.closed {
		b = appendBucket(b, &t.past.closed[i], before)
		before = t.past.closed[i].to
	}
	if t.past.n > 0 {
		b = appendBucket(b, &t.past.open, before)
		b = code.AppendCount(b, int(t.past.n))
	}
	for _, c := range t.cycles() {
		b = c.append(b)
	}
	return b, nil
}

func (t *Tracker) cycles() []*cycle {
	return []*cycle{&t.day, &t.week}[:t.c.Season]
}

func appendBucket(b []byte, k *bucket, before int64) []byte {
	b = code.AppendInt(b, k.from-before)
	b = code.AppendCount(b, int(k.to-k.from))
	b = code.AppendFloat(b, k.mean)
	b = code.AppendCount(b, int(k.count))
	return append(b, k.level)
}

// append leaves out the slots that a cycle does not have.
func (c *cycle) append(b []byte) []byte {
	var flags byte
	if c.begun {
		flags |= 1
	}
	b = append(b, flags)
	b = code.AppendInt(b, int64(c.whole), c.index, c.after)
	b = code.AppendFloat(b, c.before)
	for _, v := range []*[24]float64{&c.mean, &c.noise, &c.sum, &c.count} {
		b = code.AppendFloat(b, v[:c.slots]...)
	}
	return b
}

// UnmarshalBinary restores what MarshalBinary wrote; ErrDamaged, and the
// tracker as it was, where it can't.
func (t *Tracker) UnmarshalBinary(data []byte) error {
	r := code.NewReader(data)
	if v := r.Byte(); !r.Bad() && v != version {
		return fmt.Errorf("trend: state of version %d, this one reads %d", v, version)
	}
	season, flags := Season(r.Byte()), r.Byte()
	got := New(Config{Season: season, Bucket: int64(r.Count(0, math.MaxInt))})
	got.any = flags&1 != 0
	got.last, got.grain = r.Finite(), r.Finite()
	n := r.Count(leastBucket, most)
	if season > Weekly || flags > 3 || got.grain < 0 {
		return ErrDamaged
	}
	got.past.closed = make([]bucket, n)
	before := int64(math.MinInt64)
	for i := range got.past.closed {
		before = readBucket(r, &got.past.closed[i], before, i == 0)
	}
	if flags&2 != 0 {
		readBucket(r, &got.past.open, before, n == 0)
		got.past.n = int64(r.Count(0, math.MaxInt))
		if got.past.n == 0 {
			return ErrDamaged
		}
	}
	for _, c := range got.cycles() {
		c.begun = r.Byte() == 1
		c.whole, c.index, c.after = int(r.Int()), r.Int(), r.Int()
		c.before = r.Finite()
		for _, v := range []*[24]float64{&c.mean, &c.noise, &c.sum, &c.count} {
			for s := range c.slots {
				v[s] = r.Finite()
			}
		}
		if c.whole < 0 || c.whole > math.MaxInt32 {
			return ErrDamaged
		}
	}
	if !r.Whole() {
		return ErrDamaged
	}
	*t = *got
	return nil
}

const (
	most        = (abreast + 2) * (mostLevel + 1) // buckets
	leastBucket = 12                              // bytes of one
)

// readBucket reads one that follows another; it gives where it ends.
func readBucket(r *code.Reader, k *bucket, before int64, first bool) int64 {
	base := before
	if first {
		base = 0
	}
	k.from = base + r.Int()
	k.to = k.from + int64(r.Count(0, math.MaxInt))
	k.mean = r.Finite()
	k.count = float64(r.Count(0, 1<<53))
	k.level = r.Byte()
	if k.from < before || k.to < k.from || k.count < 1 || k.level > mostLevel {
		r.Fail()
	}
	return k.to
}
