package e2e

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// seen is what a meter knows to be acknowledged now, as a meter of its own.
func (m *meter) seen() *meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &meter{id: m.id, first: m.first, made: m.made, acked: maps.Clone(m.acked)}
}

func TestBackupWhileServing(t *testing.T) {
	t.Parallel()
	mails := openPostOffice(t)
	s := serve(t, "--smtp", mails.address)
	tokens, finding := s.watched()
	s.remedied(finding)
	s.notOffered(tokens[hot])

	ids := []string{"WC-100001", "WC-100002", "WC-100003", "WC-100004", "WC-100005"}
	others := s.units(ids)
	var all []*meter
	for _, id := range ids {
		all = append(all, newMeter(id, others[id], s.mqtt, time.Now().Add(-3*time.Hour), 4000, 2*time.Millisecond))
	}
	fleet := startMeters(t, all)
	until(t, 30*time.Second, "load", func() bool { return fleet.acked() > 500 })
	var before []*meter
	for _, m := range all {
		before = append(before, m.seen())
	}
	file := filepath.Join(t.TempDir(), "fettle.backup")
	out := s.fettle("backup", "--file", file)
	require.Contains(t, out, "iB")
	require.Contains(t, out, file)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoFileExists(t, file+".part")
	_, errs, err := s.try("backup", "--file", file)
	require.Error(t, err)
	require.Contains(t, errs, "--force", "a backup is not overwritten by accident")
	require.Greater(t, fleet.acked(), 500, "the service went on")
	s.kill()

	// What is not a whole backup makes nothing.
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	flipped := bytes.Clone(raw)
	flipped[len(flipped)/2] ^= 0x40
	restore := func(dir string, archive []byte) (string, error) {
		path := filepath.Join(t.TempDir(), "archive")
		require.NoError(t, os.WriteFile(path, archive, 0o600))
		text, err := exec.CommandContext(t.Context(), binary, "restore", "--data", dir, "--keys", filepath.Join(filepath.Dir(file), "fettle-backup.keys"), path).CombinedOutput()
		return string(text), err
	}
	fresh := filepath.Join(t.TempDir(), "data")
	for name, archive := range map[string][]byte{"cut": raw[:len(raw)*2/3], "changed": flipped, "empty": nil, "other": []byte("hello")} {
		text, err := restore(fresh, archive)
		require.Error(t, err, name)
		require.Contains(t, text, "backup", name)
		left, err := os.ReadDir(fresh)
		require.True(t, os.IsNotExist(err) || len(left) == 0, "%s left %v", name, left)
	}
	text, err := restore(s.dir, raw)
	require.Error(t, err)
	require.Contains(t, text, "not empty")

	text, err = restore(fresh, raw)
	require.NoError(t, err, text)
	s.dir = fresh
	s.start()
	for _, m := range before {
		m.stored(t, s)
	}
	var f findings
	s.get("/v1/findings?product=wall-charger", &f)
	require.Len(t, f.Items, 1)
	require.Equal(t, finding, f.Items[0].ID)
	require.Equal(t, "offered", s.task())

	// And it goes on: meters send what it does not have, the owner accepts, the
	// unit fetches the artifact.
	until(t, 30*time.Second, "the meters are back", func() bool {
		for i, m := range all {
			if len(m.seen().acked) <= len(before[i].acked) {
				return false
			}
		}
		return true
	})
	fleet.finish(t, 30*time.Second)
	s.accept(mails)
	s.install(tokens[hot])
	for _, id := range ids {
		s.accounting(id) // exact
	}
	s.stop()
}
