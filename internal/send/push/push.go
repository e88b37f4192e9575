// Package push sends messages to browsers through their push services: encrypted
// for the browser (RFC 8291), signed with the service's key (VAPID, RFC 8292).
package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	webpush "github.com/SherClockHolmes/webpush-go"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/push"
	"fettle.dev/fettle/internal/notify/seal"
	"fettle.dev/fettle/internal/notify/ticket"
	"fettle.dev/fettle/internal/reach"
)

// Keys are the service's VAPID keys, base64url.
type Keys struct {
	Public  string `json:"public"` // what browsers subscribe with (applicationServerKey)
	Private string `json:"private"`
}

const keyName = "vapid"

// LoadKeys reads the keys, or makes them at the first start. Keys that were
// sealed with another messages-key are lost, and made anew: browsers subscribe
// again when the portal is next opened.
func LoadKeys(ctx context.Context, s push.Store, key []byte) (k Keys, err error) {
	sealer, err := seal.New(key, "push")
	if err != nil {
		return k, err
	}
	fresh := func() (string, error) {
		private, public, err := webpush.GenerateVAPIDKeys()
		if err != nil {
			return "", fmt.Errorf("make push keys: %w", err)
		}
		plain, err := json.Marshal(Keys{public, private})
		return sealer.Seal(keyName, plain), err
	}
	sealed, err := s.Key(ctx, keyName, fresh)
	if err != nil {
		return k, fmt.Errorf("push keys: %w", err)
	}
	plain, err := sealer.Open(keyName, sealed)
	if err != nil {
		if sealed, err = fresh(); err != nil {
			return k, err
		}
		if err := s.PutKey(ctx, keyName, sealed); err != nil {
			return k, fmt.Errorf("push keys: %w", err)
		}
		if plain, err = sealer.Open(keyName, sealed); err != nil {
			return k, err
		}
	}
	err = json.Unmarshal(plain, &k)
	return k, err
}

// Sender sends to push services.
type Sender struct {
	store   push.Store
	keys    Keys
	contact string // mailto: or https:, told to push services
	links   ticket.Links
	clock   clock.Clock
	client  *http.Client
}

// New makes a sender; contact is who runs this service, a mail address.
func New(s push.Store, k Keys, contact string, links ticket.Links, c clock.Clock, n reach.Networks) *Sender {
	return &Sender{s, k, contact, links, c, n.Client(15 * time.Second)}
}

// payload is what the portal's service worker shows.
type payload struct {
	ID       string `json:"id"`
	Kind     string `json:"kind"`
	Title    string `json:"title"`
	Body     string `json:"body"`
	Link     string `json:"link,omitempty"`
	Read     string `json:"read,omitempty"` // POST here: it was read
	Language string `json:"lang,omitempty"`
	Topic    string `json:"tag,omitempty"` // a later notification of the same tag replaces it
}

// maxPlain is how long a payload may be: push services take 4,096 bytes of
// record (RFC 8030 7.2), of which encryption needs 103 and its padding marks 1.
const maxPlain = 3800

// ttl is how long a push service keeps a message for a browser that is off.
const ttl = 7 * 24 * time.Hour

// Send hands a message to the push service of a subscription, whose id is the
// message's address. One that ended (404, 410) is forgotten.
func (s *Sender) Send(ctx context.Context, m notify.Message) (remoteID string, err error) {
	to, err := s.store.Subscription(ctx, m.To)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return "", fault.New(fault.Invalid, "push: the subscription was removed")
	}
	if err != nil {
		return "", err
	}
	content, err := s.payload(m)
	if err != nil {
		return "", err
	}
	urgency := webpush.UrgencyNormal
	switch m.Kind {
	case notify.Safety, notify.Security, notify.Account:
		urgency = webpush.UrgencyHigh
	case notify.Tip, notify.Feature:
		urgency = webpush.UrgencyLow
	case notify.Service, notify.Operations:
	}
	keep := ttl
	if !m.ExpiresAt.IsZero() {
		keep = max(0, min(ttl, m.ExpiresAt.Sub(s.clock.Now())))
	}
	res, err := webpush.SendNotificationWithContext(ctx, content, &webpush.Subscription{
		Endpoint: to.Endpoint, Keys: webpush.Keys{P256dh: to.P256DH, Auth: to.Auth},
	}, &webpush.Options{
		HTTPClient: s.client, Subscriber: s.contact, TTL: int(keep / time.Second), Urgency: urgency,
		VAPIDPublicKey: s.keys.Public, VAPIDPrivateKey: s.keys.Private,
	})
	if err != nil {
		if errors.Is(err, webpush.ErrMaxPadExceeded) || fault.KindOf(err) == fault.Invalid {
			return "", fault.Wrap(fault.Invalid, "push", err)
		}
		return "", fmt.Errorf("push: %w", err)
	}
	defer res.Body.Close()
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		return res.Header.Get("Location"), s.store.UsedSubscription(ctx, to.ID, s.clock.Now())
	case code == http.StatusNotFound || code == http.StatusGone:
		if err := s.store.RemoveSubscription(ctx, "", to.ID); err != nil && fault.KindOf(err) != fault.NotFound {
			return "", err
		}
		return "", fault.New(fault.Invalid, "push: the browser ended its subscription (%s); it was removed", res.Status)
	case code >= 300 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests:
		return "", fault.New(fault.Invalid, "push: %s", res.Status)
	default:
		return "", fmt.Errorf("push: %s", res.Status)
	}
}

func (s *Sender) payload(m notify.Message) ([]byte, error) {
	p := payload{ID: m.ID, Kind: string(m.Kind), Title: m.Subject, Body: strings.TrimSpace(m.Body), Link: m.Link, Language: m.Language, Topic: m.About}
	if m.Acknowledge {
		p.Read = s.links.Read(m.ID)
	}
	if p.Body == p.Title {
		p.Body = ""
	}
	for {
		b, err := json.Marshal(p)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "push", err)
		}
		if len(b) <= maxPlain {
			return b, nil
		}
		if p.Body == "" {
			return nil, fault.New(fault.Invalid, "push: %d bytes; a push service takes %d", len(b), maxPlain)
		}
		cut := max(0, len(p.Body)-(len(b)-maxPlain)-8)
		for cut > 0 && !utf8.RuneStart(p.Body[cut]) {
			cut--
		}
		if p.Body = strings.TrimSpace(p.Body[:cut]); p.Body != "" {
			p.Body += "…"
		}
	}
}
