package anomaly

import (
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"fettle.dev/fettle/internal/detect/multivariate"
)

// version of the encoding. Another one is needed as soon as a state means
// something else, not only when it has another form. Version 2 had no
// clock.Same, which would stand at versionSame.
const (
	version     = 3
	versionSame = 1 + 4 + 8 + 8 + 8 + 8 + 1 + 8 + 8
)

// ErrDamaged is wrapped by what UnmarshalBinary returns for bytes that no
// detector wrote.
var ErrDamaged = errors.New("anomaly: damaged state")

// head is what both kinds of detector begin with.
type head struct {
	Version uint8
	Signals uint32
	Budget  float64
	Warmup  int64
	Rows    uint64
	Clock   clock
	Hold    hold
}

// MarshalBinary encodes the whole state with its configuration; equal
// detectors give equal bytes.
func (d *Detector) MarshalBinary() ([]byte, error) { return d.AppendBinary(nil) }

// AppendBinary is MarshalBinary at the end of b.
func (d *Detector) AppendBinary(b []byte) ([]byte, error) {
	b, err := binary.Append(b, binary.LittleEndian, &head{
		version, uint32(d.signals), d.cfg.Budget, int64(d.cfg.Warmup), d.rows, d.clock, d.hold,
	})
	if err != nil {
		return nil, err
	}
	if d.one != nil {
		return binary.Append(b, binary.LittleEndian, d.one)
	}
	several, err := any(d.several).(encoding.BinaryMarshaler).MarshalBinary()
	return append(b, several...), err
}

// UnmarshalBinary restores what MarshalBinary wrote; ErrDamaged, and an
// unchanged detector, if it can't.
func (d *Detector) UnmarshalBinary(raw []byte) error {
	if len(raw) > versionSame && raw[0] == 2 {
		raw = slices.Concat([]byte{version}, raw[1:versionSame], make([]byte, 8), raw[versionSame:])
	}
	var h head
	n, err := binary.Decode(raw, binary.LittleEndian, &h)
	switch {
	case err != nil:
		return fmt.Errorf("%w: too short", ErrDamaged)
	case h.Version != version:
		return fmt.Errorf("%w: version %d, %d is known", ErrDamaged, h.Version, version)
	case h.Signals == 0 || !(h.Budget > 0) || h.Warmup < 0 || !h.Clock.ok() || !(h.Hold.Floor >= 0) || !(h.Hold.Hours >= 0) || h.Hold.Since < 0 || h.Hold.Calm < 0:
		return fmt.Errorf("%w: no detector is like this", ErrDamaged)
	}
	raw = raw[n:]
	back := Detector{
		cfg: Config{Budget: h.Budget, Warmup: int(h.Warmup)}, signals: int(h.Signals),
		rows: h.Rows, clock: h.Clock, hold: h.Hold,
	}
	if h.Signals == 1 {
		back.one = new(univariate)
		if n, err := binary.Decode(raw, binary.LittleEndian, back.one); err != nil || n != len(raw) || !back.one.ok() {
			return fmt.Errorf("%w: its signal", ErrDamaged)
		}
	} else {
		back.several = new(multivariate.Detector)
		if err := any(back.several).(encoding.BinaryUnmarshaler).UnmarshalBinary(raw); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if back.several.Signals() != back.signals {
			return fmt.Errorf("%w: %d signals, and %d", ErrDamaged, back.signals, back.several.Signals())
		}
	}
	*d = back
	return nil
}

func finite(xs ...float64) bool {
	for _, x := range xs {
		if x-x != 0 {
			return false
		}
	}
	return true
}

func (c *clock) ok() bool {
	return finite(c.Mean, c.N, c.Same) && c.Mean >= 0 && c.N >= 0 && c.Same >= 0
}

func (m *mean) ok() bool { return finite(m.M, m.N) && m.N >= 0 }

func (u *univariate) ok() bool {
	ok := finite(u.N, u.Last, u.Recent, u.Block, u.Activity, u.Settle, u.Offset) && u.N >= 0 && u.Settle >= 0 && u.Settle <= settleRows &&
		u.Peaks.Mean.ok() && finite(u.Peaks.Most, u.Peaks.Rows) && u.Peaks.Mean.M >= 0 && u.Peaks.Most >= 0 && u.Peaks.Rows >= 0 && u.Usual.ok() && finite(u.Season.Day[:]...) && finite(u.Season.Week[:]...)
	for i := range u.Views {
		v := &u.Views[i]
		ok = ok && v.Root.ok() && v.Size.ok() && v.Square.ok() && v.Pos.ok() && v.Neg.ok()
	}
	return ok
}

func (t *tail) ok() bool {
	for _, c := range t.Count {
		if !(c >= 0) || c > math.MaxInt32 {
			return false
		}
	}
	return t.Top < bins && t.N >= 0 && t.N <= math.MaxInt32 && t.Unit >= 0 && t.Unit <= 100
}
