package peers

import (
	"errors"
	"fmt"
	"math"

	"fettle.dev/fettle/internal/detect/code"
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
	b = code.AppendCount(append(b, version), int(u.seen))
	return code.AppendFloat(b, u.level, u.first), nil
}

// MarshalBinary encodes the whole state; equal means give equal bytes.
func (m *Means) MarshalBinary() ([]byte, error) { return m.AppendBinary(nil) }

// AppendBinary is MarshalBinary at the end of b.
func (m *Means) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, version)
	for _, o := range m.open {
		b = code.AppendCount(code.AppendInt(b, o.period), int(o.n))
		b = code.AppendFloat(b, o.v)
	}
	return b, nil
}

// UnmarshalBinary restores what MarshalBinary wrote; ErrDamaged, and the unit as
// it was, where it can't.
func (u *Unit) UnmarshalBinary(data []byte) error {
	r, err := read(data)
	if err != nil {
		return err
	}
	got := Unit{seen: int64(r.Count(0, math.MaxInt)), level: r.Finite(), first: r.Finite()}
	if !r.Whole() {
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
		got.open[i] = mean{period: r.Int(), n: int64(r.Count(0, math.MaxInt)), v: r.Finite()}
	}
	if !r.Whole() {
		return ErrDamaged
	}
	*m = got
	return nil
}

func read(data []byte) (*code.Reader, error) {
	if len(data) == 0 {
		return nil, ErrDamaged
	}
	if data[0] != version {
		return nil, fmt.Errorf("peers: state of version %d, this one reads %d", data[0], version)
	}
	return code.NewReader(data[1:]), nil
}
