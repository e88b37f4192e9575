package notify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

// Writer writes mails to owners and operators and keeps them to be sent. It
// takes part in the caller's transaction.
type Writer struct {
	store Store
	words *Words
	clock clock.Clock
	ids   clock.IDs
	url   string
}

// NewWriter makes a writer; publicURL is where people reach the pages.
func NewWriter(store Store, words *Words, c clock.Clock, ids clock.IDs, publicURL string) *Writer {
	return &Writer{store, words, c, ids, strings.TrimSuffix(publicURL, "/")}
}

// Update is what a message to an owner says about an update.
type Update struct {
	Title, Reason            string // in the owner's language
	Product, Unit            string
	WhatChanges, Unavailable string
	Minutes                  int
	Bytes                    int64
	Deadline                 time.Time
	StartsAt                 time.Time // when it starts by itself, if it does
	Why                      string    // of a failure
	Kind                     Kind
	About                    string // campaign/NAME
}

// Update tells an owner of an update, once for each key. Without an address
// there is nobody to tell.
func (w *Writer) Update(ctx context.Context, t Template, key string, owner fleet.Owner, u Update) error {
	if owner.Email == "" {
		return nil
	}
	data := map[string]any{
		"Name": owner.Name, "Title": u.Title, "Reason": strings.TrimSpace(u.Reason), "Product": u.Product, "Unit": u.Unit,
		"WhatChanges": u.WhatChanges, "Unavailable": u.Unavailable, "Minutes": u.Minutes, "Size": Size(u.Bytes),
		"Deadline": When(owner.Locale, u.Deadline, owner.Location()), "Why": u.Why,
		"StartsAt": When(owner.Locale, u.StartsAt, owner.Location()), "Link": w.url + "/my/",
	}
	for name, id := range map[string]string{"Greeting": "update.greeting", "Facts": "update.facts"} {
		text, err := w.words.text(owner.Locale, id, nil, data)
		if err != nil {
			return err
		}
		data[name] = text
	}
	return w.mail(ctx, owner.Locale, t, data, Message{Key: key, To: owner.Email, OwnerID: owner.ID, UnitID: u.Unit, Kind: u.Kind, About: u.About, Link: w.url + "/my/", Acknowledge: t == UpdateEscalation})
}

// Sent reports whether the message with a key has been delivered.
func (w *Writer) Sent(ctx context.Context, key string) (bool, error) { return w.store.Sent(ctx, key) }

// SendLink mails a sign-in link; Writer is a access.LinkSender.
func (w *Writer) SendLink(ctx context.Context, l access.Link, email, locale, secret string) error {
	t, page, owner := OwnerSignIn, "/my/sign-in#", l.Subject
	if l.Party == access.PartyOperator {
		t, page, owner = OperatorSignIn, "/console/sign-in#", ""
	}
	data := map[string]any{"Link": w.url + page + secret, "Minutes": int(l.ExpiresAt.Sub(l.CreatedAt) / time.Minute)}
	return w.mail(ctx, locale, t, data, Message{Key: "link:" + l.Hash, To: email, OwnerID: owner, Kind: Account, Link: w.url + page + secret, ExpiresAt: l.ExpiresAt, Secret: true})
}

func (w *Writer) mail(ctx context.Context, locale string, t Template, data map[string]any, m Message) (err error) {
	if m.Subject, m.Body, err = w.words.Compose(locale, t, nil, data); err != nil {
		return err
	}
	m.ID, m.Channel, m.Language, m.CreatedAt = w.ids.ID(), Mail, locale, w.clock.Now()
	if _, err = w.store.Enqueue(ctx, m); err != nil {
		return fmt.Errorf("keep message: %w", err)
	}
	return nil
}

// ValidateRoute finds every mistake in a route.
func ValidateRoute(r Route) []fault.Field {
	var out []fault.Field
	add := func(path, expected, got string) {
		out = append(out, fault.Field{Path: path, Expected: expected, Got: fmt.Sprintf("%q", got)})
	}
	if r.Name == "" || len(r.Name) > 63 || strings.ContainsAny(r.Name, "/: ") {
		add("name", "1 to 63 characters without blanks, / and :", r.Name)
	}
	if r.Severity != "" && rank(r.Severity) < 0 {
		add("severity", "warning, minor, major or critical", r.Severity)
	}
	switch r.Channel {
	case Mail:
		if !fleet.ValidEmail(r.To) {
			add("to", "an email address", r.To)
		}
	case Webhook:
		if !validHook(r.To) {
			add("to", "an http or https URL", r.To)
		}
	default:
		add("channel", "mail or webhook", string(r.Channel))
	}
	return out
}
