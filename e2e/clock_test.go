package e2e

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/telemetry"
)

// A clock that is set back and forth, also while the server is down, loses
// nothing, and receive times never go back in the stream: detectors run on them.
func TestClockIsStepped(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "step")
	step := func(off string) {
		require.NoError(t, os.WriteFile(file+".new", []byte(off), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
	}
	step("0s")
	s := serve(t, "--dev", "--clock-step", file)
	d := s.drive(load{units: 15, most: 1 << 20, every: 2 * time.Millisecond, seed: 4})
	for i, off := range []string{"2h", "-3h", "20m", "-5h", "3h", "-1h", "30s", "0s"} {
		d.served(300)
		if i%3 == 1 { // while nothing runs
			d.kill()
			step(off)
			d.start()
			continue
		}
		step(off)
	}
	d.served(300)
	d.finish()
	d.checked()
	s.stop()

	b, err := bus.Open(t.Context(), bus.Config{Dir: filepath.Join(s.dir, "stream"), MaxBytes: 8 << 30}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	last, err := b.Last(t.Context())
	require.NoError(t, err)
	var newest int64
	whole := errors.New("all are read")
	err = b.Consume(t.Context(), 0, 100, func(_ context.Context, batches []telemetry.Sequenced) error {
		for _, e := range batches {
			for _, r := range e.Batch.Rows {
				require.GreaterOrEqual(t, r.Received, newest, "entry %d", e.Seq)
				newest = r.Received
			}
			for _, m := range e.Batch.Marks {
				require.GreaterOrEqual(t, m.At, newest, "entry %d", e.Seq)
				newest = m.At
			}
			if e.Seq == last {
				return whole
			}
		}
		return nil
	})
	require.ErrorIs(t, err, whole)
	require.Greater(t, newest, time.Now().Add(90*time.Minute).UnixMilli(), "the steps were seen")
}
