// Package tips wires tips in context: the room, the feeds it looks at, units'
// displays and push.
package tips

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/device/tips"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/feed"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/template"
	"fettle.dev/fettle/internal/reach"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/person"
	store "fettle.dev/fettle/internal/sqldb/tips"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/tip"
)

// Used is what of history tells which features were used; it knows nothing of
// consent, which the room applies.
type Used interface {
	Applied(ctx context.Context) (uint64, error)
	FeatureEvents(ctx context.Context, product string, from time.Time, upTo uint64, fn func(e *telemetry.StoredEvent) error) error
	FeatureUse(ctx context.Context, product string, upTo uint64, before time.Time, fn func(unit int64, feature string, count, last int64) error) error
}

// Config is what the rooms are built on.
type Config struct {
	Records    *sqldb.DB
	Fleet      fleet.Store
	Read       telemetry.History // guarded
	Used       Used
	Stream     telemetry.Stream
	Conditions *condition.Service
	Owners     func(ctx context.Context, ownerID string) (campaign.Preferences, error)
	Mark       func(ctx context.Context, marks ...telemetry.Mark) error
	Clock      clock.Clock
	IDs        clock.IDs
	Log        *slog.Logger

	Secrets string         // directory of feeds' secrets
	Private reach.Networks // networks that feeds may be in
	PerDay  int            // most tips that an owner is given in a day
}

// Rooms are those built.
type Rooms struct {
	Service *tip.Service
	Watcher *tip.Watcher
	Hub     *tips.Hub
	Feeds   *feed.Feeds

	c    Config
	door notify.Door
}

// history is what tips read: rows through the guard, uses bare.
type history struct {
	Used
	read telemetry.History
}

// Replay implements tip.History.
func (h history) Replay(ctx context.Context, q telemetry.Query, fn func(*telemetry.Stored, *telemetry.StoredMark) error) error {
	return h.read.Replay(ctx, q, fn)
}

// New builds the rooms.
func New(c Config) *Rooms {
	r := &Rooms{c: c}
	kept := store.New(c.Records)
	past := history{c.Used, c.Read}
	r.Service = tip.NewService(tip.Config{
		Store: kept, Fleet: c.Fleet, Consents: c.Records.Consent(), History: past, Tx: c.Records, Clock: c.Clock, Wall: clock.Real{}, Log: c.Log,
		Condition: r.condition, Quiet: r.quiet, PerDay: c.PerDay, Push: r.push, Told: r.told, Changed: func() { r.Watcher.Reload() },
	})
	r.Hub = tips.NewHub(&display{r.Service, kept, clock.Real{}}, c.Log)
	r.Watcher = tip.NewWatcher(tip.WatcherConfig{
		Stream: c.Stream, Store: kept, Fleet: c.Fleet, Consents: c.Records.Consent(), History: past, Tx: c.Records, Clock: c.Clock, Wall: clock.Real{}, IDs: c.IDs, Log: c.Log,
		Condition: r.condition, Quiet: r.quiet, Told: r.told, PerDay: c.PerDay,
	})
	r.Feeds = feed.New(feed.Config{
		Products: c.Fleet.Products, Places: r.Watcher.Places, Observed: r.observed, Clock: c.Clock, Wall: clock.Real{}, Log: c.Log, Secrets: c.Secrets, Private: c.Private,
	})
	return r
}

// Display is what a process that takes data alone needs of tips.
func Display(records *sqldb.DB, units fleet.Store, c clock.Clock, log *slog.Logger) *tips.Hub {
	kept := store.New(records)
	service := tip.NewService(tip.Config{Store: kept, Fleet: units, Consents: records.Consent(), Tx: records, Clock: c, Wall: clock.Real{}, Log: log})
	return tips.NewHub(&display{service, kept, clock.Real{}}, log)
}

// Run runs what goes on by itself, until ctx ends.
func (r *Rooms) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{r.Watcher.Run, r.Service.Run, r.Hub.Run, r.Feeds.Run} {
		g.Go(func() error { return part(ctx) })
	}
	return g.Wait()
}

// Through has tips pushed through a door to owners.
func (r *Rooms) Through(door notify.Door) { r.door = door }

func (r *Rooms) told(unitIDs ...string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r.Hub.Tell(ctx, unitIDs...)
}

// condition is a unit's condition in a word; unknown is not known.
func (r *Rooms) condition(ctx context.Context, unitID string) string {
	u, err := r.c.Fleet.Unit(ctx, unitID)
	if err != nil {
		return ""
	}
	h, err := r.c.Conditions.ConditionOf(ctx, u)
	if err != nil || h.Condition == condition.Unknown {
		return ""
	}
	return string(h.Condition)
}

// night is quiet for whoever has set nothing, as of other messages.
var night = []window.Hours{{From: "21:00", To: "08:00"}}

func (r *Rooms) quiet(ctx context.Context, o fleet.Owner, now time.Time) (time.Time, error) {
	p, err := r.c.Owners(ctx, o.ID)
	if err != nil {
		return time.Time{}, err
	}
	hours := p.Quiet
	if len(hours) == 0 {
		hours = night
	}
	return window.After(hours, now, o.Location()), nil
}

// observed puts what a feed said into the stream, where it has its place among
// what units send.
func (r *Rooms) observed(ctx context.Context, o tip.Observation) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return r.c.Mark(ctx, telemetry.Mark{Kind: telemetry.MarkContext, Text: string(text)})
}

// push tells an owner and who drives the unit, each by what they like for tips,
// once for the tip.
func (r *Rooms) push(ctx context.Context, g tip.Given, t tip.Tip) error {
	if r.door == nil {
		return nil
	}
	if err := r.pushTo(ctx, g, t, g.OwnerID, "tip:"+g.ID); err != nil {
		return err
	}
	drivers, err := person.New(r.c.Records).Drivers(ctx, g.UnitID)
	if err != nil {
		return err
	}
	for _, d := range drivers {
		off, err := store.New(r.c.Records).Switches(ctx, d.PersonID)
		if err != nil {
			return err
		}
		if g.At.Before(d.JoinedAt) || slices.Contains(off, "") || slices.Contains(off, t.Name) {
			continue // what the portal does not show them either
		}
		if err := r.pushTo(ctx, g, t, d.PersonID, "tip:"+g.ID+":driver:"+d.PersonID); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rooms) pushTo(ctx context.Context, g tip.Given, t tip.Tip, personID, key string) error {
	o, err := r.c.Fleet.Owner(ctx, personID)
	if err != nil {
		return err
	}
	_, err = r.door.ToOwner(ctx, notify.Telling{
		Key: key, OwnerID: personID, UnitID: g.UnitID, Product: g.Product, About: "tip/" + t.Name, Kind: notify.Tip, Template: template.TipText,
		Values:   map[string]any{"Title": tip.In(t.Title, o.Locale, g.Values), "Text": tip.In(t.Text, o.Locale, g.Values), "Why": ""},
		Channels: []notify.Channel{notify.Push}, ExpiresAt: g.Until,
	})
	return err
}

// display is the room as units' displays see it.
type display struct {
	service *tip.Service
	store   tip.Store
	wall    clock.Clock
}

var _ tips.Source = (*display)(nil)

// Showing implements tips.Source.
func (d *display) Showing(ctx context.Context, unitID string) ([]tips.Showing, error) {
	list, err := d.service.OnDisplay(ctx, unitID)
	out := make([]tips.Showing, 0, len(list))
	for _, s := range list {
		out = append(out, tips.Showing{ID: s.ID, Title: s.Title, Text: s.Text, Action: s.Action, Command: s.Command, Link: s.Link, Until: s.Until.UnixMilli()})
	}
	return out, err
}

// Report implements tips.Source.
func (d *display) Report(ctx context.Context, unitID string, r tips.Report) error {
	return d.service.Report(ctx, r.ID, r.Event, tip.Display, r.At, func(g *tip.Given) bool { return g.UnitID == unitID })
}

// Changed implements tips.Source.
func (d *display) Changed(ctx context.Context, since string) ([]string, string, error) {
	const form = time.RFC3339Nano
	if since == "" {
		return nil, d.wall.Now().Format(form), nil
	}
	from, err := time.Parse(form, since)
	if err != nil {
		return nil, "", fault.Wrap(fault.Invalid, "look for changed tips", err)
	}
	units, newest, err := d.store.ChangedSince(ctx, from, 1000)
	return units, newest.Format(form), err
}
