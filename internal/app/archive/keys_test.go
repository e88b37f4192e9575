package archive

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
)

func TestSealedArchivesGoWithTheirKeys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), KeyringFile)
	k, err := LoadKeyring(path)
	require.NoError(t, err)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var archives [][]byte
	for i := range 3 {
		key, err := k.New(at.AddDate(0, 0, i))
		require.NoError(t, err)
		require.NoError(t, k.Save(path))
		var b bytes.Buffer
		w, err := Seal(&b, key)
		require.NoError(t, err)
		_, err = w.Write([]byte("Ada's"))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.NotContains(t, b.String(), "Ada's")
		archives = append(archives, b.Bytes())
	}
	k, err = LoadKeyring(path)
	require.NoError(t, err)
	open := func(raw []byte) (string, error) {
		r, err := k.Open(bytes.NewReader(raw))
		if err != nil {
			return "", err
		}
		text, err := io.ReadAll(r)
		return string(text), err
	}
	for _, a := range archives {
		text, err := open(a)
		require.NoError(t, err)
		require.Equal(t, "Ada's", text)
	}
	text, err := open([]byte("plain"))
	require.NoError(t, err)
	require.Equal(t, "plain", text)
	_, err = open(archives[0][:len(archives[0])-3])
	require.Error(t, err)

	gone := k.Keys[0].Identity
	require.Equal(t, 2, k.Destroy(at.AddDate(0, 0, 1)))
	require.NoError(t, k.Save(path))
	_, err = open(archives[0])
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	require.ErrorContains(t, err, "destroyed")
	_, err = open(archives[2])
	require.NoError(t, err)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(raw), gone)
	_, err = Keyring{}.Open(bytes.NewReader(archives[2]))
	require.ErrorContains(t, err, "--keys")
}
