package update_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/register"
)

// last is the newest values of units.
type last struct {
	mu     sync.Mutex
	values map[int64]map[string]telemetry.Sample
}

func (l *last) Latest(_ context.Context, _ string, unit int64, signals ...string) (map[string]telemetry.Sample, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]telemetry.Sample{}
	for _, k := range signals {
		if v, ok := l.values[unit][k]; ok {
			out[k] = v
		}
	}
	return out, nil
}

func (l *last) set(unit int64, signal string, at time.Time, v float64, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.values[unit] == nil {
		l.values[unit] = map[string]telemetry.Sample{}
	}
	l.values[unit][signal] = telemetry.Sample{At: at, Number: v, Text: text}
}

// world is a World whose service knows units' state and wakes them.
type world struct {
	*campaigntest.World
	updates *update.Service
	state   *last
	woken   chan string
}

func newWorld(t *testing.T, db *sqldb.DB, n int) *world {
	t.Helper()
	w := &world{World: campaigntest.New(t, db, n), state: &last{values: map[int64]map[string]telemetry.Sample{}}, woken: make(chan string, 100)}
	p, err := db.Fleet().Product(t.Context(), campaigntest.Product)
	require.NoError(t, err)
	p.Signals = append(p.Signals,
		fleet.Signal{Name: "battery", Title: "Battery", Type: fleet.Number, Unit: "%", Purposes: []string{"operation"}},
		fleet.Signal{Name: "parked", Type: fleet.Boolean, Purposes: []string{"operation"}},
		fleet.Signal{Name: "network", Type: fleet.Text, Purposes: []string{"operation"}})
	require.NoError(t, db.Fleet().PutProduct(t.Context(), p))
	w.updates = w.service()
	return w
}

func (w *world) service() *update.Service {
	w.T.Helper()
	s, err := update.NewService(w.T.Context(), update.Config{
		Store: w.DB.Update(), Ledger: release.New(w.DB), State: w.state, Wake: func(id string) { w.woken <- id },
		Blobs: w.Blobs, Fleet: w.DB.Fleet(), Tx: w.DB, Clock: w.Clock, Dir: w.T.TempDir(),
	})
	require.NoError(w.T, err)
	return s
}

// reports keeps a version report as the gateway does: the room update first.
func (w *world) reports(unitID string, versions map[string]string) {
	w.T.Helper()
	require.NoError(w.T, w.DB.InTx(w.T.Context(), func(ctx context.Context) error {
		return errors.Join(w.updates.Reported(ctx, unitID, versions, w.Clock.Now()), w.DB.Fleet().SetVersions(ctx, unitID, versions, w.Clock.Now()))
	}))
}

func (w *world) image(content string) string {
	w.T.Helper()
	a, err := w.updates.PutArtifact(w.T.Context(), bytes.NewReader([]byte(content)), "image.swu")
	require.NoError(w.T, err)
	return "sha256:" + a.SHA256
}

func (w *world) declare(name, version string, change func(*update.Release)) update.Release {
	w.T.Helper()
	r := update.Release{
		Name: name, Product: campaigntest.Product, Version: version, Kind: update.Fix, Minutes: 30, Notes: map[string]string{"en": "Better."}, Artifact: w.image(name),
	}
	if change != nil {
		change(&r)
	}
	require.NoError(w.T, w.updates.Put(w.T.Context(), r))
	r, err := w.updates.Release(w.T.Context(), name)
	require.NoError(w.T, err)
	return r
}

// offered assigns a release and lets the unit have it now.
func (w *world) offered(unitID, name string) update.Assignment {
	w.T.Helper()
	a, err := w.updates.Assign(w.T.Context(), unitID, name, unitID+":"+name)
	require.NoError(w.T, err)
	a, err = w.updates.Offer(w.T.Context(), a.ID, w.Clock.Now())
	require.NoError(w.T, err)
	return a
}

// shown is the action of the unit's poll, 0 for none.
func (w *world) shown(unitID string) int64 {
	w.T.Helper()
	work, err := w.updates.Work(w.T.Context(), unitID)
	require.NoError(w.T, err)
	if work.Action == nil {
		return 0
	}
	return work.Action.ID
}

func refusal(t *testing.T, err error) *update.Refusal {
	t.Helper()
	var no *update.Refusal
	require.ErrorAs(t, err, &no)
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	return no
}

func TestEveryRefusalOfAUnitHasItsName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 1)
	ctx, unit := t.Context(), campaigntest.UnitID(1)
	require.NoError(t, w.DB.Fleet().SetVersions(ctx, unit, map[string]string{"meter": "3.0"}, w.Clock.Now()))
	u, err := w.DB.Fleet().Unit(ctx, unit)
	require.NoError(t, err)
	parts := func(hardware ...string) func(*update.Release) {
		return func(r *update.Release) {
			r.Artifact, r.Parts = "", []update.ReleasePart{
				{Component: "software", Version: "5", Artifact: w.image("a")},
				{Component: "meter", Version: "5", Artifact: w.image("b"), Hardware: hardware, From: []string{"2.9"}},
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*update.Release)
		unit   func(*fleet.Unit)
		want   update.Refusal
	}{
		"has it":                           {func(r *update.Release) { r.Version = "1.0.0" }, nil, update.Refusal{Code: update.CodeVersion, Have: "1.0.0"}},
		"hardware":                         {func(r *update.Release) { r.Hardware = []string{"A", "C"} }, nil, update.Refusal{Code: update.CodeHardware, Have: "B", Need: "A, C"}},
		"version it may be installed over": {func(r *update.Release) { r.From = []string{"0.9"} }, nil, update.Refusal{Code: update.CodeFrom, Name: "software", Have: "1.0.0", Need: "0.9"}},
		"required version":                 {func(r *update.Release) { r.Requires = map[string][]string{"meter": {"3.1", "3.2"}} }, nil, update.Refusal{Code: update.CodeRequires, Name: "meter", Have: "3.0", Need: "3.1, 3.2"}},
		"required and not reported":        {func(r *update.Release) { r.Requires = map[string][]string{"modem": {"1"}} }, nil, update.Refusal{Code: update.CodeRequires, Name: "modem", Need: "1"}},
		"a part's hardware":                {parts("X"), func(u *fleet.Unit) { u.Attributes = map[string]string{"hardware.meter": "Y"} }, update.Refusal{Code: update.CodeHardware, Name: "meter", Have: "Y", Need: "X"}},
		"a part's version":                 {parts(), nil, update.Refusal{Code: update.CodeFrom, Name: "meter", Have: "3.0", Need: "2.9"}},
		"state of the unit":                {nil, func(u *fleet.Unit) { u.State = fleet.UnitRetired }, update.Refusal{Code: update.CodeInactive, Have: "retired"}},
		"product":                          {nil, func(u *fleet.Unit) { u.Product = "kettle" }, update.Refusal{Code: update.CodeProduct, Have: "kettle", Need: campaigntest.Product}},
		"none": {func(r *update.Release) {
			r.Requires = map[string][]string{"meter": {"3.0"}}
			r.From = []string{"1.0.0"}
			r.Hardware = []string{"B"}
		}, nil, update.Refusal{}},
	} {
		r := update.Release{Name: name, Product: campaigntest.Product, Version: "9", Artifact: w.image("x")}
		if c.change != nil {
			c.change(&r)
		}
		v := u
		if c.unit != nil {
			c.unit(&v)
		}
		no := r.Refuse(&v)
		if c.want.Code == "" {
			require.Nil(t, no, name)
			continue
		}
		require.NotNil(t, no, name)
		require.NotEmpty(t, no.Why, name)
		no.Why = ""
		require.Equal(t, c.want, *no, name)
		require.False(t, no.Passes())
	}
}

func TestCountersOnlyRise(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w := newWorld(t, db, 3)
		ctx, one, two := t.Context(), campaigntest.UnitID(1), campaigntest.UnitID(2)
		first, err := w.updates.Release(ctx, campaigntest.Release)
		require.NoError(t, err)
		require.EqualValues(t, 1, first.Counter, "by default one above the highest")
		second := w.declare("charger-2.1", "2.1", nil)
		require.EqualValues(t, 2, second.Counter)
		require.NoError(t, w.updates.Put(ctx, func() update.Release { r := second; r.Counter = 0; return r }()))
		again, err := w.updates.Release(ctx, second.Name)
		require.NoError(t, err)
		require.Equal(t, second, again, "what is declared again without a counter keeps its own")
		meter := w.declare("meter-7", "7", func(r *update.Release) { r.Component = "meter" })
		require.EqualValues(t, 1, meter.Counter, "another component's counters are its own")
		taken := second
		taken.Name = "taken"
		err = w.updates.Put(ctx, taken)
		require.Equal(t, "spec.counter", fault.FieldsOf(err)[0].Path)
		require.ErrorContains(t, err, "release charger-2.1 has this one")

		// A unit that falls back keeps its counter; one that confirms raises it.
		a := w.offered(one, second.Name)
		_, err = w.updates.Feedback(ctx, one, a.ID, update.Feedback{State: update.Claimed})
		require.NoError(t, err)
		w.reports(one, map[string]string{"software": "1.0.0"})
		j, err := w.updates.Judge(ctx, first.Name)
		require.NoError(t, err)
		u, err := w.DB.Fleet().Unit(ctx, one)
		require.NoError(t, err)
		require.Nil(t, j.Refuse(&u), "claimed, and back at the old version: nothing was raised")
		w.reports(one, map[string]string{"software": "2.1"})
		_, err = w.updates.Assign(ctx, one, first.Name, "down")
		no := refusal(t, err)
		require.Equal(t, update.CodeDowngrade, no.Code)
		require.Equal(t, []string{"2", ">=", "1"}, []string{no.Have, no.Op, no.Need})
		w.reports(one, map[string]string{"software": "1.0.0"}) // somebody put the old version back by hand
		_, err = w.updates.Assign(ctx, one, first.Name, "down again")
		require.Equal(t, update.CodeDowngrade, refusal(t, err).Code, "the counter that was confirmed stays")
		_, err = w.updates.Assign(ctx, one, second.Name, "the same again")
		require.NoError(t, err, "not below what it has run")

		// A unit that came with a newer version is judged by what it reports.
		w.reports(two, map[string]string{"software": "2.1"})
		_, err = w.updates.Assign(ctx, two, first.Name, "down two")
		require.Equal(t, update.CodeDowngrade, refusal(t, err).Code)
		j, err = w.updates.Judge(ctx, first.Name)
		require.NoError(t, err)
		var codes []update.Code
		for n := range 3 {
			u, err := w.DB.Fleet().Unit(ctx, campaigntest.UnitID(n+1))
			require.NoError(t, err)
			code := update.Code("")
			if no := j.Refuse(&u); no != nil {
				code = no.Code
			}
			codes = append(codes, code)
		}
		require.Equal(t, []update.Code{update.CodeDowngrade, update.CodeDowngrade, ""}, codes, "judged together as one by one")
	})
}

func TestWithdrawalAndTheWayBack(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w := newWorld(t, db, 7)
		ctx, unit := t.Context(), campaigntest.UnitID
		good, err := w.updates.Release(ctx, campaigntest.Release)
		require.NoError(t, err)
		bad := w.declare("charger-3", "3%_", nil)
		has := w.offered(unit(1), bad.Name)
		w.reports(unit(1), map[string]string{"software": bad.Version})
		w.offered(unit(2), bad.Name)
		w.reports(unit(2), map[string]string{"software": bad.Version})
		w.reports(unit(2), map[string]string{"software": "1.0.0"})
		running := w.offered(unit(3), bad.Name)
		_, err = w.updates.Feedback(ctx, unit(3), running.ID, update.Feedback{State: update.Running})
		require.NoError(t, err)
		withheld, err := w.updates.Assign(ctx, unit(4), bad.Name, "withheld")
		require.NoError(t, err)
		ahead, err := w.updates.Assign(ctx, unit(5), bad.Name, "ahead")
		require.NoError(t, err)
		_, err = w.updates.Offer(ctx, ahead.ID, w.Clock.Now().Add(time.Hour))
		require.NoError(t, err)
		w.reports(unit(6), map[string]string{"software": bad.Version}) // from elsewhere

		_, err = w.updates.Withdraw(ctx, bad.Name, "op-1", "  ")
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		_, err = w.updates.Withdraw(ctx, "nothing", "op-1", "why")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		done, err := w.updates.Withdraw(ctx, bad.Name, "op-1", "charging stops")
		require.NoError(t, err)
		require.Equal(t, update.Withdrawn{Canceled: 2, Asked: 1}, done)
		require.Equal(t, unit(3), <-w.woken, "a unit that has begun is told at once")
		for id, want := range map[int64]update.AssignmentState{has.ID: update.Installed, running.ID: update.Canceling, withheld.ID: update.Canceled, ahead.ID: update.Canceled} {
			a, err := w.updates.Assignment(ctx, id)
			require.NoError(t, err)
			require.Equal(t, want, a.State)
		}
		_, err = w.updates.Deployment(ctx, unit(3), running.ID)
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		_, _, err = w.updates.Fetch(ctx, ahead.ID, bad.ArtifactSHA256(), true)
		require.Error(t, err)
		_, err = w.updates.InstalledDeployment(ctx, unit(1), has.ID)
		require.NoError(t, err, "what a unit has can still be told")
		_, err = w.updates.Assign(ctx, unit(7), bad.Name, "late")
		require.Equal(t, update.CodeWithdrawn, refusal(t, err).Code)
		_, err = w.updates.Withdraw(ctx, bad.Name, "op-2", "another reason")
		require.NoError(t, err)
		kept, err := w.updates.Release(ctx, bad.Name)
		require.NoError(t, err)
		require.Equal(t, &update.Withdrawal{At: w.Clock.Now(), By: "op-1", Why: "charging stops"}, kept.Withdrawn)
		kept.Notes = map[string]string{"en": "Other words."}
		require.NoError(t, w.updates.Put(ctx, kept), "declared again")
		kept, err = w.updates.Release(ctx, bad.Name)
		require.NoError(t, err)
		require.NotNil(t, kept.Withdrawn, "and withdrawn all the same")

		var got []string
		for after := ""; ; {
			page, err := w.updates.Holders(ctx, bad.Name, after, 2)
			require.NoError(t, err)
			for _, h := range page {
				got = append(got, fmt.Sprint(h.UnitID[len(h.UnitID)-1:], " ", h.Holding))
				after = h.UnitID
			}
			if len(page) < 2 {
				break
			}
		}
		require.Equal(t, []string{"1 has it", "2 had it", "3 on the way", "4 never had", "5 never had", "6 has it"}, got)

		back, err := w.updates.Revert(ctx, bad.Name, "", "", "charging stops", nil)
		require.NoError(t, err)
		require.Equal(t, "charger-2.0.0-again-3", back.Name)
		require.EqualValues(t, 3, back.Counter)
		require.Equal(t, good.Artifact, back.Artifact)
		require.Equal(t, []string{bad.Version}, back.From)
		require.Contains(t, back.Notes["en"], "Goes back to version 2.0.0")
		_, err = w.updates.Assign(ctx, unit(1), good.Name, "the old one")
		require.Equal(t, update.CodeDowngrade, refusal(t, err).Code)
		w.offered(unit(1), back.Name)
		w.reports(unit(1), map[string]string{"software": "2.0.0"})
		list, err := w.updates.OfUnit(ctx, unit(1), 1)
		require.NoError(t, err)
		require.Equal(t, update.Installed, list[0].State, "and it runs old content under a counter that rose")
		_, err = w.updates.Revert(ctx, bad.Name, "", back.Name, "again", nil)
		require.Equal(t, fault.Conflict, fault.KindOf(err), "the name is taken")
		_, err = w.updates.Revert(ctx, good.Name, "", "", "why", nil)
		require.ErrorContains(t, err, "there is no older release")
	})
}

func TestPreconditions(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w := newWorld(t, db, 2)
		ctx, unit := t.Context(), campaigntest.UnitID(1)
		minutes := func(n int) fleet.Duration { return fleet.Duration(time.Duration(n) * time.Minute) }
		r := w.declare("charger-3", "3", func(r *update.Release) {
			r.Preconditions = []update.Precondition{
				{Name: "charge", When: "battery >= 30 && parked", Age: minutes(15), Words: map[string]string{"en": "Plug it in."}},
				{Name: "network", When: `network != "metered" || battery > 200`, Age: minutes(60)},
			}
		})
		a := w.offered(unit, r.Name)
		want := func(code update.Code, why string) *update.Refusal {
			t.Helper()
			require.Zero(t, w.shown(unit), "its poll shows nothing")
			_, err := w.updates.Deployment(ctx, unit, a.ID)
			require.Equal(t, fault.NotFound, fault.KindOf(err), "nor can it be fetched")
			kept, err := w.updates.Assignment(ctx, a.ID)
			require.NoError(t, err)
			require.NotNil(t, kept.Waiting)
			now, err := w.updates.Waits(ctx, kept)
			require.NoError(t, err)
			require.Equal(t, code, now.Code)
			require.Equal(t, why, now.Why)
			require.True(t, now.Passes())
			return now
		}
		require.NotNil(t, a.Waiting, "said at the offer already")
		_ = want(update.CodeUnknownState, "Battery is not known: the unit has not sent it")
		now := w.Clock.Now
		w.state.set(1, "battery", now(), 18, "")
		w.state.set(1, "parked", now(), 1, "")
		w.state.set(1, "network", now(), 0, "wifi")
		no := want(update.CodePrecondition, "Battery at 18 %, needs 30 %")
		require.Equal(t, update.Refusal{
			Code: update.CodePrecondition, Why: no.Why, Name: "charge", Signal: "battery", Title: "Battery", Have: "18", Op: ">=", Need: "30", Unit: "%",
			At: now(), Words: map[string]string{"en": "Plug it in."},
		}, *no)
		w.state.set(1, "battery", now(), 30, "")
		w.state.set(1, "parked", now(), 0, "")
		_ = want(update.CodePrecondition, "parked is false, needs to be true")
		w.state.set(1, "parked", now(), 1, "")
		w.state.set(1, "network", now(), 0, "metered")
		_ = want(update.CodePrecondition, `network != "metered" || battery > 200 does not hold (battery 30 %, network metered)`)
		w.state.set(1, "network", now(), 0, "wifi")
		w.Clock.Advance(16 * time.Minute)
		_ = want(update.CodeUnknownState, "Battery is not known: its last value is 16 min old, and may be at most 15m")

		// As soon as it holds the unit is woken, without any poll; the set of those that wait
		// survives a restart.
		w.updates = w.service()
		run, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- w.updates.Run(run) }()
		stored := func(unit int64) {
			w.updates.Stored([]telemetry.Sequenced{{Seq: 1, Batch: &telemetry.Batch{Product: campaigntest.Product, Rows: []telemetry.Row{{Unit: unit}}}}})
		}
		w.state.set(1, "battery", now(), 80, "")
		w.state.set(1, "parked", now(), 1, "")
		stored(2) // nobody waits for that one
		stored(1)
		require.Equal(t, unit, <-w.woken)
		kept, err := w.updates.Assignment(ctx, a.ID)
		require.NoError(t, err)
		require.Nil(t, kept.Waiting)
		require.Equal(t, a.ID, w.shown(unit))
		_, err = w.updates.Deployment(ctx, unit, a.ID)
		require.NoError(t, err)
		// Right before: what changed since the last poll counts.
		w.state.set(1, "parked", now(), 0, "")
		_ = want(update.CodePrecondition, "parked is false, needs to be true")
		w.state.set(1, "parked", now(), 1, "")
		require.Equal(t, a.ID, w.shown(unit))
		// Once begun, the unit has the last word.
		_, err = w.updates.Feedback(ctx, unit, a.ID, update.Feedback{State: update.Running})
		require.NoError(t, err)
		w.state.set(1, "parked", now(), 0, "")
		require.Equal(t, a.ID, w.shown(unit))
		stop()
		require.NoError(t, <-ended)
		// A product that lost the signal is no reason to go ahead.
		p, err := db.Fleet().Product(ctx, campaigntest.Product)
		require.NoError(t, err)
		p.Signals = p.Signals[:1]
		require.NoError(t, db.Fleet().PutProduct(ctx, p))
		u, err := db.Fleet().Unit(ctx, campaigntest.UnitID(2))
		require.NoError(t, err)
		no, err = w.updates.Precondition(ctx, &r, &u)
		require.NoError(t, err)
		require.Equal(t, update.CodeUnknownState, no.Code)
	})
}

func TestMinutesAreMeasuredOnceThereAreEnough(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w, ledger := newWorld(t, db, 1), release.New(db)
		ctx := t.Context()
		r, err := w.updates.Release(ctx, campaigntest.Release)
		require.NoError(t, err)
		other := w.declare("charger-3", "3", nil)
		add := func(from, to int) {
			for i := from; i <= to; i++ {
				require.NoError(t, ledger.AddTaking(ctx, update.Taking{
					Assignment: int64(1000 + i), Release: r.Name, Family: campaigntest.Product + "/software", Took: time.Duration(i)*time.Minute - 30*time.Second, At: w.Clock.Now(),
				}))
			}
		}
		is := func(r *update.Release, want update.Minutes) {
			t.Helper()
			w.Clock.Advance(2 * time.Minute)
			got, err := w.updates.Minutes(ctx, r)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		add(1, 19)
		is(&r, update.Minutes{Minutes: 45, Measured: "declared"})
		add(20, 20)
		add(20, 20) // once an assignment
		is(&r, update.Minutes{Minutes: 18, Measured: "release", Of: 20})
		is(&other, update.Minutes{Minutes: 18, Measured: "product", Of: 20})
		meter := w.declare("meter-1", "1", func(r *update.Release) { r.Component = "meter" })
		is(&meter, update.Minutes{Minutes: 30, Measured: "declared"})

		// From the unit's first word to its report.
		a := w.offered(campaigntest.UnitID(1), other.Name)
		_, err = w.updates.Feedback(ctx, campaigntest.UnitID(1), a.ID, update.Feedback{State: update.Running})
		require.NoError(t, err)
		w.Clock.Advance(7 * time.Minute)
		w.reports(campaigntest.UnitID(1), map[string]string{"software": "3"})
		n, took, err := ledger.Takings(ctx, other.Name, "", 0.9)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, 7*time.Minute, took)
	})
}

func TestSeveralPartsAreAllOrNothing(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w := newWorld(t, db, 2)
		ctx, one, two := t.Context(), campaigntest.UnitID(1), campaigntest.UnitID(2)
		part := func(c string, after ...string) update.ReleasePart {
			return update.ReleasePart{Component: c, Version: "5", Artifact: w.image(c), After: after}
		}
		r := w.declare("all-5", "5", func(r *update.Release) {
			r.Artifact, r.Parts = "", []update.ReleasePart{part("screen", "software"), part("software", "meter"), part("meter")}
		})
		bad := r
		bad.Name, bad.Counter = "circle", 0
		bad.Parts = []update.ReleasePart{part("a", "b"), part("b", "a"), part("b"), {Component: "c", Version: "1", Artifact: "nothing", After: []string{"d"}}}
		bad.Artifact = bad.Parts[0].Artifact
		var paths []string
		for _, f := range fault.FieldsOf(w.updates.Put(ctx, bad)) {
			paths = append(paths, f.Path)
		}
		require.Equal(t, []string{"spec.artifact", "spec.parts[2].component", "spec.parts[3].artifact", "spec.parts[3].after[0]"}, paths)
		bad.Artifact, bad.Parts = "", []update.ReleasePart{part("c"), part("a", "b"), part("b", "a")}
		require.ErrorContains(t, w.updates.Put(ctx, bad), "a, b wait for each other")

		a := w.offered(one, r.Name)
		d, err := w.updates.Deployment(ctx, one, a.ID)
		require.NoError(t, err)
		var order []string
		for _, p := range d.Parts {
			order = append(order, p.Component)
			require.Equal(t, "sha256:"+p.Artifact.SHA256, p.ReleasePart.Artifact)
		}
		require.Equal(t, []string{"meter", "software", "screen"}, order)
		_, err = w.updates.Feedback(ctx, one, a.ID, update.Feedback{State: update.Running})
		require.NoError(t, err)
		w.reports(one, map[string]string{"meter": "5"})
		w.reports(one, map[string]string{"software": "5"})
		a, err = w.updates.Assignment(ctx, a.ID)
		require.NoError(t, err)
		require.Equal(t, update.Running, a.State, "one part is missing")
		require.Equal(t, []update.PartState{{Component: "meter", Version: "5", Have: "5"}, {Component: "software", Version: "5", Have: "5"}, {Component: "screen", Version: "5"}}, a.Parts)
		w.reports(one, map[string]string{"screen": "5"})
		a, err = w.updates.Assignment(ctx, a.ID)
		require.NoError(t, err)
		require.Equal(t, update.Installed, a.State)

		// A mix is a failure that says what the unit has.
		a = w.offered(two, r.Name)
		_, err = w.updates.Feedback(ctx, two, a.ID, update.Feedback{State: update.Running})
		require.NoError(t, err)
		w.reports(two, map[string]string{"meter": "5"})
		a, err = w.updates.Feedback(ctx, two, a.ID, update.Feedback{State: update.Failed, Details: []string{"screen does not answer"}})
		require.NoError(t, err)
		require.Equal(t, update.Failed, a.State)
		require.Equal(t, []string{
			"screen does not answer",
			"only some parts of it are installed: meter 5; not software (it has 1.0.0, not 5), screen (it has an unknown version, not 5)",
		}, a.Details)
		e := lastEntry(t, release.New(db), 2)
		require.Equal(t, register.Failed, e.Event)
		require.Equal(t, a.Details[1], e.Why)
	})
}

func lastEntry(t *testing.T, s register.Store, unit int64) register.Entry {
	t.Helper()
	rec, err := s.Last(t.Context(), unit)
	require.NoError(t, err)
	var e register.Entry
	require.NoError(t, json.Unmarshal(rec.Entry, &e))
	return e
}

func TestRegisterTellsBeforeAndAfter(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w, ledger := newWorld(t, db, 2), release.New(db)
		ctx, unit := t.Context(), campaigntest.UnitID(1)
		first, err := w.updates.Release(ctx, campaigntest.Release)
		require.NoError(t, err)
		approved := w.Clock.Now()
		a, err := w.updates.AssignFor(ctx, unit, first.Name, "task-1", update.Origin{Campaign: "heat", ApprovedBy: "op-7", ApprovedAt: approved})
		require.NoError(t, err)
		_, err = w.updates.Offer(ctx, a.ID, w.Clock.Now())
		require.NoError(t, err)
		w.reports(unit, map[string]string{"software": "2.0.0"})
		w.reports(unit, map[string]string{"software": "2.0.0"}) // nothing new
		w.reports(unit, map[string]string{"meter": "8"})        // not by us
		one := register.Software{Component: "software", Version: "2.0.0", Release: first.Name, Counter: 1, SHA256: first.ArtifactSHA256()}
		list, err := ledger.Records(ctx, 1, 0, 10)
		require.NoError(t, err)
		require.Len(t, list, 2)
		var e register.Entry
		require.NoError(t, json.Unmarshal(list[0].Entry, &e))
		require.Equal(t, register.Entry{
			Seq: 1, At: w.Clock.Now(), Event: register.Installed, Unit: 1, Product: campaigntest.Product,
			Before: []register.Software{{Component: "software", Version: "1.0.0"}}, After: []register.Software{one},
			Assignment: a.ID, Release: first.Name, Campaign: "heat", ApprovedBy: "op-7", ApprovedAt: approved,
		}, e)
		e = lastEntry(t, ledger, 1)
		require.Equal(t, register.Reported, e.Event)
		require.Equal(t, []register.Software{one}, e.Before)
		require.Equal(t, []register.Software{{Component: "meter", Version: "8"}, one}, e.After)
		require.NotContains(t, string(list[0].Entry), "owner")
		require.NotContains(t, string(list[0].Entry), unit, "the key names it, not its id")

		// What is rolled back leaves no hole.
		require.Error(t, db.InTx(ctx, func(ctx context.Context) error {
			require.NoError(t, w.updates.Reported(ctx, campaigntest.UnitID(2), map[string]string{"software": "7"}, w.Clock.Now()))
			return errors.New("crash")
		}))
		w.reports(campaigntest.UnitID(2), map[string]string{"software": "8"})
		var chain register.Chain
		list, err = ledger.Records(ctx, 0, 0, 10)
		require.NoError(t, err)
		for _, r := range list {
			_, err := chain.Next(r)
			require.NoError(t, err)
		}
		seq, hash, err := ledger.Head(ctx)
		require.NoError(t, err)
		require.Equal(t, register.Chain{Seq: 3, Hash: hash}, chain)
		require.EqualValues(t, 3, seq)
	})
}

func TestRegisterTakesAppendsAtOnce(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		s := release.New(db)
		var group sync.WaitGroup
		errs := make(chan error, 40)
		for i := range 40 {
			group.Go(func() {
				errs <- register.Append(t.Context(), s, register.Entry{Unit: int64(i), Event: register.Reported})
			})
		}
		group.Wait()
		for range 40 {
			require.NoError(t, <-errs)
		}
		var chain register.Chain
		for after := int64(0); chain.Seq < 40; after = chain.Seq {
			list, err := s.Records(t.Context(), 0, after, 7)
			require.NoError(t, err)
			require.NotEmpty(t, list)
			for _, r := range list {
				_, err := chain.Next(r)
				require.NoError(t, err)
			}
		}
	})
}
