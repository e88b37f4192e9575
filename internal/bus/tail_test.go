package bus

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/telemetry"
)

func TestTail(t *testing.T) {
	t.Parallel()
	one, two, three := &telemetry.Batch{Product: "1"}, &telemetry.Batch{Product: "2"}, &telemetry.Batch{Product: "3"}
	tl := newTail()
	r := &reader{}
	got, changed, behind := tl.take(r, 10)
	require.Empty(t, got)
	require.False(t, behind)
	tl.put(2, two, 10) // publishers side by side finish in any order
	<-changed
	got, _, behind = tl.take(r, 10)
	require.Empty(t, got)
	require.True(t, behind, "2 is there, 1 is not")
	tl.put(1, one, 10)
	tl.put(3, three, 10)
	got, _, _ = tl.take(r, 2)
	require.Equal(t, []telemetry.Sequenced{{Seq: 1, Batch: one}, {Seq: 2, Batch: two}}, got)

	late := &reader{}
	_, _, _ = tl.take(late, 1)
	tl.advance(r, 2)
	require.True(t, tl.has(1), "another reader has not taken it")
	tl.advance(late, 3)
	tl.advance(r, 3)
	require.Empty(t, tl.entries)
	require.Zero(t, tl.bytes)

	tl.put(4, one, maxTail) // too much: the oldest goes, whoever has not taken it
	tl.put(5, two, maxTail)
	require.False(t, tl.has(4))
	_, _, behind = tl.take(r, 1)
	require.True(t, behind)
	tl.leave(r)
	tl.leave(late)
	require.True(t, tl.has(5))

	for i := range uint64(10) {
		tl.put(6+i, one, handBytes/4)
	}
	for _, limit := range []int{3, 10} { // entries, then bytes
		got, _, _ = tl.take(&reader{at: 5}, limit)
		require.Len(t, got, min(limit, 4))
	}
}

// A consumer that is behind is handed a little at once, whatever it may be
// handed by number.
func TestLittleIsHandedAtOnce(t *testing.T) {
	t.Parallel()
	cfg := Config{Dir: t.TempDir()}
	b, err := Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	const entries = 30
	text := strings.Repeat("x", handBytes/4)
	for i := range entries {
		require.NoError(t, b.Publish(t.Context(), &telemetry.Batch{Product: "p", Rows: []telemetry.Row{{Unit: int64(i), Values: []telemetry.Value{{Signal: "s", IsText: true, Text: text}}}}}))
	}
	require.NoError(t, b.Close())
	b, err = Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { _ = b.Close() }()
	enough := errors.New("enough")
	most, got := 0, 0
	err = b.Consume(t.Context(), 0, 256, func(_ context.Context, batches []telemetry.Sequenced) error {
		most, got = max(most, len(batches)), got+len(batches)
		time.Sleep(time.Millisecond) // others come meanwhile
		if got == entries {
			return enough
		}
		return nil
	})
	require.ErrorIs(t, err, enough)
	require.LessOrEqual(t, most, 4)
}

// A consumer that falls behind the tail, and one that comes after entries were
// published by a process before, get every entry once and in order.
func TestConsumersFallBehindAndCatchUp(t *testing.T) {
	t.Parallel()
	cfg := Config{Dir: t.TempDir()}
	b, err := Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	publish := func(i int) {
		t.Helper()
		require.NoError(t, b.Publish(t.Context(), &telemetry.Batch{Product: "p", Rows: []telemetry.Row{{Unit: int64(i)}}}))
	}
	for i := range 20 {
		publish(i)
	}
	require.NoError(t, b.Close())
	b, err = Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { _ = b.Close() }()

	enough := errors.New("enough")
	var next uint64 = 1
	err = b.Consume(t.Context(), 0, 4, func(_ context.Context, batches []telemetry.Sequenced) error {
		for _, e := range batches {
			require.Equal(t, next, e.Seq)
			require.Equal(t, int64(next-1), e.Batch.Rows[0].Unit)
			switch next++; next {
			case 10, 25: // while it is busy more comes, some of which the tail loses
				from := 20
				if next == 25 {
					from = 40
				}
				for i := range 20 {
					publish(from + i)
				}
				b.tail.mu.Lock()
				for seq := range b.tail.entries {
					if seq%7 == 0 {
						delete(b.tail.entries, seq)
					}
				}
				b.tail.mu.Unlock()
			case 61:
				return enough
			}
		}
		return nil
	})
	require.ErrorIs(t, err, enough)

	// One that failed and was stored all the same is found when nothing else comes.
	_, err = b.js.Publish(t.Context(), b.subject(), telemetry.Encode(&telemetry.Batch{Product: "p", Rows: []telemetry.Row{{Unit: 60}}}))
	require.NoError(t, err)
	begun := time.Now()
	err = b.Consume(t.Context(), 60, 4, func(_ context.Context, batches []telemetry.Sequenced) error {
		require.EqualValues(t, 61, batches[0].Seq)
		return enough
	})
	require.ErrorIs(t, err, enough)
	require.Less(t, time.Since(begun), 2*lookAgain)
}
