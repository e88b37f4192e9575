package condition

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/detect"
)

func example() *unit {
	p := &product{name: "p", signals: []string{"a", "b"}, rules: []*rule{{Detector: Detector{Name: "d", Version: 3, Type: TypeTolerance}}, {Detector: Detector{Name: "e", Version: 1, Type: TypeSilence}}}}
	u := &unit{product: p, chosen: true, given: "care,operation", lag: -12, lagKnown: true, judged: 99}
	for i := range int64(70) {
		u.known.Add(1_389_550_000_000 + i*60_000)
	}
	u.values = []expression.Reading{{At: expression.Never}, {At: 5, Number: 1.5, Text: "x"}}
	f := &Finding{Detector: p.rules[0].Ref(), State: Open, Onset: moment(1), OpenedAt: moment(2), SeenAt: moment(3), LastAt: moment(4), Peak: 5, Why: "why"}
	u.watches = []*watch{
		{
			since: 1, newest: 2, episode: detect.Episode{Open: true, Outside: true, Judged: true, Prev: 3, Onset: 4, Last: 5, Held: 6, Calm: 7, Peak: 8, Excess: 9},
			late: &detect.Episode{Prev: 1}, exposure: detect.Exposure{Prev: 1, Holds: true, Begun: true, Total: 2}, finding: f,
		},
		{since: 1, contact: 2, interval: detect.Interval{Estimate: 1.5, Count: 4, Span: 5, Learned: true}},
	}
	return u
}

func TestStateIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	u := example()
	data := u.encode(nil)
	require.Less(t, len(data), 260, "compact")
	saved, err := decodeUnit(data)
	require.NoError(t, err)
	require.Equal(t, u.known, saved.known)
	require.Equal(t, u.watches[0], saved.watches[0].watch)
	require.Equal(t, u.watches[1], saved.watches[1].watch)
	require.Equal(t, []savedReading{{"b", u.values[1]}}, saved.values)

	data[0] = 2
	_, err = decodeUnit(data)
	require.ErrorIs(t, err, errState)
	require.ErrorContains(t, err, "version 2, expected 1")

	var out ticks
	in := ticks{last: 7, outages: []outage{{1, 2}, {3, 4}}}
	now, err := out.decode(in.encode(nil, 9))
	require.NoError(t, err)
	require.Equal(t, int64(9), now)
	require.Equal(t, in, out)
}

func FuzzDecodeState(f *testing.F) {
	f.Add(example().encode(nil))
	f.Add((&unit{}).encode(nil))
	f.Add((&ticks{last: 7, outages: []outage{{1, 2}}}).encode(nil, 9))
	f.Add([]byte{stateVersion})
	f.Fuzz(func(t *testing.T, data []byte) {
		if saved, err := decodeUnit(data); err == nil {
			if len(saved.known.Times) > detect.Remembered {
				t.Fatalf("%d event times", len(saved.known.Times))
			}
		}
		var k ticks
		_, _ = k.decode(data)
		if len(k.outages) > maxOutages {
			t.Fatalf("%d outages", len(k.outages))
		}
	})
}
