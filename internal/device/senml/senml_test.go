package senml

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/fleet"
)

var now = devicetest.Start

// said writes resolved records plainly.
func said(records []resolved) string {
	var b strings.Builder
	for _, r := range records {
		fmt.Fprintf(&b, "%d %s %q", r.index, r.full, r.unit)
		switch r.value.Kind {
		case device.KindNumber, device.KindBoolean:
			fmt.Fprintf(&b, " %v", r.value.Number)
		case device.KindText:
			fmt.Fprintf(&b, " %q", r.value.Text)
		default:
		}
		if r.sum.is {
			fmt.Fprintf(&b, " sum %v", r.sum.value)
		}
		if r.at.Known {
			fmt.Fprintf(&b, " @%d", r.at.Event)
			if r.at.Nanos > 0 {
				fmt.Fprintf(&b, "+%d", r.at.Nanos)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func read(parse func([]byte, bool) ([]record, error), body []byte, stream bool) ([]resolved, error) {
	pack, err := parse(body, stream)
	if err != nil {
		return nil, err
	}
	return resolve(pack, now)
}

func TestPacks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string][2]string{
		"RFC 8428, 5.1.1": {`[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]`, "0 urn:dev:ow:10e2073a01080063 \"Cel\" 23.1\n"},
		"RFC 8428, 5.1.2": {
			`[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},{"n":"current","u":"A","v":1.2}]`,
			"0 urn:dev:ow:10e2073a01080063:voltage \"V\" 120.1\n1 urn:dev:ow:10e2073a01080063:current \"A\" 1.2\n",
		},
		"RFC 8428, 5.1.2, base time": {
			`[{"bn":"d:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},{"n":"current","t":-5,"v":1.2},{"n":"current","v":1.7}]`,
			"0 d:voltage \"V\" 120.1 @1276020076001\n1 d:current \"A\" 1.2 @1276020071001\n2 d:current \"A\" 1.7 @1276020076001\n",
		},
		"relative to now":   {`[{"n":"a","t":-60,"v":1},{"n":"b","v":2},{"n":"c","bt":-10,"t":10,"v":3},{"n":"d","t":-5.5,"v":1}]`, "0 a \"\" 1 @1401623940000\n1 b \"\" 2\n2 c \"\" 3\n3 d \"\" 1 @1401623984500\n"},
		"base value, sum":   {`[{"bn":"x","bv":20,"bs":100,"v":1.5},{"n":"y","s":5},{"n":"z","vs":"t"}]`, "0 x \"\" 21.5 sum 100\n1 xy \"\" 20 sum 105\n2 xz \"\" \"t\" sum 100\n"},
		"kinds":             {`[{"n":"a","vb":true},{"n":"b","vs":"","t":1276020076.5},{"n":"c","vd":"aGkgCg"},{"n":"d","s":3}]`, "0 a \"\" 1\n1 b \"\" \"\" @1276020076500\n2 c \"\" \"aGkgCg\"\n3 d \"\" sum 3\n"},
		"base fields only":  {`[{"bn":"d:","bt":1276020076},{"n":"a","v":1,"t":0.000125}]`, "1 d:a \"\" 1 @1276020076000+125000\n"},
		"unknown is passed": {`[{"n":"a","v":1,"foo":{"x":[1]},"ut":30}]`, "0 a \"\" 1\n"},
		"empty":             {`[]`, ""},
	} {
		got, err := read(parseJSON, []byte(c[0]), false)
		require.NoError(t, err, name)
		require.Equal(t, c[1], said(got), name)
		// The same in CBOR, with integer labels.
		var pack []map[string]any
		require.NoError(t, json.Unmarshal([]byte(c[0]), &pack))
		for i := range pack {
			if d, ok := pack[i]["vd"].(string); ok {
				require.Equal(t, "aGkgCg", d)
				pack[i]["vd"] = []byte("hi \n")
			}
		}
		body, err := cbor.Marshal(labelled(pack))
		require.NoError(t, err)
		got, err = read(parseCBOR, body, false)
		require.NoError(t, err, name)
		require.Equal(t, c[1], said(got), name)
	}
}

func labelled(pack []map[string]any) []map[any]any {
	out := make([]map[any]any, len(pack))
	for i, m := range pack {
		out[i] = map[any]any{}
		for k, v := range m {
			if l, ok := labels[k]; ok {
				out[i][int(l)] = v
			} else {
				out[i][k] = v
			}
		}
	}
	return out
}

func TestNumbersOfCBOR(t *testing.T) {
	t.Parallel()
	fraction, err := cbor.Marshal([]map[int]any{{0: "a", 2: cbor.Tag{Number: 4, Content: []int{-2, 27315}}}})
	require.NoError(t, err)
	got, err := read(parseCBOR, fraction, false)
	require.NoError(t, err)
	require.Equal(t, "0 a \"\" 273.15\n", said(got))
	nan, err := cbor.Marshal([]map[int]any{{0: "a", 2: math.NaN()}})
	require.NoError(t, err)
	got, err = read(parseCBOR, nan, false)
	require.NoError(t, err, "a sample to be refused, not a pack")
	require.True(t, math.IsNaN(got[0].value.Number))
}

func TestStreams(t *testing.T) {
	t.Parallel()
	for _, s := range []string{`[{"n":"a","v":1},{"n":"b","v":2}`, `[{"n":"a","v":1},{"n":"b","v":2},` + "\n", `[{"n":"a","v":1},{"n":"b","v":2}]`} {
		got, err := read(parseJSON, []byte(s), true)
		require.NoError(t, err)
		require.Len(t, got, 2)
	}
	_, err := read(parseJSON, []byte(`[{"n":"a","v":1}`), false)
	require.Error(t, err, "a pack is whole")
	one, err := cbor.Marshal(map[int]any{0: "a", 2: 1})
	require.NoError(t, err)
	open := append([]byte{0x9f}, one...)
	got, err := read(parseCBOR, open, true)
	require.NoError(t, err)
	require.Len(t, got, 1)
	_, err = read(parseCBOR, open, false)
	require.Error(t, err)
}

func TestPacksRefused(t *testing.T) {
	t.Parallel()
	for body, where := range map[string]string{
		``: "expected JSON", `{"n":"a","v":1}`: "an array of SenML records", `[1]`: "[0]: expected a SenML record",
		`[{"n":"a"}]`:                                         "[0]: expected one of v, vs, vb, vd and s, got none",
		`[{"n":"a","v":1,"vs":"x"}]`:                          "[0]: expected one of v, vs, vb and vd, got 2 of them",
		`[{"v":1}]`:                                           "[0].n: expected a name",
		`[{"n":"a","v":"1"}]`:                                 `[0].v: expected a number, got "1"`,
		`[{"n":true,"v":1},{"n":1,"v":1}]`:                    "[0].n: expected a string",
		`[{"n":"a","v":1},{"bn":1,"v":1}]`:                    "[1].bn: expected a string",
		`[{"n":"a","v":1},{"n":"b","bt":"x"}]`:                "[1].bt: expected a number",
		`[{"n":"a","vb":1}]`:                                  "[0].vb: expected true or false",
		`[{"n":"a","vd":"a b"}]`:                              "[0].vd: expected base64url",
		`[{"n":"a","v":1,"t":"x"}]`:                           "[0].t: expected a number",
		`[{"n":"a","v":1,"ut":"x"}]`:                          "[0].ut: expected a number",
		`[{"n":"a","v":1,"new_":1}]`:                          "[0].new_: expected no field that must be understood",
		`[{"bver":11,"n":"a","v":1}]`:                         "[0].bver: expected a version up to 10",
		`[{"bver":9,"n":"a","v":1},{"bver":8,"n":"b","v":1}]`: "[1].bver: expected one version",
	} {
		_, err := read(parseJSON, []byte(body), false)
		require.ErrorContains(t, err, where, body)
	}
	for _, body := range []string{"", "\xf6", "\xa0", "\x81\x01", "\x81\xf6", "\x9f", "\x81\xa2\x02\x01\x02\x01", "\x81\xa1\x63new_\x01"} {
		_, err := read(parseCBOR, []byte(body), false)
		if body == "\x81\xa1\x63new_\x01" {
			continue
		}
		require.Error(t, err, "%x", body)
	}
}

func FuzzPack(f *testing.F) {
	f.Add([]byte(`[{"bn":"d:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1,"bs":1,"s":2,"ut":1},{"n":"current","t":-5,"vd":"aGk"}]`), true)
	f.Add([]byte("\x9f\xa3\x00aa\x02\xc4\x82!\x19j\xb3\x06\x05\xff"), false)
	f.Fuzz(func(t *testing.T, body []byte, stream bool) {
		for _, parse := range []func([]byte, bool) ([]record, error){parseJSON, parseCBOR} {
			got, err := read(parse, body, stream)
			if err != nil {
				continue
			}
			for _, r := range got {
				if r.wrong != nil {
					continue
				}
				require.NotEmpty(t, r.full)
				require.True(t, r.value.Kind != 0 || r.sum.is)
			}
		}
	})
}

type rig struct {
	*devicetest.House
	url  string
	unit string
}

func newRig(tb testing.TB) *rig {
	tb.Helper()
	h := devicetest.New(tb, nil)
	p := devicetest.Charger()
	p.Signals[0].Unit, p.Signals[1].Unit = "A", "Cel"
	p.Signals[1].Sources = []fleet.Source{{Name: "urn:dev:mac:0024befffe804ff1:temp"}}
	energy := p.Signals[0]
	energy.Name, energy.Unit = "power_sum", "kW.h"
	p.Signals = append(p.Signals, energy)
	require.NoError(tb, h.DB.Fleet().PutProduct(tb.Context(), p))
	mux := http.NewServeMux()
	mux.Handle(Pattern, New(door.New(h.Gateway, h.Gateway, door.Config{}, nil)))
	srv := httptest.NewServer(mux)
	tb.Cleanup(srv.Close)
	return &rig{h, srv.URL, h.Units(1)[0]}
}

func (r *rig) post(tb testing.TB, kind, body string) (*http.Response, string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, r.url+"/fettle/v1/senml", strings.NewReader(body))
	require.NoError(tb, err)
	req.SetBasicAuth(r.unit, r.Token(r.unit))
	req.Header.Set("Content-Type", kind)
	return devicetest.Answer(tb, req)
}

func TestPost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	resp, got := r.post(t, "application/senml+json; charset=utf-8", `[
		{"bn":"urn:dev:mac:0024befffe804ff1:","bt":1401623990,"n":"current","u":"mA","v":15500},
		{"n":"temp","u":"K","v":300.15},
		{"n":"charging","vb":true},
		{"n":"label","vd":"aGkgCg"},
		{"n":"error","v":2},
		{"n":"power","u":"W","s":7200000}]`)
	require.Equal(t, 200, resp.StatusCode, got)
	require.JSONEq(t, `{"kept":6,"notConsented":0,"undeclared":0,"invalid":0}`, got)
	rows := r.Stream.Rows()
	require.Len(t, rows, 1, "one time, one row")
	require.EqualValues(t, 1401623990000, rows[0].Event)
	values := map[string]any{}
	for _, v := range rows[0].Values {
		values[v.Signal] = v.Number
		if v.IsText {
			values[v.Signal] = v.Text
		}
	}
	require.InDelta(t, 27, values["plug_temperature"], 1e-9)
	require.InDelta(t, 15.5, values["current"], 1e-12)
	require.InDelta(t, 2, values["power_sum"], 1e-12)
	require.Equal(t, "aGkgCg", values["label"])

	// Record by record what was not kept.
	r.Consent(r.unit, false)
	resp, got = r.post(t, "application/sensml+json", `[{"n":"current","v":1},{"n":"error","vs":"x"},{"n":"nothing","v":1},{"bn":"other:","n":"error","u":"V","v":1}`)
	require.Equal(t, 200, resp.StatusCode, got)
	require.JSONEq(t, `{"kept":0,"notConsented":1,"undeclared":1,"invalid":2,"refused":[
		{"record":1,"name":"error","why":"expected a number"},
		{"record":2,"name":"nothing","why":"not declared: give product wall-charger a signal of this name, or one with this source"},
		{"record":3,"name":"error","why":"another series of this request has a value for it at the same time; tell them apart by where, in the signal's sources"}]}`, got)
	r.Consent(r.unit, true)
	_, got = r.post(t, "application/senml+json", `[{"n":"current","u":"V","v":1}]`)
	require.Contains(t, got, "its unit V is not A, as declared, nor one of the same kind")
	resp, got = r.post(t, "application/senml+json", `[{"n":"x","t":[],"v":1}]`)
	require.Equal(t, 400, resp.StatusCode)
	require.Contains(t, got, "body[0].t")
	resp, _ = r.post(t, "application/json", `[]`)
	require.Equal(t, 415, resp.StatusCode)
	require.Equal(t, accepted, resp.Header.Get("Accept-Post"))
	body, err := cbor.Marshal([]map[int]any{{-3: 1401623991.25, 0: "current", 2: 3}, {0: "error", 2: 1}})
	require.NoError(t, err)
	resp, got = r.post(t, "application/senml+cbor", string(body))
	require.Equal(t, 200, resp.StatusCode, got)
	rows = r.Stream.Rows()
	last := rows[len(rows)-1]
	require.EqualValues(t, 1401623991250, last.Event)
	require.Len(t, last.Values, 2)
}

// A record that cannot be read takes nothing with it but itself.
func TestRecordsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const want = `{"kept":2,"notConsented":0,"undeclared":1,"invalid":5,"refused":[
		{"record":1,"name":"current","why":"v: expected a number, got %s"},
		{"record":2,"name":"current","why":"expected one of v, vs, vb, vd and s, got none"},
		{"record":3,"name":"","why":"n: expected a name, with bn not empty, got nothing"},
		{"record":4,"name":"","why":"expected a SenML record, got null"},
		{"record":5,"name":"error","why":"expected one of v, vs, vb and vd, got 2 of them"},
		{"record":6,"name":"nothing","why":"not declared: give product wall-charger a signal of this name, or one with this source"}]}`
	pack := `[{"n":"current","v":1},{"n":"current","v":"x"},{"n":"current"},{"v":1},null,{"n":"error","v":1,"vb":true},{"n":"nothing","v":1},{"n":"error","v":2}]`
	resp, got := r.post(t, "application/senml+json", pack)
	require.Equal(t, 200, resp.StatusCode, got)
	require.JSONEq(t, fmt.Sprintf(want, `\"x\"`), got)
	require.Len(t, r.Stream.Rows(), 1)
	require.Len(t, r.Stream.Rows()[0].Values, 2)

	var records []map[string]any
	require.NoError(t, json.Unmarshal([]byte(pack), &records))
	items := make([]any, len(records))
	for i, m := range labelled(records) {
		if items[i] = m; records[i] == nil {
			items[i] = nil
		}
	}
	body, err := cbor.Marshal(items)
	require.NoError(t, err)
	resp, got = r.post(t, "application/senml+cbor", string(body))
	require.Equal(t, 200, resp.StatusCode, got)
	require.JSONEq(t, fmt.Sprintf(want, "x"), got)
}
