package peers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// version of the encodings. A unit: a version byte, periods judged from, level
// and first as 8 bytes. Means: a version byte, then period, samples and mean of
// both open periods.
const version = 1

// ErrDamaged is the cause of a refusal of an encoded state.
var ErrDamaged = errors.New("peers: state is damaged")

// MarshalBinary encodes the whole state; equal units give equal bytes.
func (u *Unit) MarshalBinary() ([]byte, error) { return u.AppendBinary(nil) }

// AppendBinary is MarshalBinary at the end of b.
func (u *Unit) AppendBinary(b []byte) ([]byte, error) {
	b = binary.AppendUvarint(append(b, version), uint64(u.seen))
	b = appendFloat(appendFloat(b, u.level), u.first)
	return b, nil
}

// MarshalBinary encodes the whole state; equal means give equal bytes.
func (m *Means) MarshalBinary() ([]byte, error) { return m.AppendBinary(nil) }

// AppendBinary is MarshalBinary at the end of b.
func (m *Means) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, version)
	for _, o := range m.open {
		b = binary.AppendVarint(b, o.period)
		b = binary.AppendUvarint(b, uint64(o.n))
		b = appendFloat(b, o.v)
	}
	return b, nil
}

func appendFloat(b []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
}

// UnmarshalBinary restores what MarshalBinary wrote; ErrDamaged, and the unit as
// it was, where it can't.
func (u *Unit) UnmarshalBinary(data []byte) error {
	r, err := read(data)
	if err != nil {
		return err
	}
	got := Unit{seen: r.count(), level: r.float(), first: r.float()}
	if r.bad || len(r.b) > 0 {
		return ErrDamaged
	}
	*u = got
	return nil
}

// UnmarshalBinary restores what MarshalBinary wrote; ErrDamaged, and the means as
// they were, where it can't.
func (m *Means) UnmarshalBinary(data []byte) error {
	r, err := read(data)
	if err != nil {
		return err
	}
	var got Means
	for i := range got.open {
		got.open[i] = mean{period: r.int(), n: r.count(), v: r.float()}
	}
	if r.bad || len(r.b) > 0 {
		return ErrDamaged
	}
	*m = got
	return nil
}

// reader reads numbers; after an error everything is zero.
type reader struct {
	b   []byte
	bad bool
}

func read(data []byte) (*reader, error) {
	if len(data) == 0 {
		return nil, ErrDamaged
	}
	if data[0] != version {
		return nil, fmt.Errorf("peers: state of version %d, this one reads %d", data[0], version)
	}
	return &reader{b: data[1:]}, nil
}

// took steps over n bytes, none being an error.
func (r *reader) took(n int, ok bool) bool {
	if n <= 0 || !ok {
		r.b, r.bad = nil, true
		return false
	}
	r.b = r.b[n:]
	return true
}

func (r *reader) count() int64 {
	v, n := binary.Uvarint(r.b)
	if !r.took(n, v <= math.MaxInt64) {
		return 0
	}
	return int64(v)
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if !r.took(n, true) {
		return 0
	}
	return v
}

func (r *reader) float() float64 {
	if len(r.b) < 8 {
		r.took(0, false)
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.took(8, !math.IsNaN(v) && !math.IsInf(v, 0))
	return v
}
