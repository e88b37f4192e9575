package person

import (
	"context"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/privacy"
)

// Requests tells people by mail that what they asked for about their data was
// received, takes longer, or is answered. The answer itself stands in the
// portal, behind their sign-in.
func Requests(owners fleet.Store, words people.Mailer) func(ctx context.Context, r privacy.Request) error {
	return func(ctx context.Context, r privacy.Request) error {
		o, err := owners.Owner(ctx, r.OwnerID)
		if err != nil || o.Email == "" { // of whom no address is known reads it in the portal
			return err
		}
		m := people.Mail{To: o.Email, PersonID: o.ID, Locale: o.Locale, Path: "/my/data", By: string(r.Kind), Until: r.DueAt, Words: people.MailAsked}
		switch {
		case r.State == privacy.Done || r.State == privacy.Refused:
			m.Words = people.MailAnswered
		case r.Extended != "":
			m.Words = people.MailExtended
		}
		m.Key = "request:" + r.ID + ":" + string(m.Words)
		return words.Mail(ctx, m)
	}
}
