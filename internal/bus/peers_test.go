package bus_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/peer/natsd"
)

// A word is told when all others have taken it in; one that cannot hear may
// take nothing by then.
func TestPeers(t *testing.T) {
	t.Parallel()
	server := natsd.Start(t)
	open := func() *bus.Bus {
		b, err := bus.Open(t.Context(), bus.Config{URL: server.URL}, quiet)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b
	}
	var mu sync.Mutex
	heard, gaps := map[string][]string{}, map[string]int{}
	failing := 1 // of b, once
	join := func(id string, keeper bool) (p *bus.Peers, leave func()) {
		p = open().Peers(id, keeper, func(_ context.Context, word []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if id == "b" && failing > 0 {
				failing--
				return errors.New("not now")
			}
			heard[id] = append(heard[id], string(word))
			return nil
		}, func() {
			mu.Lock()
			defer mu.Unlock()
			gaps[id]++
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		leave = sync.OnceFunc(func() {
			cancel()
			require.NoError(t, <-done)
		})
		t.Cleanup(leave)
		return p, leave
	}
	b, _ := join("b", false)
	time.Sleep(50 * time.Millisecond)
	require.Error(t, b.Leased(), "there is no keeper yet")
	keeper, end := join("keeper", true)
	c, leave := join("c", false)
	for _, p := range []*bus.Peers{b, c} {
		require.Eventually(t, func() bool { return p.Leased() == nil }, time.Minute, 10*time.Millisecond)
	}
	require.NoError(t, keeper.Leased())

	require.NoError(t, keeper.Tell(t.Context(), []byte("one")))
	mu.Lock()
	require.Equal(t, "one", heard["b"][0], "it was told again")
	require.Equal(t, "one", heard["c"][0])
	require.Empty(t, heard["keeper"], "nobody hears himself")
	for _, id := range []string{"b", "c"} { // again where the machine stood still for longer than a lease
		require.Positive(t, gaps[id])
	}
	mu.Unlock()

	leave()
	begin := time.Now()
	require.NoError(t, keeper.Tell(t.Context(), []byte("two")))
	require.Error(t, c.Leased(), "it may take nothing when the others believe so")
	require.Greater(t, time.Since(begin), 5*time.Second)
	require.Eventually(t, func() bool { return b.Leased() == nil }, time.Minute, 10*time.Millisecond)
	mu.Lock()
	require.Contains(t, heard["b"], "two")
	require.NotContains(t, heard["c"], "two")
	before := gaps["b"]
	mu.Unlock()

	// Another keeper comes within a lease: what the first had not told any more is read anew, and what the other
	// tells before anybody has asked it is heard.
	end()
	join("another", true)
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return gaps["b"] > before
	}, time.Minute, 10*time.Millisecond)
	early := open().Peers("early", true, nil, nil)
	require.NoError(t, early.Tell(t.Context(), []byte("three")))
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(heard["b"], "three")
	}, time.Minute, 10*time.Millisecond)
}
