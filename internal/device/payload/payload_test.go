package payload_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device/payload"
	"fettle.dev/fettle/internal/fault"
)

func TestPayloadMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, path string }{
		{``, ""},
		{`{`, ""},
		{`nul`, ""},
		{`1`, ""},
		{`{"values":{}} x`, ""},
		{`{}`, "values"},
		{`{"values":[]}`, "values"},
		{`{"ts":"now","values":{}}`, "ts"},
		{`{"values":{},"seq":-1}`, "seq"},
		{`{"values":{},"seq":1.5}`, "seq"},
		{`{"values":{},"seq":"1"}`, "seq"},
		{`[{"values":{}},{"ts":true,"values":{}}]`, "[1].ts"},
		{`[1]`, "[0]"},
		{`[[]]`, "[0]"},
	} {
		p := payload.NewPayload()
		err := p.Parse([]byte(c.body))
		require.Equal(t, fault.Invalid, fault.KindOf(err), c.body)
		require.Equal(t, c.path, fault.FieldsOf(err)[0].Path, c.body)
		require.Empty(t, p.Messages)
	}
}

func TestPayload(t *testing.T) {
	t.Parallel()
	p := payload.NewPayload()
	require.NoError(t, p.Parse([]byte(`[{"ts":1401624000000,"seq":7,"values":{"a":1.5,"b":true,"c":"Infinity","d":-Infinity},"more":1},{"values":{"a":2}}]`)))
	require.Len(t, p.Messages, 2)
	m := p.Messages[0]
	require.True(t, m.HasEvent)
	require.Equal(t, int64(1401624000000), m.Event)
	require.Equal(t, int64(7), m.Sequence)
	require.Len(t, m.Values, 4)
	require.Equal(t, "Infinity", string(m.Values[2].Text), "only what stands outside of strings is mended")
	require.False(t, p.Messages[1].HasEvent)
	require.Equal(t, []payload.Value{{Name: []byte("a"), Kind: payload.KindNumber, Number: 2}}, p.Messages[1].Values)
	require.NoError(t, p.Parse([]byte(`[]`)))
	require.Empty(t, p.Messages)
}

func FuzzPayload(f *testing.F) {
	for _, s := range []string{
		`{"ts":1,"values":{"a":1}}`, `[{"values":{"a":"x","b":true,"c":null}}]`, `{"values":{"a":NaN,"b":Infinity,"c":1e999}}`,
		`{"ts":-Infinity,"seq":9007199254740993,"values":{"\u0000":1}}`, `[[[[`, `{"values":{"a":"\ud800"}}`,
	} {
		f.Add([]byte(s))
	}
	p := payload.NewPayload()
	f.Fuzz(func(t *testing.T, body []byte) {
		before := string(body)
		err := p.Parse(body)
		if string(body) != before {
			t.Fatal("the parser changed its input")
		}
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || len(p.Messages) != 0 {
				t.Fatalf("%v, %d messages", err, len(p.Messages))
			}
			return
		}
		for _, m := range p.Messages {
			if m.Sequence < 0 {
				t.Fatal("a negative sequence number")
			}
			for _, v := range m.Values {
				if v.Kind == 0 {
					t.Fatal("a value of no kind")
				}
			}
		}
	})
}

func FuzzVersions(f *testing.F) {
	f.Add([]byte(`{"versions":{"software":"2.0.0"}}`))
	f.Add([]byte(`{"versions":{"software":1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := payload.ParseVersions(body)
		if (err == nil) == (len(v) == 0) && err == nil {
			t.Fatal("an empty report was taken")
		}
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Fatal(err)
		}
	})
}
