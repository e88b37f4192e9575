package send

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
)

// The headers of a webhook. SignatureHeader holds "t=<Unix seconds>,v1=<hex>":
// HMAC-SHA256 over "<Unix seconds>.<body>" under the shared secret. KeyHeader
// names the message: it is the same when one is sent again.
const (
	SignatureHeader = "Fettle-Signature"
	KeyHeader       = "Fettle-Message"
)

// Webhook posts messages as JSON.
type Webhook struct {
	secret []byte
	clock  clock.Clock
	client *http.Client
}

// NewWebhook makes a sender that signs with secret; without a secret posts are
// not signed. Redirects are not followed.
func NewWebhook(secret string, c clock.Clock) *Webhook {
	return &Webhook{[]byte(secret), c, &http.Client{
		Timeout:       15 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
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
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.To, strings.NewReader(m.Body))
	if err != nil {
		return "", fault.Wrap(fault.Invalid, "webhook", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "fettle")
	req.Header.Set(KeyHeader, m.Key)
	if len(w.secret) > 0 {
		req.Header.Set(SignatureHeader, Sign(w.secret, w.clock.Now(), m.Body))
	}
	res, err := w.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("webhook: %w", err)
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		return "", nil
	case code >= 300 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooEarly && code != http.StatusTooManyRequests:
		return "", fault.New(fault.Invalid, "webhook: %s", res.Status)
	default:
		return "", fmt.Errorf("webhook: %s", res.Status)
	}
}
