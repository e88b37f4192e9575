package fleet

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTopicsMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		template, topic string
		want            bool
		unit            string
	}{
		{"a/b", "a/b", true, ""},
		{"a/b", "a/b/", false, ""},
		{"a/b", "a", false, ""},
		{"a/b/", "a/b/", true, ""},
		{"/a", "/a", true, ""},
		{"/a", "a", false, ""},
		{"a/+/c", "a//c", true, ""},
		{"a/+", "a", false, ""},
		{"a/#", "a", true, ""},
		{"a/#", "a/b/c", true, ""},
		{"a/#", "ab", false, ""},
		{"#", "x/y", true, ""},
		{"$aws/things/{unit}/shadow/update", "$aws/things/x-1/shadow/update", true, "x-1"},
		{"$aws/things/{unit}/shadow/update", "$aws/things//shadow/update", false, ""},
		{"d/{unit}/e/{properties}", "d/u/e/", true, "u"},
		{"d/{unit}/e/{properties}", "d/u/e", false, "u"},
		{"d/{unit}/e/{properties}", "d/u/e/a=1/2", true, "u"},
		{"application/{app}/device/{unit}/event/up", "application/7/device/0102/event/up", true, "0102"},
	} {
		p, err := ParseTopic(c.template)
		require.NoError(t, err, c.template)
		v, ok := p.Match(c.topic)
		require.Equal(t, c.want, ok, "%s %s", c.template, c.topic)
		if ok {
			require.Equal(t, c.unit, v.Unit)
		}
	}
	p, err := ParseTopic("{unit}/{x}/{properties}")
	require.NoError(t, err)
	v, ok := p.Match("u/y/%24.ct=application%2Fjson&b=&bad=%zz&c=1&c=2")
	require.True(t, ok)
	for name, want := range map[string]string{"unit": "u", "x": "y"} {
		got, ok := v.Get(name)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	for name, want := range map[string]string{"$.ct": "application/json", "b": "", "c": "1"} {
		got, ok := v.Property(name)
		require.True(t, ok, name)
		require.Equal(t, want, got)
	}
	_, ok = v.Property("bad")
	require.False(t, ok)
	for _, bad := range []string{
		"", "a/#/b", "a/b+", "a#", "{unit", "{unit}x", "x{unit}", "{unit}/{unit}", "{properties}/x", "{Unit}", "{}", "a}", strings.Repeat("x", 513), strings.Repeat("/", 40), "\xff", "a\x00",
	} {
		_, err := ParseTopic(bad)
		require.Error(t, err, bad)
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Path{
		"": {}, "/a": {Keys: []string{"a"}}, "/a~1b/~0/0": {Keys: []string{"a/b", "~", "0"}}, "/": {Keys: []string{""}}, "#": {Payload: true},
		"#/t%20x": {Payload: true, Keys: []string{"t x"}}, "{device}": {Level: "device"}, "{unit}": {Level: "unit"}, "{properties.$.ct}": {Property: "$.ct"},
	} {
		got, err := ParsePath(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, bad := range []string{"a", "a/b", "/~", "/~2", "#a", "#/%", "{a", "{A}", "{}", "{properties}", "{properties.}", "{properties.x", "/" + strings.Repeat("x", 600), strings.Repeat("/a", 33), "/\xff"} {
		_, err := ParsePath(bad)
		require.Error(t, err, bad)
	}
}

func TestMappingsAreValidated(t *testing.T) {
	t.Parallel()
	zero, nan, root := 0.0, math.NaN(), ""
	signals := []Signal{{Name: "n", Type: Number}, {Name: "b", Type: Boolean}, {Name: "t", Type: Text}}
	fine := func(change func(*Mapping)) Mapping {
		m := Mapping{Name: "m", Topic: "x/{unit}", Signals: []MappedSignal{{Signal: "n", Path: "/n"}}}
		change(&m)
		return m
	}
	for want, change := range map[string]func(*Mapping){
		"":                                       func(*Mapping) {},
		"mappings[0].name: expected a name":      func(m *Mapping) { m.Name = "" },
		"mappings[0].topic: expected a topic t":  func(m *Mapping) { m.Topic = "a/#/b" },
		"mappings[0].topic: expected a topic o":  func(m *Mapping) { m.Topic = "fettle/v1/telemetry" },
		"mappings[0].each: expected a JSON":      func(m *Mapping) { m.Each = "#/x" },
		"mappings[0].time.path: expected":        func(m *Mapping) { m.Time = &MappedTime{Path: "x", Form: TimeNanos} },
		"mappings[0].time.form: expected":        func(m *Mapping) { m.Time = &MappedTime{Path: "/x", Form: "h"} },
		"mappings[0].sequence: expected":         func(m *Mapping) { m.Sequence = "{y}" },
		"mappings[0]: expected signals, m":       func(m *Mapping) { m.Signals = nil },
		"mappings[0].ignore: expected either":    func(m *Mapping) { m.Ignore = true },
		"mappings[0].members: expected":          func(m *Mapping) { x := "{unit}"; m.Members = &x },
		"mappings[0].versions: expected":         func(m *Mapping) { m.Versions = map[string]string{"a=b": "/x"} },
		"mappings[0].versions.boot: expected":    func(m *Mapping) { m.Versions = map[string]string{"boot": "x"} },
		"signals[0].signal: expected one":        func(m *Mapping) { m.Signals[0].Signal = "z" },
		"signals[1].signal: expected each":       func(m *Mapping) { m.Signals = append(m.Signals, m.Signals[0]) },
		"signals[0].path: expected a topic":      func(m *Mapping) { m.Signals[0].Path = "{properties.p}" },
		"signals[0].scale: expected a finite":    func(m *Mapping) { m.Signals[0].Scale = &zero },
		"signals[0].offset: expected a finite":   func(m *Mapping) { m.Signals[0].Offset = nan },
		"signals[0].scale: expected scale":       func(m *Mapping) { m.Signals[0] = MappedSignal{Signal: "b", Path: "/b", Offset: 1} },
		"signals[0].words: expected either":      func(m *Mapping) { m.Signals[0].Offset, m.Signals[0].Words = 1, map[string]any{"a": 1.0} },
		"signals[0].words: expected 1 to":        func(m *Mapping) { m.Signals[0].Words = map[string]any{} },
		"signals[0].words.a: expected a value":   func(m *Mapping) { m.Signals[0].Words = map[string]any{"a": true} },
		"mappings[0].each: expected nothing":     func(m *Mapping) { m.Topic, m.Each = "v1/devices/me/telemetry", "/x" },
		"mappings[0].time: expected nothing":     func(m *Mapping) { m.Topic, m.Time = "v2/a", &MappedTime{Path: "/t", Form: TimeMillis} },
		"mappings[0].sequence: expected nothing": func(m *Mapping) { m.Topic, m.Members, m.Sequence = "v2/t", &root, "/s" },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			got := ValidateMappings(&Product{Signals: signals, Mappings: []Mapping{fine(change)}})
			if want == "" {
				require.Empty(t, got)
				return
			}
			require.Len(t, got, 1, "%v", got)
			require.Contains(t, got[0].String(), want)
		})
	}
	many := make([]Mapping, maxMappings+1)
	require.Len(t, ValidateMappings(&Product{Mappings: many}), 1)
	twice := fine(func(m *Mapping) { m.Name = "other" })
	require.Contains(t, ValidateMappings(&Product{Signals: signals, Mappings: []Mapping{fine(func(*Mapping) {}), twice}})[0].String(), "each topic once")
	require.Len(t, ValidateMappings(&Product{Relays: []string{"gw-1", "gw-1", "a b"}}), 2)
}

// A template and a path of any text are read or refused, and what is read
// matches whatever topic without a crash.
func FuzzTopic(f *testing.F) {
	f.Add("$aws/things/{unit}/{properties}", "$aws/things/x/a=b&c", "/a~1b")
	f.Add("a/+/#", "a", "{properties.x}")
	f.Fuzz(func(t *testing.T, template, topic, path string) {
		if p, err := ParsePath(path); err == nil {
			require.LessOrEqual(t, len(p.Keys), maxPathKeys)
		}
		p, err := ParseTopic(template)
		if err != nil {
			return
		}
		if v, ok := p.Match(topic); ok {
			require.True(t, v.Unit == "" || p.Names("unit"))
			_, _ = v.Property("x")
		}
		if !strings.ContainsAny(template, "+#{") {
			_, ok := p.Match(template)
			require.True(t, ok)
		}
	})
}
