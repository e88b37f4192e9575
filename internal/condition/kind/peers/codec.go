package peers

import (
	"fmt"

	"fettle.dev/fettle/internal/detect/code"

	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/detect/peers"
)

// stateVersion of the encodings. A unit: a version byte, periods in a row outside
// and well within, newest, first, means, units: count, then each. The rule: a
// version byte, whether a period was judged, and which last.
const stateVersion = 1

type encoder interface {
	AppendBinary(b []byte) ([]byte, error)
}

// Encode appends the state.
func (s *state) Encode(b []byte) []byte {
	b = append(b, stateVersion, s.outside, s.inside)
	b = code.AppendInt(b, s.newest, s.first)
	add := func(e encoder) {
		b = code.AppendBytes(b, func(b []byte) []byte {
			b, _ = e.AppendBinary(b) // has no error to give
			return b
		})
	}
	add(&s.means)
	b = code.AppendCount(b, len(s.units))
	for i := range s.units {
		add(&s.units[i])
	}
	return b
}

// Decode reads what Encode wrote.
func (r *rule) Decode(data []byte) (kind.State, error) {
	in, _, err := kind.ReadState(data, stateVersion)
	if err != nil {
		return nil, err
	}
	s := &state{outside: in.Byte(), inside: in.Byte(), newest: in.Int(), first: in.Int()}
	means := in.Bytes()
	raw := make([][]byte, in.Count(4, mostBy+1))
	for i := range raw {
		raw[i] = in.Bytes()
	}
	if err := kind.End(in); err != nil {
		return nil, err
	}
	if len(raw) != len(r.by)+1 {
		return nil, kind.ErrState
	}
	if err := s.means.UnmarshalBinary(means); err != nil {
		return nil, fmt.Errorf("%w: %w", kind.ErrState, err)
	}
	s.units = make([]peers.Unit, len(raw))
	for i := range raw {
		if err := s.units[i].UnmarshalBinary(raw[i]); err != nil {
			return nil, fmt.Errorf("%w: %w", kind.ErrState, err)
		}
	}
	return s, nil
}

// EncodeGroup appends which period was judged last.
func (r *rule) EncodeGroup(b []byte) []byte {
	return code.AppendInt(append(b, stateVersion, code.Bits(r.begun)), r.judged)
}

// DecodeGroup reads what EncodeGroup wrote.
func (r *rule) DecodeGroup(data []byte) error {
	in, _, err := kind.ReadState(data, stateVersion)
	if err != nil {
		return err
	}
	begun, judged := in.Byte()&1 != 0, in.Int()
	if err := kind.End(in); err != nil {
		return err
	}
	r.begun, r.judged = begun, judged
	return nil
}
