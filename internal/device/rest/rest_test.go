package rest

import (
	"bytes"
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
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

type rig struct {
	*devicetest.House
	url string
}

func newRig(tb testing.TB, cfg Config, change func(*device.Config)) *rig {
	tb.Helper()
	return newRigBehind(tb, door.Config{}, cfg, change)
}

func newRigBehind(tb testing.TB, shared door.Config, cfg Config, change func(*device.Config)) *rig {
	tb.Helper()
	h := devicetest.New(tb, change)
	srv := httptest.NewServer(New(door.New(h.Gateway, h.Gateway, shared, nil), h.Provide, cfg))
	tb.Cleanup(srv.Close)
	return &rig{h, srv.URL}
}

func (r *rig) do(tb testing.TB, method, path, unit, token, body string, header ...string) (*http.Response, string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, r.url+path, strings.NewReader(body))
	require.NoError(tb, err)
	if unit != "" {
		req.SetBasicAuth(unit, token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return devicetest.Answer(tb, req)
}

func TestTelemetry(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, nil)
	unit := r.Units(1)[0]
	resp, body := r.do(t, "POST", "/fettle/v1/telemetry", unit, r.Token(unit),
		`[{"ts":1401624000000,"values":{"current":1,"x":2}},{"values":{"current":"1"}},{"values":{}}]`)
	require.Equal(t, 200, resp.StatusCode, body)
	require.JSONEq(t, `{"results":[
		{"kept":1,"notConsented":0,"undeclared":1,"invalid":0},
		{"kept":0,"notConsented":0,"undeclared":0,"invalid":1,"why":"current: expected a number"},
		{"kept":0,"notConsented":0,"undeclared":0,"invalid":0}]}`, body)
	require.Len(t, r.Stream.Rows(), 2)
	resp, body = r.do(t, "POST", "/fettle/v1/telemetry", unit, r.Token(unit), `[]`)
	require.Equal(t, 200, resp.StatusCode)
	require.JSONEq(t, `{"results":[]}`, body)
	_, body = r.do(t, "POST", "/fettle/v1/telemetry", unit, r.Token(unit), `[{"values":{"current":"1","error":true}},{"ts":1,"values":{"current":1,"error":"x"}}]`)
	require.JSONEq(t, `{"results":[
		{"kept":0,"notConsented":0,"undeclared":0,"invalid":2,"why":"current: expected a number; error: expected a number"},
		{"kept":0,"notConsented":0,"undeclared":0,"invalid":2,"why":"current: event time is before the year 2000"}]}`, body)
	r.Consent(unit, false)
	_, body = r.do(t, "POST", "/fettle/v1/telemetry", unit, r.Token(unit), `{"values":{"current":1,"error":2}}`)
	require.JSONEq(t, `{"results":[{"kept":1,"notConsented":1,"undeclared":0,"invalid":0}]}`, body)
}

func TestTelemetryMistakes(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, nil)
	unit := r.Units(1)[0]
	for body, location := range map[string]string{
		"":  "body",
		"{": "body",
		`[{"values":{"current":1}},{"ts":"x","values":{}}]`: "body[1].ts",
		`{"seq":1}`: "body.values",
	} {
		resp, got := r.do(t, "POST", "/fettle/v1/telemetry", unit, r.Token(unit), body)
		require.Equal(t, 400, resp.StatusCode, body)
		require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
		var p door.Problem
		require.NoError(t, json.Unmarshal([]byte(got), &p))
		require.Equal(t, location, p.Errors[0].Location)
	}
	require.Empty(t, r.Stream.Rows(), "all of a request or nothing")
	large := `{"values":{"label":"` + strings.Repeat("x", 1<<20) + `"}}`
	resp, _ := r.do(t, "POST", "/fettle/v1/telemetry", unit, r.Token(unit), large)
	require.Equal(t, 413, resp.StatusCode)
	// Just under 1 MiB of messages is taken, in commits that the stream takes.
	var many bytes.Buffer
	many.WriteString("[")
	n := 0
	for many.Len() < 1<<20-100 {
		fmt.Fprintf(&many, `{"ts":%d,"values":{"current":1}},`, devicetest.Start.UnixMilli()-int64(n))
		n++
	}
	many.Truncate(many.Len() - 1)
	many.WriteString("]")
	resp, body := r.do(t, "POST", "/fettle/v1/telemetry", unit, r.Token(unit), many.String())
	require.Equal(t, 200, resp.StatusCode, body)
	require.Len(t, r.Stream.Rows(), n)
}

func TestWhoMayCome(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, nil)
	ids := r.Units(2)
	for _, path := range []string{"POST /fettle/v1/telemetry", "POST /fettle/v1/attributes", "GET /fettle/v1/desired"} {
		method, path, _ := strings.Cut(path, " ")
		for _, c := range [][2]string{{"", ""}, {ids[0], "x"}, {ids[0], r.Token(ids[1])}, {"nobody", r.Token(ids[0])}} {
			resp, _ := r.do(t, method, path, c[0], c[1], `{"values":{"error":1}}`)
			require.Equal(t, 401, resp.StatusCode)
			require.Contains(t, resp.Header.Get("WWW-Authenticate"), "Basic")
		}
	}
	require.NoError(t, r.Provide.RevokeUnit(t.Context(), ids[0]))
	resp, _ := r.do(t, "POST", "/fettle/v1/telemetry", ids[0], r.Token(ids[0]), `{"values":{"error":1}}`)
	require.Equal(t, 403, resp.StatusCode)
	require.Empty(t, r.Stream.Rows())
}

func TestAttributesAndDesired(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, nil)
	unit := r.Units(1)[0]
	resp, body := r.do(t, "POST", "/fettle/v1/attributes", unit, r.Token(unit), `{"versions":{"software":"2.0.0"}}`)
	require.Equal(t, 204, resp.StatusCode, body)
	u, err := r.DB.Fleet().Unit(t.Context(), unit)
	require.NoError(t, err)
	require.Equal(t, "2.0.0", u.Versions["software"])
	resp, body = r.do(t, "POST", "/fettle/v1/attributes", unit, r.Token(unit), `{"versions":{"software":2}}`)
	require.Equal(t, 400, resp.StatusCode)
	require.Contains(t, body, "body.versions.software")
	r.Clock.Advance(time.Hour)
	resp, body = r.do(t, "GET", "/fettle/v1/desired", unit, r.Token(unit), "")
	require.Equal(t, 200, resp.StatusCode)
	require.JSONEq(t, `{"collect":["current","plug_temperature","charging","label","error"]}`, body)
	tag := resp.Header.Get("ETag")
	resp, body = r.do(t, "GET", "/fettle/v1/desired", unit, r.Token(unit), "", "If-None-Match", tag)
	require.Equal(t, 304, resp.StatusCode, "nothing has changed")
	require.Empty(t, body)
	r.Consent(unit, false)
	resp, _ = r.do(t, "GET", "/fettle/v1/desired", unit, r.Token(unit), "", "If-None-Match", tag)
	require.Equal(t, 200, resp.StatusCode)
	r.Consent(unit, true)
	require.NoError(t, r.Gateway.Mark(t.Context(), telemetry.Mark{Kind: telemetry.MarkTick, Text: "1"}))
	require.Len(t, r.Stream.Marks(telemetry.MarkContact), 1, "asking is contact")
	resp, _ = r.do(t, "GET", "/fettle/v1/telemetry", unit, r.Token(unit), "")
	require.Equal(t, 405, resp.StatusCode)
}

func TestComeAgain(t *testing.T) {
	t.Parallel()
	r := newRigBehind(t, door.Config{Wait: 150 * time.Millisecond}, Config{}, nil)
	unit := r.Units(1)[0]
	r.Stream.Fail(errors.New("no space left on device"))
	resp, body := r.do(t, "POST", "/fettle/v1/telemetry", unit, r.Token(unit), `{"values":{"error":1}}`)
	require.Equal(t, 503, resp.StatusCode)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	require.NotContains(t, body, "no space", "what fails inside is not a unit's business")
	r.Stream.Fail(nil)
	r.Stream.Hold()
	resp, _ = r.do(t, "POST", "/fettle/v1/telemetry", unit, r.Token(unit), `{"values":{"error":1}}`)
	require.Equal(t, 503, resp.StatusCode, "no 200 before it is durable")
}

// A unit that asks for more at once than it may is told so at once.
func TestTooManyAtOnce(t *testing.T) {
	t.Parallel()
	r := newRigBehind(t, door.Config{Wait: time.Minute, Concurrent: 2}, Config{}, nil)
	unit := r.Units(1)[0]
	r.Stream.Hold()
	codes := make(chan int, 4)
	for range 4 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/fettle/v1/telemetry", strings.NewReader(`{"values":{"error":1}}`))
		require.NoError(t, err)
		req.SetBasicAuth(unit, r.Token(unit))
		go func() {
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				codes <- 0
				return
			}
			_ = resp.Body.Close()
			codes <- resp.StatusCode
		}()
	}
	require.Equal(t, []int{429, 429}, []int{<-codes, <-codes}, "while two are under way")
	r.Stream.Release()
	require.Equal(t, []int{200, 200}, []int{<-codes, <-codes})
}

// What was taken a moment before the stream was full is told to come again as
// what came a moment later is, and stored once.
func TestComeAgainWhereTheStreamFillsUp(t *testing.T) {
	t.Parallel()
	r := newRigBehind(t, door.Config{Wait: 2 * time.Second}, Config{}, nil) // by then it was found full
	unit := r.Units(1)[0]
	r.Stream.Fail(telemetry.ErrFull)
	resp, body := r.do(t, "POST", "/fettle/v1/telemetry", unit, r.Token(unit), `{"values":{"error":1}}`)
	require.Equal(t, 429, resp.StatusCode, body)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	r.Stream.Fail(nil)
	require.Eventually(t, func() bool { return len(r.Stream.Rows()) == 1 }, time.Minute, time.Millisecond)
}

func TestEnroll(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{EnrolBurst: 6, EnrolRate: 0.001}, nil)
	token, _, err := r.Provide.CreateClaimToken(t.Context(), devicetest.Product, 5, r.Clock.Now().Add(time.Hour), "operator:1")
	require.NoError(t, err)
	secret := fleet.NewSecret(fleet.UnitTokenPrefix)
	ask := func(claim string) (int, enrolment, string) {
		body, err := json.Marshal(fleet.EnrolRequest{ClaimToken: claim, Serial: "S-1", Token: secret})
		require.NoError(t, err)
		resp, got := r.do(t, "POST", "/fettle/v1/enroll", "", "", string(body))
		var e enrolment
		_ = json.Unmarshal([]byte(got), &e)
		return resp.StatusCode, e, got
	}
	code, e, _ := ask(token)
	require.Equal(t, 202, code)
	require.Equal(t, fleet.ClaimPending, e.State)
	claim, err := r.Provide.Claims(t.Context(), fleet.ClaimFilter{})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", claim[0].RemoteAddress)
	resp, _ := r.do(t, "POST", "/fettle/v1/telemetry", e.UnitID, secret, `{"values":{"error":1}}`)
	require.Equal(t, 401, resp.StatusCode, "a pending unit stores nothing")
	_, err = r.Provide.ApproveClaim(t.Context(), e.ClaimID, "operator:1")
	require.NoError(t, err)
	code, e, _ = ask(token)
	require.Equal(t, 200, code)
	resp, _ = r.do(t, "POST", "/fettle/v1/telemetry", e.UnitID, secret, `{"values":{"error":1}}`)
	require.Equal(t, 200, resp.StatusCode)
	code, _, _ = ask(fleet.NewSecret(fleet.ClaimTokenPrefix))
	require.Equal(t, 403, code)
	code, _, got := ask("x")
	require.Equal(t, 400, code)
	require.Contains(t, got, "body.claimToken")
	resp, _ = r.do(t, "POST", "/fettle/v1/enroll", "", "", `[]`)
	require.Equal(t, 400, resp.StatusCode)
	secret = fleet.NewSecret(fleet.UnitTokenPrefix)
	code, _, _ = ask(token)
	require.Equal(t, 409, code)
	code, _, _ = ask(token)
	require.Equal(t, 429, code)
}
