package event

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// secretPrefix begins a secret (Standard Webhooks); base64 of 24 to 64 random
// bytes follows.
const secretPrefix = "whsec_"

// rotation is how long a secret goes on signing after a new one was made.
const rotation = 24 * time.Hour

// secret signs until its end; zero: for ever.
type secret struct {
	Value string    `json:"value"`
	Until time.Time `json:"until,omitzero"`
}

type secrets []secret // the newest first

func newSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails since Go 1.24
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

func (s *Service) seal(name string, all secrets) (string, error) {
	plain, err := json.Marshal(all)
	return s.sealer.Seal("endpoint "+name, plain), err
}

func (s *Service) open(name, sealed string) (all secrets, err error) {
	plain, err := s.sealer.Open("endpoint "+name, sealed)
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(plain, &all)
	return all, err
}

// Rotate gives an endpoint a new secret, told this once. The one before signs,
// too, for a day, so that the receiver has time to change.
func (s *Service) Rotate(ctx context.Context, name string) (made string, err error) {
	err = s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		e, sealed, err := s.c.Store.Endpoint(ctx, name)
		if err != nil {
			return err
		}
		made = newSecret()
		all := secrets{{Value: made}}
		if old, err := s.open(name, sealed); err == nil { // else it is lost, and a new one is what is needed
			old[0].Until = s.c.Machine.Now().Add(rotation)
			all = append(all, old[0])
		}
		if sealed, err = s.seal(name, all); err != nil {
			return err
		}
		return s.c.Store.PutEndpoint(ctx, e, sealed)
	})
	return made, err
}

// Sign gives an endpoint and the webhook-signature of a body sent to it at a
// time: "v1," and base64 of HMAC-SHA256 over id.timestamp.body for each secret
// that counts, the newest first (Standard Webhooks, "Signature scheme").
func (s *Service) Sign(ctx context.Context, name, id string, at time.Time, body []byte) (e Endpoint, signature string, err error) {
	e, sealed, err := s.c.Store.Endpoint(ctx, name)
	if err != nil {
		return e, "", err
	}
	all, err := s.open(name, sealed)
	if err != nil {
		return e, "", err
	}
	var out []string
	for _, one := range all {
		if !one.Until.IsZero() && !at.Before(one.Until) {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(one.Value, secretPrefix))
		if err != nil {
			return e, "", fmt.Errorf("secret of endpoint %s: %w", name, err)
		}
		h := hmac.New(sha256.New, key)
		h.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		h.Write(body)
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	}
	return e, strings.Join(out, " "), nil
}

// An endpoint that only fails is switched off, so that nothing piles up for it.
const (
	offAfter   = 5 * 24 * time.Hour // of failures alone
	offAtLeast = 10                 // failed attempts
)

// Sent notes that an endpoint took something.
func (s *Service) Sent(ctx context.Context, e Endpoint) error {
	now := s.c.Clock.Now()
	if e.Failures == 0 && now.Sub(e.SentAt) < time.Minute { // not a write for each message
		return nil
	}
	_, err := s.c.Store.UpdateEndpoint(ctx, e.Name, func(e *Endpoint) error {
		e.Failing, e.Failures, e.LastError, e.SentAt = time.Time{}, 0, "", now
		return nil
	})
	return err
}

// Failed notes that an endpoint did not take something, and switches it off
// when it has only failed for days, or says that it is gone (410).
func (s *Service) Failed(ctx context.Context, name, why string, gone bool) error {
	now := s.c.Clock.Now()
	return s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		off := false
		e, err := s.c.Store.UpdateEndpoint(ctx, name, func(e *Endpoint) error {
			if e.Failures++; e.Failing.IsZero() {
				e.Failing = now
			}
			e.LastError = why
			if !e.Off && (gone || e.Failures >= offAtLeast && now.Sub(e.Failing) >= offAfter) {
				off = true
				e.Off, e.OffAt = true, now
				e.OffWhy = fmt.Sprintf("it only failed since %s: %s", e.Failing.UTC().Format("2006-01-02 15:04 UTC"), why)
				if gone {
					e.OffWhy = "it answered that it is gone (410)"
				}
			}
			return nil
		})
		if err != nil || !off {
			return err
		}
		s.forget()
		if s.c.OffNotice != nil {
			return s.c.OffNotice(ctx, e)
		}
		return nil
	})
}
