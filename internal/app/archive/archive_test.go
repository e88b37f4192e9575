package archive

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
)

func TestArchiveKeepsFiles(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(from, "artifacts", "ab"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(from, "artifacts", "ab", "abc"), bytes.Repeat([]byte("x"), 1<<20), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(from, "records.db"), []byte("r"), 0o600))

	var b bytes.Buffer
	require.NoError(t, Pack(&b, from, Manifest{Format: Format, Program: "test", Stream: 7}))
	m, err := Unpack(t.Context(), bytes.NewReader(b.Bytes()), to)
	require.NoError(t, err)
	require.Equal(t, uint64(7), m.Stream)
	raw, err := os.ReadFile(filepath.Join(to, "artifacts", "ab", "abc"))
	require.NoError(t, err)
	require.Len(t, raw, 1<<20)

	_, err = Unpack(t.Context(), bytes.NewReader(b.Bytes()[:b.Len()/2]), t.TempDir())
	require.Equal(t, fault.Invalid, fault.KindOf(err), "a cut archive is refused: %v", err)
}

func TestArchiveRefusesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	_, err := Unpack(t.Context(), bytes.NewReader([]byte("hello")), t.TempDir())
	require.Equal(t, fault.Invalid, fault.KindOf(err))

	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	require.NoError(t, err)
	w := tar.NewWriter(z)
	body := []byte(`{"format":1}`)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "manifest.json", Size: int64(len(body)), Mode: 0o600}))
	_, _ = w.Write(body)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "../escaped", Size: 1, Mode: 0o600}))
	_, _ = w.Write([]byte("x"))
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	dir := t.TempDir()
	_, err = Unpack(t.Context(), &b, filepath.Join(dir))
	require.Error(t, err)
	require.NoFileExists(t, filepath.Join(filepath.Dir(dir), "escaped"))
}
