package trend

import (
	"fmt"

	"fettle.dev/fettle/internal/detect/code"

	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/detect/trend"
)

// version of the encoding: a version byte, forecasts in a row within and
// without, newest, first, limits, then the tracker's own encoding.
const version = 1

// Encode appends the state.
func (s *state) Encode(b []byte) []byte {
	b = append(b, version, s.within, s.without)
	b = code.AppendInt(b, s.newest, s.first)
	b = code.AppendFloat(code.AppendFloat(b, s.limits.Min), s.limits.Max)
	return code.AppendBytes(b, func(b []byte) []byte {
		b, _ = s.tracker.AppendBinary(b) // has no error to give
		return b
	})
}

// Decode reads what Encode wrote.
func (r *Rule) Decode(data []byte) (kind.State, error) {
	in, _, err := kind.ReadState(data, version)
	if err != nil {
		return nil, err
	}
	s := &state{within: in.Byte(), without: in.Byte(), newest: in.Int(), first: in.Int()}
	s.limits = detect.Limits{Min: in.Float(), Max: in.Float()}
	raw := in.Bytes()
	if err := kind.End(in); err != nil {
		return nil, err
	}
	s.tracker = trend.New(r.config)
	if err := s.tracker.UnmarshalBinary(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", kind.ErrState, err)
	}
	return s, nil
}
