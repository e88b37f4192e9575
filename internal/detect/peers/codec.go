package peers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// version of the encoding: a version byte, periods judged from, level and
// first as 8 bytes, then period, samples and mean of both open periods.
const version = 1

// ErrDamaged is the cause of a refusal of an encoded unit.
var ErrDamaged = errors.New("peers: state is damaged")

// MarshalBinary encodes the whole state; equal units give equal bytes.
func (u *Unit) MarshalBinary() ([]byte, error) { return u.AppendBinary(nil) }

// AppendBinary is MarshalBinary at the end of b.
func (u *Unit) AppendBinary(b []byte) ([]byte, error) {
	b = binary.AppendUvarint(append(b, version), uint64(u.seen))
	b = appendFloat(appendFloat(b, u.level), u.first)
	for i := range u.open {
		m := &u.open[i]
		b = binary.AppendVarint(b, m.period)
		b = binary.AppendUvarint(b, uint64(m.n))
		b = appendFloat(b, m.v)
	}
	return b, nil
}

func appendFloat(b []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
}

// UnmarshalBinary restores what MarshalBinary wrote; ErrDamaged, and the unit as
// it was, where it can't.
func (u *Unit) UnmarshalBinary(data []byte) error {
	if len(data) == 0 {
		return ErrDamaged
	}
	if data[0] != version {
		return fmt.Errorf("peers: state of version %d, this one reads %d", data[0], version)
	}
	bad := false
	data = data[1:]
	number := func() int64 {
		v, n := binary.Uvarint(data)
		if n <= 0 || v > math.MaxInt64 {
			bad = true
			return 0
		}
		data = data[n:]
		return int64(v)
	}
	signed := func() int64 {
		v, n := binary.Varint(data)
		if n <= 0 {
			bad = true
			return 0
		}
		data = data[n:]
		return v
	}
	float := func() float64 {
		if len(data) < 8 {
			bad = true
			return 0
		}
		v := math.Float64frombits(binary.LittleEndian.Uint64(data))
		data = data[8:]
		bad = bad || math.IsNaN(v) || math.IsInf(v, 0)
		return v
	}
	got := Unit{seen: number(), level: float(), first: float()}
	for i := range got.open {
		got.open[i] = mean{period: signed(), n: number(), v: float()}
	}
	if bad || len(data) > 0 {
		return ErrDamaged
	}
	*u = got
	return nil
}
