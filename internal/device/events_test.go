package device_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

func storeEvents(t *testing.T, h *devicetest.House, id device.Identity, body string) []device.Outcome {
	t.Helper()
	var p device.EventPayload
	require.NoError(t, p.Parse([]byte(body)))
	out := make([]device.Outcome, len(p.Events))
	require.NoError(t, h.Gateway.StoreEvents(t.Context(), id, p.Events, out))
	return out
}

func TestEventPayloadMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, path string }{
		{``, ""},
		{`{`, ""},
		{`7`, ""},
		{`[7]`, "[0]"},
		{`{}`, "kind"},
		{`{"kind":1}`, "kind"},
		{`{"kind":"log","text":null}`, "text"},
		{`{"kind":"log","name":7}`, "name"},
		{`{"kind":"log","level":17}`, "level"},
		{`{"kind":"fault","state":true}`, "state"},
		{`{"kind":"fault","ts":"now"}`, "ts"},
		{`[{"kind":"log"},{"kind":"log","seq":1.5}]`, "[1].seq"},
	} {
		var p device.EventPayload
		err := p.Parse([]byte(c.body))
		require.Equal(t, fault.Invalid, fault.KindOf(err), c.body)
		require.Equal(t, c.path, fault.FieldsOf(err)[0].Path, c.body)
		require.Empty(t, p.Events)
	}
}

func FuzzEventPayload(f *testing.F) {
	for _, s := range []string{
		`{"ts":1,"kind":"feature","name":"a"}`, `[{"kind":"fault","name":"E1","state":"cleared","seq":3}]`, `{"kind":"log","level":"warn","text":"\ud800"}`,
		`{"ts":-1e999,"kind":"\u0000"}`, `[[[`, `[]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var p device.EventPayload
		if err := p.Parse(body); err != nil {
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			require.NotEmpty(t, fault.FieldsOf(err))
			require.Empty(t, p.Events)
			return
		}
		for _, e := range p.Events {
			require.LessOrEqual(t, len(e.Kind)+len(e.Name)+len(e.State)+len(e.Level)+len(e.Text), 3*len(body))
		}
	})
}

func TestWhichEventsAreKept(t *testing.T) {
	t.Parallel()
	kept, undeclared, denied := device.Outcome{Kept: 1}, device.Outcome{Undeclared: 1}, device.Outcome{NotConsented: 1}
	invalid := func(why string) device.Outcome { return device.Outcome{Invalid: 1, Why: why} }
	long := strings.Repeat("x", 4097)
	for _, c := range []struct {
		name, body string
		want       device.Outcome // with consent
		without    device.Outcome // without
	}{
		{"a feature", `{"kind":"feature","name":"solar"}`, kept, denied},
		{"a feature without purposes", `{"kind":"feature","name":"lock"}`, undeclared, undeclared},
		{"no feature", `{"kind":"feature","name":"wifi"}`, undeclared, undeclared},
		{"a fault", `{"kind":"fault","name":"E1"}`, kept, kept},
		{"a fault that is cleared", `{"kind":"fault","name":"E1","state":"cleared","text":"by hand"}`, kept, kept},
		{"a fault of a pattern", `{"kind":"fault","name":"F17"}`, kept, kept},
		{"no fault", `{"kind":"fault","name":"E17"}`, undeclared, undeclared},
		{"a line", `{"kind":"log","level":"info","text":"x"}`, kept, denied},
		{"a line below the level", `{"kind":"log","level":"debug","text":"x"}`, undeclared, undeclared},
		{"an empty line", `{"kind":"log","level":"info"}`, invalid("text: a line of a log has one"), denied},
		{"a line without level", `{"kind":"log","text":"x"}`, invalid("level: expected debug, info, warn, error or fatal"), denied},
		{"another kind", `{"kind":"dance"}`, invalid("kind: expected feature, fault or log, got dance"), invalid("kind: expected feature, fault or log, got dance")},
		{"another state", `{"kind":"fault","name":"E1","state":"on"}`, invalid("state: expected set or cleared"), invalid("state: expected set or cleared")},
		{"a name that is none", `{"kind":"fault","name":"F\u0007"}`, invalid("name: expected at most 64 printable characters"), invalid("name: expected at most 64 printable characters")},
		{"a long text", `{"kind":"log","level":"warn","text":"` + long + `"}`, invalid("text: expected at most 4096 bytes of UTF-8"), denied},
		{"not UTF-8", "{\"kind\":\"log\",\"level\":\"warn\",\"text\":\"\xff\"}", invalid("text: expected at most 4096 bytes of UTF-8"), denied},
		{"another century", `{"kind":"fault","name":"E1","ts":0}`, invalid("ts: event time is before the year 2000"), invalid("ts: event time is before the year 2000")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := devicetest.New(t, nil)
			h.Declare(devicetest.Eventful())
			id := h.Identity(h.Units(1)[0])
			require.Equal(t, []device.Outcome{c.want}, storeEvents(t, h, id, c.body))
			require.Len(t, h.Stream.Events(), c.want.Kept)
			h.Consent(id.UnitID, false)
			require.Equal(t, []device.Outcome{c.without}, storeEvents(t, h, id, c.body))
			require.Len(t, h.Stream.Events(), c.want.Kept+c.without.Kept)
			// What was dropped is counted in the stream and in the metrics.
			var n device.Outcome
			for _, r := range h.Stream.Rows() {
				require.Empty(t, r.Values)
				n.NotConsented += r.NotConsented
				n.Undeclared += r.Undeclared
				n.Invalid += r.Invalid
			}
			require.Equal(t, c.want.NotConsented+c.without.NotConsented, n.NotConsented)
			require.Equal(t, c.want.Undeclared+c.without.Undeclared, n.Undeclared)
			require.Equal(t, c.want.Invalid+c.without.Invalid, n.Invalid)
			require.Equal(t, c.want.Kept+c.without.Kept, value(t, h, "kept"))
			require.Equal(t, n.Undeclared, value(t, h, "undeclared"))
		})
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	h.Declare(devicetest.Eventful())
	id := h.Identity(h.Units(1)[0])
	storeEvents(t, h, id, `[{"ts":`+at(-1000)+`,"seq":7,"kind":"fault","name":"E1","text":"relay 2"},
		{"kind":"fault","name":"E1","state":"cleared"},{"kind":"log","level":"fatal","name":"modem","text":"no carrier"},{"kind":"feature","name":"solar","text":"ignored"}]`)
	now := devicetest.Start.UnixMilli()
	want := []telemetry.Event{
		{Unit: id.Key, Event: now, Received: now, Sequence: 7, Kind: telemetry.EventFault, Name: "E1", State: telemetry.StateSet, Text: "relay 2"},
		{Unit: id.Key, Event: now, Received: now, Kind: telemetry.EventFault, Name: "E1", State: telemetry.StateCleared},
		{Unit: id.Key, Event: now + 1, Received: now, Kind: telemetry.EventLog, Name: "modem", Level: telemetry.LevelFatal, Text: "no carrier"},
		{Unit: id.Key, Event: now + 2, Received: now, Kind: telemetry.EventFeature, Name: "solar"},
	}
	got := h.Stream.Events()
	require.Len(t, got, 4)
	want[0].Event, want[1].Event = got[0].Event, got[1].Event
	require.Equal(t, want, got)
	require.Empty(t, h.Stream.Rows())
	require.Len(t, h.Stream.Marks(telemetry.MarkContact), 1, "an event is contact")

	d, err := h.Gateway.Desired(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, &device.DesiredEvents{Features: []string{"solar"}, Faults: []string{"E1", "F*"}, Log: "info"}, d.Events)
	h.Consent(id.UnitID, false)
	d, err = h.Gateway.Desired(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, &device.DesiredEvents{Faults: []string{"E1", "F*"}}, d.Events)
}

func TestFaultPatterns(t *testing.T) {
	t.Parallel()
	p := fleet.Product{Faults: []fleet.Fault{{Code: "P0301"}, {Code: "P03*"}, {Code: "U*-*9"}, {Code: "*X"}}}
	for code, want := range map[string]int{"P0301": 0, "P0302": 1, "P03": 1, "P04": -1, "U1-9": 2, "U-9": 2, "U9": -1, "U1-91": -1, "X": 3, "AX": 3, "": -1} {
		require.Equal(t, want, p.FaultIndex(code), code)
	}
}
