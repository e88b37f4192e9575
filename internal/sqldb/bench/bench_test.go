package bench_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	store "fettle.dev/fettle/internal/sqldb/bench"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update/bench"
)

func TestStore(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		s, ctx := store.New(db), t.Context()
		for want := range int64(12) {
			n, err := s.Next(ctx, bench.KindSet)
			require.NoError(t, err)
			require.Equal(t, want+1, n)
		}
		n, err := s.Next(ctx, bench.KindModule)
		require.NoError(t, err)
		require.Equal(t, int64(1), n, "each kind counts by itself")
		for _, name := range []string{"10", "9", "2"} {
			require.NoError(t, s.Put(ctx, bench.KindSet, name, []byte(name)))
		}
		require.NoError(t, s.Put(ctx, bench.KindSet, "2", []byte{0, 255}))
		require.NoError(t, s.Put(ctx, bench.KindToken, "WC-1", []byte("sealed")))
		var names []string
		require.NoError(t, s.Each(ctx, bench.KindSet, func(name string, _ []byte) error {
			names = append(names, name)
			return nil
		}))
		require.Equal(t, []string{"2", "9", "10"}, names, "as numbers")
		doc, err := s.Get(ctx, bench.KindSet, "2")
		require.NoError(t, err)
		require.Equal(t, []byte{0, 255}, doc)
		require.NoError(t, s.Drop(ctx, bench.KindSet, "2"))
		require.Equal(t, fault.NotFound, fault.KindOf(s.Drop(ctx, bench.KindSet, "2")))
		_, err = s.Get(ctx, bench.KindSet, "WC-1")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
}
