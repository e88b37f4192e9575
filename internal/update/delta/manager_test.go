package delta_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/blob"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	store "fettle.dev/fettle/internal/sqldb/delta"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/delta"
	unit "fettle.dev/fettle/unitkit/delta"
)

type world struct {
	*campaigntest.World
	t      *testing.T
	deltas *delta.Manager
	store  delta.Store
	dir    string
	room   error
}

func newWorld(t *testing.T, db *sqldb.DB, units int) *world {
	t.Helper()
	w := &world{World: campaigntest.New(t, db, units), t: t, dir: t.TempDir(), store: store.New(db)}
	log := slog.New(slog.DiscardHandler)
	require.NoError(t, w.Updates.Delete(t.Context(), campaigntest.Release))
	w.deltas = delta.NewManager(delta.Config{
		Store: w.store, Releases: db.Update(), Blobs: w.Blobs, Clock: w.Clock, Wall: clock.Real{}, Log: log, Dir: w.dir,
		Room: func(int64) error { return w.room }, Apply: apply,
	})
	return w
}

// apply is what units do.
func apply(patch io.Reader, old []byte, length int64, sha256 string, window int64) error {
	want := unit.Want{Length: length, SHA256: sha256, Window: uint64(window)}
	if old == nil {
		return unit.Expand(io.Discard, patch, nil, want)
	}
	return unit.Apply(io.Discard, patch, old, want)
}

func (w *world) release(version string, image []byte) update.Release {
	w.t.Helper()
	a, err := w.Updates.PutArtifact(w.t.Context(), bytes.NewReader(image), "charger-"+version+".swu")
	require.NoError(w.t, err)
	r := update.Release{
		Name: "charger-" + version, Product: campaigntest.Product, Version: version, Kind: update.Fix, Minutes: 5,
		Notes: map[string]string{"en": "Better."}, Artifact: "sha256:" + a.SHA256,
	}
	require.NoError(w.t, w.Updates.Put(w.t.Context(), r))
	r, err = w.Updates.Release(w.t.Context(), r.Name)
	require.NoError(w.t, err)
	return r
}

func (w *world) reports(n int, version string) {
	w.t.Helper()
	require.NoError(w.t, w.DB.Fleet().SetVersions(w.t.Context(), campaigntest.UnitID(n), map[string]string{"software": version}, w.Clock.Now()))
}

func (w *world) settle() (made int) {
	w.t.Helper()
	for {
		again, err := w.deltas.Pass(w.t.Context())
		require.NoError(w.t, err)
		if !again {
			return made
		}
		made++
		require.Less(w.t, made, 50)
	}
}

func (w *world) table(r update.Release) map[string]delta.Row {
	w.t.Helper()
	list, err := w.deltas.Table(w.t.Context(), &r)
	require.NoError(w.t, err)
	out := map[string]delta.Row{}
	for _, row := range list {
		require.NotContains(w.t, out, row.Version)
		out[row.Version] = row
	}
	return out
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

func TestDeltasAreMadeForTheVersionsInTheField(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) *sqldb.DB{"sqlite": sqldbtest.SQLite, "postgres": sqldbtest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, open(t), 6)
			first, second := pair(t, 400_000)
			third := append(bytes.Clone(second[:100_000]), second[101_000:]...)
			other := noise(3, 300_000)
			one, two := w.release("1.0.0", first), w.release("1.1.0", second)
			w.release("0.1.0", other)
			w.release("0.5.0", noise(4, 1000)) // no unit has it
			three := w.release("2.0.0", third)
			require.Greater(t, three.Counter, two.Counter)
			w.reports(4, "1.1.0")
			w.reports(5, "0.1.0")
			w.reports(6, "0.0.9") // nobody has uploaded it
			require.Equal(t, delta.Waiting, w.table(three)["1.0.0"].State)

			require.Equal(t, 4, w.settle(), "alone, from 1.0.0, 1.1.0 and 0.1.0")
			rows := w.table(three)
			require.Len(t, rows, 5)
			full := int64(len(third))
			most, next, unlike, unknown, none := rows["1.0.0"], rows["1.1.0"], rows["0.1.0"], rows["0.0.9"], rows[""]
			require.Equal(t, 3, most.Units)
			require.Equal(t, delta.Ready, most.State)
			require.Equal(t, "dcz", most.Coding)
			require.Equal(t, "zstd", none.Coding)
			require.Less(t, none.Size, full)
			require.Less(t, most.Size, none.Size/2)
			require.Less(t, next.Size, most.Size)
			require.Equal(t, delta.Larger, unlike.State, "of noise nothing can be told")
			require.Equal(t, none.Size, unlike.Size)
			require.Equal(t, none.Size, unknown.Size)
			require.Equal(t, 1, unknown.Units)
			for v, row := range rows {
				require.LessOrEqual(t, row.Size, none.Size, v)
				require.Equal(t, full, row.Full, v)
			}
			require.Empty(t, w.table(two)["1.0.0"].Coding, "older releases have none")

			// What is served gives the image.
			d, err := w.deltas.Ready(t.Context(), three.ArtifactSHA256(), one.ArtifactSHA256(), unit.MostWindow)
			require.NoError(t, err)
			f, err := w.Blobs.Open(t.Context(), d.SHA256)
			require.NoError(t, err)
			defer func() { _ = f.Close() }()
			var got bytes.Buffer
			require.NoError(t, unit.Apply(&got, f, first, want(third)))
			require.True(t, bytes.Equal(third, got.Bytes()))
			by, err := w.deltas.BySHA256(t.Context(), d.SHA256)
			require.NoError(t, err)
			require.Equal(t, d, by)
			_, err = w.deltas.Ready(t.Context(), three.ArtifactSHA256(), one.ArtifactSHA256(), 1000)
			require.Equal(t, fault.NotFound, fault.KindOf(err), "more memory than the unit gives")

			require.Zero(t, w.settle(), "once is enough")
			left, err := os.ReadDir(w.dir)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestTheSizeIsThatOfWhatTheUnitFetches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 2)
	first, second := pair(t, 200_000)
	w.release("1.0.0", first)
	two := w.release("2.0.0", second)
	w.settle()
	size := func(n int) int64 {
		u, err := w.DB.Fleet().Unit(t.Context(), campaigntest.UnitID(n))
		require.NoError(t, err)
		size, err := w.deltas.Size(t.Context(), &two, &u)
		require.NoError(t, err)
		return size
	}
	require.EqualValues(t, len(second), size(1), "a stock client fetches the whole image")
	require.NoError(t, w.Updates.SetAttributes(t.Context(), campaigntest.UnitID(1), update.AttributesMerge, map[string]string{delta.Takes: "dcz"}))
	require.Equal(t, w.table(two)["1.0.0"].Size, size(1))
	require.EqualValues(t, len(second), size(2))
}

func TestNothingIsMadeOfWhatWasWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 1)
	first, second := pair(t, 100_000)
	w.release("1.0.0", first)
	two := w.release("2.0.0", second)
	_, err := w.Updates.Withdraw(t.Context(), two.Name, "test", "it was bad")
	require.NoError(t, err)
	require.Zero(t, w.settle())
}

// A failure is told, and tried again after a while; a full disk is one.
func TestAFailureIsToldAndTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 1)
	first, second := pair(t, 100_000)
	w.release("1.0.0", first)
	two := w.release("2.0.0", second)
	w.room = errors.New("no room for 8 MiB more")
	require.Equal(t, 2, w.settle())
	row := w.table(two)["1.0.0"]
	require.Equal(t, delta.Failed, row.State)
	require.Contains(t, row.Why, "no room for 8 MiB more")
	require.Equal(t, row.Full, row.Size, "the whole image is served")
	w.room = nil
	require.Zero(t, w.settle(), "not at once")
	w.Clock.Advance(2 * 3600e9)
	require.Equal(t, 2, w.settle())
	require.Equal(t, delta.Ready, w.table(two)["1.0.0"].State)
}

// What is beyond the reach of a delta is told as such, before a byte of it is
// read: the whole image is served.
func TestWhatIsTooLargeIsNotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 1)
	first, second := pair(t, 100_000)
	one := w.release("1.0.0", first)
	two := w.release("2.0.0", second)
	a, err := w.Updates.Artifact(t.Context(), one.ArtifactSHA256())
	require.NoError(t, err)
	a.Size = delta.MostImage + 1
	require.NoError(t, w.DB.Update().PutArtifact(t.Context(), a))
	require.NoError(t, w.Blobs.Delete(t.Context(), a.SHA256))
	require.Equal(t, 2, w.settle())
	row := w.table(two)["1.0.0"]
	require.Equal(t, delta.Larger, row.State)
	require.Contains(t, row.Why, "2 GiB")
	require.Less(t, row.Size, row.Full, "the image alone is compressed all the same")
	w.Clock.Advance(24 * 3600e9)
	require.Zero(t, w.settle(), "it is not tried again")
}

// What a disk has changed under us is noticed before a unit fetches it.
func TestADamagedImageGivesNoDelta(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newWorld(t, sqldbtest.SQLite(t), 1)
	first, second := pair(t, 100_000)
	b, err := blob.Open(t.Context(), dir)
	require.NoError(t, err)
	w.release("1.0.0", first)
	two := w.release("2.0.0", second)
	sum := two.ArtifactSHA256()
	r, err := w.Blobs.Open(t.Context(), sum)
	require.NoError(t, err)
	whole, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, b.Put(t.Context(), sum, bytes.NewReader(whole)))
	whole[50_000] ^= 1
	require.NoError(t, os.WriteFile(filepath.Join(dir, sum), whole, 0o600))
	m := delta.NewManager(delta.Config{
		Store: w.store, Releases: w.DB.Update(), Blobs: b, Clock: w.Clock, Wall: clock.Real{}, Log: slog.New(slog.DiscardHandler), Dir: w.dir, Apply: apply,
	})
	_, err = m.Pass(t.Context())
	require.NoError(t, err)
	row := w.table(two)[""]
	require.Equal(t, delta.Failed, row.State)
	require.Contains(t, row.Why, unit.ErrHash.Error())
}
