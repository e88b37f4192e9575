package app

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/app/hold"
	"fettle.dev/fettle/internal/fault"
)

func TestReadyNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	ok := check{"records", func(context.Context) error { return nil }}
	bad := check{"stream", func(context.Context) error { return errors.New("no space") }}

	w := httptest.NewRecorder()
	readyz([]check{ok}, func() []note { return []note{{"mail", "off"}} })(w, httptest.NewRequest("GET", "/readyz", nil))
	require.Equal(t, 200, w.Code)
	require.JSONEq(t, `{"ready":true,"engines":{"records":"ok"},"notes":[{"name":"mail","note":"off"}]}`, w.Body.String())

	w = httptest.NewRecorder()
	readyz([]check{ok, bad}, func() []note { return nil })(w, httptest.NewRequest("GET", "/readyz", nil))
	require.Equal(t, 503, w.Code)
	require.Contains(t, w.Body.String(), "no space")
}

func TestOneProcessADataDirectory(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	release, err := hold.Lock(path)
	require.NoError(t, err)
	_, err = hold.Lock(path)
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	release()
	release, err = hold.Lock(path)
	require.NoError(t, err)
	release()
}

func TestSecretsAreForThisUserAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "first-operator-link")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))
	require.NoError(t, hold.Secret(path, "https://x/#secret"))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "https://x/#secret\n", string(raw))
}

func TestALinkGoesFromTheDiskWhenItIsUsed(t *testing.T) {
	t.Parallel()
	h := &house{config: Config{Data: t.TempDir()}}
	path := h.config.path(firstLink)
	h.linkUsed("fel_one") // no file
	require.NoError(t, hold.Secret(path, "http://localhost:8080/console/sign-in#fel_two"))
	h.linkUsed("fel_one")
	require.FileExists(t, path, "a newer link stays")
	h.linkUsed("fel_two")
	require.NoFileExists(t, path)
}

func TestTidyRemovesWhatWasHalfMade(t *testing.T) {
	t.Parallel()
	c := Config{Data: t.TempDir()}
	for _, path := range []string{"backup-1/history/x", "uploads/artifact-7", "artifacts/ab/abc", "records.db"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(c.path(path)), 0o700))
		require.NoError(t, os.WriteFile(c.path(path), nil, 0o600))
	}
	require.NoError(t, c.tidy())
	require.NoDirExists(t, c.path("backup-1"))
	require.NoFileExists(t, c.path("uploads/artifact-7"))
	require.FileExists(t, c.path("artifacts/ab/abc"))
	require.FileExists(t, c.path("records.db"))
}
