package upload_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update/upload"
)

type world struct {
	*campaigntest.World
	t       *testing.T
	dir     string
	room    error
	uploads *upload.Service
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: campaigntest.New(t, sqldbtest.SQLite(t), 1), t: t, dir: t.TempDir()}
	w.restart()
	return w
}

// restart is the service as a new process has it.
func (w *world) restart() {
	w.t.Helper()
	var err error
	w.uploads, err = upload.New(upload.Config{
		Artifacts: w.Updates, Clock: w.Clock, IDs: clock.Random{}, Log: slog.New(slog.DiscardHandler), Dir: w.dir,
		Room: func(int64) error { return w.room },
	})
	require.NoError(w.t, err)
}

func image(n int) (b []byte, sum string) {
	b = make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	h := sha256.Sum256(b)
	return b, hex.EncodeToString(h[:])
}

func (w *world) begin(length int) upload.Upload {
	w.t.Helper()
	u, err := w.uploads.Create(w.t.Context(), "image.swu", int64(length), "")
	require.NoError(w.t, err)
	return u
}

func TestAnUploadGoesOnWhereItWasCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all, sum := image(80 << 20) // longer than what may be lost
	u := w.begin(len(all))
	dead := errors.New("the line went dead")
	got, err := w.uploads.Append(t.Context(), u.ID, 0, io.MultiReader(bytes.NewReader(all[:50<<20]), iotest.ErrReader(dead)))
	require.ErrorIs(t, err, dead)
	require.EqualValues(t, 50<<20, got.Offset, "what arrived stays")

	// A process that was killed has written more than it has recorded.
	f, err := os.OpenFile(filepath.Join(w.dir, "upload-"+u.ID+".bytes"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("half a piece that no record is of")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	w.restart()
	got, err = w.uploads.Upload(t.Context(), u.ID)
	require.NoError(t, err)
	require.EqualValues(t, 50<<20, got.Offset)

	_, err = w.uploads.Append(t.Context(), u.ID, 0, bytes.NewReader(all))
	require.ErrorIs(t, err, upload.ErrOffset)
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	got, err = w.uploads.Append(t.Context(), u.ID, got.Offset, bytes.NewReader(all[got.Offset:]))
	require.NoError(t, err)
	require.Equal(t, sum, got.SHA256)
	a, err := w.Updates.Artifact(t.Context(), sum)
	require.NoError(t, err)
	require.EqualValues(t, len(all), a.Size)
	require.Equal(t, "image.swu", a.Filename)
	whole, err := w.Updates.PutArtifact(t.Context(), bytes.NewReader(all), "image.swu")
	require.NoError(t, err)
	require.Equal(t, whole.SHA1, a.SHA1)
	require.Equal(t, whole.MD5, a.MD5)
	left, err := filepath.Glob(filepath.Join(w.dir, "*.bytes"))
	require.NoError(t, err)
	require.Empty(t, left)

	// The same bytes are not sent again.
	again, err := w.uploads.Create(t.Context(), "other.swu", int64(len(all)), sum)
	require.NoError(t, err)
	require.True(t, again.Whole())
	require.Equal(t, again.Length, again.Offset)
}

// A client that comes back before its old line is noticed to be dead is not
// kept waiting.
func TestTheNewLineCutsTheOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all, sum := image(100_000)
	u := w.begin(len(all))
	r, hanging := io.Pipe()
	old := make(chan error, 1)
	go func() {
		_, err := w.uploads.Append(context.WithoutCancel(t.Context()), u.ID, 0, pipe{r})
		old <- err
	}()
	_, err := hanging.Write(all[:1000])
	require.NoError(t, err)
	var at upload.Upload
	require.Eventually(t, func() bool {
		at, err = w.uploads.Upload(t.Context(), u.ID)
		return err == nil && at.Offset == 1000
	}, time.Minute, time.Millisecond)
	require.Error(t, <-old)
	got, err := w.uploads.Append(t.Context(), u.ID, 1000, bytes.NewReader(all[1000:]))
	require.NoError(t, err)
	require.Equal(t, sum, got.SHA256)
}

type pipe struct{ *io.PipeReader }

func (p pipe) Cut() { _ = p.CloseWithError(context.Canceled) }

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	for _, c := range []struct {
		name   string
		length int64
	}{{"../x.swu", 1}, {"", 1}, {"a/b", 1}, {"x.swu", 0}, {"x.swu", -1}, {"x.swu", upload.MostSize + 1}} {
		_, err := w.uploads.Create(ctx, c.name, c.length, "")
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%+v", c)
	}
	for _, id := range []string{"", "unknown", "../secret", "a/b", "A", "x.json"} {
		_, err := w.uploads.Upload(ctx, id)
		require.Equal(t, fault.NotFound, fault.KindOf(err), id)
		_, err = w.uploads.Append(ctx, id, 0, bytes.NewReader(nil))
		require.Equal(t, fault.NotFound, fault.KindOf(err), id)
		require.Equal(t, fault.NotFound, fault.KindOf(w.uploads.Cancel(ctx, id)), id)
	}
	u := w.begin(10)
	got, err := w.uploads.Append(ctx, u.ID, 0, bytes.NewReader(make([]byte, 11)))
	require.Equal(t, fault.Invalid, fault.KindOf(err), "more than was announced")
	require.Zero(t, got.Offset)
	require.False(t, got.Whole())
	_, other := image(20)
	wrong, err := w.uploads.Create(ctx, "x.swu", 10, other)
	require.NoError(t, err)
	_, err = w.uploads.Append(ctx, wrong.ID, 0, bytes.NewReader(make([]byte, 10)))
	require.Equal(t, fault.Invalid, fault.KindOf(err), "other bytes than were announced")
	require.ErrorContains(t, err, other)
	_, err = w.uploads.Upload(ctx, wrong.ID)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	for range upload.MostOpen - 1 {
		w.begin(10)
	}
	_, err = w.uploads.Create(ctx, "x.swu", 10, "")
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	require.NoError(t, w.uploads.Cancel(ctx, u.ID))
	w.begin(10)
}

// Where there is no room, that is said before the first byte; where it gets
// short meanwhile, what has arrived stays.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all, sum := image(40 << 20)
	u := w.begin(len(all))
	w.room = fault.New(fault.Unavailable, "no room for 40 MiB more: the quota is 50 MiB")
	_, err := w.uploads.Create(t.Context(), "x.swu", 10, "")
	require.ErrorIs(t, err, upload.ErrRoom)
	require.ErrorContains(t, err, "the quota is 50 MiB")
	got, err := w.uploads.Append(t.Context(), u.ID, 0, bytes.NewReader(all))
	require.ErrorIs(t, err, upload.ErrRoom)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.EqualValues(t, 32<<20, got.Offset)
	w.room = nil
	got, err = w.uploads.Append(t.Context(), u.ID, got.Offset, bytes.NewReader(all[got.Offset:]))
	require.NoError(t, err)
	require.Equal(t, sum, got.SHA256)
}

func TestLeftoversExpire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.begin(100)
	w.Clock.Advance(upload.Life - time.Hour)
	_, err := w.uploads.Append(t.Context(), u.ID, 0, bytes.NewReader(make([]byte, 10)))
	require.NoError(t, err)
	w.Clock.Advance(upload.Life)
	require.NoError(t, w.uploads.Expire(t.Context()))
	list, err := w.uploads.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1, "something arrived meanwhile")
	w.Clock.Advance(time.Second)
	require.NoError(t, w.uploads.Expire(t.Context()))
	left, err := os.ReadDir(w.dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// What an upload holds in memory does not grow with it.
func TestMemoryIsABuffer(t *testing.T) {
	w := newWorld(t)
	const size = 64 << 20
	u := w.begin(size)
	got := testing.Benchmark(func(b *testing.B) {
		b.Helper()
		b.ReportAllocs()
		for range b.N {
			_, err := w.uploads.Append(t.Context(), u.ID, 0, io.LimitReader(zeros{}, size-1))
			require.NoError(t, err)
			require.NoError(t, w.uploads.Cancel(t.Context(), u.ID))
			u = w.begin(size)
		}
	})
	require.Less(t, got.AllocedBytesPerOp(), int64(2<<20), "of 64 MiB")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
