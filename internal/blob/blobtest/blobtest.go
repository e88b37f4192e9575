// Package blobtest is the suite that every store of artifacts must pass.
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

// Run runs the suite; open opens an empty store.
func Run(t *testing.T, open func(t *testing.T) update.Blobs) {
	t.Helper()
	tests := map[string]func(t *testing.T, b update.Blobs){
		"put and open": putAndOpen,
		"wrong bytes":  wrongBytes,
		"broken":       brokenUpload,
		"again":        again,
		"unknown":      unknown,
		"names":        names,
		"seek":         seek,
		"ranges":       ranges,
		"list":         list,
		"at once":      atOnce,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// Bytes makes size bytes and their name.
func Bytes(size int) (data []byte, name string) {
	data = make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(size), byte(size >> 8), byte(size >> 16)})
	_, _ = r.Read(data)
	sum := sha256.Sum256(data)
	return data, hex.EncodeToString(sum[:])
}

func read(t *testing.T, b update.Blobs, name string) []byte {
	t.Helper()
	r, err := b.Open(t.Context(), name)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return data
}

func exists(t *testing.T, b update.Blobs, name string) bool {
	t.Helper()
	ok, err := b.Exists(t.Context(), name)
	require.NoError(t, err)
	return ok
}

func putAndOpen(t *testing.T, b update.Blobs) {
	t.Helper()
	for _, size := range []int{0, 1, 1000, 12 << 20} { // the last is sent to S3 in parts
		data, name := Bytes(size)
		require.False(t, exists(t, b, name))
		require.NoError(t, b.Put(t.Context(), name, bytes.NewReader(data)))
		require.True(t, exists(t, b, name))
		require.True(t, bytes.Equal(data, read(t, b, name)), "%d bytes", size)
		require.NoError(t, b.Delete(t.Context(), name))
		require.False(t, exists(t, b, name))
		require.NoError(t, b.Delete(t.Context(), name), "once more")
	}
}

func wrongBytes(t *testing.T, b update.Blobs) {
	t.Helper()
	for _, size := range []int{1000, 12 << 20} {
		data, name := Bytes(size)
		data[size/2]++
		err := b.Put(t.Context(), name, bytes.NewReader(data))
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
		data[size/2]--
		err = b.Put(t.Context(), name, bytes.NewReader(data[:size-1]))
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
		require.False(t, exists(t, b, name))
	}
	none(t, b)
}

func none(t *testing.T, b update.Blobs) {
	t.Helper()
	require.NoError(t, b.List(t.Context(), func(name string, _ int64) error { return fmt.Errorf("%s is there", name) }))
}

func brokenUpload(t *testing.T, b update.Blobs) {
	t.Helper()
	boom := errors.New("the line went dead")
	for _, size := range []int{1000, 12 << 20} {
		data, name := Bytes(size)
		err := b.Put(t.Context(), name, io.MultiReader(bytes.NewReader(data), iotest.ErrReader(boom)))
		require.ErrorIs(t, err, boom)
		require.False(t, exists(t, b, name))

		ctx, cancel := context.WithCancel(t.Context())
		err = b.Put(ctx, name, io.MultiReader(bytes.NewReader(data[:size/2]), readerFunc(func([]byte) (int, error) {
			cancel()
			return 0, ctx.Err()
		})))
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, exists(t, b, name))
	}
	none(t, b)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func again(t *testing.T, b update.Blobs) {
	t.Helper()
	data, name := Bytes(5000)
	require.NoError(t, b.Put(t.Context(), name, bytes.NewReader(data)))
	require.NoError(t, b.Put(t.Context(), name, bytes.NewReader(data)))
	err := b.Put(t.Context(), name, strings.NewReader("something else"))
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	boom := errors.New("the line went dead")
	require.ErrorIs(t, b.Put(t.Context(), name, iotest.ErrReader(boom)), boom)
	require.Equal(t, data, read(t, b, name))
}

func unknown(t *testing.T, b update.Blobs) {
	t.Helper()
	_, name := Bytes(77)
	_, err := b.Open(t.Context(), name)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
	require.False(t, exists(t, b, name))
	none(t, b)
}

func names(t *testing.T, b update.Blobs) {
	t.Helper()
	_, good := Bytes(10)
	for _, name := range []string{"", "abc", "../../etc/passwd", strings.ToUpper(good), good + "00", good[:62] + "zz"} {
		require.Equal(t, fault.Invalid, fault.KindOf(b.Put(t.Context(), name, strings.NewReader(""))), name)
		_, err := b.Open(t.Context(), name)
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
		_, err = b.Exists(t.Context(), name)
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
		require.Equal(t, fault.Invalid, fault.KindOf(b.Delete(t.Context(), name)), name)
	}
}

func seek(t *testing.T, b update.Blobs) {
	t.Helper()
	data, name := Bytes(100_000)
	require.NoError(t, b.Put(t.Context(), name, bytes.NewReader(data)))
	r, err := b.Open(t.Context(), name)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	n, err := r.Seek(0, io.SeekEnd)
	require.NoError(t, err)
	require.EqualValues(t, len(data), n)
	for _, from := range []int64{0, 99_999, 12_345, 50_000} {
		n, err = r.Seek(from, io.SeekStart)
		require.NoError(t, err)
		require.Equal(t, from, n)
		got := make([]byte, min(1000, int64(len(data))-from))
		_, err = io.ReadFull(r, got)
		require.NoError(t, err)
		require.Equal(t, data[from:from+int64(len(got))], got)
	}
}

// ranges serves the bytes over HTTP, as updates are fetched and continued.
func ranges(t *testing.T, b update.Blobs) {
	t.Helper()
	data, name := Bytes(200_000)
	require.NoError(t, b.Put(t.Context(), name, bytes.NewReader(data)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r, err := b.Open(q.Context(), name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer func() { _ = r.Close() }()
		http.ServeContent(w, q, "image.swu", time.Time{}, r)
	}))
	defer s.Close()
	tests := map[string]struct {
		header string
		status int
		want   []byte
	}{
		"all":        {"", 200, data},
		"the middle": {"bytes=1000-1999", 206, data[1000:2000]},
		"the rest":   {"bytes=150000-", 206, data[150000:]},
		"the end":    {"bytes=-10", 206, data[len(data)-10:]},
		"beyond":     {"bytes=200000-", 416, nil},
	}
	for title, test := range tests {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
		require.NoError(t, err)
		if test.header != "" {
			q.Header.Set("Range", test.header)
		}
		a, err := http.DefaultClient.Do(q)
		require.NoError(t, err)
		got, err := io.ReadAll(a.Body)
		require.NoError(t, err)
		require.NoError(t, a.Body.Close())
		require.Equal(t, test.status, a.StatusCode, title)
		if test.want != nil {
			require.True(t, bytes.Equal(test.want, got), title)
		}
	}
}

func list(t *testing.T, b update.Blobs) {
	t.Helper()
	want := map[string]int64{}
	for size := range 5 {
		data, name := Bytes(size * 100)
		want[name] = int64(len(data))
		require.NoError(t, b.Put(t.Context(), name, bytes.NewReader(data)))
	}
	got := map[string]int64{}
	last := ""
	require.NoError(t, b.List(t.Context(), func(name string, size int64) error {
		require.Less(t, last, name)
		last = name
		got[name] = size
		return nil
	}))
	require.Equal(t, want, got)
	boom := errors.New("boom")
	require.ErrorIs(t, b.List(t.Context(), func(string, int64) error { return boom }), boom)
}

func atOnce(t *testing.T, b update.Blobs) {
	t.Helper()
	data, name := Bytes(300_000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := b.Put(t.Context(), name, bytes.NewReader(data)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, data, read(t, b, name))
	n := 0
	require.NoError(t, b.List(t.Context(), func(string, int64) error { n++; return nil }))
	require.Equal(t, 1, n)
}
