package condition_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/condition"
	watching "fettle.dev/fettle/internal/condition/watch"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/telemetry"
)

// filled is history that holds the first batches.
func filled(batches []*telemetry.Batch) *recorded {
	h := &recorded{seen: map[sample]bool{}}
	for i, b := range batches {
		h.append(uint64(i+1), b)
	}
	return h
}

func (h *recorded) Applied(context.Context) (uint64, error) { return h.applied, nil }

// outlasting are the findings of a backtest that were not over at a position.
func outlasting(t require.TestingT, h *recorded, position uint64) map[string]condition.Finding {
	out := map[string]condition.Finding{}
	for _, d := range detectors() {
		trial := condition.Trial{History: h, Product: charger(), Detector: d, Units: units()}
		all, err := trial.Run(context.Background())
		require.NoError(t, err)
		for _, f := range all.Findings {
			out[f.ID] = f
		}
		if trial.UpTo = position; position == 0 {
			continue
		}
		before, err := trial.Run(context.Background())
		require.NoError(t, err)
		for _, f := range before.Findings {
			if f.State != condition.Open {
				delete(out, f.ID)
			}
		}
	}
	return out
}

// Detectors that are switched on at some time find from there on what a
// backtest finds: they don't start blind.
func TestSwitchedOnIsBacktest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		batches := stream(t, rapid.IntRange(1, 250).Draw(t, "steps"))
		on := rapid.IntRange(0, len(batches)).Draw(t, "switched on")
		stored := rapid.IntRange(0, on).Draw(t, "in history")
		h := filled(batches)
		evaluator := func(ds []condition.Detector) *condition.Evaluator {
			e, err := condition.NewEvaluator(directory, []condition.Definition{{Product: charger(), Detectors: ds}})
			require.NoError(t, err)
			return e
		}
		feed := func(e *condition.Evaluator, batches []*telemetry.Batch) {
			for _, b := range batches {
				for j := range b.Rows {
					require.NoError(t, e.Row(ctx, &b.Rows[j]))
				}
				for j := range b.Marks {
					require.NoError(t, e.Mark(ctx, &b.Marks[j]))
				}
			}
		}
		all := detectors()
		running := rapid.IntRange(0, len(all)).Draw(t, "running before")
		live, learning := evaluator(all[:running]), evaluator(all[running:])
		states := map[int64]condition.State{}
		evicting(live, states, 0, rapid.SampledFrom([]int{0, 1 << 30}).Draw(t, "at once"))
		feed(live, batches[:on])
		if stored > 0 {
			keys := []int64{}
			for _, u := range units() {
				keys = append(keys, u.Key)
			}
			q := telemetry.Query{Product: "wall-charger", Units: keys, Signals: learning.Signals("wall-charger"), UpTo: uint64(stored)}
			require.NoError(t, h.Replay(ctx, q, func(row *telemetry.Stored, mark *telemetry.StoredMark) error {
				if mark != nil {
					return learning.Mark(ctx, &mark.Mark)
				}
				return learning.Row(ctx, &row.Row)
			}))
			learning.Drain(func(*condition.Finding) {})
		}
		feed(learning, batches[stored:on])
		found := map[string]condition.Finding{}
		keep := func() condition.Changes {
			c := take(t, live)
			for _, f := range c.Findings {
				found[f.ID] = f
			}
			for _, s := range c.States {
				states[s.UnitKey] = s
			}
			live.Keeps()
			return c
		}
		keep()
		require.NoError(t, live.Adopt([]condition.Definition{{Product: charger(), Detectors: all}}, []*condition.Evaluator{learning}))
		opened := []condition.Finding{}
		if rapid.Bool().Draw(t, "kept at once") {
			opened = keep().Opened
		}
		feed(live, batches[on:])
		c := keep()
		have, want := map[string]condition.Finding{}, map[string]condition.Finding{}
		over := outlasting(t, h, uint64(stored))
		for _, d := range all[running:] {
			for id, f := range found {
				if f.Detector == d.Ref() {
					have[id] = f
				}
			}
			for id, f := range over {
				if f.Detector == d.Ref() {
					want[id] = f
				}
			}
		}
		require.Equal(t, want, have)
		told := map[string]bool{}
		for _, f := range append(opened, c.Opened...) {
			require.False(t, told[f.ID], "told once")
			told[f.ID] = true
		}
		for id := range want {
			require.True(t, told[id], "told")
		}
	})
}

// A watcher has a new detector learn from history, beside the stream that goes
// on, and again if it is stopped meanwhile.
func TestWatcherWarmsNewDetectors(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	equip(t, db, false)
	batches := example(7)
	h := filled(batches)
	h.applied = uint64(len(batches) / 3)
	run := func(until func(w *watching.Watcher) bool) {
		w := watching.New(watching.Config{
			Stream: &played{batches: batches, pause: 300 * time.Microsecond}, Store: db.Condition(), Fleet: db.Fleet(), Tx: db, Lessons: h,
			Prompt: 5 * time.Millisecond, Idle: 10 * time.Millisecond, Memory: 1,
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		require.Eventually(t, func() bool { return until(w) }, time.Minute, time.Millisecond)
		cancel()
		require.NoError(t, <-done)
	}
	run(func(w *watching.Watcher) bool { return w.Position() > uint64(len(batches)/4) })
	declare(t, db)
	run(func(*watching.Watcher) bool { return true })
	want := outlasting(t, h, h.applied)
	have := func() map[string]condition.Finding {
		out := map[string]condition.Finding{}
		for _, d := range detectors() {
			fs, err := db.Condition().Findings(t.Context(), condition.FindingFilter{Detector: d.Name})
			require.NoError(t, err)
			for _, f := range fs {
				out[f.ID] = f
			}
		}
		return out
	}
	run(func(w *watching.Watcher) bool {
		return w.Position() == uint64(len(batches)) && len(have()) >= len(want)
	})
	require.Greater(t, len(want), 10)
	require.Equal(t, want, have())
}
