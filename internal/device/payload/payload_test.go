package payload_test

import (
	"math"
	"math/rand/v2"
	"strconv"
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

// What is stored is the float64 that was sent, to the last bit: unit, signal and
// time of a duplicate are the same, so its value must be, too.
func TestNumbersAreTheNearestFloat(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	texts := []string{"8.36389098886059e-05", "9007199254740993", "0.1", "-0", "1e-400", "5e-324", "2.2250738585072011e-308", "123456789012345678901234567890"}
	for range 20_000 {
		f := math.Float64frombits(random.Uint64())
		if math.IsNaN(f) || math.IsInf(f, 0) {
			continue
		}
		near := random.NormFloat64() * math.Pow10(random.IntN(12)-6)
		texts = append(texts, strconv.FormatFloat(f, 'e', -1, 64), strconv.FormatFloat(near, 'f', -1, 64), strconv.FormatFloat(near, 'g', 15, 64))
	}
	p := payload.NewPayload()
	for _, text := range texts {
		want, _ := strconv.ParseFloat(text, 64)
		for _, body := range []string{`{"values":{"a":` + text + `}}`, `[{"ts":1,"values":{"a":` + text + `}}]`} {
			require.NoError(t, p.Parse([]byte(body)), text)
			require.Equal(t, math.Float64bits(want), math.Float64bits(p.Messages[0].Values[0].Number), text)
		}
	}
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

func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"versions":{"software":"2.0.0"}}`))
	f.Add([]byte(`{"versions":{"software":1}}`))
	f.Add([]byte(`{"parameters":{"height":120.0,"mode":"eco"},"features":{"eco":true},"refused":{"height":"not while driving"}}`))
	f.Add([]byte(`{"waiting":{"height":"the car is driven"},"revisions":{"parameter:height":42}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := payload.ParseReport(body)
		if err == nil && len(r.Versions)+len(r.Refused)+len(r.Waiting) == 0 {
			t.Fatal("an empty report was taken")
		}
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Fatal(err)
		}
	})
}
