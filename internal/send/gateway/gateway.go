package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nyaruka/phonenumbers"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/hear"
	"fettle.dev/fettle/internal/notify/letterhead"
	"fettle.dev/fettle/internal/notify/ticket"
	"fettle.dev/fettle/internal/reach"
)

// Path is where providers report delivery: Path + the gateway's name + / + the
// message's ticket.
const Path = ticket.Path + "receipt/"

// Health is how a gateway does.
type Health struct {
	Name      string         `json:"name"`
	Channel   notify.Channel `json:"channel"`
	Host      string         `json:"host"`
	SentAt    time.Time      `json:"lastSentAt,omitzero"`
	FailedAt  time.Time      `json:"lastFailedAt,omitzero"`
	LastError string         `json:"lastError,omitempty"`
	Failures  int            `json:"failures" doc:"Failed attempts in a row."`
}

// Gateway sends by one provider. It is a notify.Sender.
type Gateway struct {
	c      *compiled
	links  ticket.Links
	clock  clock.Clock
	client *http.Client

	mu     sync.Mutex
	health Health
}

// New makes a gateway; secrets are read now.
func New(c Config, links ticket.Links, clk clock.Clock, n reach.Networks) (*Gateway, error) {
	made, err := compile(c, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	host := ""
	if u, err := url.Parse(secretRef.ReplaceAllString(c.Request.URL, "x")); err == nil {
		host = u.Host
	}
	return &Gateway{c: made, links: links, clock: clk, client: n.Client(20 * time.Second), health: Health{Name: c.Name, Channel: c.Channel, Host: host}}, nil
}

// Channel is what it carries.
func (g *Gateway) Channel() notify.Channel { return g.c.Channel }

// Health is how it does since this process started.
func (g *Gateway) Health() Health {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.health
}

// Number reads a telephone number in international form and gives it as E.164.
func Number(s string) (string, error) {
	n, err := phonenumbers.Parse(s, "ZZ") // of no country: it has to begin with +
	if err != nil || !phonenumbers.IsValidNumber(n) {
		return "", fault.New(fault.Invalid, "%q is no telephone number in international form, as +49 151 12345678", s)
	}
	return phonenumbers.Format(n, phonenumbers.E164), nil
}

// Send asks the provider to send a message and gives the provider's id of it.
func (g *Gateway) Send(ctx context.Context, m notify.Message) (remoteID string, err error) {
	v, err := g.values(m)
	if err != nil {
		return "", err
	}
	req, err := g.request(ctx, v)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, "gateway "+g.c.Name, g.redacted(err))
	}
	status, answer, err := reach.Do(g.client, req)
	if err == nil {
		remoteID, err = g.taken(answer)
	} else if status != 0 {
		err = fault.New(fault.KindOf(err), "%s", strings.TrimSpace(err.Error()+" "+snippet(answer)))
	}
	if ctx.Err() == nil {
		g.note(err)
	}
	if err == nil {
		return remoteID, nil
	}
	kind := fault.KindOf(err)
	if status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusPaymentRequired {
		kind = fault.Internal // a mistake in the setup, or an account to be topped up: put right, and tried again
	}
	return "", fault.Wrap(kind, "gateway "+g.c.Name, g.redacted(err))
}

func (g *Gateway) note(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.health.SentAt, g.health.Failures, g.health.LastError = g.clock.Now(), 0, ""
		return
	}
	g.health.FailedAt, g.health.Failures, g.health.LastError = g.clock.Now(), g.health.Failures+1, g.redacted(err).Error()
}

// redacted leaves secrets out of what is said of an error.
func (g *Gateway) redacted(err error) error {
	text := err.Error()
	for _, s := range g.c.secrets {
		text = strings.ReplaceAll(text, s, "…")
	}
	return fmt.Errorf("%s", text)
}

func snippet(b []byte) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(b[:min(len(b), 300)]), "?")), " ")
}

var tags = regexp.MustCompile(`<[^>]*>`)

func (g *Gateway) values(m notify.Message) (v Values, err error) {
	if v.To, err = Number(m.To); err != nil {
		return v, err
	}
	v.Digits, v.ID, v.Language = strings.TrimPrefix(v.To, "+"), m.ID, m.Language
	v.Callback = g.links.URL + Path + url.PathEscape(g.c.Name) + "/" + g.links.Make(ticket.Receipt, m.ID)
	v.Text = strings.TrimSpace(m.Body)
	if g.c.Channel == notify.Voice {
		if strings.HasPrefix(v.Text, "<speak") {
			v.SSML, v.Text = v.Text, strings.Join(strings.Fields(tags.ReplaceAllString(v.Text, " ")), " ")
			return v, nil
		}
		var b bytes.Buffer
		_ = xml.EscapeText(&b, []byte(v.Text)) // a buffer takes everything
		v.SSML = `<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" xml:lang="` + attribute(v.Language) + `">` + b.String() + `</speak>`
		return v, nil
	}
	if m.Link != "" && !strings.Contains(v.Text, m.Link) {
		v.Text += "\n" + m.Link
	}
	if m.Acknowledge {
		v.Text += "\n" + letterhead.Read(m.Language) + ": " + g.links.Read(m.ID)
	}
	gsm7 := false
	if v.Segments, gsm7 = Segments(v.Text); v.Segments > g.c.Segments {
		why := ""
		if !gsm7 {
			why = ", as it has letters outside GSM 7-bit"
		}
		return v, fault.New(fault.Invalid, "the text takes %d SMS%s; %d are allowed (segments of gateway %s)", v.Segments, why, g.c.Segments, g.c.Name)
	}
	return v, nil
}

func attribute(lang string) string {
	if lang == "" {
		return "en"
	}
	return strings.Map(func(r rune) rune {
		if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, lang)
}

func (g *Gateway) request(ctx context.Context, v Values) (*http.Request, error) {
	address, err := fill(g.c.url, v)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	query := u.Query()
	for k, t := range g.c.query {
		s, err := fill(t, v)
		if err != nil {
			return nil, err
		}
		query.Set(k, s)
	}
	u.RawQuery = query.Encode()
	var body io.Reader
	kind := ""
	switch {
	case g.c.json != nil:
		b, err := g.c.body(v)
		if err != nil {
			return nil, err
		}
		body, kind = bytes.NewReader(b), "application/json"
	case len(g.c.form) > 0:
		form := url.Values{}
		for k, t := range g.c.form {
			s, err := fill(t, v)
			if err != nil {
				return nil, err
			}
			form.Set(k, s)
		}
		body, kind = strings.NewReader(form.Encode()), "application/x-www-form-urlencoded"
	}
	req, err := http.NewRequestWithContext(ctx, g.c.Request.Method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	for k, t := range g.c.headers {
		s, err := fill(t, v)
		if err != nil {
			return nil, err
		}
		req.Header.Set(k, s)
	}
	if g.c.Request.User != "" {
		user, err := fill(g.c.user, v)
		if err != nil {
			return nil, err
		}
		password, err := fill(g.c.password, v)
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth(user, password)
	}
	return req, nil
}

// taken reads whether the provider took the message, and its id.
func (g *Gateway) taken(answer []byte) (id string, err error) {
	s := g.c.Success
	if s.Field == "" && s.ID == "" {
		return "", nil
	}
	var doc any
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return "", fmt.Errorf("the answer is no JSON: %s", snippet(answer))
	}
	if s.Field != "" {
		got := at(doc, s.Field)
		if !oneOf(s.Is, got) {
			return "", fault.New(fault.Invalid, "%s is %q: %s", s.Field, got, snippet(answer))
		}
	}
	return at(doc, s.ID), nil
}

// at reads what a JSON pointer (RFC 6901) names, as text.
func at(doc any, pointer string) string {
	if pointer == "" {
		return ""
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch x := doc.(type) {
		case map[string]any:
			doc = x[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(x) {
				return ""
			}
			doc = x[i]
		default:
			return ""
		}
	}
	switch x := doc.(type) {
	case nil:
		return ""
	case string:
		return x
	default:
		return fmt.Sprint(x)
	}
}

func oneOf(words []string, got string) bool {
	for _, w := range words {
		if strings.EqualFold(w, got) {
			return true
		}
	}
	return false
}

// ReadReceipt reads what a provider reports of the message that a ticket names.
// known is false where the report says nothing that counts, as "queued".
func (g *Gateway) ReadReceipt(messageTicket, contentType string, query url.Values, body []byte) (r hear.Report, known bool, err error) {
	id, ok := g.links.Check(ticket.Receipt, messageTicket)
	if !ok {
		return r, false, fault.New(fault.Denied, "this is no address of a receipt")
	}
	fields, doc := query, any(nil)
	switch kind, _, _ := mime.ParseMediaType(contentType); kind {
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return r, false, fault.Wrap(fault.Invalid, "receipt", err)
		}
		fields = form
	default:
		if len(bytes.TrimSpace(body)) > 0 {
			d := json.NewDecoder(bytes.NewReader(body))
			d.UseNumber()
			if err := d.Decode(&doc); err != nil {
				return r, false, fault.Wrap(fault.Invalid, "receipt", err)
			}
		}
	}
	read := func(path string) string {
		if strings.HasPrefix(path, "/") {
			return at(doc, path)
		}
		return fields.Get(path)
	}
	c := g.c.Receipt
	state, detail := read(c.State), read(c.Detail)
	r = hear.Report{MessageID: id, Detail: snippet([]byte(strings.TrimSpace(state + " " + detail)))}
	switch {
	case oneOf(c.Delivered, state):
		r.Result = notify.Arrived
	case oneOf(c.Failed, state):
		r.Result, r.Gone = notify.Bounce, oneOf(c.NoSuch, detail) || oneOf(c.NoSuch, state)
	default:
		return r, false, nil
	}
	return r, true, nil
}
