package condition

import (
	"math"

	"fettle.dev/fettle/internal/detect/code"

	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/detect"
)

// decodeInOne reads a watch of version 1 (Fettle 0.1), which held the states of
// tolerance and of silence together:
//
//	flags (1 late, 2 finding, 4 exposed now, 8 exposure begun, 16 learned),
//	since, newest, episode, [late episode], exposure: time, total,
//	contact, interval: estimate, count, span, [finding]
//
// and gives them as their kinds' version 1 has them.
func (s *savedWatch) decodeInOne(r *code.Reader) {
	flags := r.Byte()
	s.watch = &kind.Watch{Since: r.Int(), Newest: r.Int()}
	tolerance := copyEpisode([]byte{1, flags & 1}, r)
	if flags&1 != 0 {
		tolerance = copyEpisode(tolerance, r)
	}
	s.watch.Exposure = detect.Exposure{Prev: r.Int(), Total: r.Int(), Holds: flags&4 != 0, Begun: flags&8 != 0}
	silence := code.AppendInt([]byte{1, flags >> 4 & 1}, r.Int())
	silence = code.AppendFloat(silence, r.Float())
	silence = code.AppendCount(silence, r.Count(0, math.MaxInt32))
	silence = code.AppendInt(silence, r.Int())
	if flags&2 != 0 {
		s.watch.Finding = decodeFinding(r, s.ref)
	}
	s.legacy = map[kind.Type][]byte{kind.TypeTolerance: tolerance, kind.TypeSilence: silence}
}

// copyEpisode copies flags, five times and two floats.
func copyEpisode(b []byte, r *code.Reader) []byte {
	b = append(b, r.Byte())
	for range 5 {
		b = code.AppendInt(b, r.Int())
	}
	b = code.AppendFloat(b, r.Float())
	return code.AppendFloat(b, r.Float())
}
