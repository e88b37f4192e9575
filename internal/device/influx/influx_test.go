package influx

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/device/gather"
	"fettle.dev/fettle/internal/fleet"
)

type rig struct {
	*devicetest.House
	url  string
	unit string
}

func newRig(tb testing.TB, cfg door.Config, change func(*device.Config)) *rig {
	tb.Helper()
	h := devicetest.New(tb, change)
	srv := httptest.NewServer(New(door.New(h.Gateway, h.Gateway, cfg, nil)))
	tb.Cleanup(srv.Close)
	return &rig{h, srv.URL, h.Units(1)[0]}
}

// sources gives the product's signals sources.
func (r *rig) sources(tb testing.TB, of map[string][]fleet.Source) {
	tb.Helper()
	p := devicetest.Charger()
	for i := range p.Signals {
		p.Signals[i].Sources = of[p.Signals[i].Name]
	}
	require.NoError(tb, r.DB.Fleet().PutProduct(tb.Context(), p))
	r.Gateway.InvalidateProduct(tb.Context(), p.Name)
}

func (r *rig) post(tb testing.TB, path, body string, set func(*http.Request)) (*http.Response, string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, r.url+path, strings.NewReader(body))
	require.NoError(tb, err)
	if set == nil {
		req.SetBasicAuth(r.unit, r.Token(r.unit))
	} else {
		set(req)
	}
	return devicetest.Answer(tb, req)
}

// start is the house's time in nanoseconds.
var start = devicetest.Start.UnixNano()

func TestWrite(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Config{}, nil)
	body := fmt.Sprintf("wc,host=a current=15.5,charging=t,label=\"x\",error=3i %d\nplug temperature=41 %d\nerror value=1 %d\n", start, start+1e6, start+2e6+7)
	resp, got := r.post(t, "/write?db=telegraf", body, nil)
	require.Equal(t, 204, resp.StatusCode, got)
	require.Empty(t, got)
	require.Equal(t, "kept=6, notConsented=0, undeclared=0, invalid=0", resp.Header.Get("Fettle-Results"))
	rows := r.Stream.Rows()
	require.Len(t, rows, 3)
	require.Len(t, rows[0].Values, 4)
	require.Equal(t, start/1e6, rows[0].Event)
	require.Equal(t, "plug_temperature", rows[1].Values[0].Signal, "measurement_field")
	require.Equal(t, "error", rows[2].Values[0].Signal, "a measurement whose field is value")
	require.EqualValues(t, 7, rows[2].Sequence, "what is beyond the millisecond keeps samples apart")

	// In seconds, without time, and nothing at all.
	for _, body := range []string{"wc current=1 1401623990", "wc current=1", "", "# nothing\n"} {
		resp, got = r.post(t, "/write?precision=s", body, nil)
		require.Equal(t, 204, resp.StatusCode, got)
	}
	rows = r.Stream.Rows()[3:]
	require.Len(t, rows, 2)
	require.EqualValues(t, 1401623990000, rows[0].Event)
	require.Equal(t, devicetest.Start.UnixMilli(), rows[1].Event)

	// What an owner does not permit is dropped and no mistake of the sender's.
	r.Consent(r.unit, false)
	resp, got = r.post(t, "/api/v2/write?org=o&bucket=b&precision=ms", "wc current=1,error=2 1401623990001", func(q *http.Request) {
		q.Header.Set("Authorization", "Token "+r.unit+":"+r.Token(r.unit))
	})
	require.Equal(t, 204, resp.StatusCode, got)
	require.Equal(t, "kept=1, notConsented=1, undeclared=0, invalid=0", resp.Header.Get("Fettle-Results"))
	require.Equal(t, `</fettle/v1/desired>; rel="describedby"`, resp.Header.Get("Link"), "where it says what may be sent")
}

func TestSources(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Config{}, nil)
	r.sources(t, map[string][]fleet.Source{
		"current":          {{Name: "modbus.i_out", Where: map[string]string{"slave_id": "1"}}},
		"plug_temperature": {{Name: "modbus.current"}, {Name: "modbus.i_out", Where: map[string]string{"slave_id": "2"}}},
	})
	body := fmt.Sprintf("modbus,slave_id=1 i_out=1 %d\nmodbus,slave_id=2 i_out=2 %[1]d\nmodbus,slave_id=3 i_out=3 %[1]d\nmodbus current=4 %d", start, start+1e6)
	resp, got := r.post(t, "/write", body, nil)
	require.Equal(t, 400, resp.StatusCode)
	require.JSONEq(t, `{"error":"partial write: line 3: modbus.i_out is not declared: give product wall-charger a signal of the field's name, or one with this source dropped=1"}`, got)
	rows := r.Stream.Rows()
	require.Len(t, rows, 2)
	require.Equal(t, "current", rows[0].Values[0].Signal)
	require.Equal(t, "plug_temperature", rows[0].Values[1].Signal)
	require.Equal(t, "plug_temperature", rows[1].Values[0].Signal, "a source goes before a signal's own name")

	// Two series of one signal at one time are a mistake in the mapping; one series sent twice is a duplicate.
	resp, got = r.post(t, "/write", fmt.Sprintf("a,n=1 error=1 %d\na,n=2 error=2 %[1]d\na,n=1 error=1 %[1]d", start), nil)
	require.Equal(t, 400, resp.StatusCode)
	require.Contains(t, got, "line 2: error: another series of this request")
	rows = r.Stream.Rows()[2:]
	require.Len(t, rows, 2)
	require.Equal(t, rows[0].Values, rows[1].Values)
	require.Equal(t, 1, rows[0].Invalid)
}

func TestPartialWrites(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Config{}, nil)
	body := "wc current=\"much\",error=1\nwc nothing=1\nwc current=\nwc error=2"
	resp, got := r.post(t, "/write", body, nil)
	require.Equal(t, 400, resp.StatusCode)
	var one struct{ Error string }
	require.NoError(t, json.Unmarshal([]byte(got), &one))
	require.Equal(t, "partial write: line 3: unable to parse 'wc current=': missing field value; line 1: current: expected a number; "+
		"line 2: wc.nothing is not declared: give product wall-charger a signal of the field's name, or one with this source dropped=2", one.Error)
	require.Len(t, r.Stream.Rows(), 2, "values without time of one request share a message until a name comes again")
	kept := 0
	for _, row := range r.Stream.Rows() {
		kept += len(row.Values)
	}
	require.Equal(t, 2, kept)

	resp, got = r.post(t, "/api/v2/write", body, nil)
	require.Equal(t, 400, resp.StatusCode)
	var two errorTwo
	require.NoError(t, json.Unmarshal([]byte(got), &two))
	require.Equal(t, "invalid", two.Code)
	require.Equal(t, 1, two.Line)
	require.Equal(t, one.Error, two.Message)
	resp, got = r.post(t, "/api/v2/write", "wc current=t", nil)
	require.Equal(t, 422, resp.StatusCode)
	require.Contains(t, got, `"code":"unprocessable entity"`)

	resp, got = r.post(t, "/write", "wc\nwc =1", nil)
	require.Equal(t, 400, resp.StatusCode)
	require.JSONEq(t, `{"error":"line 1: unable to parse 'wc': missing fields; line 2: unable to parse 'wc =1': missing field key"}`, got)
	_, got = r.post(t, "/write", strings.Repeat("wc\n", 100), nil)
	require.Contains(t, got, "and 90 more")
	resp, got = r.post(t, "/write?precision=weeks", "wc error=1", nil)
	require.Equal(t, 400, resp.StatusCode)
	require.Contains(t, got, "invalid precision weeks")
}

func TestWhoMayWrite(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Config{}, nil)
	token := r.Token(r.unit)
	header := func(v string) func(*http.Request) {
		return func(q *http.Request) { q.Header.Set("Authorization", v) }
	}
	for _, set := range []func(*http.Request){
		nil,
		header("Token " + r.unit + ":" + token),
		header("Bearer " + r.unit + ":" + token),
		header("Token " + token),
		func(q *http.Request) { q.URL.RawQuery += "&u=" + r.unit + "&p=" + token },
	} {
		resp, got := r.post(t, "/write?db=x", "wc error=1", set)
		require.Equal(t, 204, resp.StatusCode, got)
	}
	for _, set := range []func(*http.Request){
		header(""), header("Token"), header("Token x"), header("Token :" + token), header("Token other:" + token), header("Basic eA=="),
		func(q *http.Request) { q.SetBasicAuth("", token) },
		func(q *http.Request) { q.URL.RawQuery += "&u=" + r.unit + "&p=x" },
		func(q *http.Request) { q.URL.RawQuery += "&p=" + token },
	} {
		for _, path := range []string{"/write?db=x", "/api/v2/write?bucket=x", "/query?q=show+databases"} {
			resp, got := r.post(t, path, "wc error=1", set)
			require.Equal(t, 401, resp.StatusCode, path)
			require.NotContains(t, got, token)
		}
	}
	resp, got := r.post(t, "/api/v2/write?bucket=x", "wc error=1", header("Token x:y"))
	require.Equal(t, 401, resp.StatusCode)
	require.Contains(t, got, `"code":"unauthorized"`)
}

func TestWhatClientsAskFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Config{}, nil)
	resp, err := http.Get(r.url + "/ping")
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, 204, resp.StatusCode)
	require.Equal(t, Version, resp.Header.Get("X-Influxdb-Version"))
	resp, err = http.Get(r.url + "/health")
	require.NoError(t, err)
	var health struct{ Status string }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&health))
	_ = resp.Body.Close()
	require.Equal(t, "pass", health.Status)
	resp, got := r.post(t, "/query", "q=CREATE+DATABASE+%22telegraf%22", func(q *http.Request) {
		q.SetBasicAuth(r.unit, r.Token(r.unit))
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	})
	require.Equal(t, 200, resp.StatusCode)
	require.JSONEq(t, `{"results":[{"statement_id":0}]}`, got)
	_, got = r.post(t, "/query?q=show+databases%3Bdrop+database+x", "", nil)
	require.JSONEq(t, `{"results":[{"statement_id":0,"series":[{"name":"databases","columns":["name"],"values":[["fettle"]]}]},
		{"statement_id":1,"error":"this door takes writes only; history is read through Fettle's own API"}]}`, got)
	resp, _ = r.post(t, "/query", "", nil)
	require.Equal(t, 400, resp.StatusCode)
}

// What is refused for want of room was not taken, and 1.x clients are not told
// so with a 4xx, which they would take for a reason to throw it away.
func TestComeAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Config{Room: time.Second, Wait: 100 * time.Millisecond}, func(c *device.Config) { c.InFlight = 2000 })
	r.Stream.Hold()
	large := "wc error=1," + strings.Repeat("x", 50) + "=1\nwc current=1 1401623990000000000\n" + strings.Repeat("wc error=1 1401623990000000000\n", 60)
	resp, _ := r.post(t, "/write", large, nil)
	require.Equal(t, 503, resp.StatusCode, "not known to be durable")
	resp, got := r.post(t, "/write", large, nil)
	require.Equal(t, 503, resp.StatusCode)
	require.Contains(t, got, "too much waits")
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	resp, got = r.post(t, "/api/v2/write", large, nil)
	require.Equal(t, 429, resp.StatusCode)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	require.Contains(t, got, "too many requests")
	r.Stream.Release()
	require.Eventually(t, func() bool {
		resp, _ := r.post(t, "/api/v2/write", "wc error=1", nil)
		return resp.StatusCode == 204
	}, time.Minute, 20*time.Millisecond)
	r.Stream.Fail(errors.New("no space left on device"))
	resp, got = r.post(t, "/write", "wc error=1", nil)
	require.Equal(t, 503, resp.StatusCode)
	require.NotContains(t, got, "no space")
}

func BenchmarkWrite(b *testing.B) {
	h := devicetest.New(b, nil)
	h.Stream.Discard()
	id := h.Identity(h.Units(1)[0])
	declared, err := h.Gateway.Declaration(b.Context(), id)
	require.NoError(b, err)
	var body strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&body, "modbus,host=gw1,slave_id=1 current=15.98,plug_temperature=41.25,charging=true,label=\"charging\",error=3i %d\n", start+int64(i)*1e6)
	}
	raw := []byte(body.String())
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	p := new(parser)
	for b.Loop() {
		a := gather.New(declared)
		read(p, raw, gather.Nanoseconds, declared, a)
		if err := h.Gateway.Store(b.Context(), id, a.Messages, a.Outcomes()); err != nil {
			b.Fatal(err)
		}
		a.Free()
	}
}
