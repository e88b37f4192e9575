package condition_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/condition"
	watching "fettle.dev/fettle/internal/condition/watch"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/telemetry"
)

// played is a stream that holds batches and gives them slowly.
type played struct {
	telemetry.Stream
	batches []*telemetry.Batch
	pause   time.Duration
}

func (s *played) Consume(ctx context.Context, from uint64, most int, handle func(context.Context, []telemetry.Sequenced) error) error {
	for i := int(from); i < len(s.batches); i++ {
		if i%3 == 0 {
			select {
			case <-time.After(s.pause):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := handle(ctx, []telemetry.Sequenced{{Seq: uint64(i + 1), Batch: s.batches[i]}}); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func example(seed int) []*telemetry.Batch {
	return rapid.Custom(func(t *rapid.T) []*telemetry.Batch { return stream(t, 4000) }).Example(seed)
}

// equip puts the product and the units into the records, and the detectors
// where they are to be watched at once.
func equip(t *testing.T, db *sqldb.DB, watched bool) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, db.Fleet().PutProduct(ctx, charger()))
	us := units()
	for i := range us {
		us[i].Serial, us[i].State, us[i].CreatedAt = us[i].ID, fleet.UnitActive, start
	}
	require.NoError(t, db.Fleet().PutUnits(ctx, us))
	if !watched {
		return
	}
	declare(t, db)
}

// declare puts the detectors into the records.
func declare(t *testing.T, db *sqldb.DB) {
	t.Helper()
	p := charger()
	for _, d := range detectors() {
		basis := condition.BasisOf(&p, &d)
		d.Basis = &basis
		_, err := db.Condition().PutDetector(t.Context(), d)
		require.NoError(t, err)
	}
}

func watcher(db *sqldb.DB, s telemetry.Stream) *watching.Watcher {
	return watching.New(watching.Config{
		Stream: s, Store: db.Condition(), Fleet: db.Fleet(), Tx: db, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Prompt: 5 * time.Millisecond, Idle: 20 * time.Millisecond, Memory: 1, // all that may go goes
		Told: tellOnce(db),
	})
}

// tellOnce notes what was told; telling twice fails, since a comment's id may
// be used once.
func tellOnce(db *sqldb.DB) func(ctx context.Context, opened, cleared []condition.Finding) error {
	return func(ctx context.Context, opened, cleared []condition.Finding) error {
		for what, fs := range map[string][]condition.Finding{"opened": opened, "cleared": cleared} {
			for _, f := range fs {
				if err := db.Condition().AddComment(ctx, condition.Comment{ID: what + f.ID, FindingID: f.ID, By: what, At: start, Text: what}); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// TestWatcherChild is the process that TestWatcherSurvivesKill kills.
func TestWatcherChild(t *testing.T) {
	t.Parallel()
	dsn := os.Getenv("FETTLE_TEST_WATCH")
	if dsn == "" {
		t.Skip("run by TestWatcherSurvivesKill")
	}
	db, err := sqldb.Open(t.Context(), dsn)
	require.NoError(t, err)
	batches := example(7)
	w := watcher(db, &played{batches: batches, pause: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	require.Eventually(t, func() bool { return w.Position() == uint64(len(batches)) }, 2*time.Minute, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, db.Close())
}

// kill -9 at any time: nothing is lost, nothing is repeated, and what is found
// is what a backtest finds.
func TestWatcherSurvivesKill(t *testing.T) {
	t.Parallel()
	dsn := sqldbtest.SQLiteDSN(t)
	db, err := sqldb.Open(t.Context(), dsn)
	require.NoError(t, err)
	equip(t, db, true)
	require.NoError(t, db.Close())

	run := func(kill time.Duration) error {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWatcherChild$", "-test.v")
		cmd.Env = append(os.Environ(), "FETTLE_TEST_WATCH="+dsn)
		var out buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		require.NoError(t, cmd.Start())
		if kill > 0 {
			time.AfterFunc(kill, func() { _ = cmd.Process.Kill() })
		}
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	killed := 0
	for range 8 {
		if run(time.Duration(60+rand.IntN(500))*time.Millisecond) != nil {
			killed++
		}
	}
	require.NoError(t, run(0))
	require.Positive(t, killed)

	if db, err = sqldb.Open(t.Context(), dsn); err != nil {
		require.NoError(t, err)
	}
	defer func() { require.NoError(t, db.Close()) }()
	compare(t, db, example(7))
}

// compare checks that the records hold what a backtest finds.
func compare(t *testing.T, db *sqldb.DB, batches []*telemetry.Batch) {
	t.Helper()
	h := &recorded{seen: map[sample]bool{}}
	for i, b := range batches {
		h.append(uint64(i+1), b)
	}
	total := 0
	for _, d := range detectors() {
		trial := condition.Trial{History: h, Product: charger(), Detector: d, Units: units()}
		want, err := trial.Run(t.Context())
		require.NoError(t, err)
		have, err := db.Condition().Findings(t.Context(), condition.FindingFilter{Detector: d.Name})
		require.NoError(t, err)
		require.Len(t, have, len(want.Findings))
		byID := map[string]condition.Finding{}
		for _, f := range have {
			byID[f.ID] = f
			comments, err := db.Condition().Comments(t.Context(), f.ID)
			require.NoError(t, err)
			told := map[string]int{}
			for _, c := range comments {
				told[c.By]++
			}
			require.Equal(t, 1, told["opened"])
			if f.Late || f.State == condition.Open {
				require.Zero(t, told["cleared"])
			} else {
				require.Equal(t, 1, told["cleared"])
			}
		}
		for _, f := range want.Findings {
			require.Equal(t, f, byID[f.ID])
			total++
		}
	}
	require.Greater(t, total, 20, "the stream has something to find")
}

type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

func (b buffer) String() string { return string(b) }

// A failure of the records or of who is told stops nothing for good.
func TestWatcherStartsAgain(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	equip(t, db, true)
	batches := example(3)
	var calls atomic.Int32
	w := watching.New(watching.Config{
		Stream: &played{batches: batches, pause: 100 * time.Microsecond}, Store: db.Condition(), Fleet: db.Fleet(), Tx: db,
		Prompt: 5 * time.Millisecond, Idle: 20 * time.Millisecond, Memory: 1, Unkept: 1, // all that may go goes, at once
		Told: func(ctx context.Context, opened, cleared []condition.Finding) error {
			if n := calls.Add(1); n == 2 || n == 5 {
				return errors.New("the mail is out of paper")
			}
			return tellOnce(db)(ctx, opened, cleared)
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	require.Eventually(t, func() bool { return w.Position() == uint64(len(batches)) }, time.Minute, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	require.Greater(t, calls.Load(), int32(5))
	compare(t, db, batches)
}

// Whoever waits for the position need not wait until keeping is worth its cost.
func TestWatcherKeepsForWhoWaits(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	equip(t, db, true)
	batches := example(5)
	w := watching.New(watching.Config{
		Stream: &played{batches: batches, pause: time.Microsecond}, Store: db.Condition(), Fleet: db.Fleet(), Tx: db,
		Prompt: time.Millisecond, Idle: time.Hour,
	})
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- w.Run(ctx) }()
	require.Eventually(t, func() bool { return w.Awaited() == uint64(len(batches)) }, time.Minute, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}

// Exposures are told as they are, kept or not, and what is kept in the end is
// the same.
func TestWatcherTellsExposuresBeforeTheyAreKept(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	equip(t, db, true)
	batches := example(5)
	rows := uint64(0)
	for _, b := range batches {
		rows += uint64(len(b.Rows))
	}
	w := watching.New(watching.Config{
		Stream: &played{batches: batches, pause: time.Microsecond}, Store: db.Condition(), Fleet: db.Fleet(), Tx: db,
		Prompt: time.Millisecond, Idle: time.Hour,
	})
	units, err := db.Fleet().Units(t.Context(), fleet.Filter{})
	require.NoError(t, err)
	keys := make([]int64, len(units))
	for i := range units {
		keys[i] = units[i].Key
	}
	slices.Sort(keys)
	d := overheat()
	_, ok := w.Exposures(d.Ref(), keys)
	require.False(t, ok, "it does not run")
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- w.Run(ctx) }()
	require.Eventually(t, func() bool {
		seen := w.Rows() == rows
		told, ok := w.Exposures(d.Ref(), keys)
		return seen && ok && len(told) > 0
	}, time.Minute, time.Millisecond)
	require.Eventually(t, func() bool { return w.Awaited() == uint64(len(batches)) }, time.Minute, time.Millisecond)
	kept, err := db.Condition().Exposures(t.Context(), d.Ref(), nil)
	require.NoError(t, err)
	told, ok := w.Exposures(d.Ref(), keys)
	require.True(t, ok)
	require.NotEmpty(t, told)
	require.Subset(t, kept, told)
	cancel()
	require.NoError(t, <-done)
}

func TestWatcherTakesUpChangedDetectors(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	ctx := t.Context()
	require.NoError(t, db.Fleet().PutProduct(ctx, charger()))
	require.NoError(t, db.Fleet().PutUnits(ctx, []fleet.Unit{{ID: "WC-1", Key: 1, Product: "wall-charger", Serial: "1", State: fleet.UnitActive, CreatedAt: start}}))
	live := make(chan telemetry.Sequenced)
	var frozen atomic.Bool
	w := watching.New(watching.Config{
		Stream: channel{live}, Store: db.Condition(), Fleet: db.Fleet(), Tx: db, Prompt: time.Millisecond, Idle: time.Millisecond,
		Frozen: func(context.Context) ([]condition.Ref, error) {
			if frozen.Load() {
				return []condition.Ref{{Name: "quick", Version: 1}}, nil
			}
			return nil, nil
		},
	})
	service := condition.NewService(condition.Config{Store: db.Condition(), Fleet: db.Fleet(), Changed: w.Reload})
	go func() { _ = w.Run(ctx) }()
	seq := uint64(0)
	minute := 0
	send := func(temperature float64) {
		seq++
		minute++
		b := &telemetry.Batch{Product: "wall-charger"}
		if seq == 1 {
			b.Marks = []telemetry.Mark{{Kind: telemetry.MarkConsent, Unit: 1, At: minutes(0), Text: "care"}}
		} else {
			b.Rows = []telemetry.Row{{Unit: 1, Event: minutes(minute), Received: minutes(minute), Values: []telemetry.Value{
				{Signal: "plug_temperature", Number: temperature}, {Signal: "current", Number: 20},
			}}}
		}
		live <- telemetry.Sequenced{Seq: seq, Batch: b}
		require.Eventually(t, func() bool { return w.Position() == seq }, time.Minute, time.Millisecond)
	}
	open := func(version int) int {
		n, err := db.Condition().CountFindings(ctx, condition.FindingFilter{Detector: "quick", Version: version, State: condition.Open})
		require.NoError(t, err)
		return n
	}
	send(20)
	send(90)
	require.Zero(t, open(1), "no detector yet")

	d := detectors()[1]
	d, err := service.PutDetector(ctx, d)
	require.NoError(t, err)
	require.Equal(t, 1, d.Version)
	require.Eventually(t, func() bool { send(90); return open(1) == 1 }, time.Minute, 10*time.Millisecond)

	frozen.Store(true)
	d.Hysteresis = 1
	d, err = service.PutDetector(ctx, d)
	require.NoError(t, err)
	require.Equal(t, 2, d.Version)
	require.Eventually(t, func() bool { send(90); return open(2) == 1 }, time.Minute, 10*time.Millisecond)
	require.Equal(t, 1, open(1), "a campaign has frozen it")

	frozen.Store(false)
	w.Reload()
	require.Eventually(t, func() bool { send(90); return open(1) == 0 }, time.Minute, 10*time.Millisecond)
	require.NoError(t, service.DeleteDetector(ctx, "quick"))
	require.Eventually(t, func() bool { send(90); return open(2) == 0 }, time.Minute, 10*time.Millisecond)
}

type channel struct{ live chan telemetry.Sequenced }

func (channel) Publish(context.Context, *telemetry.Batch) error { return errors.ErrUnsupported }
func (channel) Last(context.Context) (uint64, error)            { return 0, nil }

func (c channel) Consume(ctx context.Context, _ uint64, _ int, handle func(context.Context, []telemetry.Sequenced) error) error {
	for {
		select {
		case b := <-c.live:
			if err := handle(ctx, []telemetry.Sequenced{b}); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
