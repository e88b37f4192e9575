package rauc_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/rauc"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// A real RAUC looks at real bundles as they are uploaded.
func TestBundles(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"rauc", "mksquashfs", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skipf("%s is missing (apt-get install rauc squashfs-tools openssl)", tool)
		}
	}
	dir := t.TempDir()
	for _, who := range []string{"ours", "others"} {
		run(t, dir, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN="+who, "-keyout", who+".key", "-out", who+".pem", "-days", "36500")
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "in"), 0o700))
	image := make([]byte, 100_000)
	_, _ = rand.Read(image)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "in", "rootfs.img"), image, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "in", "manifest.raucm"), []byte(
		"[update]\ncompatible=demo\nversion=2.0.0\n[bundle]\nformat=verity\n[image.rootfs]\nfilename=rootfs.img\n"), 0o600))
	run(t, dir, "rauc", "--cert=ours.pem", "--key=ours.key", "bundle", "in", "bundle.raucb")
	bundle, err := os.ReadFile(filepath.Join(dir, "bundle.raucb"))
	require.NoError(t, err)

	put := func(keyring, filename string, data []byte) error {
		t.Helper()
		check, err := rauc.Check(filepath.Join(dir, keyring))
		require.NoError(t, err)
		w := campaigntest.New(t, sqldbtest.SQLite(t), 1)
		s, err := update.NewService(t.Context(), update.Config{
			Store: w.DB.Update(), Ledger: release.New(w.DB), Blobs: w.Blobs, Fleet: w.DB.Fleet(), Tx: w.DB, Clock: w.Clock, Dir: t.TempDir(), Check: check,
		})
		require.NoError(t, err)
		a, err := s.PutArtifact(t.Context(), bytes.NewReader(data), filename)
		if err != nil {
			require.Empty(t, a.SHA256)
		}
		return err
	}
	require.NoError(t, put("ours.pem", "bundle.raucb", bundle))
	err = put("others.pem", "bundle.raucb", bundle)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	require.ErrorContains(t, err, "signature verification failed")
	changed := bytes.Clone(bundle)
	changed[len(changed)-700] ^= 1 // in the signature, which stands at the end
	require.Equal(t, fault.Invalid, fault.KindOf(put("ours.pem", "bundle.raucb", changed)))
	require.Equal(t, fault.Invalid, fault.KindOf(put("ours.pem", "bundle.raucb", image)), "no bundle at all")
	require.NoError(t, put("ours.pem", "image.swu", image), "others are not looked at")
	_, err = rauc.Check(filepath.Join(dir, "nothing.pem"))
	require.ErrorContains(t, err, "nothing.pem")
}
