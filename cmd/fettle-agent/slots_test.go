package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/unitkit"
	"fettle.dev/fettle/unitkit/install"
)

// images is a server that has them by their hash.
type images struct {
	has  map[string]string
	said []string
	done int
}

func (i *images) Fetch(_ context.Context, t unitkit.Target, w io.Writer, offset int64) (int64, error) {
	n, err := io.WriteString(w, i.has[t.SHA256][offset:])
	return int64(n), err
}

func (i *images) Report(_ context.Context, _ *unitkit.Update, p unitkit.Progress) error {
	i.said = append(append(i.said, string(p.State)), p.Details...)
	return nil
}

func (i *images) Confirm(context.Context, *unitkit.Update) error { i.done++; return nil }

func (i *images) update(action int64, version, text string) unitkit.Update {
	sum := sha256.Sum256([]byte(text))
	h := hex.EncodeToString(sum[:])
	i.has[h] = text
	return unitkit.Update{Action: action, Release: version, Targets: []unitkit.Target{
		{Component: "system", Version: version, Filename: "system.img", Length: int64(len(text)), SHA256: h, Counter: uint64(action)},
	}}
}

// A unit with two slots, by its configuration and the example's installer
// program: a good version stays, a bad one goes.
func TestSlotsByConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "version 1\nwell\n", 0o600)
	write(t, filepath.Join(dir, "started"), "a\n", 0o600)
	c, err := parseConfig(fmt.Appendf(nil, `
server: https://fettle.example.com
state: %[1]s/state
unit: U
tokenFile: token
roots: {image: i, director: d}
components:
  system:
    version: {command: [sed, -n, "s/^version //p", %[1]s/active]}
    slots: {installer: [env, FETTLE_DEMO_DIR=%[1]s, %[2]s]}
restart: {command: [sh, -c, "readlink %[1]s/active >%[1]s/started"]}
health: {command: [grep, -q, well, %[1]s/active], attempts: 2, interval: 10ms}
`, dir, script(t, "installer-demo.sh")))
	require.NoError(t, err)
	s := &images{has: map[string]string{}}
	a := &agent{c: c, log: slog.New(slog.DiscardHandler), now: time.Now}
	_, err = run(t.Context(), []string{"env", "FETTLE_DEMO_DIR=" + dir, script(t, "installer-demo.sh"), "commit", "a"}, time.Minute)
	require.NoError(t, err)
	a.updates, err = a.open(s)
	require.NoError(t, err)
	installs := func(u unitkit.Update) {
		require.NoError(t, a.updates.Offer(t.Context(), u))
		for range 200 {
			if a.updates.Status().State == install.Idle {
				break
			}
			wait, err := a.updates.Step(t.Context())
			require.NoError(t, err)
			time.Sleep(min(wait, 20*time.Millisecond))
		}
		require.NoError(t, a.updates.Deliver(t.Context()))
	}
	running := func() string { return c.versions(t.Context(), nil)["system"].Version }
	require.Equal(t, "1", running())

	installs(s.update(1, "2", "version 2\nwell\n"))
	require.Equal(t, "2", running())
	require.Equal(t, "b\n", read(t, filepath.Join(dir, "started")))
	require.Contains(t, s.said, "installed")
	require.Equal(t, 1, s.done)

	installs(s.update(2, "3", "version 3\n"))
	require.Equal(t, "2", running(), "%v", s.said)
	require.Equal(t, "b\n", read(t, filepath.Join(dir, "started")))
	require.Contains(t, s.said, "rolled-back")
	require.Equal(t, map[string]uint64{"system": 1}, a.updates.Status().Counters)

	// The installer program fails: its words are told, and nothing is changed.
	c.Components["system"].Slots.Installer[1] = "FETTLE_DEMO_DIR=/no/such/directory"
	a.updates, err = a.open(s)
	require.NoError(t, err)
	installs(s.update(3, "4", "version 4\nwell\n"))
	require.Equal(t, "2", running())
	require.Contains(t, strings.Join(s.said, "\n"), "No such file or directory")
}
