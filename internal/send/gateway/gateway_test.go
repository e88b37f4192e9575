package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/ticket"
	"fettle.dev/fettle/internal/reach"
	"fettle.dev/fettle/internal/send/gateway"
)

var (
	links  = ticket.Links{Signer: ticket.New([]byte("0123456789abcdef0123456789abcdef")), URL: "https://fettle.example"}
	inside = reach.Networks{netip.MustParsePrefix("127.0.0.0/8")}
	noon   = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

// provider plays a provider's API: it notes what it was asked.
type provider struct {
	*httptest.Server
	status int
	answer string
	got    *http.Request
	body   string
}

func play(t *testing.T, answer string) *provider {
	t.Helper()
	p := &provider{status: 200, answer: answer}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		p.got, p.body = r, string(b)
		w.WriteHeader(p.status)
		_, _ = io.WriteString(w, p.answer)
	}))
	t.Cleanup(p.Close)
	return p
}

// documented reads a gateway of docs/gateways, sent to a test's server.
func documented(t *testing.T, file, host string, secrets ...string) *gateway.Gateway {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../../../docs/gateways", file))
	require.NoError(t, err)
	var doc struct {
		Gateways []gateway.Config `yaml:"gateways"`
	}
	require.NoError(t, yaml.UnmarshalWithOptions(raw, &doc, yaml.Strict()))
	require.Len(t, doc.Gateways, 1)
	c := doc.Gateways[0]
	u, err := url.Parse(c.Request.URL)
	require.NoError(t, err)
	c.Request.URL = strings.Replace(c.Request.URL, "https://"+u.Host, host, 1)
	for i := 0; i < len(secrets); i += 2 {
		t.Setenv(secrets[i], secrets[i+1])
	}
	g, err := gateway.New(c, links, clock.NewManual(noon), inside)
	require.NoError(t, err)
	return g
}

func message() notify.Message {
	return notify.Message{ID: "0197a000-0000-7000-8000-000000000001", To: "+49 151 12345678", Body: `Ihr "Laden" & mehr`, Language: "de-DE"}
}

func TestTwilio(t *testing.T) {
	p := play(t, `{"sid":"SM1","status":"queued"}`)
	g := documented(t, "twilio.yaml", p.URL, "TWILIO_ACCOUNT", "AC123", "TWILIO_TOKEN", "hunter2hunter2")
	m := message()
	m.Acknowledge, m.Link = true, "https://fettle.example/my/"
	id, err := g.Send(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, "SM1", id)
	require.Equal(t, "/2010-04-01/Accounts/AC123/Messages.json", p.got.URL.Path)
	user, password, _ := p.got.BasicAuth()
	require.Equal(t, []string{"AC123", "hunter2hunter2"}, []string{user, password})
	form, err := url.ParseQuery(p.body)
	require.NoError(t, err)
	require.Equal(t, "+4915112345678", form.Get("To"))
	require.Equal(t, "Ihr \"Laden\" & mehr\nhttps://fettle.example/my/\nIch habe sie gelesen: "+links.Read(m.ID), form.Get("Body"))

	// What it reports is believed at the message's own address alone.
	callback := strings.TrimPrefix(form.Get("StatusCallback"), "https://fettle.example"+gateway.Path+"twilio/")
	report := func(ticket, state, code string) (notify.Result, bool, bool) {
		r, known, err := g.ReadReceipt(ticket, "application/x-www-form-urlencoded", nil, []byte(url.Values{"MessageStatus": {state}, "ErrorCode": {code}}.Encode()))
		if err != nil {
			require.Equal(t, fault.Denied, fault.KindOf(err))
			return "", false, false
		}
		require.Equal(t, m.ID, r.MessageID)
		return r.Result, known, r.Gone
	}
	_, known, _ := report(callback, "queued", "")
	require.False(t, known)
	result, known, gone := report(callback, "delivered", "")
	require.True(t, known && !gone)
	require.Equal(t, notify.Arrived, result)
	result, _, gone = report(callback, "undelivered", "30005")
	require.True(t, gone, "unknown handset")
	require.Equal(t, notify.Bounce, result)
	_, known, _ = report(links.Make(ticket.Read, m.ID), "delivered", "")
	require.False(t, known)

	p.status, p.answer = 400, `{"code":21211,"message":"Invalid 'To' hunter2hunter2"}`
	_, err = g.Send(t.Context(), m)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	require.ErrorContains(t, err, "21211")
	require.NotContains(t, err.Error(), "hunter2", "secrets are not told")
	p.status = 401
	_, err = g.Send(t.Context(), m)
	require.Equal(t, fault.Internal, fault.KindOf(err), "a setup is put right: tried again")
	require.Equal(t, 2, g.Health().Failures)
	require.NotContains(t, g.Health().LastError, "hunter2")
	p.status = 503
	_, err = g.Send(t.Context(), m)
	require.Equal(t, fault.Internal, fault.KindOf(err))
}

func TestVonage(t *testing.T) {
	p := play(t, `{"message-count":"1","messages":[{"status":"0","message-id":"0A0"}]}`)
	g := documented(t, "vonage.yaml", p.URL, "VONAGE_KEY", "key", "VONAGE_SECRET", "secret\"}")
	id, err := g.Send(t.Context(), message())
	require.NoError(t, err)
	require.Equal(t, "0A0", id)
	require.JSONEq(t, `{"api_key":"key","api_secret":"secret\"}","from":"Fettle","to":"4915112345678","text":"Ihr \"Laden\" & mehr","type":"unicode","client-ref":"0197a000-0000-7000-8000-000000000001","callback":"`+
		links.URL+gateway.Path+"vonage/"+links.Make(ticket.Receipt, message().ID)+`"}`, p.body, "whatever stands in a text or a secret")
	p.answer = `{"messages":[{"status":"6","error-text":"Unroutable"}]}`
	_, err = g.Send(t.Context(), message())
	require.ErrorContains(t, err, "Unroutable", "an answer of 200 that says no")
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	r, known, err := g.ReadReceipt(links.Make(ticket.Receipt, message().ID), "application/json", nil, []byte(`{"status":"delivered","messageId":"0A0"}`))
	require.NoError(t, err)
	require.True(t, known)
	require.Equal(t, notify.Arrived, r.Result)
}

func TestOthers(t *testing.T) {
	p := play(t, `{}`)
	g := documented(t, "sipgate.yaml", p.URL, "SIPGATE_TOKEN_ID", "token-1", "SIPGATE_TOKEN", "secret")
	_, err := g.Send(t.Context(), message())
	require.NoError(t, err)
	require.JSONEq(t, `{"smsId":"s0","recipient":"+4915112345678","message":"Ihr \"Laden\" & mehr"}`, p.body)

	p.answer = `{"MessageId":"m-1"}`
	g = documented(t, "sns.yaml", p.URL, "SNS_BRIDGE_TOKEN", "t0ken")
	id, err := g.Send(t.Context(), message())
	require.NoError(t, err)
	require.Equal(t, "m-1", id)
	require.Equal(t, "Bearer t0ken", p.got.Header.Get("Authorization"))
	require.Equal(t, message().ID, p.got.Header.Get("Idempotency-Key"))

	p.answer = `{"sid":"CA1"}`
	g = documented(t, "twilio-voice.yaml", p.URL, "TWILIO_ACCOUNT", "AC123", "TWILIO_TOKEN", "x")
	require.Equal(t, notify.Voice, g.Channel())
	_, err = g.Send(t.Context(), message())
	require.NoError(t, err)
	form, err := url.ParseQuery(p.body)
	require.NoError(t, err)
	require.Equal(t, `<Response><Say language="de-DE">Ihr &#34;Laden&#34; &amp; mehr</Say></Response>`, form.Get("Twiml"))
}

func TestRefused(t *testing.T) {
	t.Parallel()
	p := play(t, `{}`)
	c := gateway.Config{Name: "x", Channel: notify.SMS, Segments: 2, Request: gateway.Request{URL: p.URL, Form: map[string]string{"to": "{{.To}}", "n": "{{.Segments}}"}}}
	g, err := gateway.New(c, links, clock.NewManual(noon), inside)
	require.NoError(t, err)
	m := message()
	for _, to := range []string{"", "0151 12345678", "+49", "+1 555", "ada@example.org", "+49151123456789012345"} {
		m.To = to
		_, err := g.Send(t.Context(), m)
		require.Equal(t, fault.Invalid, fault.KindOf(err), to)
	}
	require.Nil(t, p.got)
	m = message()
	m.Body = strings.Repeat("ж", 135)
	_, err = g.Send(t.Context(), m)
	require.ErrorContains(t, err, "3 SMS, as it has letters outside GSM")
	m.Body = strings.Repeat("ж", 134)
	_, err = g.Send(t.Context(), m)
	require.NoError(t, err)

	// Nobody makes this service call what only it can reach.
	g, err = gateway.New(c, links, clock.NewManual(noon), nil)
	require.NoError(t, err)
	_, err = g.Send(t.Context(), message())
	require.ErrorContains(t, err, "outgoing-networks")
	require.Equal(t, fault.Invalid, fault.KindOf(err))

	for want, change := range map[string]func(*gateway.Config){
		"channel":         func(c *gateway.Config) { c.Channel = notify.Mail },
		"request.url":     func(c *gateway.Config) { c.Request.URL = "https://{{.To}}/x" },
		"env:NO_SUCH_ONE": func(c *gateway.Config) { c.Request.Headers = map[string]string{"A": "${env:NO_SUCH_ONE}"} },
		"request.form.a":  func(c *gateway.Config) { c.Request.Form = map[string]string{"a": "{{.Nothing}}"} },
		"json or form":    func(c *gateway.Config) { c.Request.JSON = map[string]any{"a": "b"} },
		"success.id":      func(c *gateway.Config) { c.Success.ID = "sid" },
	} {
		bad := c
		change(&bad)
		_, err := gateway.New(bad, links, clock.NewManual(noon), inside)
		require.ErrorContains(t, err, want)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	}
}

func TestSegments(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		n    int
		gsm7 bool
	}{
		"": {1, true}, strings.Repeat("a", 160): {1, true}, strings.Repeat("a", 161): {2, true}, strings.Repeat("a", 306): {2, true}, strings.Repeat("a", 307): {3, true},
		strings.Repeat("€", 80): {1, true}, strings.Repeat("€", 81): {2, true},
		strings.Repeat("a", 152) + "€" + strings.Repeat("a", 152): {3, true}, // a letter is not cut in two
		strings.Repeat("ж", 70):                                   {1, false}, strings.Repeat("ж", 71): {2, false},
		strings.Repeat("😀", 35): {1, false}, strings.Repeat("😀", 67): {3, false}, strings.Repeat("😀", 66): {2, false},
	} {
		n, gsm7 := gateway.Segments(text)
		require.Equal(t, want.n, n, text)
		require.Equal(t, want.gsm7, gsm7, text)
	}
}

func FuzzReceipt(f *testing.F) {
	c := gateway.Config{
		Name: "x", Channel: notify.SMS, Request: gateway.Request{URL: "https://example.org"},
		Receipt: gateway.Receipt{State: "/a/0/b~1c", Detail: "d", Delivered: []string{"ok"}, Failed: []string{"no"}},
	}
	g, err := gateway.New(c, links, clock.NewManual(noon), nil)
	require.NoError(f, err)
	good := links.Make(ticket.Receipt, "m1")
	f.Add("application/json", []byte(`{"a":[{"b/c":"ok"}]}`))
	f.Add("application/x-www-form-urlencoded", []byte(`a=b&d=%20`))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		r, known, err := g.ReadReceipt(good, kind, nil, body)
		if err == nil && known && (r.MessageID != "m1" || r.Result == "") {
			t.Fatalf("%+v", r)
		}
	})
}
