package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/unitkit"
	"fettle.dev/fettle/unitkit/install"
)

// fakeEnv stands in for U-Boot's tools: the environment is a file.
const fakeEnv = `#!/bin/sh
set -eu
put() { grep -v "^$1=" "$FW_ENV" >"$FW_ENV.new" || true; [ -z "${2:-}" ] || echo "$1=$2" >>"$FW_ENV.new"; mv "$FW_ENV.new" "$FW_ENV"; }
if [ "$1" = --script ]; then while read -r k v; do put "$k" "$v"; done; else put "$1" "${2:-}"; fi
`

func script(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("examples", name))
	require.NoError(t, err)
	return path
}

func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	require.NoError(t, os.WriteFile(name, []byte(text), mode))
	return name
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

// slots is a component by an installer script of the examples.
func slots(name string, env ...string) *install.Slots {
	return &install.Slots{Run: func(ctx context.Context, t install.Task, args ...string) (string, error) {
		return run(ctx, append([]string{name}, args...), 20*time.Second, append(environment(t), env...)...)
	}}
}

func image(t *testing.T, text string) install.Task {
	t.Helper()
	sum := sha256.Sum256([]byte(text))
	return install.Task{
		Action: 1, Release: "r", File: write(t, filepath.Join(t.TempDir(), "image"), text, 0o600), Say: func(string) {},
		Target: unitkit.Target{Component: "software", Version: "2", Filename: "image", Length: int64(len(text)), SHA256: hex.EncodeToString(sum[:])},
	}
}

func TestTheExampleForUBoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := write(t, filepath.Join(dir, "env"), "slot=a\nother=1\n", 0o600)
	write(t, filepath.Join(dir, "fw_setenv"), fakeEnv, 0o700)
	cmdline := write(t, filepath.Join(dir, "cmdline"), "console=ttyS0 fettle.slot=a quiet\n", 0o600)
	a, b := write(t, filepath.Join(dir, "a"), "old image, which is longer", 0o600), write(t, filepath.Join(dir, "b"), "something before, longer than the image", 0o600)
	p := slots(script(t, "installer-uboot.sh"), "PATH="+dir+":"+os.Getenv("PATH"), "FW_ENV="+env, "FETTLE_CMDLINE="+cmdline, "FETTLE_SLOT_A="+a, "FETTLE_SLOT_B="+b)
	ctx, task := t.Context(), image(t, "new image")
	var err error
	task.Note, err = p.Prepare(ctx, task)
	require.NoError(t, err)
	require.Equal(t, "a b", task.Note)
	require.Equal(t, "old image, which is longer", read(t, a))
	require.Equal(t, "new image", read(t, b)[:9])
	require.NoError(t, p.Activate(ctx, task))
	require.Equal(t, "slot=a\nother=1\nslot_try=b\n", read(t, env))
	require.ErrorContains(t, p.Active(ctx, task), "slot a was started, not b")
	require.Error(t, p.Commit(ctx, task), "what does not run is not kept")

	write(t, cmdline, "fettle.slot=b\n", 0o600)
	require.NoError(t, p.Active(ctx, task))
	require.NoError(t, p.Commit(ctx, task))
	require.Equal(t, "other=1\nslot=b\n", read(t, env))

	restart, err := p.Return(ctx, task)
	require.NoError(t, err)
	require.True(t, restart)
	require.Equal(t, "other=1\nslot=a\n", read(t, env))

	task.Target.SHA256 = hex.EncodeToString(make([]byte, 32))
	write(t, cmdline, "fettle.slot=a\n", 0o600)
	_, err = p.Prepare(ctx, task)
	require.ErrorContains(t, err, "slot b does not hold what was written")
	write(t, cmdline, "quiet\n", 0o600)
	_, err = p.Prepare(ctx, task)
	require.ErrorContains(t, err, "must print the name of a slot")
}

func TestTheExampleWithoutABootloader(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "old", 0o600)
	started := write(t, filepath.Join(dir, "started"), "a\n", 0o600)
	require.NoError(t, os.Symlink("a", filepath.Join(dir, "active")))
	p := slots(script(t, "installer-demo.sh"), "FETTLE_DEMO_DIR="+dir)
	ctx, task := t.Context(), image(t, "new")
	var err error
	task.Note, err = p.Prepare(ctx, task)
	require.NoError(t, err)
	require.Equal(t, "old", read(t, filepath.Join(dir, "active")))
	require.NoError(t, p.Activate(ctx, task))
	require.Equal(t, "new", read(t, filepath.Join(dir, "active")))
	write(t, started, "b\n", 0o600)
	require.NoError(t, p.Commit(ctx, task))
	_, err = p.Return(ctx, task)
	require.NoError(t, err)
	require.Equal(t, "old", read(t, filepath.Join(dir, "active")))
}

func TestProgramsAreBoundedAndToldOf(t *testing.T) {
	t.Parallel()
	sh := func(text string) []string { return []string{"sh", "-c", text} }
	out, err := run(t.Context(), sh("echo $X"), time.Second*5, "X=y")
	require.NoError(t, err)
	require.Equal(t, "y\n", out)
	_, err = run(t.Context(), sh("echo no room >&2; exit 3"), 5*time.Second)
	require.ErrorContains(t, err, "exit status 3: no room")
	_, err = run(t.Context(), sh("yes | head -c 10000000; exit 1"), 20*time.Second)
	require.Less(t, len(err.Error()), maxOutput+200)
	begun := time.Now()
	mark := filepath.Join(t.TempDir(), "mark")
	_, err = run(t.Context(), sh("(sleep 6; touch "+mark+") & wait"), 200*time.Millisecond)
	require.ErrorContains(t, err, "not done after 200ms")
	require.Less(t, time.Since(begun), 6*time.Second)
	_, err = run(t.Context(), []string{"/no/such/program"}, time.Second)
	require.ErrorContains(t, err, "no such file")
	time.Sleep(6200*time.Millisecond - time.Since(begun))
	require.NoFileExists(t, mark, "what it started is ended as well")
}

func TestTheUnitHasTheLastWord(t *testing.T) {
	t.Parallel()
	exit := func(n int) []string { return []string{"sh", "-c", "exit " + strconv.Itoa(n)} }
	for status, want := range map[int]string{0: "the unit is in use", 1: "", 2: "whether the unit is in use is not known"} {
		c := &config{InUse: &command{Command: exit(status)}}
		err := c.mayBegin(t.Context(), nil)
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
	c := &config{Preconditions: []precondition{{Name: "supply", Command: exit(0)}, {Name: "charge", Command: []string{"sh", "-c", "echo at 18 %; exit 1"}}}}
	require.EqualError(t, c.mayBegin(t.Context(), nil), "charge: at 18 %")
	c.Preconditions[1].Words = "at least 30 %"
	require.EqualError(t, c.mayBegin(t.Context(), nil), "charge: at least 30 %")
	c.InUse = &command{Command: []string{"sleep", "10"}, Timeout: duration(100 * time.Millisecond)}
	require.ErrorContains(t, c.mayBegin(t.Context(), nil), "is not known")
}

func TestWhichVersionRuns(t *testing.T) {
	t.Parallel()
	file := write(t, filepath.Join(t.TempDir(), "v"), "1.2.3\nmore\n", 0o600)
	for _, c := range []struct {
		v               version
		committed, want string
	}{
		{version{File: file}, "9", "1.2.3"},
		{version{Command: []string{"echo", "4"}}, "9", "4"},
		{version{Command: []string{"false"}}, "9", "9"},
		{version{Factory: "1"}, "", "1"},
		{version{Factory: "1"}, "2", "2"},
		{version{File: file + "x"}, "", "unknown"},
	} {
		require.Equal(t, c.want, c.v.read(t.Context(), c.committed))
	}
}
