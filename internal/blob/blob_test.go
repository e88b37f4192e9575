package blob_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/blob"
	"fettle.dev/fettle/internal/blob/blobtest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/peer/s3"
	"fettle.dev/fettle/internal/update"
)

func TestDirectory(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) update.Blobs {
		t.Helper()
		return open(t, filepath.Join(t.TempDir(), "artifacts"))
	})
}

func TestMain(m *testing.M) {
	// The bucket's credentials come from the environment alone.
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": s3.AccessKey, "AWS_SECRET_ACCESS_KEY": s3.SecretKey,
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

func TestBucket(t *testing.T) {
	t.Parallel()
	server := s3.Start(t)
	var n atomic.Int32
	t.Run("suite", func(t *testing.T) { // ends before the server does
		blobtest.Run(t, func(t *testing.T) update.Blobs {
			t.Helper()
			return open(t, server.Bucket(t, fmt.Sprintf("bucket-%d", n.Add(1))))
		})
	})

	address := server.Bucket(t, "shared")
	a, b := open(t, address+"&prefix=a/"), open(t, address+"&prefix=b/")
	data, name := blobtest.Bytes(10)
	require.NoError(t, a.Put(t.Context(), name, bytes.NewReader(data)))
	ok, err := b.Exists(t.Context(), name)
	require.NoError(t, err)
	require.False(t, ok, "each keeps to its part")
	require.NoError(t, a.List(t.Context(), func(got string, _ int64) error {
		require.Equal(t, name, got)
		return nil
	}))

	missing := open(t, "s3://missing?endpoint="+server.Endpoint+"&use_path_style=true&region=us-east-1")
	require.Equal(t, fault.Unavailable, fault.KindOf(missing.Ready(t.Context())))
	require.Equal(t, fault.Unavailable, fault.KindOf(missing.Put(t.Context(), name, bytes.NewReader(data))))
}

func TestBucketOfNobody(t *testing.T) {
	t.Parallel()
	b := open(t, "s3://x?endpoint=http://127.0.0.1:1&use_path_style=true&region=us-east-1")
	data, name := blobtest.Bytes(10)
	require.Equal(t, fault.Unavailable, fault.KindOf(b.Put(t.Context(), name, bytes.NewReader(data))))
	require.Equal(t, fault.Unavailable, fault.KindOf(b.Ready(t.Context())))
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, target := range []string{"", "gs://bucket", "s3://bucket?colour=red"} {
		_, err := blob.Open(t.Context(), target)
		require.Equal(t, fault.Invalid, fault.KindOf(err), target)
	}
	_, err := blob.Open(t.Context(), file)
	require.Error(t, err)
}

// What a killed process left under way is removed, nothing else.
func TestLeftOvers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data, name := blobtest.Bytes(10)
	require.NoError(t, open(t, dir).Put(t.Context(), name, bytes.NewReader(data)))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "fileblob123"), data, 0o600))
	b := open(t, dir)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	ok, err := b.Exists(t.Context(), name)
	require.NoError(t, err)
	require.True(t, ok)
}

func open(t *testing.T, target string) *blob.Blobs {
	t.Helper()
	b, err := blob.Open(t.Context(), target)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// A file on the same disk is taken as it is, and goes on being there.
func TestAdopt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, filepath.Join(dir, "blobs"))
	data, name := blobtest.Bytes(1000)
	path := filepath.Join(dir, "upload")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	for range 2 { // the same bytes again are no mistake
		taken, err := b.Adopt(t.Context(), name, path)
		require.NoError(t, err)
		require.True(t, taken)
	}
	require.NoError(t, os.Remove(path))
	r, err := b.Open(t.Context(), name)
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, data, got)
	_, err = b.Adopt(t.Context(), "../x", path)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = b.Adopt(t.Context(), strings.Repeat("0", 64), path)
	require.Error(t, err, "it is gone")
}
