package prognosis_test

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/telemetry"
)

// noisy is history with noise in it, as recorded units have.
type noisy struct {
	*wearing
	rng  *rand.Rand
	peak atomic.Uint64 // of the heap, now and then while it is read
	read int
}

func (n *noisy) Windows(ctx context.Context, q telemetry.WindowQuery, fn func(*telemetry.Window) error) error {
	return n.wearing.Windows(ctx, q, func(w *telemetry.Window) error {
		if n.read++; n.read%100_000 == 0 {
			n.look()
		}
		s := &w.Stats[0]
		s.Sum += 0.1 * n.rng.NormFloat64()
		s.Min, s.Max = s.Min-0.05*n.rng.Float64(), s.Max+0.05*n.rng.Float64()
		return fn(w)
	})
}

func (n *noisy) look() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	n.peak.Store(max(n.peak.Load(), m.HeapInuse))
}

// Ten thousand units of which one in 25 has failed: what one turn costs that
// learns and predicts for all, and one that only predicts. The figures stand in
// docs/benchmarks.md.
func TestSoakTenThousand(t *testing.T) {
	if os.Getenv("FETTLE_SOAK") == "" {
		t.Skip("10,000 units: set FETTLE_SOAK")
	}
	const units, failed, days = 10_000, 400, 120
	w := newWorld(t, units)
	h := &noisy{wearing: w.history, rng: rand.New(rand.NewPCG(10, 4))}
	w.config.History, w.config.Learner, w.config.Told = h, prognosis.Trees{}, nil
	w.manager = prognosis.NewManager(w.config)
	for key := range w.history.life {
		w.history.life[key] = 130 + 1000*h.rng.Float64()
		if key <= failed {
			w.history.life[key] = 60 + 50*h.rng.Float64()
		}
	}
	w.clock.Advance(days * day)
	w.wearOut()
	for _, what := range []string{"learn and predict", "predict"} {
		runtime.GC()
		h.look()
		h.peak.Store(0)
		began := time.Now()
		w.step()
		h.look()
		s := w.status()
		require.Equal(t, units, s.Counts.Heading+s.Counts.Watch+s.Counts.OK+s.Counts.Unknown)
		require.Positive(t, s.Model, s.Why)
		t.Logf("%s: %v, heap at most %d MiB, windows read %d; %+v", what, time.Since(began).Round(time.Millisecond), h.peak.Load()>>20, h.read, s.Counts)
		w.clock.Advance(day)
		h.read = 0
	}
}
