package delta_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/unitkit/delta"
)

// sample is an old image, a new one and the delta between them, made by another
// encoder than the server's.
func sample(tb testing.TB) (from, to, patch []byte) {
	tb.Helper()
	for i := range 5000 {
		from = fmt.Appendf(from, "line %d of the old image\n", i*i)
	}
	to = append(append(append([]byte{}, from[:40_000]...), "something new"...), from[41_000:]...)
	var b bytes.Buffer
	b.Write(delta.Header(sha256.Sum256(from)))
	e, err := zstd.NewWriter(&b, zstd.WithEncoderDictRaw(0, from), zstd.WithWindowSize(1<<20), zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	require.NoError(tb, err)
	_, err = e.Write(to)
	require.NoError(tb, err)
	require.NoError(tb, e.Close())
	require.Less(tb, b.Len(), 1000)
	return from, to, b.Bytes()
}

func want(b []byte) delta.Want {
	sum := sha256.Sum256(b)
	return delta.Want{Length: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
}

func TestApply(t *testing.T) {
	t.Parallel()
	from, to, patch := sample(t)
	var got bytes.Buffer
	require.NoError(t, delta.Apply(&got, bytes.NewReader(patch), from, want(to)))
	require.True(t, bytes.Equal(to, got.Bytes()))
}

func TestWhatIsNotRightIsRefusedByName(t *testing.T) {
	t.Parallel()
	from, to, patch := sample(t)
	good := want(to)
	longer, shorter, other, narrow := good, good, good, good
	longer.Length++
	shorter.Length--
	other.SHA256 = want(from).SHA256
	narrow.Window = 64 << 10
	flip := func(at int) []byte {
		b := bytes.Clone(patch)
		b[at] ^= 1
		return b
	}
	for title, c := range map[string]struct {
		patch, old []byte
		want       delta.Want
		err        error
	}{
		"empty":                {nil, from, good, delta.ErrHeader},
		"a header alone":       {patch[:delta.HeaderSize], from, good, delta.ErrLength},
		"half a header":        {patch[:10], from, good, delta.ErrHeader},
		"no delta":             {bytes.Repeat([]byte("x"), 500), from, good, delta.ErrHeader},
		"another old image":    {patch, from[1:], good, delta.ErrDictionary},
		"no old image":         {patch, nil, good, delta.ErrDictionary},
		"another named":        {flip(20), from, good, delta.ErrDictionary},
		"cut":                  {patch[:len(patch)-20], from, good, delta.ErrDamaged},
		"too short":            {patch, from, longer, delta.ErrLength},
		"too long":             {patch, from, shorter, delta.ErrLength},
		"another image":        {patch, from, other, delta.ErrHash},
		"a window beyond ours": {patch, from, narrow, delta.ErrDamaged},
	} {
		err := delta.Apply(io.Discard, bytes.NewReader(c.patch), c.old, c.want)
		require.ErrorIs(t, err, c.err, title)
	}
	full := errors.New("no space left")
	err := delta.Apply(failing{full}, bytes.NewReader(patch), from, good)
	require.ErrorIs(t, err, full)
	require.NotErrorIs(t, err, delta.ErrDamaged, "a full disk is not the delta's fault")
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// A few bytes that stand for a gigabyte fill no disk.
func TestABombEndsAtTheLengthThatWasPromised(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	e, err := zstd.NewWriter(&b)
	require.NoError(t, err)
	for range 64 {
		_, err = e.Write(make([]byte, 1<<20))
		require.NoError(t, err)
	}
	require.NoError(t, e.Close())
	require.Less(t, b.Len(), 20_000)
	var n counter
	err = delta.Expand(&n, bytes.NewReader(b.Bytes()), nil, delta.Want{Length: 1000, SHA256: want(nil).SHA256})
	require.ErrorIs(t, err, delta.ErrLength)
	require.LessOrEqual(t, int(n), 1000)
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func FuzzApply(f *testing.F) {
	from, to, patch := sample(f)
	f.Add(patch, int64(len(to)))
	f.Add(patch[:delta.HeaderSize+10], int64(len(to)))
	f.Add(append(bytes.Clone(patch), patch...), int64(len(to)))
	good := want(to)
	f.Fuzz(func(t *testing.T, patch []byte, length int64) {
		if length > 1<<20 {
			return
		}
		var out bytes.Buffer
		err := delta.Apply(&out, bytes.NewReader(patch), from, delta.Want{Length: length, SHA256: good.SHA256, Window: 1 << 20})
		if int64(out.Len()) > max(0, length) {
			t.Fatalf("%d bytes written, %d promised", out.Len(), length)
		}
		if err == nil && !bytes.Equal(out.Bytes(), to) {
			t.Fatal("another image was taken for the right one")
		}
	})
}
