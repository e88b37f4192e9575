package condition

import (
	"context"
	"encoding/hex"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/condition/kind/spec"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// example is an evaluator that knows unit 1 under a tolerance and a silence detector.
func example(tb testing.TB) (*Evaluator, *unit) {
	tb.Helper()
	p := fleet.Product{
		Name: "p", Purposes: []fleet.Purpose{{Name: "care", Basis: fleet.BasisNecessary}},
		Signals: []fleet.Signal{
			{Name: "a", Type: fleet.Number, Purposes: []string{"care"}},
			{Name: "b", Type: fleet.Text, Purposes: []string{"care"}},
		},
		Tolerances: []fleet.Tolerance{{Name: "t", Signal: "a", Bands: []fleet.Band{{When: `b == "x"`, Max: new(1.0)}}}},
	}
	directory := func(context.Context, int64) (Identity, bool, error) {
		return Identity{ID: "U-1", Product: "p"}, true, nil
	}
	e, err := NewEvaluator(directory, []Definition{{Product: p, Detectors: []Detector{
		{Name: "d", Version: 3, Product: "p", Type: TypeTolerance, Severity: Major, Purpose: "care", Tolerance: "t"},
		{Name: "e", Version: 1, Product: "p", Type: TypeSilence, Severity: Major, Purpose: "care"},
	}}})
	require.NoError(tb, err)
	u, err := e.unit(tb.Context(), 1, 1)
	require.NoError(tb, err)
	u.chosen, u.given, u.Lag, u.lagKnown, u.judged = true, "care,operation", -12, true, 99
	for i := range int64(3) {
		u.known.Add(1_389_550_000_000 + i*60_000)
	}
	u.Values[e.products["p"].index["b"]] = expression.Reading{At: 5, Number: 1.5, Text: "x"}
	w := u.watches[0]
	w.Newest, w.Exposure = 2, detect.Exposure{Prev: 1, Holds: true, Begun: true, Total: 2}
	w.Finding = &Finding{
		ID: FindingID(Ref{Name: "d", Version: 3}, 1, 1), Detector: Ref{Name: "d", Version: 3}, Severity: Major, UnitID: "U-1", UnitKey: 1, Product: "p",
		State: Open, Onset: moment(1), OpenedAt: moment(2), SeenAt: moment(3), LastAt: moment(4), Peak: 5, Why: "why",
	}
	return e, u
}

// The same unit as Fettle 0.1 wrote it, and the state of its stream.
const (
	unitInOne = "01050e636172652c6f7065726174696f6e17c601000380d7befaf050e0d403020101620a000000000000f83f017802" +
		"0164030f02040706080a0c0e00000000000020400000000000002240" + // detector d, version 3
		"00020000000000000000000000000000000000000000020400000000000000000000000204060800000000000014400377687901" +
		"650110020000000000000000000000000000000000000000000000000004000000000000f83f040a" // detector e, version 1
	streamInOne = "01120e0202040608"
)

func TestStateIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	_, u := example(t)
	data, apart := u.encode(nil)
	require.Positive(t, apart)
	require.Less(t, apart, len(data))
	require.Less(t, len(data), 260, "compact")
	again, _ := example(t)
	again.units = map[int64]*unit{}
	require.NoError(t, again.Load(t.Context(), []State{{UnitKey: 1, Data: data}}))
	got := again.units[1]
	require.Equal(t, u.known, got.known)
	require.Equal(t, u.Values, got.Values)
	for i := range u.watches {
		require.Equal(t, u.watches[i].State, got.watches[i].State)
		require.Equal(t, u.watches[i].Finding, got.watches[i].Finding)
	}
	same, _ := got.encode(nil)
	require.Equal(t, data, same, "equal state, equal bytes")

	data[0] = 3
	err := again.Load(t.Context(), []State{{UnitKey: 1, Data: data}})
	require.ErrorIs(t, err, kind.ErrNewer)
	require.ErrorContains(t, err, "state of unit U-1: state was written by a later version of Fettle: state version 3, this one reads up to 2")
}

func TestStateOfTheReleaseBeforeKindsIsRead(t *testing.T) {
	t.Parallel()
	e, want := example(t)
	e.units = map[int64]*unit{}
	data, err := hex.DecodeString(unitInOne)
	require.NoError(t, err)
	stream, err := hex.DecodeString(streamInOne)
	require.NoError(t, err)
	require.NoError(t, e.Load(t.Context(), []State{{Data: stream}, {UnitKey: 1, Data: data}}))
	u := e.units[1]
	require.Equal(t, kind.Clock{Now: 9, Last: 7, Outages: []kind.Outage{{From: 1, To: 2}, {From: 3, To: 4}}}, e.desk.Clock)
	require.Equal(t, []int64{1_389_550_360_000, 1_389_550_420_000, 1_389_550_480_000}, u.known.Times)
	require.Equal(t, want.Values, u.Values)
	require.Equal(t, want.watches[0].Finding, u.watches[0].Finding)
	require.Equal(t, want.watches[0].Exposure, u.watches[0].Exposure)
	require.Equal(t, "0201"+"07"+"06080a0c0e"+"00000000000020400000000000002240"+"00"+"0200000000"+"00000000000000000000000000000000",
		hex.EncodeToString(u.watches[0].State.Encode(nil)), "an episode, and a late one")
	require.Equal(t, int64(1), u.watches[1].Since)
}

func FuzzDecodeState(f *testing.F) {
	e, u := example(f)
	one, _ := u.encode(nil)
	f.Add(one)
	empty, _ := (&unit{}).encode(nil)
	f.Add(empty)
	f.Add(e.encode(nil))
	for _, old := range []string{unitInOne, streamInOne} {
		data, err := hex.DecodeString(old)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, key := range []int64{0, 1} {
			e, _ := example(t)
			e.units = map[int64]*unit{}
			if e.Load(t.Context(), []State{{UnitKey: key, Data: data}}) != nil || key == 0 {
				continue
			}
			if n := len(e.units[1].known.Times); n > detect.Remembered {
				t.Fatalf("%d event times", n)
			}
			once, _ := e.units[1].encode(nil)
			again, _ := example(t)
			again.units = map[int64]*unit{}
			require.NoError(t, again.Load(t.Context(), []State{{UnitKey: 1, Data: once}}))
			twice, _ := again.units[1].encode(nil)
			require.Equal(t, once, twice)
		}
	})
}

// FuzzDecodeKinds: what no kind has written is refused, and what is read is
// written in the same way again.
func FuzzDecodeKinds(f *testing.F) {
	p := fleet.Product{
		Name: "p", Purposes: []fleet.Purpose{{Name: "care", Basis: fleet.BasisNecessary}},
		Signals:    []fleet.Signal{{Name: "a", Type: fleet.Number, Purposes: []string{"care"}}, {Name: "b", Type: fleet.Text, Purposes: []string{"care"}}},
		Tolerances: []fleet.Tolerance{{Name: "t", Signal: "a", Rate: fleet.Duration(time.Minute), Bands: []fleet.Band{{Max: new(1.0)}}}},
	}
	definitions := []Definition{{Product: p, Detectors: []Detector{
		{Name: "rate", Type: TypeTolerance, Tolerance: "t", Window: fleet.Duration(time.Hour), Count: 2},
		{Name: "silence", Type: TypeSilence},
		{Name: "anomaly", Type: TypeAnomaly, Anomaly: &spec.Anomaly{Mode: "b"}},
		{Name: "trend", Type: kind.TypeTrend, Trend: &spec.Trend{Signal: "a", Max: new(9.0), Horizon: fleet.Duration(time.Hour)}},
		{Name: "peers", Type: kind.TypePeers, Peers: &spec.Peers{Signal: "a"}},
	}}}
	for i := range definitions[0].Detectors {
		d := &definitions[0].Detectors[i]
		d.Product, d.Severity, d.Purpose, d.Version = "p", Major, "care", 1
	}
	directory := func(_ context.Context, key int64) (Identity, bool, error) {
		return Identity{ID: strconv.FormatInt(key, 10), Product: "p"}, true, nil
	}
	e, err := NewEvaluator(directory, definitions)
	require.NoError(f, err)
	for i := range int64(400) {
		for unit := range int64(3) {
			row := telemetry.Row{Unit: unit + 1, Event: i * 60_000, Received: i * 60_000, Values: []telemetry.Value{{Signal: "a", Number: float64(i % 7)}, {Signal: "b", Text: []string{"x", "y"}[i/100%2], IsText: true}}}
			require.NoError(f, e.Row(context.Background(), &row))
		}
	}
	rules := e.products["p"].rules
	for i := range rules {
		f.Add(uint8(i), e.units[1].watches[i].State.Encode(nil))
		f.Add(uint8(i), []byte{1})
		if g, ok := rules[i].Rule.(kind.Gatherer); ok {
			f.Add(uint8(i+len(rules)), g.EncodeGroup(nil))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		e, err := NewEvaluator(directory, definitions)
		require.NoError(t, err)
		rules := e.products["p"].rules
		r := rules[int(which)%len(rules)].Rule
		if int(which) >= len(rules) {
			if g, ok := r.(kind.Gatherer); ok {
				_ = g.DecodeGroup(data)
			}
			return
		}
		s, err := r.Decode(data)
		if err != nil {
			return
		}
		once := s.Encode(nil)
		again, err := r.Decode(once)
		require.NoError(t, err)
		require.Equal(t, once, again.Encode(nil))
	})
}
