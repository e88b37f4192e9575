package telemetry_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

func TestCodecKeepsEverything(t *testing.T) {
	t.Parallel()
	b := &telemetry.Batch{
		Product: "wall-charger",
		Rows: []telemetry.Row{
			{Unit: math.MaxInt64, Event: 1_400_000_000_000, Received: 1_400_000_000_250, Sequence: 7, Values: []telemetry.Value{
				{Signal: "current", Number: 16.25},
				{Signal: "charging", Number: 1},
				{Signal: "plug_temperature", Number: 61.234567890123},
				{Signal: "serial text", Text: "ä\x00ö", IsText: true},
				{Signal: "empty text", IsText: true},
				{Signal: "minus zero", Number: math.Copysign(0, -1)},
				{Signal: "huge", Number: math.MaxFloat64},
				{Signal: "tiny", Number: math.SmallestNonzeroFloat64},
				{Signal: "inf", Number: math.Inf(1)},
			}},
			{Unit: -5, Event: math.MinInt64, Received: math.MaxInt64, NotConsented: 1, Undeclared: 2, Invalid: 3},
			{Unit: 1, Event: 5, Received: 4, Sequence: -1, Values: []telemetry.Value{{Signal: "current", Number: -12.5}}},
		},
		Marks: []telemetry.Mark{
			{Kind: telemetry.MarkTick, At: 1_400_000_000_300, Text: "1000"},
			{Kind: telemetry.MarkVersion, Unit: 5, At: 12, Text: "software=2.0.0"},
		},
		Events: []telemetry.Event{
			{Unit: 1, Event: 1_400_000_000_000, Received: 1_400_000_000_250, Kind: telemetry.EventFeature, Name: "solar_charging"},
			{Unit: math.MinInt64, Event: math.MaxInt64, Received: math.MinInt64, Sequence: -3, Kind: telemetry.EventFault, Name: "P0301", State: telemetry.StateCleared, Text: "ä\x00"},
			{Unit: 5, Kind: telemetry.EventLog, Level: telemetry.LevelFatal, Text: "overheated"},
		},
	}
	got, err := telemetry.Decode(telemetry.Encode(b))
	require.NoError(t, err)
	require.Equal(t, b, got)
	require.True(t, math.Signbit(got.Rows[0].Values[5].Number))

	got, err = telemetry.Decode(telemetry.Encode(&telemetry.Batch{}))
	require.NoError(t, err)
	require.Equal(t, &telemetry.Batch{}, got)
}

func TestCodecRoundTripsAnyBatch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := anyBatch(t)
		got, err := telemetry.Decode(telemetry.Encode(b))
		require.NoError(t, err)
		require.Equal(t, b, got)
	})
}

func anyBatch(t *rapid.T) *telemetry.Batch {
	number := rapid.OneOf(
		rapid.Float64(),
		rapid.Map(rapid.IntRange(-100000, 100000), func(n int) float64 { return float64(n) / 100 }),
		rapid.Map(rapid.Int64(), func(n int64) float64 { return float64(n) }),
	)
	value := rapid.Custom(func(t *rapid.T) telemetry.Value {
		v := telemetry.Value{Signal: rapid.StringN(0, 3, -1).Draw(t, "signal"), IsText: rapid.Bool().Draw(t, "isText")}
		if v.IsText {
			v.Text = rapid.String().Draw(t, "text")
		} else {
			v.Number = number.Draw(t, "number")
		}
		return v
	})
	row := rapid.Custom(func(t *rapid.T) telemetry.Row {
		r := telemetry.Row{
			Unit:         rapid.Int64().Draw(t, "unit"),
			Event:        rapid.Int64().Draw(t, "event"),
			Received:     rapid.Int64().Draw(t, "received"),
			Sequence:     rapid.Int64().Draw(t, "sequence"),
			NotConsented: rapid.IntRange(0, 3).Draw(t, "not consented"),
			Undeclared:   rapid.IntRange(0, 3).Draw(t, "undeclared"),
			Invalid:      rapid.IntRange(0, 3).Draw(t, "invalid"),
			Values:       rapid.SliceOfN(value, 0, 5).Draw(t, "values"),
		}
		if len(r.Values) == 0 {
			r.Values = nil
		}
		return r
	})
	mark := rapid.Custom(func(t *rapid.T) telemetry.Mark {
		return telemetry.Mark{
			Kind: telemetry.MarkKind(rapid.Byte().Draw(t, "kind")),
			Unit: rapid.Int64().Draw(t, "unit"),
			At:   rapid.Int64().Draw(t, "at"),
			Text: rapid.String().Draw(t, "text"),
		}
	})
	event := rapid.Custom(func(t *rapid.T) telemetry.Event {
		return telemetry.Event{
			Unit:     rapid.Int64().Draw(t, "unit"),
			Event:    rapid.Int64().Draw(t, "event"),
			Received: rapid.Int64().Draw(t, "received"),
			Sequence: rapid.Int64().Draw(t, "sequence"),
			Kind:     telemetry.EventKind(rapid.IntRange(0, 3).Draw(t, "kind")),
			Name:     rapid.String().Draw(t, "name"),
			State:    telemetry.EventState(rapid.IntRange(0, 3).Draw(t, "state")),
			Level:    telemetry.Level(rapid.Byte().Draw(t, "level")),
			Text:     rapid.String().Draw(t, "text"),
		}
	})
	b := &telemetry.Batch{
		Product: rapid.String().Draw(t, "product"),
		Rows:    rapid.SliceOfN(row, 0, 20).Draw(t, "rows"),
		Marks:   rapid.SliceOfN(mark, 0, 5).Draw(t, "marks"),
		Events:  rapid.SliceOfN(event, 0, 5).Draw(t, "events"),
	}
	if len(b.Events) == 0 {
		b.Events = nil
	}
	if len(b.Rows) == 0 {
		b.Rows = nil
	}
	if len(b.Marks) == 0 {
		b.Marks = nil
	}
	return b
}

// What a stream still holds of a program that knew no events is read.
func TestDecodeReadsTheVersionBefore(t *testing.T) {
	t.Parallel()
	want := sampleBatch(3, 1)
	data := telemetry.Encode(want) // its last byte is the count of events
	got, err := telemetry.Decode(append([]byte{1}, data[1:len(data)-1]...))
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = telemetry.Decode(append([]byte{1}, data[1:]...))
	require.ErrorIs(t, err, telemetry.ErrEncoding)
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	good := telemetry.Encode(sampleBatch(3, 1))
	tests := map[string][]byte{
		"nothing":           {},
		"another version":   append([]byte{3}, good[1:]...),
		"a billion events":  {2, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"a strange event":   {2, 0, 0, 0, 0, 0, 1, 255, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 0},
		"bytes left over":   append(append([]byte{}, good...), 0),
		"a billion rows":    {1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"a billion signals": {1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"a billion values":  {1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"endless varint":    {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := telemetry.Decode(data)
			require.ErrorIs(t, err, telemetry.ErrEncoding)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
		})
	}
	for n := range good {
		_, err := telemetry.Decode(good[:n])
		require.ErrorIs(t, err, telemetry.ErrEncoding, "cut to %d bytes", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(telemetry.Encode(&telemetry.Batch{}))
	f.Add(telemetry.Encode(sampleBatch(3, 2)))
	f.Add(telemetry.Encode(&telemetry.Batch{Events: []telemetry.Event{{Unit: 3, Event: 5, Received: 7, Sequence: 1, Kind: telemetry.EventLog, Name: "x", Level: 9, Text: "y"}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := telemetry.Decode(data)
		if err != nil {
			require.ErrorIs(t, err, telemetry.ErrEncoding)
			return
		}
		// What was understood means the same when written anew.
		again, err := telemetry.Decode(telemetry.Encode(b))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%#v", b.Rows), fmt.Sprintf("%#v", again.Rows)) // NaN is not equal to itself
		require.Equal(t, b.Marks, again.Marks)
		require.Equal(t, b.Events, again.Events)
		require.Equal(t, b.Product, again.Product)
	})
}

// sampleBatch is like what chargers send: four numbers and a boolean a row.
func sampleBatch(rows, marks int) *telemetry.Batch {
	r := rand.New(rand.NewPCG(1, 2))
	b := &telemetry.Batch{Product: "wall-charger"}
	at := int64(1_400_000_000_000)
	for i := range rows {
		at += int64(r.IntN(3))
		b.Rows = append(b.Rows, telemetry.Row{
			Unit: r.Int64(), Event: at - int64(r.IntN(1000)), Received: at, Sequence: int64(i + 1),
			Values: []telemetry.Value{
				{Signal: "current", Number: math.Round(r.Float64()*1600) / 100},
				{Signal: "plug_temperature", Number: r.Float64() * 80},
				{Signal: "ambient_temperature", Number: math.Round(r.Float64()*200) / 10},
				{Signal: "energy", Number: math.Round(r.Float64()*100000) / 100},
				{Signal: "charging", Number: float64(r.IntN(2))},
			},
		})
	}
	for range marks {
		b.Marks = append(b.Marks, telemetry.Mark{Kind: telemetry.MarkContact, Unit: r.Int64(), At: at})
	}
	return b
}

func BenchmarkEncode(b *testing.B) {
	batch := sampleBatch(512, 16)
	var buf []byte
	for b.Loop() {
		buf = telemetry.AppendEncoded(buf[:0], batch)
	}
	b.ReportMetric(float64(b.N)*512/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(len(buf))/512, "B/row")
}

func BenchmarkDecode(b *testing.B) {
	data := telemetry.Encode(sampleBatch(512, 16))
	for b.Loop() {
		if _, err := telemetry.Decode(data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*512/b.Elapsed().Seconds(), "rows/s")
}
