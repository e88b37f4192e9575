// Package notifytest is a small world to try notices in: records, owners, a
// clock that is told the time, and the door with what stands behind it.
package notifytest

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/calls"
	"fettle.dev/fettle/internal/notify/letter"
	"fettle.dev/fettle/internal/notify/preference"
	"fettle.dev/fettle/internal/notify/template"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/words"
)

// Noon is when the world begins: a Monday in winter, 13:00 in Berlin.
var Noon = time.Date(2014, 1, 6, 12, 0, 0, 0, time.UTC)

// World is records with what notices need.
type World struct {
	T        testing.TB
	DB       *sqldb.DB
	Clock    *clock.Manual
	Words    *words.Store
	Messages notify.Store
	People   *preference.Service
	Letters  *letter.Service
	Calls    *calls.Service
	IDs      clock.IDs
	Mute     map[notify.Channel]bool // channels that nothing carries
}

// New makes a world with a product and no owners.
func New(tb testing.TB, db *sqldb.DB) *World {
	tb.Helper()
	w := &World{T: tb, DB: db, Clock: clock.NewManual(Noon), Words: words.New(db), Messages: message.New(db), IDs: &ids{}}
	w.People = preference.NewService(preference.Config{
		Store: w.Words, Keeper: db.Campaign(), Messages: w.Messages, Templates: &template.Catalogue{Store: w.Words}, Fleet: db.Fleet(), Tx: db,
		Clock: w.Clock, Machine: w.Clock, IDs: w.IDs, Log: slog.New(slog.DiscardHandler), URL: "https://fettle.example",
		Carries: func(ch notify.Channel) bool { return !w.Mute[ch] },
	})
	w.Letters = letter.NewService(letter.Config{Store: w.Words, Messages: w.Messages, People: w.People, Fleet: db.Fleet(), Tx: db, Clock: w.Clock, IDs: w.IDs})
	w.Calls = calls.NewService(calls.Config{Store: w.Words, Messages: w.Messages, People: w.People, Fleet: db.Fleet(), Tx: db, Clock: w.Clock, Sealer: sealer{}})
	require.NoError(tb, db.Fleet().PutProduct(tb.Context(), fleet.Product{Name: "wall-charger", Title: "Wall charger"}))
	return w
}

// Owner adds an owner in Berlin who reads German, with a phone and an address.
func (w *World) Owner(email string) fleet.Owner {
	w.T.Helper()
	o, err := w.DB.Fleet().PutOwner(w.T.Context(), fleet.Owner{ID: "o-" + email, Email: email, Name: "Jörg Müller", Locale: "de-DE", TimeZone: "Europe/Berlin"})
	require.NoError(w.T, err)
	require.NoError(w.T, w.People.SetContact(w.T.Context(), o.ID, preference.Contact{
		Phone: "+4915112345678", Address: &preference.Address{Lines: []string{"Große Straße 1"}, PostalCode: "10115", City: "Berlin", Country: "DE"},
	}))
	return o
}

// Tip is something to be told that an owner may do without.
func Tip(key string, o fleet.Owner) notify.Telling {
	return notify.Telling{
		Key: key, OwnerID: o.ID, Kind: notify.Tip, Template: template.TipText, Product: "wall-charger", UnitID: "WC-1",
		Values: map[string]any{"Title": "Tip " + key, "Text": "Use the stronger programme."},
	}
}

// Recall is something that an owner must be told.
func Recall(key string, o fleet.Owner) notify.Telling {
	return notify.Telling{
		Key: key, OwnerID: o.ID, Kind: notify.Safety, Template: template.UpdateEscalation, Product: "wall-charger", UnitID: "WC-1", Campaign: "plug", About: "campaign/plug",
		Values: map[string]any{"Title": "Cooler plug", "Reason": "The plug can burn."}, Acknowledge: true,
	}
}

// Tell tells an owner something.
func (w *World) Tell(t notify.Telling) notify.Decision {
	w.T.Helper()
	d, err := w.People.ToOwner(w.T.Context(), t)
	require.NoError(w.T, err)
	return d
}

// Of are the messages of an owner, oldest first.
func (w *World) Of(o fleet.Owner) []notify.Message {
	w.T.Helper()
	list, err := w.Messages.Messages(w.T.Context(), notify.Filter{OwnerID: o.ID, Limit: 1000})
	require.NoError(w.T, err)
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

// Send does as if what is queued on a channel was taken by the next hop, or bounced.
func (w *World) Send(ch notify.Channel, state notify.State) int {
	w.T.Helper()
	list, err := w.Messages.Messages(w.T.Context(), notify.Filter{Channel: ch, State: notify.Queued, Limit: 1000})
	require.NoError(w.T, err)
	for i := range list {
		list[i].State, list[i].SentAt, list[i].NextAt, list[i].Attempts = state, w.Clock.Now(), time.Time{}, 1
		if state == notify.Bounced {
			list[i].LastError = "550 no such user"
		}
	}
	require.NoError(w.T, w.Messages.SaveAttempts(w.T.Context(), list, nil))
	return len(list)
}

// sealer stands for the owners' keys.
type sealer struct{}

func (sealer) Seal(_ context.Context, owner, text string) ([]byte, error) {
	return []byte(base64.StdEncoding.EncodeToString([]byte(owner + ":" + text))), nil
}

func (sealer) Open(_ context.Context, owner string, box []byte) (string, error) {
	b, err := base64.StdEncoding.DecodeString(string(box))
	if err != nil {
		return "", err
	}
	return string(b[len(owner)+1:]), nil
}

// ids are in the order of time, as clock.Random's.
type ids struct{ clock.Sequence }

func (i *ids) ID() string { return fmt.Sprintf("%08d", i.Key()) }
