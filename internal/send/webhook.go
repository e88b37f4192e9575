// Package send carries messages out of the house: by webhook, or, for
// development alone, onto the terminal. Each type is a notify.Sender, as are
// those of the packages below.
package send

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/event"
	"fettle.dev/fettle/internal/reach"
)

// The headers of a route's webhook. SignatureHeader holds "t=<Unix
// seconds>,v1=<hex>": HMAC-SHA256 over "<Unix seconds>.<body>" under the shared
// secret. KeyHeader names the message: it is the same when one is sent again.
const (
	SignatureHeader = "Fettle-Signature"
	KeyHeader       = "Fettle-Message"
)

// Webhook posts messages: those of routes as JSON of their own, events to
// endpoints as CloudEvents with the headers of Standard Webhooks.
type Webhook struct {
	secret    []byte
	endpoints *event.Service // nil: there are none
	clock     clock.Clock
	client    *http.Client
}

// NewWebhook makes a sender that signs routes' posts with secret; without a
// secret they are not signed. Redirects are not followed.
func NewWebhook(secret string, endpoints *event.Service, c clock.Clock, n reach.Networks) *Webhook {
	return &Webhook{[]byte(secret), endpoints, c, n.Client(15 * time.Second)}
}

// Sign is the value of the signature header for a body at a time.
func Sign(secret []byte, at time.Time, body string) string {
	t := strconv.FormatInt(at.Unix(), 10)
	h := hmac.New(sha256.New, secret)
	_, _ = io.WriteString(h, t+"."+body) // a hash never fails
	return "t=" + t + ",v1=" + hex.EncodeToString(h.Sum(nil))
}

// Send posts one message. What the receiver refuses for good (4xx but 408, 425
// and 429) is fault.Invalid.
func (w *Webhook) Send(ctx context.Context, m notify.Message) (remoteID string, err error) {
	if name, ok := strings.CutPrefix(m.To, event.To); ok {
		return "", w.event(ctx, name, m)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.To, strings.NewReader(m.Body))
	if err != nil {
		return "", fault.Wrap(fault.Invalid, "webhook", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(KeyHeader, m.Key)
	if len(w.secret) > 0 {
		req.Header.Set(SignatureHeader, Sign(w.secret, w.clock.Now(), m.Body))
	}
	if _, _, err := reach.Do(w.client, req); err != nil {
		return "", wrap(err)
	}
	return "", nil
}

// wrap says of what an error is, and keeps its kind.
func wrap(err error) error {
	if fault.KindOf(err) == fault.Invalid {
		return fault.Wrap(fault.Invalid, "webhook", err)
	}
	return fmt.Errorf("webhook: %w", err)
}

// attributes of a CloudEvent that stand in headers in binary mode.
type attributes struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject"`
	Time        string          `json:"time"`
	ContentType string          `json:"datacontenttype"`
	Product     string          `json:"product"`
	Data        json.RawMessage `json:"data"`
}

// event posts one event. Only what an endpoint says of itself counts for it:
// that this process stops does not.
func (w *Webhook) event(ctx context.Context, name string, m notify.Message) error {
	if w.endpoints == nil {
		return fault.New(fault.Invalid, "webhook: there are no endpoints")
	}
	e, err := w.endpoints.Get(ctx, name)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return fault.New(fault.Invalid, "webhook: endpoint %s was deleted", name)
	}
	if err != nil {
		return err
	}
	if e.Off {
		return fault.New(fault.Invalid, "webhook: endpoint %s is switched off; switch it on and send this again", name)
	}
	req, err := w.request(ctx, e, m)
	if err != nil {
		return err
	}
	status, _, err := reach.Do(w.client, req)
	if err == nil {
		return w.endpoints.Sent(ctx, e)
	}
	if ctx.Err() != nil {
		return err
	}
	if noted := w.endpoints.Failed(ctx, name, err.Error(), status == http.StatusGone); noted != nil {
		err = errors.Join(err, noted)
	}
	if status >= 400 && status != http.StatusGone { // an endpoint's mistake is put right more often than not: tried again
		return fmt.Errorf("webhook: %s", strings.TrimSpace(err.Error()))
	}
	return wrap(err)
}

func (w *Webhook) request(ctx context.Context, e event.Endpoint, m notify.Message) (*http.Request, error) {
	body, header := []byte(m.Body), http.Header{}
	header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	if e.Format == event.Binary {
		var a attributes
		if err := json.Unmarshal(body, &a); err != nil {
			return nil, fault.Wrap(fault.Invalid, "webhook", err)
		}
		body = a.Data
		for name, value := range map[string]string{
			"Specversion": a.SpecVersion, "Id": a.ID, "Source": a.Source, "Type": a.Type, "Subject": a.Subject, "Time": a.Time, "Product": a.Product,
		} {
			if value != "" {
				header.Set("Ce-"+name, escaped(value))
			}
		}
		header.Set("Content-Type", a.ContentType)
	}
	at := w.clock.Now()
	_, signature, err := w.endpoints.Sign(ctx, e.Name, m.ID, at, body)
	if err != nil {
		return nil, err
	}
	header.Set("Webhook-Id", m.ID)
	header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	header.Set("Webhook-Signature", signature)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, strings.NewReader(string(body)))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "webhook", err)
	}
	req.Header = header
	return req, nil
}

// escaped writes an attribute as a header's value (CloudEvents HTTP binding
// 3.1.3.2): blanks, quotes, percent signs and all outside ASCII percent-encoded.
func escaped(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r > ' ' && r < 0x7f && r != '"' && r != '%' {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.ReplaceAll(url.QueryEscape(string(r)), "+", "%20"))
		}
	}
	return b.String()
}
