package delta_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/update/delta"
	unit "fettle.dev/fettle/unitkit/delta"
)

// pair is a program and one that was built a little later: pieces moved,
// addresses changed, some new. The program is this one.
func pair(t *testing.T, size int) (from, to []byte) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	f, err := os.Open(self)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	from = make([]byte, size)
	_, err = f.ReadAt(from, 0)
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, uint64(size)))
	for at := 0; at < size; {
		n := min(size-at, 1000+random.IntN(60_000))
		to = append(to, from[at:at+n]...)
		at += n
		switch random.IntN(4) {
		case 0: // an address
			to[len(to)-1-random.IntN(n)]++
		case 1: // new code
			for range random.IntN(200) {
				to = append(to, byte(random.Uint32()))
			}
		case 2: // code that is gone
			at += min(size-at, random.IntN(300))
		}
	}
	return from, to
}

func file(t *testing.T, b []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	_, err = f.Write(b)
	require.NoError(t, err)
	return f
}

func want(b []byte) unit.Want {
	sum := sha256.Sum256(b)
	return unit.Want{Length: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
}

// zstdProgram is Debian's.
func zstdProgram(t *testing.T) string {
	t.Helper()
	p, err := exec.LookPath("zstd")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("Debian's zstd is wanted:", err)
	}
	return p
}

func TestUnitsAndZstdReadADelta(t *testing.T) {
	t.Parallel()
	program := zstdProgram(t)
	for _, size := range []int{1, 1000, 300_000, 2_000_000} {
		from, to := pair(t, size)
		old, next := file(t, from), file(t, to)
		var patch bytes.Buffer
		var last int64
		made, err := delta.Make(t.Context(), &patch, old, next, func(done int64) { last = done })
		require.NoError(t, err)
		require.EqualValues(t, len(to), last)
		require.EqualValues(t, patch.Len(), made.Size)
		sum := sha256.Sum256(patch.Bytes())
		require.Equal(t, hex.EncodeToString(sum[:]), made.SHA256)
		require.Less(t, made.Memory, int64(110<<20))

		var got bytes.Buffer
		w := want(to)
		w.Window = uint64(made.Window)
		require.NoError(t, unit.Apply(&got, bytes.NewReader(patch.Bytes()), from, w))
		require.True(t, bytes.Equal(to, got.Bytes()))

		in, out := file(t, patch.Bytes()), filepath.Join(t.TempDir(), "out")
		said, err := exec.CommandContext(t.Context(), program, "-d", "-q", "-f", "--patch-from="+old.Name(), in.Name(), "-o", out).CombinedOutput()
		require.NoError(t, err, "%s", said)
		theirs, err := os.ReadFile(out)
		require.NoError(t, err)
		require.True(t, bytes.Equal(to, theirs))

		if size < 100_000 {
			continue
		}
		// No larger than zstd's own by more than the header.
		said, err = exec.CommandContext(t.Context(), program, "-19", "-q", "-f", "--patch-from="+old.Name(), next.Name(), "-o", out).CombinedOutput()
		require.NoError(t, err, "%s", said)
		theirs, err = os.ReadFile(out)
		require.NoError(t, err)
		require.LessOrEqual(t, float64(patch.Len()), 1.05*float64(len(theirs)+unit.HeaderSize))

		// And its own is read by units.
		got.Reset()
		require.NoError(t, unit.Expand(&got, bytes.NewReader(theirs), from, w))
		require.True(t, bytes.Equal(to, got.Bytes()))
	}
}

func TestAnImageAlone(t *testing.T) {
	t.Parallel()
	_, to := pair(t, 3_000_000)
	var frame bytes.Buffer
	made, err := delta.Make(t.Context(), &frame, nil, file(t, to), nil)
	require.NoError(t, err)
	require.LessOrEqual(t, made.Window, int64(8<<20), "what every decoder takes")
	var got bytes.Buffer
	require.NoError(t, unit.Expand(&got, bytes.NewReader(frame.Bytes()), nil, want(to)))
	require.True(t, bytes.Equal(to, got.Bytes()))
	d, err := zstd.NewReader(bytes.NewReader(frame.Bytes()))
	require.NoError(t, err)
	defer d.Close()
	plain, err := io.ReadAll(d)
	require.NoError(t, err)
	require.True(t, bytes.Equal(to, plain))
}

func TestMakingEndsWhenItIsToldTo(t *testing.T) {
	t.Parallel()
	from, to := pair(t, 3_000_000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := delta.Make(ctx, io.Discard, file(t, from), file(t, to), nil)
	require.ErrorIs(t, err, context.Canceled)
}

// What making takes does not grow with the images, but for the pages that are
// mapped.
func TestSoakLargeImages(t *testing.T) {
	if os.Getenv("FETTLE_SOAK") == "" {
		t.Skip("FETTLE_SOAK is not set: minutes")
	}
	sparse := func(size int64) *os.File {
		f := file(t, nil)
		require.NoError(t, f.Truncate(size))
		for i := range int64(64) {
			_, err := f.WriteAt(noise(uint64(i), 1<<20), i*size/64)
			require.NoError(t, err)
		}
		return f
	}
	for _, c := range []struct{ from, to int64 }{{0, 10 << 30}, {700 << 20, 710 << 20}, {1900 << 20, 1901 << 20}} {
		var from *os.File
		if c.from > 0 {
			from = sparse(c.from)
		}
		made, err := delta.Make(t.Context(), io.Discard, from, sparse(c.to), nil)
		require.NoError(t, err)
		t.Logf("from %d MiB to %d MiB: %d MiB, window %d MiB, %d MiB of memory", c.from>>20, c.to>>20, made.Size>>20, made.Window>>20, made.Memory>>20)
		require.Less(t, made.Memory, int64(350<<20))
	}
	_, err := delta.Make(t.Context(), io.Discard, sparse(2<<30+1), sparse(1<<30), nil)
	require.ErrorContains(t, err, "2 GiB")
}
