package payload

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFlat(t *testing.T) {
	t.Parallel()
	for body, taken := range map[string]bool{
		`{"ts":1401624000000,"values":{"a":1}}`:                                        true,
		` { "ts" : 1401624000000 , "values" : { "a" : -1.50 , "b" : true } , "seq":3}`: true,
		`{"values":{}}`: true,
		`{"values":{"a":"text","b":false,"c":0,"d":-0.0}}`: true,
		`{"values":{"a":123456789012345}}`:                 true,
		`{"values":{"a":1234567890123456}}`:                false,
		`{"values":{"a":0.1234567890123456}}`:              false,
		`{"values":{"a":1e3}}`:                             false,
		`{"values":{"a":01}}`:                              false,
		`{"values":{"a":.5}}`:                              false,
		`{"values":{"a":5.}}`:                              false,
		`{"values":{"a":1.2.3}}`:                           false,
		`{"values":{"a":-}}`:                               false,
		`{"values":{"a":null}}`:                            false,
		`{"values":{"a":NaN}}`:                             false,
		`{"values":{"a":[1]}}`:                             false,
		`{"values":{"a":"\n"}}`:                            false,
		`{"values":{"a":1},}`:                              false,
		`{"values":{"a":1}} x`:                             false,
		`{"values":{"a":1},"values":{"b":1}}`:              false,
		`{"values":{"a":1},"more":1}`:                      false,
		`{"ts":-1,"values":{"a":1}}`:                       false,
		`{"ts":1.5,"values":{"a":1}}`:                      false,
		`{"ts":1}`:                                         false,
		`{}`:                                               false,
		`[{"values":{"a":1}}]`:                             false,
		``:                                                 false,
	} {
		var p Payload
		require.Equal(t, taken, p.AppendFlat([]byte(body)), body)
		require.Len(t, p.Messages, map[bool]int{true: 1}[taken])
		if taken {
			sameAsParsed(t, []byte(body), p.Messages[0])
		}
	}
	var p Payload
	require.True(t, p.AppendFlat([]byte(`{"values":{"a":1}}`)))
	require.False(t, p.AppendFlat([]byte(`{"values":{"b":2,"c":null}}`)))
	require.True(t, p.AppendFlat([]byte(`{"values":{"d":3}}`)))
	require.Len(t, p.Messages, 2)
	require.Equal(t, "a", string(p.Messages[0].Values[0].Name))
	require.Equal(t, "d", string(p.Messages[1].Values[0].Name))
}

func sameAsParsed(t *testing.T, body []byte, m Message) {
	t.Helper()
	var whole Payload
	require.NoError(t, whole.parse(body), "%q", body)
	require.Len(t, whole.Messages, 1)
	want := whole.Messages[0]
	require.Len(t, m.Values, len(want.Values))
	for i, v := range m.Values {
		w := want.Values[i]
		require.Equal(t, fmt.Sprintf("%q %d %q", w.Name, w.Kind, w.Text), fmt.Sprintf("%q %d %q", v.Name, v.Kind, v.Text))
		require.InEpsilon(t, 1+w.Number, 1+v.Number, 1e-12)
	}
	m.Values, want.Values = nil, nil
	require.Equal(t, want, m)
}

// FuzzFlat: what the quick reader takes, the whole one takes for the same.
func FuzzFlat(f *testing.F) {
	f.Add([]byte(`{"ts":1401624000000,"values":{"a":1.25,"b":true,"c":"x"},"seq":7}`))
	f.Add([]byte(`{"values":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var p Payload
		if p.AppendFlat(body) {
			sameAsParsed(t, body, p.Messages[0])
		}
	})
}

// A number is the nearest float to what is written.
func TestFlatNumbers(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"0", "1", "16.25", "0.1", "0.3", "2.675", "123456.789", "99999999999999.9", "0.00000000000001", "-273.15", "41.50"} {
		want, err := strconv.ParseFloat(s, 64)
		require.NoError(t, err)
		got, ok := (&flat{b: []byte(s)}).number()
		require.True(t, ok, s)
		require.Equal(t, want, got, s) //nolint:testifylint // exactly
	}
}

func BenchmarkPayload(b *testing.B) {
	body := []byte(`{"ts":1763794472000,"values":{"current":16.25,"voltage":230.25,"power":3680.25,"plug_temperature":41.25,"energy":812.25,"frequency":50.25,"humidity":38.25,"signal_strength":-61.25,"charging":1,"error":0}}`)
	b.Run("flat", func(b *testing.B) {
		var p Payload
		for b.Loop() {
			p.Reset()
			p.AppendFlat(body)
		}
	})
	b.Run("whole", func(b *testing.B) {
		var p Payload
		for b.Loop() {
			_ = p.parse(body)
		}
	})
}
