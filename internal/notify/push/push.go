// Package push is what browsers subscribed to: addresses at push services that
// messages are encrypted for (RFC 8030, RFC 8291).
package push

import (
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"net/url"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// Subscription is one browser of an owner.
type Subscription struct {
	ID        string    `json:"id"`
	OwnerID   string    `json:"-"`
	Endpoint  string    `json:"-"`      // address at the push service: whoever knows it can send
	P256DH    string    `json:"-"`      // the browser's public key, base64url
	Auth      string    `json:"-"`      // its authentication secret, base64url
	Device    string    `json:"device"` // as the owner calls it, or the browser
	CreatedAt time.Time `json:"createdAt"`
	UsedAt    time.Time `json:"usedAt,omitzero"` // last message that its push service took
}

// Store keeps subscriptions and the service's own keys.
type Store interface {
	// AddSubscription keeps one; the same endpoint again replaces it, also of
	// another owner: a browser has one at a time.
	AddSubscription(ctx context.Context, s Subscription) (Subscription, error)
	Subscription(ctx context.Context, id string) (Subscription, error)
	Subscriptions(ctx context.Context, ownerID string) ([]Subscription, error) // oldest first
	RemoveSubscription(ctx context.Context, ownerID, id string) error          // ownerID "": of anybody
	UsedSubscription(ctx context.Context, id string, at time.Time) error
	// Key is a named key of the service, sealed; make makes it if there is none.
	Key(ctx context.Context, name string, make func() (string, error)) (string, error)
	// PutKey replaces it.
	PutKey(ctx context.Context, name, value string) error
}

// MaxPerOwner bounds the browsers of one owner.
const MaxPerOwner = 20

// decode reads base64url as browsers write it, with padding or without.
func decode(s string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(s), "="))
}

// Check finds every mistake in what a browser sent.
func (s *Subscription) Check() []fault.Field {
	var out []fault.Field
	if u, err := url.Parse(s.Endpoint); err != nil || u.Scheme != "https" || u.Host == "" || len(s.Endpoint) > 1000 {
		out = append(out, fault.Field{Path: "endpoint", Expected: "the https address that PushSubscription.toJSON() gives"})
	}
	if key, err := decode(s.P256DH); err != nil {
		out = append(out, fault.Field{Path: "keys.p256dh", Expected: "base64url"})
	} else if _, err := ecdh.P256().NewPublicKey(key); err != nil {
		out = append(out, fault.Field{Path: "keys.p256dh", Expected: "an uncompressed point on P-256, 65 bytes"})
	}
	if secret, err := decode(s.Auth); err != nil || len(secret) != 16 {
		out = append(out, fault.Field{Path: "keys.auth", Expected: "16 bytes, base64url"})
	}
	if len(s.Device) > 100 {
		out = append(out, fault.Field{Path: "device", Expected: "at most 100 characters"})
	}
	return out
}
