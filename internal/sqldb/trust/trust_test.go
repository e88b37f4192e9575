package trust_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	store "fettle.dev/fettle/internal/sqldb/trust"
	"fettle.dev/fettle/internal/update/trust"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestStore(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		ctx, s := t.Context(), store.New(db)
		missing := func(err error) {
			t.Helper()
			require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
		}

		_, err := s.Metadata(ctx, "image", "root", 0)
		missing(err)
		for v := int64(1); v <= 12; v++ {
			require.NoError(t, s.PutMetadata(ctx, "image", "root", v, []byte{byte(v)}, start))
		}
		require.NoError(t, s.PutMetadata(ctx, "director", "root", 3, []byte("d"), start))
		b, err := s.Metadata(ctx, "image", "root", 0)
		require.NoError(t, err)
		require.Equal(t, []byte{12}, b, "the newest by number, not by text")
		b, err = s.Metadata(ctx, "image", "root", 2)
		require.NoError(t, err)
		require.Equal(t, []byte{2}, b)
		require.NoError(t, s.TrimMetadata(ctx, "image", "root", 12))
		_, err = s.Metadata(ctx, "image", "root", 11)
		missing(err)
		_, err = s.Metadata(ctx, "image", "root", 12)
		require.NoError(t, err)
		_, err = s.Metadata(ctx, "director", "root", 3)
		require.NoError(t, err)

		for _, k := range []trust.SealedKey{{Name: "snapshot", Sealed: []byte("old"), At: start}, {Name: "director", Sealed: []byte("stays"), At: start}, {Name: "snapshot", Next: true, Sealed: []byte("new"), At: start}} {
			require.NoError(t, s.PutKey(ctx, k))
		}
		keys, err := s.Keys(ctx)
		require.NoError(t, err)
		require.Len(t, keys, 3)
		require.NoError(t, s.Promote(ctx, "snapshot"))
		keys, err = s.Keys(ctx)
		require.NoError(t, err)
		require.Equal(t, []trust.SealedKey{{Name: "director", Sealed: []byte("stays"), At: start}, {Name: "snapshot", Sealed: []byte("new"), At: start}}, keys)

		require.NoError(t, s.Require(ctx, trust.Requirement{Product: "p", At: start, By: "ann"}))
		require.NoError(t, s.Require(ctx, trust.Requirement{Product: "p", At: start.Add(time.Hour), By: "bob"}))
		list, err := s.Required(ctx)
		require.NoError(t, err)
		require.Equal(t, []trust.Requirement{{Product: "p", At: start, By: "ann"}}, list, "the first counts")
		require.NoError(t, s.Release(ctx, "p"))
		list, err = s.Required(ctx)
		require.NoError(t, err)
		require.Empty(t, list)

		_, err = s.Reporter(ctx, "u")
		missing(err)
		r := trust.Reporter{Unit: "u", Key: []byte("k"), Sequence: math.MaxInt64, At: start, Report: []byte("r")}
		require.NoError(t, s.PutReporter(ctx, r))
		got, err := s.Reporter(ctx, "u")
		require.NoError(t, err)
		require.Equal(t, r, got)
		r.Sequence++
		require.Error(t, s.PutReporter(ctx, r))
		require.NoError(t, s.ForgetReporter(ctx, "u"))
		_, err = s.Reporter(ctx, "u")
		missing(err)

		n, err := s.Ceiling(ctx)
		require.NoError(t, err)
		require.Zero(t, n)
		require.NoError(t, s.PutCeiling(ctx, 5))
		require.NoError(t, s.PutCeiling(ctx, 7))
		n, err = s.Ceiling(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 7, n)
	})
}
