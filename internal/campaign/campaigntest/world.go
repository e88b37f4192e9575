// Package campaigntest builds a small fleet with a cohort, a release and a
// campaign on real records, for the tests of the rooms that remedy.
package campaigntest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/sqldb/setting"
	"fettle.dev/fettle/internal/update"
)

// The names in a World.
const (
	Product  = "wall-charger"
	Release  = "charger-2.0.0"
	Detector = "plug-overheat"
	Cohort   = "hot-adapters"
	Name     = "adapter-overheat"
)

// Start is when the clock of a World starts: noon on a working day.
var Start = time.Date(2014, 3, 3, 12, 0, 0, 0, time.UTC)

// World is a fleet with everything that a campaign needs.
type World struct {
	T         testing.TB
	DB        *sqldb.DB
	Clock     *clock.Manual
	Cohorts   *Cohorts
	Updates   *update.Service
	Campaigns *campaign.Manager
	Config    campaign.Config // what Campaigns was made of
	Blobs     *Blobs
	Units     []string
	// Undelivered, if set, keeps notices from reaching anybody.
	Undelivered atomic.Bool

	mu    sync.Mutex
	woken []string
}

// UnitID names the nth unit of a World.
func UnitID(n int) string { return fmt.Sprintf("WC-%06d", n) }

// OwnerEmail is the address of the nth unit's owner.
func OwnerEmail(n int) string { return fmt.Sprintf("owner%d@example.com", n) }

// New builds a World of n units on db, all in the cohort, each with an owner in Oslo.
func New(tb testing.TB, db *sqldb.DB, n int) *World {
	tb.Helper()
	ctx := tb.Context()
	w := &World{T: tb, DB: db, Clock: clock.NewManual(Start), Cohorts: &Cohorts{db.Cohort(), tb}, Blobs: &Blobs{kept: map[string][]byte{}}}
	require.NoError(tb, db.Fleet().PutProduct(ctx, fleet.Product{
		Name: Product, Title: "Wall charger",
		Purposes:   []fleet.Purpose{{Name: "care", Basis: fleet.BasisConsent}, {Name: "operation", Basis: fleet.BasisNecessary}},
		Signals:    []fleet.Signal{{Name: "plug_temperature", Type: fleet.Number, Unit: "Cel", Purposes: []string{"care"}}},
		Parameters: []fleet.Parameter{{Name: "max_current", Type: fleet.Number, Unit: "A", Default: 32.0, Min: new(6.0), Max: new(32.0)}},
		Features:   []fleet.Feature{{Name: "solar_charging", Title: "Solar charging"}},
	}))
	members := make([]cohort.Member, 0, n)
	units := make([]fleet.Unit, 0, n)
	choices := make([]consent.Choice, 0, n)
	for i := 1; i <= n; i++ {
		o, err := db.Fleet().PutOwner(ctx, fleet.Owner{ID: "owner-" + strconv.Itoa(i), Email: OwnerEmail(i), Locale: "en", TimeZone: "Europe/Oslo"})
		require.NoError(tb, err)
		units = append(units, fleet.Unit{
			ID: UnitID(i), Key: int64(i), Product: Product, Serial: strconv.Itoa(i), Hardware: "B",
			OwnerID: o.ID, State: fleet.UnitActive, CreatedAt: Start,
		})
		members = append(members, cohort.Member{UnitID: UnitID(i), UnitKey: int64(i), List: cohort.In, Code: "evidence", Reason: "breached"})
		choices = append(choices, consent.Choice{ID: "c" + strconv.Itoa(i), UnitID: UnitID(i), Purpose: "care", Given: true, At: Start, By: "import"})
		w.Units = append(w.Units, UnitID(i))
	}
	require.NoError(tb, db.Fleet().PutUnits(ctx, units))
	require.NoError(tb, db.Consent().AddChoices(ctx, choices))
	for _, u := range units {
		require.NoError(tb, db.Fleet().SetVersions(ctx, u.ID, map[string]string{"software": "1.0.0"}, Start))
	}
	w.Cohorts.Put(cohort.Snapshot{ID: "snap-1", Definition: cohort.Definition{Name: Cohort, Product: Product}, State: cohort.Ready, In: n, At: Start}, members)
	_, err := db.Condition().PutDetector(ctx, condition.Detector{
		Name: Detector, Product: Product, Type: condition.TypeTolerance, Severity: condition.Critical, Purpose: "care", Tolerance: "plug",
	})
	require.NoError(tb, err)
	w.Updates, err = update.NewService(ctx, update.Config{
		Store: db.Update(), Ledger: release.New(db), Settings: setting.New(db), Blobs: w.Blobs, Fleet: db.Fleet(), Tx: db, Clock: w.Clock, Log: slog.New(slog.DiscardHandler), Dir: tb.TempDir(),
	})
	require.NoError(tb, err)
	a, err := w.Updates.PutArtifact(ctx, bytes.NewReader([]byte("the image of version 2.0.0")), "charger-2.0.0.swu")
	require.NoError(tb, err)
	require.NoError(tb, w.Updates.Put(ctx, update.Release{
		Name: Release, Product: Product, Version: "2.0.0", Kind: update.Safety, Minutes: 45,
		Notes: map[string]string{"en": "Charges more gently when the plug is hot."}, Artifact: "sha256:" + a.SHA256,
	}))
	w.Config = campaign.Config{
		Store: db.Campaign(), Fleet: db.Fleet(), Cohorts: w.Cohorts, Detectors: db.Condition(), Updates: w.Updates,
		Notices: Notices{w.DB.Update(), &w.Undelivered}, Tx: db, Clock: w.Clock, IDs: clock.Random{}, Log: slog.New(slog.DiscardHandler),
		NotifyUnit: func(id string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.woken = append(w.woken, id)
		},
	}
	w.Campaigns = campaign.NewManager(w.Config)
	w.Updates.SetGate(w.Campaigns.Guard)
	return w
}

// Campaign is a campaign of a kind in two waves that Validate takes.
func Campaign(kind campaign.Kind) campaign.Campaign {
	day := fleet.Duration(24 * time.Hour)
	return campaign.Campaign{
		Name: Name, Product: Product, Kind: kind,
		Title: map[string]string{"en": "Product safety recall"}, Reason: map[string]string{"en": "The plug may get hot."},
		Cohort: Cohort, Release: Release, Detector: Detector,
		Waves: []campaign.Wave{{Name: "first", Share: 0.2}, {Name: "all", Share: 0.8}},
		Gate: campaign.Gate{
			Soak: 2 * day, Verified: 0.9, Failed: 0.2, Relapsed: 0.2, MinVerified: 1, MinJudged: 2, MaxWait: 30 * day,
		},
		Exposure: day, Deadline: 14 * day, Remind: 3 * day, Seed: 1370, // a fifth of 10, 20, 40, 50 and 100 units exactly
	}
}

// Started puts and starts a campaign, and makes one pass.
func (w *World) Started(c campaign.Campaign) campaign.Run {
	w.T.Helper()
	require.NoError(w.T, w.Campaigns.Put(w.T.Context(), c))
	_, err := w.Campaigns.Start(w.T.Context(), c.Name, "test", "op-1")
	require.NoError(w.T, err)
	w.Settle()
	r, err := w.DB.Campaign().Campaign(w.T.Context(), c.Name)
	require.NoError(w.T, err)
	return r
}

// Settle passes until nothing moves.
func (w *World) Settle() {
	w.T.Helper()
	for range 100 {
		n, err := w.Campaigns.Pass(w.T.Context())
		require.NoError(w.T, err)
		if n == 0 {
			return
		}
	}
	w.T.Fatal("the campaign does not settle")
}

// Tasks are the tasks of a wave (-1: all) by unit id.
func (w *World) Tasks(wave int) []campaign.Task {
	w.T.Helper()
	list, err := w.DB.Campaign().Tasks(w.T.Context(), campaign.TaskFilter{Wave: wave})
	require.NoError(w.T, err)
	sort.Slice(list, func(i, j int) bool { return list[i].UnitID < list[j].UnitID })
	return list
}

// Task is a task as it stands.
func (w *World) Task(id string) campaign.Task {
	w.T.Helper()
	t, err := w.DB.Campaign().Task(w.T.Context(), id)
	require.NoError(w.T, err)
	return t
}

// Choose is an owner's choice about their own task.
func (w *World) Choose(t campaign.Task, c campaign.Choice) campaign.Task {
	w.T.Helper()
	out, err := w.Campaigns.Choose(w.T.Context(), t.OwnerID, t.ID, c, time.Time{})
	require.NoError(w.T, err)
	return out
}

// Says is the unit's client speaking about its update.
func (w *World) Says(t campaign.Task, s update.AssignmentState, words ...string) {
	w.T.Helper()
	_, err := w.Updates.Feedback(w.T.Context(), t.UnitID, w.Task(t.ID).AssignmentID, update.Feedback{State: s, Details: words})
	require.NoError(w.T, err)
}

// Reports is the unit reporting a version.
func (w *World) Reports(unitID, version string) {
	w.T.Helper()
	ctx, v := w.T.Context(), map[string]string{"software": version}
	require.NoError(w.T, w.DB.Fleet().SetVersions(ctx, unitID, v, w.Clock.Now()))
	require.NoError(w.T, w.Updates.Reported(ctx, unitID, v, w.Clock.Now()))
}

// Installs takes a task from the owner's "now" to the new version.
func (w *World) Installs(t campaign.Task) {
	w.T.Helper()
	w.Choose(t, campaign.StartNow)
	w.Says(t, update.Claimed, "done")
	w.Reports(t.UnitID, "2.0.0")
}

// Woken are the units that were told to poll, in order; it forgets them.
func (w *World) Woken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.woken
	w.woken = nil
	return out
}

// Notices keeps notices in the records, so that they stand or fall with the
// task's transaction, and counts how often each key was told.
type Notices struct {
	Store       update.Store
	Undelivered *atomic.Bool
}

const noticePrefix = "notice:"

// Tell keeps a notice.
func (n Notices) Tell(ctx context.Context, x campaign.Notice) error {
	have, err := n.Store.Attributes(ctx, noticePrefix+x.Key)
	if err != nil {
		return err
	}
	times, _ := strconv.Atoi(have["times"])
	return n.Store.PutAttributes(ctx, noticePrefix+x.Key, map[string]string{
		"times": strconv.Itoa(times + 1), "kind": string(x.Kind), "to": x.Owner.Email,
	})
}

// Delivered reports whether a notice was told, unless none is delivered.
func (n Notices) Delivered(ctx context.Context, key string) (bool, error) {
	a, err := n.Store.Attributes(ctx, noticePrefix+key)
	return a["times"] != "" && !n.Undelivered.Load(), err
}

// Told is how often the notice with a key was told.
func (w *World) Told(key string) int {
	w.T.Helper()
	a, err := w.DB.Update().Attributes(w.T.Context(), noticePrefix+key)
	require.NoError(w.T, err)
	n, _ := strconv.Atoi(a["times"])
	return n
}

// Cohorts replaces the one snapshot of a World.
type Cohorts struct {
	cohort.Store
	tb testing.TB
}

// Put replaces the snapshot.
func (c *Cohorts) Put(s cohort.Snapshot, m []cohort.Member) {
	c.tb.Helper()
	ctx := c.tb.Context()
	if err := c.DeleteSnapshot(ctx, s.ID); fault.KindOf(err) != fault.NotFound {
		require.NoError(c.tb, err)
	}
	require.NoError(c.tb, c.PutSnapshot(ctx, s))
	require.NoError(c.tb, c.PutMembers(ctx, s.ID, m))
}

// Blobs keeps bytes in memory.
type Blobs struct {
	mu   sync.Mutex
	kept map[string][]byte
	Err  error // what Put answers, if set
}

type opened struct{ *bytes.Reader }

// Close does nothing.
func (opened) Close() error { return nil }

// Put keeps bytes.
func (b *Blobs) Put(_ context.Context, sum string, r io.Reader) error {
	if b.Err != nil {
		return b.Err
	}
	c, err := io.ReadAll(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept[sum] = c
	return err
}

// Open reads bytes.
func (b *Blobs) Open(_ context.Context, sum string) (io.ReadSeekCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ok := b.kept[sum]
	if !ok {
		return nil, fault.New(fault.NotFound, "no bytes %s", sum)
	}
	return opened{bytes.NewReader(c)}, nil
}

// Exists says whether bytes are kept.
func (b *Blobs) Exists(_ context.Context, sum string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.kept[sum]
	return ok, nil
}

// Delete forgets bytes.
func (b *Blobs) Delete(_ context.Context, sum string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.kept, sum)
	return nil
}

// List lists what is kept.
func (b *Blobs) List(_ context.Context, fn func(string, int64) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for sum, c := range b.kept {
		if err := fn(sum, int64(len(c))); err != nil {
			return err
		}
	}
	return nil
}
