package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStagesStopInOrder(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var order []string
	stopper := func(name string) part {
		return part{name, func(ctx context.Context) error {
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			return nil
		}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := runStages(ctx, slog.New(slog.DiscardHandler), time.Second, []part{stopper("doors")}, []part{stopper("gateway")}, []part{stopper("history")})
	require.NoError(t, err)
	require.Equal(t, []string{"doors", "gateway", "history"}, order)
}

func TestAPartThatFailsStopsTheOthers(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	stopped := false
	err := runStages(t.Context(), slog.New(slog.DiscardHandler), time.Second,
		[]part{{"doors", func(ctx context.Context) error { <-ctx.Done(); stopped = true; return nil }}},
		[]part{{"writer", func(context.Context) error { return boom }}})
	require.ErrorIs(t, err, boom)
	require.ErrorContains(t, err, "writer")
	require.True(t, stopped)
}
