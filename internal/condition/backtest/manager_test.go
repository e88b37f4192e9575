package backtest_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/maintenance"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rights"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/sqldb/trial"
	"fettle.dev/fettle/internal/sqldb/wear"
	"fettle.dev/fettle/internal/telemetry"
)

// bench is a service with three pumps of which the last does not permit it,
// and the small case as its history.
type bench struct {
	db     *sqldb.DB
	src    *list
	config backtest.Config
}

func newBench(t *testing.T, db *sqldb.DB) *bench {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, db.Fleet().PutProduct(ctx, pump()))
	b := &bench{db: db, src: small()}
	b.src.marks = map[int][]telemetry.Mark{}
	us := units(3)
	for i := range us {
		us[i].Serial, us[i].State, us[i].CreatedAt = us[i].ID, fleet.UnitActive, start
	}
	require.NoError(t, db.Fleet().PutUnits(ctx, us))
	for _, u := range us {
		b.src.marks[0] = append(b.src.marks[0], telemetry.Mark{Kind: telemetry.MarkConsent, Unit: u.Key, At: start.UnixMilli(), Text: "care"})
	}
	require.NoError(t, db.Consent().AddChoices(ctx, []consent.Choice{
		{ID: "1", UnitID: "P-1", Purpose: "care", Given: true, At: start, By: "import"},
		{ID: "2", UnitID: "P-2", Purpose: "care", Given: true, At: start, By: "import"},
	}))
	now := clock.NewManual(hour(200))
	ids := &clock.Sequence{Prefix: "b"}
	b.config = backtest.Config{
		Store: trial.New(db), History: b.src, Fleet: db.Fleet(), Maintenance: wear.Maintenance(db), Clock: now, Wall: clock.Real{}, IDs: ids,
		Conditions: condition.NewService(condition.Config{Store: db.Condition(), Fleet: db.Fleet(), Consents: db.Consent(), Clock: now, IDs: ids}),
		Applied:    func(context.Context) (uint64, error) { return 1 << 40, nil },
	}
	return b
}

// run runs a manager until stop is called, or the test ends.
func (b *bench) run(t *testing.T) (m *backtest.Manager, stop func()) {
	t.Helper()
	m = backtest.NewManager(b.config)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return m, stop
}

func ended(t *testing.T, m *backtest.Manager, id string) (j backtest.Job) {
	t.Helper()
	require.Eventually(t, func() bool {
		var err error
		j, err = m.Job(t.Context(), id)
		require.NoError(t, err)
		return j.State.Ended()
	}, time.Minute, 5*time.Millisecond)
	return j
}

func ask() backtest.Request {
	d := hot()
	return backtest.Request{
		Detector: condition.Ref{Name: d.Name}, Spec: d, Sweep: backtest.Sweep{Auto: true},
		Match: backtest.Match{Horizon: fleet.Duration(20 * time.Hour)},
	}
}

func TestJob(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		b := newBench(t, db)
		ctx := t.Context()
		_, err := b.config.Maintenance.Add(ctx, []maintenance.Record{
			{ID: "1", UnitID: "P-1", At: hour(70), Part: "bearing", Kind: maintenance.Failure, By: "x", EnteredAt: hour(71)},
			{ID: "2", UnitID: "P-1", At: hour(72), Part: "bearing", Kind: maintenance.Replacement, Reason: maintenance.Failed, By: "x", EnteredAt: hour(72)},
			{ID: "3", UnitID: "P-2", At: hour(90), Part: "seal", Kind: maintenance.Replacement, Reason: maintenance.Failed, By: "x", EnteredAt: hour(92)},
			{ID: "4", UnitID: "P-3", At: hour(90), Part: "bearing", Kind: maintenance.Failure, By: "x", EnteredAt: hour(92)},
		})
		require.NoError(t, err)
		m, _ := b.run(t)
		j, err := m.Create(ctx, ask(), "ada")
		require.NoError(t, err)
		require.Equal(t, 1, j.Request.Detector.Version, "the version it would become")
		j = ended(t, m, j.ID)
		require.Equal(t, backtest.Done, j.State, j.Why)
		require.Equal(t, 1, j.Withheld)
		require.Equal(t, map[string]int{"failure": 1, "replacement": 1}, j.Sources, "the replacement after a failure is the same failure; the third pump's is nobody's business")
		require.NotContains(t, b.src.units, int64(3))
		r, known, err := m.Result(ctx, j.ID)
		require.NoError(t, err)
		require.Len(t, known, 2)
		require.Len(t, r.Thresholds, 21)
		g := r.Thresholds[r.Declared]
		require.Equal(t, []int{2, 3, 1, 2, 1, 1}, []int{g.Units, g.Alarms, g.True, g.False, g.Found, g.Missed})
		require.Len(t, g.Episodes, 3)
		require.Equal(t, "P-1", r.Findings[0].UnitID)
		require.Equal(t, int64(1), r.Findings[0].UnitKey)

		// The same by assessments of live findings, of one component.
		kept := r.Findings
		kept[0].Detector.Version = 1
		require.NoError(t, db.Condition().Commit(ctx, "all", 1, kept, nil))
		_, err = b.config.Conditions.Assess(ctx, kept[0].ID, condition.NoFaultFound, "ada")
		require.NoError(t, err)
		q := ask()
		q.Component = "seal"
		j, err = m.Create(ctx, q, "ada")
		require.NoError(t, err)
		j = ended(t, m, j.ID)
		require.Equal(t, map[string]int{"replacement": 1, "no fault found": 1}, j.Sources)

		all, err := m.Jobs(ctx, "hot", 10)
		require.NoError(t, err)
		require.Len(t, all, 2)
		require.NoError(t, m.Cancel(ctx, j.ID, "ada"), "one that has ended is deleted")
		_, err = m.Job(ctx, j.ID)
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
}

// A job that is killed in the middle, twice, is begun again and gives what it
// would have given; one that never ends is given up, and says so.
func TestKilledJobIsBegunAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, sqldbtest.SQLite(t))
	ctx := t.Context()
	reached, die := make(chan struct{}, 1), true
	b.src.after = func(n int) error {
		if die && n == 150 {
			select {
			case reached <- struct{}{}:
			default:
			}
			time.Sleep(5 * time.Millisecond)
			return fault.New(fault.Unavailable, "the process is dying")
		}
		return nil
	}
	var j backtest.Job
	for i := range 2 {
		m, stop := b.run(t)
		if i == 0 {
			var err error
			j, err = m.Create(ctx, ask(), "ada")
			require.NoError(t, err)
		}
		<-reached
		stop()
		got, err := m.Job(ctx, j.ID)
		require.NoError(t, err)
		require.Equal(t, backtest.Running, got.State)
		require.Equal(t, i+1, got.Begun)
	}
	die = false
	m, stop := b.run(t)
	j = ended(t, m, j.ID)
	require.Equal(t, backtest.Done, j.State, j.Why)
	require.Equal(t, 3, j.Begun)
	stop()
	again, _, err := m.Result(ctx, j.ID)
	require.NoError(t, err)
	fresh := newBench(t, sqldbtest.SQLite(t))
	m, _ = fresh.run(t)
	whole, err := m.Create(ctx, ask(), "ada")
	require.NoError(t, err)
	require.Equal(t, backtest.Done, ended(t, m, whole.ID).State)
	want, _, err := m.Result(ctx, whole.ID)
	require.NoError(t, err)
	require.Equal(t, want, again)

	q := ask()
	m, stop = b.run(t)
	die = true
	j, err = m.Create(ctx, q, "ada")
	require.NoError(t, err)
	<-reached
	stop()
	for range 2 {
		_, stop = b.run(t)
		<-reached
		stop()
	}
	m, _ = b.run(t)
	j = ended(t, m, j.ID)
	require.Equal(t, backtest.Failed, j.State)
	require.Contains(t, j.Why, "the service ended 3 times while this ran")
}

func TestJobIsCancelledAndBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, sqldbtest.SQLite(t))
	ctx := t.Context()
	b.src = noise(3, 3, 9000)
	b.config.History = b.src
	begun, cancelled := make(chan struct{}, 1), make(chan struct{})
	b.src.after = func(n int) error {
		if n == 100 {
			begun <- struct{}{}
			<-cancelled
		}
		return nil
	}
	m, _ := b.run(t)
	j, err := m.Create(ctx, ask(), "ada")
	require.NoError(t, err)
	<-begun
	require.NoError(t, m.Cancel(ctx, j.ID, "bob"))
	close(cancelled)
	j = ended(t, m, j.ID)
	require.Equal(t, []any{backtest.Cancelled, "cancelled by bob"}, []any{j.State, j.Why})
	_, _, err = m.Result(ctx, j.ID)
	require.Equal(t, fault.Conflict, fault.KindOf(err))

	b.src.after = nil
	b.config.Limits.Judgements = 1000
	m, _ = b.run(t)
	j, err = m.Create(ctx, ask(), "ada")
	require.NoError(t, err)
	j = ended(t, m, j.ID)
	require.Equal(t, backtest.Failed, j.State)
	require.Contains(t, j.Why, "more than 1000 rows times thresholds")

	b.src.after = func(int) error { return errors.New("a torn part") }
	m, _ = b.run(t)
	j, err = m.Create(ctx, ask(), "ada")
	require.NoError(t, err)
	require.Equal(t, "something went wrong on our side; the log says what", ended(t, m, j.ID).Why)
}

// A withdrawal stops a running job, wherever it runs: no result is kept of
// units that may not be judged any more. Neither is one of a job that was
// deleted with a person.
func TestJobIsStoppedByAWithdrawal(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		b := newBench(t, db)
		ctx := t.Context()
		begun, withdrawn := make(chan struct{}, 9), make(chan struct{}, 9)
		var pause atomic.Bool
		pause.Store(true)
		b.src.after = func(n int) error {
			if n == 100 && pause.Load() {
				begun <- struct{}{}
				<-withdrawn
			}
			return nil
		}
		m, stop := b.run(t)
		t.Cleanup(func() { close(withdrawn); stop() })
		seen, err := m.Create(ctx, ask(), "ada")
		require.NoError(t, err)
		<-begun
		require.NoError(t, rights.EraseConclusions(ctx, db, "pump", "care", []string{"P-1"}, []int64{1}))
		j, err := m.Job(ctx, seen.ID)
		require.NoError(t, err)
		require.Equal(t, backtest.Stopping, must(b.config.Store.Job(ctx, seen.ID)).State)
		require.Equal(t, backtest.Running, j.State, "as people are shown it")
		withdrawn <- struct{}{}
		j = ended(t, m, seen.ID)
		require.Equal(t, backtest.Cancelled, j.State)
		require.Contains(t, j.Why, "an owner withdrew")
		_, _, err = m.Result(ctx, seen.ID)
		require.Equal(t, fault.Conflict, fault.KindOf(err))

		// One that is run again leaves the unit out.
		gone, err := m.Create(ctx, ask(), "ada")
		require.NoError(t, err)
		<-begun
		require.NoError(t, b.config.Store.DeleteJob(ctx, gone.ID)) // as an erasure does
		require.NoError(t, db.Consent().AddChoices(ctx, []consent.Choice{{ID: "3", UnitID: "P-1", Purpose: "care", At: start, By: "owner:o"}}))
		pause.Store(false)
		withdrawn <- struct{}{}
		again, err := m.Create(ctx, ask(), "ada")
		require.NoError(t, err)
		j = ended(t, m, again.ID)
		require.Equal(t, backtest.Done, j.State, j.Why)
		require.Equal(t, 2, j.Withheld)
		_, err = m.Job(ctx, gone.ID)
		require.Equal(t, fault.NotFound, fault.KindOf(err), "it does not come back")
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestRequestsAreChecked(t *testing.T) {
	t.Parallel()
	b := newBench(t, sqldbtest.SQLite(t))
	m := backtest.NewManager(b.config) // nothing runs
	for path, change := range map[string]func(q *backtest.Request){
		"spec.product":     func(q *backtest.Request) { q.Spec.Product = "nope" },
		"spec.tolerance":   func(q *backtest.Request) { q.Spec.Tolerance = "nope" },
		"to":               func(q *backtest.Request) { q.From, q.To = hour(2), hour(1) },
		"units[0]":         func(q *backtest.Request) { q.Units = []string{"nope"} },
		"failures[0].unit": func(q *backtest.Request) { q.Failures = []backtest.Failure{{Unit: "nope", At: start}} },
		"failures[0].at":   func(q *backtest.Request) { q.Failures = []backtest.Failure{{Unit: "P-1"}} },
		"horizon":          func(q *backtest.Request) { q.Match.Horizon = -1 },
		"cost":             func(q *backtest.Request) { q.Cost.False = -1 },
		"sweep.field":      func(q *backtest.Request) { q.Sweep = backtest.Sweep{Field: "nope"} },
	} {
		q := ask()
		change(&q)
		_, err := m.Create(t.Context(), q, "ada")
		require.Equal(t, fault.Invalid, fault.KindOf(err), path)
		require.Equal(t, path, fault.FieldsOf(err)[0].Path)
	}
	for range 20 {
		_, err := m.Create(t.Context(), ask(), "ada")
		require.NoError(t, err)
	}
	_, err := m.Create(t.Context(), ask(), "ada")
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}

func FuzzDecode(f *testing.F) {
	r, err := backtest.Run(f.Context(), small(), smallPlan())
	require.NoError(f, err)
	raw, err := backtest.Encode(r, nil)
	require.NoError(f, err)
	f.Add(raw)
	f.Add(raw[:20])
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, _, err := backtest.Decode(raw)
		if err == nil {
			require.Less(t, r.Declared, len(r.Thresholds))
		}
	})
}
