package tips_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/sqldb/tips"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/tip"
	"fettle.dev/fettle/internal/tip/limit"
)

var start = time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC)

// stream is the durable log, in memory.
type stream struct {
	mu   sync.Mutex
	all  []*telemetry.Batch
	gone uint64 // entries up to it are trimmed
	news chan struct{}
	from chan uint64 // told whenever somebody begins to read
}

func (s *stream) Publish(_ context.Context, b *telemetry.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, b)
	close(s.news)
	s.news = make(chan struct{})
	return nil
}

func (s *stream) Consume(ctx context.Context, from uint64, _ int, handle func(context.Context, []telemetry.Sequenced) error) error {
	select {
	case s.from <- from:
	default:
	}
	for {
		s.mu.Lock()
		if gone := s.gone; from < gone {
			s.mu.Unlock()
			return &telemetry.GapError{Position: from, First: gone + 1}
		}
		news := s.news
		var some []telemetry.Sequenced
		for ; from < uint64(len(s.all)); from++ {
			some = append(some, telemetry.Sequenced{Seq: from + 1, Batch: s.all[from]})
		}
		s.mu.Unlock()
		if len(some) > 0 {
			if err := handle(ctx, some); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-news:
		}
	}
}

func (s *stream) Last(context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.all)), nil
}

// past is a history in which nothing was.
type past struct{}

func (past) Replay(context.Context, telemetry.Query, func(*telemetry.Stored, *telemetry.StoredMark) error) error {
	return nil
}
func (past) Applied(context.Context) (uint64, error) { return 1 << 40, nil }
func (past) FeatureEvents(context.Context, string, time.Time, uint64, func(*telemetry.StoredEvent) error) error {
	return nil
}

func (past) FeatureUse(_ context.Context, _ string, _ uint64, _ time.Time, fn func(int64, string, int64, int64) error) error {
	return fn(2, "strong", 3, start.AddDate(0, 0, -1).UnixMilli())
}

// failing breaks transactions as a kill does: nothing of them stands.
type failing struct {
	fleet.Transactor
	mu sync.Mutex
	n  int // of those to come
}

var errKilled = errors.New("killed")

func (f *failing) InTx(ctx context.Context, fn func(context.Context) error) error {
	f.mu.Lock()
	kill := f.n > 0
	if kill {
		f.n--
	}
	f.mu.Unlock()
	return f.Transactor.InTx(ctx, func(ctx context.Context) error {
		if err := fn(ctx); err != nil || !kill {
			return err
		}
		return errKilled
	})
}

type scene struct {
	t       *testing.T
	db      *sqldb.DB
	store   tip.Store
	stream  *stream
	clock   *clock.Manual
	tx      *failing
	service *tip.Service
	told    chan string
	stop    func()
}

func newScene(t *testing.T, db *sqldb.DB) *scene {
	t.Helper()
	ctx := t.Context()
	day := fleet.Duration(24 * time.Hour)
	require.NoError(t, db.Fleet().PutProduct(ctx, fleet.Product{
		Name: "dryer", Title: "Dryer", Purposes: []fleet.Purpose{{Name: "tips", Title: "Tips", Description: "d", Basis: fleet.BasisConsent}},
		Signals:  []fleet.Signal{{Name: "load", Type: fleet.Number, Purposes: []string{"tips"}, Retention: day, Description: "d"}},
		Features: []fleet.Feature{{Name: "strong", Title: "Strong", Purposes: []string{"tips"}, Retention: day}},
		Feeds: []fleet.Feed{{
			Name: "weather", Title: "Weather", By: "region", HTTP: &fleet.HTTPFeed{URL: "https://api.example/{region}", Every: fleet.Duration(time.Hour)},
			Variables: []fleet.FeedVariable{{Name: "humidity", Type: fleet.Number, Path: "/h", Age: fleet.Duration(2 * time.Hour)}},
		}},
	}))
	var units []fleet.Unit
	for i := range 3 {
		o, err := db.Fleet().PutOwner(ctx, fleet.Owner{ID: fmt.Sprint("o", i+1), Email: fmt.Sprint("o", i+1, "@example.com"), Locale: "de", TimeZone: "Europe/Berlin"})
		require.NoError(t, err)
		units = append(units, fleet.Unit{ID: fmt.Sprint("U", i+1), Key: int64(i + 1), Product: "dryer", Serial: fmt.Sprint(i), Region: "north", State: fleet.UnitActive, OwnerID: o.ID, CreatedAt: start})
	}
	require.NoError(t, db.Fleet().PutUnits(ctx, units))
	for _, u := range units[:2] {
		require.NoError(t, db.Consent().AddChoices(ctx, []consent.Choice{{ID: "c" + u.ID, UnitID: u.ID, Purpose: "tips", Given: true, At: start, By: "import"}}))
	}
	s := &scene{t: t, db: db, store: tips.New(db), stream: &stream{news: make(chan struct{}), from: make(chan uint64, 1)}, clock: clock.NewManual(start), tx: &failing{Transactor: db}, told: make(chan string, 100)}
	s.service = tip.NewService(tip.Config{
		Store: s.store, Fleet: db.Fleet(), Consents: db.Consent(), History: past{}, Tx: db, Clock: s.clock, Wall: clock.Real{},
	})
	return s
}

func humid() tip.Tip {
	none := 0.0
	return tip.Tip{
		Name: "humid", Product: "dryer", Purpose: "tips", When: "weather.humidity > 75 && load > 0", Feature: "strong", Holdout: &none,
		Title:    map[string]string{"en": "Humid today ({weather.humidity} %)", "de": "Heute feucht ({weather.humidity} %)"},
		Text:     map[string]string{"en": "Use the stronger programme.", "de": "Nimm das stärkere Programm."},
		Channels: []tip.Channel{tip.Display, tip.Portal, tip.Push}, Action: &tip.Action{Label: map[string]string{"en": "Use it"}, Command: "programme:strong"},
	}
}

// run starts a watcher, as a process does; stop is what a kill leaves.
func (s *scene) run() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	w := tip.NewWatcher(tip.WatcherConfig{
		Stream: s.stream, Store: s.store, Fleet: s.db.Fleet(), Consents: s.db.Consent(), History: past{}, Tx: s.tx, Clock: s.clock, Wall: clock.Real{}, IDs: clock.Random{},
		Told: func(ids ...string) {
			for _, id := range ids {
				s.told <- id
			}
		},
		PerDay: 2, Prompt: 5 * time.Millisecond, Idle: 20 * time.Millisecond,
	})
	done := make(chan struct{})
	select {
	case <-s.stream.from:
	default:
	}
	go func() { defer close(done); _ = w.Run(ctx) }()
	s.stop = func() { cancel(); <-done }
	s.t.Cleanup(s.stop)
	<-s.stream.from // from here on nothing is passed over as what was before
}

func (s *scene) load(key int64, v float64) {
	s.t.Helper()
	now := s.clock.Now().UnixMilli()
	require.NoError(s.t, s.stream.Publish(s.t.Context(), &telemetry.Batch{Product: "dryer", Rows: []telemetry.Row{{Unit: key, Event: now, Received: now, Values: []telemetry.Value{{Signal: "load", Number: v}}}}}))
}

func (s *scene) mark(m telemetry.Mark) {
	s.t.Helper()
	m.At = s.clock.Now().UnixMilli()
	require.NoError(s.t, s.stream.Publish(s.t.Context(), &telemetry.Batch{Marks: []telemetry.Mark{m}}))
}

func (s *scene) weather(humidity float64) {
	s.t.Helper()
	text, err := json.Marshal(tip.Observation{Product: "dryer", Feed: "weather", Place: "north", At: s.clock.Now().UnixMilli(), Values: map[string]any{"humidity": humidity}})
	require.NoError(s.t, err)
	s.mark(telemetry.Mark{Kind: telemetry.MarkContext, Text: string(text)})
}

func (s *scene) given() []tip.Given {
	s.t.Helper()
	list, err := s.store.Given(s.t.Context(), tip.Filter{})
	require.NoError(s.t, err)
	return list
}

func (s *scene) eventually(what string, ok func() bool) {
	s.t.Helper()
	require.Eventually(s.t, ok, time.Minute, 5*time.Millisecond, what)
}

// settled waits until all that is in the stream was taken in, and what it asks
// for was decided: a clock that goes on before that decides otherwise.
func (s *scene) settled() {
	s.t.Helper()
	last, err := s.stream.Last(s.t.Context())
	require.NoError(s.t, err)
	s.eventually("all of it is decided", func() bool {
		seq, _, _, err := s.store.Load(s.t.Context())
		require.NoError(s.t, err)
		return seq == last
	})
}

func (s *scene) display(unit string) []tip.Shown {
	s.t.Helper()
	list, err := s.service.OnDisplay(s.t.Context(), unit)
	require.NoError(s.t, err)
	return list
}

// Where the stream was trimmed beyond what tips had read, as while they were
// off, they go on from the first entry that is held: of what is long past no
// tip is given.
func TestTipsGoOnAfterATrimmedStream(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		s := newScene(t, db)
		require.NoError(t, s.service.Put(t.Context(), humid()))
		s.load(1, 0)
		s.run()
		s.eventually("the place is kept", func() bool {
			seq, _, _, err := s.store.Load(t.Context())
			require.NoError(t, err)
			return seq == 1
		})
		s.stop()
		s.load(1, 4)
		s.weather(90)
		s.stream.gone = 3
		s.load(1, 5)
		s.weather(81.5)
		s.run()
		s.eventually("U1 has it", func() bool { return len(s.given()) == 1 })
		require.Equal(t, "Heute feucht (81,5 %)", s.display("U1")[0].Title)
		s.eventually("the place is kept", func() bool {
			seq, _, _, err := s.store.Load(t.Context())
			require.NoError(t, err)
			return seq == 5
		})
	})
}

func TestFromStreamToDisplay(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		ctx := t.Context()
		s := newScene(t, db)
		require.NoError(t, s.service.Put(ctx, humid()))
		s.run()
		s.load(1, 4)
		s.load(3, 4) // whose owner does not permit it
		s.weather(81.5)
		s.eventually("U1 has it", func() bool { return len(s.given()) == 1 })
		require.Equal(t, "U1", <-s.told)
		shown := s.display("U1")
		require.Len(t, shown, 1)
		require.Equal(t, tip.Shown{
			ID: s.given()[0].ID, Tip: "humid", UnitID: "U1", Title: "Heute feucht (81,5 %)", Text: "Nimm das stärkere Programm.", Action: "Use it", Command: "programme:strong",
			At: start, Until: start.Add(2 * time.Hour), Sources: []string{"Weather"},
		}, shown[0])
		u, err := db.Fleet().Unit(ctx, "U1")
		require.NoError(t, err)
		portal := func() []tip.Shown {
			list, err := s.service.Now(ctx, tip.Portal, []fleet.Unit{u}, "en")
			require.NoError(t, err)
			return list
		}
		require.Empty(t, portal()) // the display has ten minutes
		s.clock.Advance(10 * time.Minute)
		require.Equal(t, "Humid today (81.5 %)", portal()[0].Title)

		// Off holds at once, on again it is still valid.
		require.NoError(t, s.service.SetSwitch(ctx, "o1", "humid", false, nil))
		require.Empty(t, s.display("U1"))
		require.NoError(t, s.service.SetSwitch(ctx, "o1", "humid", true, nil))
		require.NoError(t, s.service.SetSwitch(ctx, "o1", "", false, nil))
		require.Empty(t, portal())
		require.NoError(t, s.service.SetSwitch(ctx, "o1", "", true, nil))
		require.Len(t, portal(), 1)

		// What another unit says of it is not believed.
		id := s.given()[0].ID
		mine := func(unit string) func(*tip.Given) bool { return func(g *tip.Given) bool { return g.UnitID == unit } }
		require.Equal(t, fault.NotFound, fault.KindOf(s.service.Report(ctx, id, tip.ReportShown, tip.Display, time.Time{}, mine("U2"))))
		require.NoError(t, s.service.Report(ctx, id, tip.ReportShown, tip.Display, time.Time{}, mine("U1")))
		require.NoError(t, s.service.Report(ctx, id, tip.ReportActed, tip.Display, time.Time{}, mine("U1")))
		require.NoError(t, s.service.Report(ctx, id, tip.ReportDismissed, tip.Portal, time.Time{}, mine("U1")))
		g := s.given()[0]
		require.Equal(t, tip.Display, g.ShownVia)
		require.Equal(t, tip.Acted, g.Why)
		require.Equal(t, s.clock.Now(), g.ActedAt)
		require.Empty(t, s.display("U1"))

		// The feature is used: it counts for the tip.
		now := s.clock.Now().UnixMilli()
		require.NoError(t, s.stream.Publish(ctx, &telemetry.Batch{Product: "dryer", Events: []telemetry.Event{{Unit: 1, Event: now, Received: now, Kind: telemetry.EventFeature, Name: "strong"}}}))
		s.eventually("use is noted", func() bool { return !s.given()[0].UsedAt.IsZero() })

		// Consent is withdrawn: nothing of it is left.
		require.NoError(t, db.Consent().AddChoices(ctx, []consent.Choice{{ID: "w", UnitID: "U1", Purpose: "tips", At: start, By: "owner:o1"}}))
		s.mark(telemetry.Mark{Kind: telemetry.MarkConsent, Unit: 1})
		s.eventually("forgotten", func() bool { return len(s.given()) == 0 })
	})
}

func TestLimitsOfAnOwner(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		ctx := t.Context()
		s := newScene(t, db)
		for i := range 4 {
			x := humid()
			x.Name, x.When = fmt.Sprint("tip", i), "load > 0"
			x.Title = map[string]string{"en": "x"}
			x.Text = map[string]string{"en": "x"}
			require.NoError(t, s.service.Put(ctx, x))
		}
		s.clock.Set(time.Date(2026, 6, 1, 21, 0, 0, 0, time.UTC)) // 23 in Berlin: quiet until 7
		s.run()
		s.load(1, 4)
		s.settled()
		require.Empty(t, s.given())
		s.clock.Set(time.Date(2026, 6, 2, 5, 1, 0, 0, time.UTC))
		s.load(1, 4)
		s.eventually("two a day", func() bool { return len(s.given()) == 2 })
		s.clock.Advance(time.Hour)
		s.load(1, 5)
		s.settled()
		require.Len(t, s.given(), 2)
		s.clock.Set(time.Date(2026, 6, 3, 8, 0, 0, 0, time.UTC))
		s.load(1, 4)
		s.eventually("the others on the next day", func() bool { return len(s.given()) == 4 })
	})
}

func TestNotTwiceAcrossAKill(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		ctx := t.Context()
		s := newScene(t, db)
		require.NoError(t, s.service.Put(ctx, humid()))
		s.run()
		for round := range 6 { // the transaction that gives it is killed, or the one after it
			s.stop()
			s.tx.mu.Lock()
			s.tx.n = round % 3
			s.tx.mu.Unlock()
			s.run()
			s.load(1, float64(round+1))
			s.load(2, float64(round+1))
			s.weather(80 + float64(round))
			time.Sleep(60 * time.Millisecond)
		}
		s.eventually("both have it", func() bool { return len(s.given()) == 2 })
		s.weather(99)
		s.settled()
		require.Len(t, s.given(), 2)
		// A process that comes late gives nothing whose moment has passed.
		s.stop()
		require.NoError(t, s.store.Forget(ctx, 2, nil))
		s.load(2, 9)
		s.clock.Advance(10 * 24 * time.Hour)
		s.run()
		s.settled()
		require.Len(t, s.given(), 1)
	})
}

func TestPushHasItsTurn(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		s := newScene(t, db)
		require.NoError(t, s.service.Put(t.Context(), humid()))
		pushed := make(chan string, 10)
		service := tip.NewService(tip.Config{
			Store: s.store, Fleet: db.Fleet(), Consents: db.Consent(), History: past{}, Tx: db, Clock: s.clock, Wall: clock.Real{},
			Push: func(_ context.Context, g tip.Given, _ tip.Tip) error { pushed <- g.UnitID; return nil },
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = service.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		s.run()
		s.load(1, 4)
		s.load(2, 4)
		s.weather(80)
		s.eventually("given", func() bool { return len(s.given()) == 2 })
		for _, g := range s.given() { // U2's display shows it in time
			if g.UnitID == "U2" {
				require.NoError(t, s.service.Report(ctx, g.ID, tip.ReportShown, tip.Display, time.Time{}, func(*tip.Given) bool { return true }))
			}
		}
		s.clock.Advance(20 * time.Minute)
		require.Equal(t, "U1", <-pushed)
		s.eventually("seen to", func() bool {
			due, err := s.store.TurnDue(ctx, s.clock.Now().Add(time.Hour), 10)
			require.NoError(t, err)
			return len(due) == 0
		})
		require.Empty(t, pushed)
	})
}

// week is a history of twelve dryers in humid weather, of which two used the
// strong programme before.
type week struct{ past }

func (week) Replay(_ context.Context, q telemetry.Query, fn func(*telemetry.Stored, *telemetry.StoredMark) error) error {
	at := start.AddDate(0, 0, -3).UnixMilli()
	text := fmt.Sprintf(`{"product":"dryer","feed":"weather","place":"north","at":%d,"values":{"humidity":80}}`, at)
	if err := fn(nil, &telemetry.StoredMark{Position: telemetry.Position{Seq: 1}, Mark: telemetry.Mark{Kind: telemetry.MarkContext, At: at, Text: text}}); err != nil {
		return err
	}
	for i, key := range q.Units {
		row := telemetry.Row{Unit: key, Event: at + int64(i), Received: at + int64(i), Values: []telemetry.Value{{Signal: "load", Number: 3}}}
		if err := fn(&telemetry.Stored{Position: telemetry.Position{Seq: uint64(i + 2)}, Row: row}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (week) FeatureUse(_ context.Context, _ string, _ uint64, _ time.Time, fn func(int64, string, int64, int64) error) error {
	for _, key := range []int64{1, 2} {
		if err := fn(key, "strong", 1, start.AddDate(0, 0, -9).UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

func TestWhoWouldHaveGotIt(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	ctx := t.Context()
	s := newScene(t, db)
	for i := int64(1); i <= 12; i++ {
		id := fmt.Sprint("U", i)
		if i > 3 {
			require.NoError(t, db.Fleet().PutUnits(ctx, []fleet.Unit{{ID: id, Key: i, Product: "dryer", Serial: id, Region: "north", State: fleet.UnitActive, OwnerID: "o1", CreatedAt: start}}))
		}
		if i > 2 {
			require.NoError(t, db.Consent().AddChoices(ctx, []consent.Choice{{ID: "c" + id, UnitID: id, Purpose: "tips", Given: true, At: start, By: "import"}}))
		}
	}
	config := tip.Config{Store: s.store, Fleet: db.Fleet(), Consents: db.Consent(), History: week{}, Tx: db, Clock: s.clock, Wall: clock.Real{}, PerDay: 100}
	service := tip.NewService(config)
	all, err := service.Try(ctx, humid(), start.AddDate(0, 0, -7), start)
	require.NoError(t, err)
	require.Equal(t, []any{12, 12, 12, false}, []any{all.Units, all.Would, all.Given, all.Few})
	require.Equal(t, tip.TrialDay{Day: "2026-05-29", Given: 12}, all.Days[4])
	x := humid()
	x.When += " && feature.strong.never"
	ten, err := service.Try(ctx, x, start.AddDate(0, 0, -7), start)
	require.NoError(t, err)
	require.Equal(t, 10, ten.Would)
	x.When = "weather.humidity > 75 && feature.strong.days < 14"
	two, err := service.Try(ctx, x, start.AddDate(0, 0, -7), start)
	require.NoError(t, err)
	require.Equal(t, []any{0, 0, true}, []any{two.Would, two.Given, two.Few})
	x.When = "weather.humidity > 90"
	none, err := service.Try(ctx, x, start.AddDate(0, 0, -7), start)
	require.NoError(t, err)
	require.Equal(t, []any{0, false}, []any{none.Would, none.Few})
	require.Empty(t, s.given(), "nothing is given to anybody")
	_, err = service.Try(ctx, x, start.AddDate(0, -2, 0), start)
	require.Equal(t, fault.Invalid, fault.KindOf(err))

	// What stands against it is counted, as it is when tips are given.
	all, err = service.Try(ctx, humid(), start.AddDate(0, 0, -7), start)
	require.NoError(t, err)
	require.Empty(t, all.Not)
	for name, x := range map[string]struct {
		change func(c *tip.Config, t *tip.Tip)
		not    []limit.TrialNot
	}{
		"an owner of ten takes one a day": {func(c *tip.Config, _ *tip.Tip) { c.PerDay = 1 }, []limit.TrialNot{{Why: limit.DayFull, Few: true}}},
		"five an hour":                    {func(_ *tip.Config, t *tip.Tip) { t.PerHour = 5 }, []limit.TrialNot{{Why: limit.HourFull, Few: true}}},
		"one an hour":                     {func(_ *tip.Config, t *tip.Tip) { t.PerHour = 1 }, []limit.TrialNot{{Why: limit.HourFull, Units: 11}}},
		"quiet hours": {func(c *tip.Config, _ *tip.Tip) {
			c.Quiet = func(_ context.Context, _ fleet.Owner, now time.Time) (time.Time, error) {
				return now.AddDate(0, 0, 30), nil
			}
		}, []limit.TrialNot{{Why: limit.InQuiet, Units: 12}}},
		"half of them by lot": {func(_ *tip.Config, t *tip.Tip) { half := 50.0; t.Holdout = &half }, []limit.TrialNot{{Why: limit.ByLot, Few: true}}},
	} {
		c, try := config, humid()
		x.change(&c, &try)
		got, err := tip.NewService(c).Try(ctx, try, start.AddDate(0, 0, -7), start)
		require.NoError(t, err, name)
		require.Equal(t, x.not, got.Not, name)
		require.Less(t, got.Would, 12, name)
	}
	require.NoError(t, s.store.SetSwitch(ctx, "o1", humid().Name, true))
	off, err := service.Try(ctx, humid(), start.AddDate(0, 0, -7), start)
	require.NoError(t, err)
	require.Equal(t, []any{true, []limit.TrialNot{{Why: limit.SwitchedOff, Units: 10}}}, []any{off.Few, off.Not})
}
