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

// SendLink mails a sign-in link; Writer is a access.LinkSender.
func (w *Writer) SendLink(ctx context.Context, l access.Link, email, locale, secret string) error {
	t, page, owner := OwnerSignIn, "/my/sign-in#", l.Subject
	if l.Party == access.PartyOperator {
		t, page, owner = OperatorSignIn, "/console/sign-in#", ""
	}
	if l.Party == access.PartyOperator && l.Trusted {
		t = OperatorInvite
	}
	data := map[string]any{"Link": w.url + page + secret, "Minutes": int(l.ExpiresAt.Sub(l.CreatedAt) / time.Minute), "Days": int(l.ExpiresAt.Sub(l.CreatedAt) / (24 * time.Hour))}
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
