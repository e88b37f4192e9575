// Package person builds what concerns people: who owns and drives which unit,
// and the ways to sign in beside one-time links.
package person

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/signin"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/identity"
	"fettle.dev/fettle/internal/fleet/passkey"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/account"
	"fettle.dev/fettle/internal/oidc"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/message"
	store "fettle.dev/fettle/internal/sqldb/person"
)

// Deps is what it is built from.
type Deps struct {
	Records   *sqldb.DB
	Fleet     fleet.Store
	Access    *access.Service
	Consents  *consent.Service
	Campaigns *campaign.Manager
	Messages  notify.Store // where mails are kept; nil: those of the records
	Clock     clock.Clock
	Wall      clock.Clock
	IDs       clock.IDs
	Log       *slog.Logger
	PublicURL string
	Mails     bool   // mail can be sent
	Providers string // file that names OpenID providers; "": none
	// OnUnits is told of units that have changed hands.
	OnUnits func(ctx context.Context, ids []string) error
}

// New builds it.
func New(d Deps) (*people.Service, signin.Deps, error) {
	at := store.New(d.Records)
	if d.Messages == nil {
		d.Messages = message.New(d.Records)
	}
	words, err := account.NewWriter(d.Messages, d.Clock, d.IDs, d.PublicURL)
	if err != nil {
		return nil, signin.Deps{}, err
	}
	w := &wiring{d, words}
	conf := people.Config{
		Store: at, Fleet: d.Fleet, Tx: d.Records, Clock: d.Clock, Wall: d.Wall, IDs: d.IDs, Log: d.Log, PublicURL: d.PublicURL,
		Reset: w.reset, Settled: w.settled, Ended: w.ended,
	}
	if d.Mails {
		conf.Mailer = words
	}
	owners := people.New(conf)
	in := signin.Deps{Added: w.added}
	if in.Passkeys, err = passkey.New(passkey.Config{
		Store: at, Once: at, Tx: d.Records, Clock: d.Wall, IDs: d.IDs, Log: d.Log, PublicURL: d.PublicURL,
	}); err != nil {
		return nil, in, err
	}
	in.Identities = identity.New(identity.Config{
		Store: at, Once: at, Owners: d.Fleet, Operators: d.Access, Tx: d.Records, Clock: d.Wall, IDs: d.IDs, Log: d.Log, Linked: w.linked,
	})
	if d.Providers != "" {
		all, err := readProviders(d.Providers)
		if err != nil {
			return nil, in, err
		}
		if in.Providers, err = oidc.New(all, d.Wall); err != nil {
			return nil, in, err
		}
	}
	return owners, in, nil
}

// readProviders reads a file of OpenID providers; a key that is not known is an error.
func readProviders(path string) ([]oidc.Provider, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("OpenID providers: %w", err)
	}
	var file struct {
		Providers []oidc.Provider `yaml:"providers"`
	}
	if err := yaml.UnmarshalWithOptions(raw, &file, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("OpenID providers in %s: %w", path, err)
	}
	return file.Providers, nil
}

type wiring struct {
	d     Deps
	words *account.Writer
}

// reset undoes what the owner before chose: consents and schedules.
func (w *wiring) reset(ctx context.Context, ids []string) error {
	if err := w.d.Consents.Reset(ctx, ids, people.ByHandover); err != nil {
		return err
	}
	return w.d.Campaigns.OwnersChanged(ctx, ids)
}

// settled lets the gateway read the units anew and the detectors begin anew.
func (w *wiring) settled(ctx context.Context, ids []string) error {
	if err := w.d.Consents.Tell(ctx); err != nil {
		return err
	}
	return w.d.OnUnits(ctx, ids)
}

// ended makes links that sign an owner in void; keep is a session that stays, "*" all.
func (w *wiring) ended(ctx context.Context, personID, keep string) error {
	if err := w.d.Access.DropLinks(ctx, access.PartyOwner, personID); err != nil || keep == "*" {
		return err
	}
	return w.d.Access.EndOthers(ctx, access.PartyOwner, personID, keep)
}

// to is where somebody is written to.
func (w *wiring) to(ctx context.Context, party access.Party, id string) (m people.Mail, err error) {
	if party == access.PartyOwner {
		o, err := w.d.Fleet.Owner(ctx, id)
		return people.Mail{To: o.Email, PersonID: o.ID, Locale: o.Locale, Path: "/my/account"}, err
	}
	o, err := w.d.Access.Operator(ctx, id)
	return people.Mail{To: o.Email, Locale: "en", Path: "/console/account"}, err
}

func (w *wiring) linked(ctx context.Context, i identity.Identity) error {
	if !w.d.Mails {
		return nil
	}
	m, err := w.to(ctx, i.Party, i.PersonID)
	if err != nil {
		return err
	}
	m.Words, m.Key, m.By = people.MailLinked, "linked:"+i.ID, i.Provider
	return w.words.Mail(ctx, m)
}

func (w *wiring) added(ctx context.Context, party access.Party, personID string, k passkey.Passkey) error {
	if !w.d.Mails {
		return nil
	}
	m, err := w.to(ctx, party, personID)
	if err != nil {
		return err
	}
	m.Words, m.Key, m.By = people.MailPasskey, "passkey:"+k.ID, k.Name
	return w.words.Mail(ctx, m)
}

// Pages adds what HTTP serves for people beside the operations: the short
// address that labels of units carry, and the owner API for pages of other
// origins (comma-separated), by tokens of apps alone.
func Pages(mux *http.ServeMux, operations http.Handler, origins string) {
	mux.Handle("GET /claim", http.RedirectHandler("/my/claim", http.StatusFound)) // browsers keep what stands behind #
	var allowed []string
	for o := range strings.SplitSeq(origins, ",") {
		if o = strings.TrimRight(strings.TrimSpace(o), "/"); o != "" && !slices.Contains(allowed, o) {
			allowed = append(allowed, o)
		}
	}
	mux.Handle("/owner/v1/", frame.CrossOrigin(allowed, operations))
}
