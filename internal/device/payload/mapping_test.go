package payload

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fleet"
)

func mapped(mappings ...fleet.Mapping) *fleet.Product {
	return &fleet.Product{Name: "p", Mappings: mappings, Signals: []fleet.Signal{
		{Name: "temperature", Type: fleet.Number},
		{Name: "power", Type: fleet.Number},
		{Name: "on", Type: fleet.Boolean},
		{Name: "mode", Type: fleet.Text},
	}}
}

// kinds are the types of a product's signals.
func kinds(p *fleet.Product) func([]byte) (fleet.ValueType, bool) {
	byName := map[string]fleet.ValueType{}
	for _, s := range p.Signals {
		byName[s.Name] = s.Type
	}
	return func(name []byte) (fleet.ValueType, bool) {
		kind, ok := byName[string(name)]
		return kind, ok
	}
}

func compiled(tb testing.TB, p *fleet.Product) (all []*Mapping) {
	tb.Helper()
	require.Empty(tb, fleet.ValidateMappings(p))
	for i := range p.Mappings {
		m, err := NewMapping(p, &p.Mappings[i])
		require.NoError(tb, err)
		all = append(all, m)
	}
	return all
}

// seen writes what was read so that tests can be read.
func seen(p *Payload) []string {
	var out []string
	for _, m := range p.Messages {
		var b strings.Builder
		if m.HasEvent {
			b.WriteString(plain(float64(m.Event)))
		} else {
			b.WriteString("-")
		}
		if m.Sequence != 0 {
			b.WriteString("#" + plain(float64(m.Sequence)))
		}
		for _, v := range m.Values {
			b.WriteString(" " + string(v.Name) + "=")
			switch v.Kind {
			case KindNumber:
				b.WriteString(plain(v.Number))
			case KindBoolean:
				b.WriteString(map[float64]string{0: "false", 1: "true"}[v.Number])
			case KindText:
				b.WriteString("'" + string(v.Text) + "'")
			case KindOther, KindRefused:
				b.WriteString("?")
			}
		}
		out = append(out, b.String())
	}
	return out
}

func TestMappings(t *testing.T) {
	t.Parallel()
	shadow := fleet.Mapping{
		Name: "shadow", Topic: "$aws/things/{unit}/shadow/update", Time: &fleet.MappedTime{Path: "/state/reported/at", Form: fleet.TimeSeconds},
		Signals: []fleet.MappedSignal{
			{Signal: "temperature", Path: "/state/reported/t", Scale: new(0.5), Offset: -40},
			{Signal: "on", Path: "/state/reported/relay", Words: map[string]any{"ON": true, "OFF": false, "1": true}},
			{Signal: "mode", Path: "/state/reported/a~1b/1"},
		},
		Versions: map[string]string{"software": "/state/reported/fw"},
	}
	events := fleet.Mapping{
		Name: "events", Topic: "devices/{unit}/messages/events/{properties}", Each: "/records",
		Time: &fleet.MappedTime{Path: "/at", Form: fleet.TimeRFC3339}, Sequence: "/n", Members: new("/v"),
		Signals:  []fleet.MappedSignal{{Signal: "power", Path: "#/site/kw"}, {Signal: "mode", Path: "{properties.mode}"}, {Signal: "temperature", Path: "/v/temp"}},
		Versions: map[string]string{"bootloader": "#/site/boot"},
	}
	nanos := fleet.Mapping{Name: "ns", Topic: "ns/{device}/#", Time: &fleet.MappedTime{Path: "/t", Form: fleet.TimeNanos}, Signals: []fleet.MappedSignal{{Signal: "mode", Path: "{device}"}}}
	micros := fleet.Mapping{Name: "us", Topic: "us", Time: &fleet.MappedTime{Path: "/t", Form: fleet.TimeMicros}, Members: new("")}
	millis := fleet.Mapping{Name: "ms", Topic: "ms", Time: &fleet.MappedTime{Path: "/t", Form: fleet.TimeMillis}, Members: new("")}
	board := fleet.Mapping{Name: "board", Topic: "v1/devices/me/telemetry", Members: new(""), Versions: map[string]string{"software": "/current_fw_version"}, Signals: []fleet.MappedSignal{{Signal: "temperature", Path: "/t"}}}
	for name, c := range map[string]struct {
		mapping  fleet.Mapping
		topic    string
		body     string
		want     []string
		versions map[string]string
		wrong    string
	}{
		"shadow":                {shadow, "$aws/things/u/shadow/update", `{"state":{"reported":{"t":130,"relay":"ON","at":1401624000.123,"a/b":[0,"eco"],"fw":2.10}},"version":7}`, []string{"1401624000123 temperature=25 on=true mode='eco'"}, map[string]string{"software": "2.10"}, ""},
		"words":                 {shadow, "$aws/things/u/shadow/update", `{"state":{"reported":{"relay":1}}}`, []string{"- on=true"}, nil, ""},
		"no such word":          {shadow, "$aws/things/u/shadow/update", `{"state":{"reported":{"relay":"MAYBE"}}}`, []string{"- on=?"}, nil, ""},
		"nothing reported":      {shadow, "$aws/things/u/shadow/update", `{"state":{"desired":{"t":1}}}`, nil, nil, ""},
		"deleted":               {shadow, "$aws/things/u/shadow/update", `{"state":{"reported":null}}`, nil, nil, ""},
		"null":                  {shadow, "$aws/things/u/shadow/update", `{"state":{"reported":{"t":null,"at":null,"fw":null,"relay":"OFF"}}}`, []string{"- on=false"}, nil, ""},
		"a text for a time":     {shadow, "$aws/things/u/shadow/update", `{"state":{"reported":{"t":1,"at":"noon"}}}`, nil, nil, `message: time: expected Unix time in s, got "noon"`},
		"a version of too much": {shadow, "$aws/things/u/shadow/update", `{"state":{"reported":{"fw":{"a":1},"t":1}}}`, []string{"- temperature=-39.5"}, map[string]string{"software": `{"a":1}`}, ""},
		"an empty version":      {shadow, "$aws/things/u/shadow/update", `{"state":{"reported":{"fw":""}}}`, nil, nil, "versions.software: expected 1 to 128 printable characters"},
		"records": {
			events, "devices/u/messages/events/mode=eco&x=%2F", `{"site":{"kw":"3.5","boot":7},"records":[{"at":"2014-06-01T12:00:00.5+02:00","n":3,"v":{"temp":1,"on":"true","x":[]}},{"v":{}}]}`,
			[]string{"1401616800500#3 power=3.5 mode='eco' temperature=1 on=true x=?", "- power=3.5 mode='eco'"},
			map[string]string{"bootloader": "7"},
			"",
		},
		"one record":          {events, "devices/u/messages/events/", `{"records":{"at":"2014-06-01T12:00:00Z","v":{"power":1}}}`, []string{"1401624000000 power=1"}, nil, ""},
		"no records":          {events, "devices/u/messages/events/", `{"x":1}`, nil, nil, ""},
		"a record of nothing": {events, "devices/u/messages/events/", `{"records":[{"v":{"power":1}},7]}`, nil, nil, "message: [1]: expected an object, got 7"},
		"not RFC 3339":        {events, "devices/u/messages/events/", `{"records":[{"at":"1.6.2014"}]}`, nil, nil, `time: expected a time as 2026-03-01T12:00:00Z (RFC 3339), got "1.6.2014"`},
		"sequence":            {events, "devices/u/messages/events/", `{"records":[{"n":1.5}]}`, nil, nil, "sequence: expected a whole number"},
		"nanoseconds":         {nanos, "ns/x/y/z", `{"t":1401624000123000000}`, []string{"1401624000123 mode='x'"}, nil, ""},
		"late nanoseconds":    {nanos, "ns/x", `{"t":"1401624000123999999"}`, []string{"1401624000123 mode='x'"}, nil, ""},
		"microseconds":        {micros, "us", `[{"t":1401624000123001,"power":"1e3","on":"0","mode":"7"},{"t":-1,"power":"x"}]`, []string{"1401624000123 t=1401624000123001 power=1000 on=false mode='7'", "-1 t=-1 power='x'"}, nil, ""},
		"beyond reason":       {millis, "ms", `{"t":1e300,"power":1}`, []string{"9223372036854776000 t=" + plain(1e300) + " power=1"}, nil, ""},
		"infinite":            {millis, "ms", `{"power":Infinity}`, []string{"- power=+Inf"}, nil, ""},
		"board flat":          {board, "v1/devices/me/telemetry", `{"t":"21.5","power":1,"current_fw_version":"3"}`, []string{"- temperature=21.5 power=1"}, map[string]string{"software": "3"}, ""},
		"board values":        {board, "v1/devices/me/telemetry", `[{"ts":1401624000000,"values":{"t":1}},{"power":2}]`, []string{"1401624000000 temperature=1", "- power=2"}, nil, ""},
		"not JSON":            {board, "v1/devices/me/telemetry", `t=1`, nil, nil, "message: expected JSON"},
		"a number":            {board, "v1/devices/me/telemetry", `1`, nil, nil, "message: [0]: expected an object, got 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mapped(c.mapping)
			kind := kinds(p)
			all := compiled(t, p)
			values, ok := all[0].Match(c.topic)
			require.True(t, ok)
			out := NewPayload()
			defer out.Free()
			versions, err := all[0].Read(out, kind, &values, []byte(c.body))
			if c.wrong != "" {
				require.ErrorContains(t, err, c.wrong)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.versions, versions)
			require.Equal(t, c.want, seen(out))
		})
	}
}

// ThingsBoard's shapes without a declaration.
func TestThingsBoardsShapes(t *testing.T) {
	t.Parallel()
	p := mapped()
	kind := kinds(p)
	for body, want := range map[string][]string{
		`{"temperature":25,"on":true,"mode":"eco"}`:                                        {"- temperature=25 on=true mode='eco'"},
		`{"temperature":"25.5","on":"FALSE","mode":"7"}`:                                   {"- temperature=25.5 on=false mode='7'"},
		`[{"temperature":1},{"power":2}]`:                                                  {"- temperature=1", "- power=2"},
		`{"ts":1451649600512,"values":{"temperature":1,"on":false}}`:                       {"1451649600512 temperature=1 on=false"},
		`[{"ts":1,"values":{"power":1}},{"ts":2,"values":{"power":2}},{"ts":3,"power":3}]`: {"1 power=1", "2 power=2", "- ts=3 power=3"},
		`{"values":{"power":1}}`:                                                           {"- values=?"},
		`{"temperature":null}`:                                                             nil,
		`{}`:                                                                               nil,
		`[]`:                                                                               nil,
		`[{}]`:                                                                             nil,
	} {
		out := NewPayload()
		_, err := ThingsBoard().Read(out, kind, &fleet.TopicValues{}, []byte(body))
		require.NoError(t, err, body)
		require.Equal(t, want, seen(out), body)
		out.Free()
	}
}

// BenchmarkRead compares ten values in Fettle's shape with the same in
// ThingsBoard's and by a mapping of single paths.
func BenchmarkRead(b *testing.B) {
	names := []string{"temperature", "power", "on", "mode", "a", "b", "c", "d", "e", "f"}
	p := mapped()
	kind := kinds(p)
	var members, object strings.Builder
	paths := fleet.Mapping{Name: "m", Topic: "x/{unit}", Time: &fleet.MappedTime{Path: "/ts", Form: fleet.TimeMillis}}
	for i, n := range names {
		if i > 0 {
			members.WriteString(",")
		}
		members.WriteString(`"` + n + `":` + plain(float64(i)+0.5))
		if _, ok := kind([]byte(n)); ok {
			paths.Signals = append(paths.Signals, fleet.MappedSignal{Signal: n, Path: "/values/" + n})
		}
	}
	object.WriteString(`{"ts":1401624000000,"values":{` + members.String() + `}}`)
	body := []byte(object.String())
	all := compiled(b, mapped(paths))
	for name, read := range map[string]func(out *Payload) error{
		"shape=fettle": func(out *Payload) error { return out.Parse(body) },
		"shape=thingsboard": func(out *Payload) error {
			_, err := ThingsBoard().Read(out, kind, &fleet.TopicValues{}, body)
			return err
		},
		"shape=mapping": func(out *Payload) error {
			values, _ := all[0].Match("x/u")
			_, err := all[0].Read(out, kind, &values, body)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			out := NewPayload()
			for b.Loop() {
				if err := read(out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Any payload on any topic is read or refused, never a panic, and gives the
// same when it is read again.
func FuzzMapping(f *testing.F) {
	p := mapped(
		fleet.Mapping{Name: "a", Topic: "a/{unit}/{x}/{properties}", Each: "/r", Members: new("/m"), Time: &fleet.MappedTime{Path: "#/t", Form: fleet.TimeNanos}, Sequence: "/n", Versions: map[string]string{"software": "{x}"}, Signals: []fleet.MappedSignal{{Signal: "power", Path: "{properties.p}", Scale: new(2.0)}, {Signal: "on", Path: "/m/on", Words: map[string]any{"1": true}}}},
		fleet.Mapping{Name: "b", Topic: "v1/devices/me/telemetry", Members: new(""), Versions: map[string]string{"software": "/fw"}},
		fleet.Mapping{Name: "c", Topic: "c/+/#", Members: new(""), Time: &fleet.MappedTime{Path: "/t", Form: fleet.TimeRFC3339}, Signals: []fleet.MappedSignal{{Signal: "mode", Path: "/m/0"}}},
	)
	kind := kinds(p)
	all := compiled(f, p)
	f.Add("a/u/x/p=1&q", `{"t":1401624000123000000,"r":[{"n":1,"m":{"on":1,"z":Infinity}}]}`)
	f.Add("v1/devices/me/telemetry", `[{"ts":1,"values":{"power":"1","fw":"2"}}]`)
	f.Add("c/x", `{"t":"2014-06-01T12:00:00Z","m":["\u0000"]}`)
	f.Fuzz(func(t *testing.T, topic, body string) {
		for _, m := range append(all, ThingsBoard()) {
			values, ok := m.Match(topic)
			if !ok {
				continue
			}
			var first []string
			for i := range 2 {
				out := NewPayload()
				_, err := m.Read(out, kind, &values, []byte(body))
				require.False(t, err != nil && len(out.Messages) > 0)
				if i == 0 {
					first = seen(out)
				} else {
					require.Equal(t, first, seen(out))
				}
				out.Free()
			}
		}
	})
}

func plain(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
