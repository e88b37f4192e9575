package install_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/unitkit"
	"fettle.dev/fettle/unitkit/install"
	"fettle.dev/fettle/unitkit/install/powercut"
)

// A scenario is a unit and what is to be installed on it.
type scenario struct {
	name    string
	parts   []string // file, directory, slots
	try     bool     // the bootloader starts a new slot once, on trial
	reboots bool     // the restart is one of the machine; else of a service
	release string   // good; sick: its health check fails; dead: it does not start
}

func scenarios() (all []scenario) {
	for _, release := range []string{"good", "sick"} {
		all = append(
			all,
			scenario{"file, service restarted", []string{"file"}, false, false, release},
			scenario{"file, machine restarted", []string{"file"}, false, true, release},
			scenario{"directory", []string{"directory"}, false, false, release},
			scenario{"slots", []string{"slots"}, false, true, release},
			scenario{"slots on trial", []string{"slots"}, true, true, release},
			scenario{"three parts", []string{"slots", "file", "directory"}, true, true, release},
			scenario{"three parts, no trial", []string{"directory", "file", "slots"}, false, true, release},
		)
	}
	return append(
		all,
		scenario{"slots on trial", []string{"slots"}, true, true, "dead"},
		scenario{"three parts", []string{"file", "slots", "directory"}, true, true, "dead"},
	)
}

const (
	stateDir = "/var/fettle"
	theFile  = "/opt/app/app"
	theLink  = "/opt/maps"
	bootEnv  = "/boot/env"
	oldCount = 3
	newCount = 4
)

// content is what a component is made of, in an old and in a new version.
func content(kind, version string) []byte {
	b := bytes.Repeat([]byte(kind+" "+version+"\n"), 250)
	return append(b, []byte("end of "+kind+" "+version)...)
}

func archive(version string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./maps/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./maps/world", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content("directory", version)))},
		{Name: "./latest", Typeflag: tar.TypeSymlink, Linkname: "maps/world"},
	} {
		_ = w.WriteHeader(&e)
		if e.Size > 0 {
			_, _ = w.Write(content("directory", version))
		}
	}
	_ = w.Close()
	return b.Bytes()
}

var contents = map[string][]byte{
	"file1": content("file", "1"), "file2": content("file", "2"), "slots1": content("slots", "1"), "slots2": content("slots", "2"),
	"directory1": content("directory", "1"), "directory2": content("directory", "2"),
}

// payloads is what is delivered of version 2.
var payloads = map[string][]byte{"file": content("file", "2"), "slots": content("slots", "2"), "directory": archive("2")}

func targets(kinds []string) (list []unitkit.Target) {
	for _, kind := range kinds {
		sum := sha256.Sum256(payloads[kind])
		list = append(list, unitkit.Target{
			Component: kind, Version: "2", Filename: kind, Length: int64(len(payloads[kind])), SHA256: hex.EncodeToString(sum[:]), Counter: newCount,
		})
	}
	return list
}

// machine is a unit with its disk, its bootloader and its server.
type machine struct {
	t    *testing.T
	s    scenario
	disk *powercut.Disk
	rng  *rand.Rand
	now  time.Time

	targets []unitkit.Target

	slot    string            // that was started
	running map[string]string // version by kind of part, as the services were started
	boots   int
	healthy bool // the new version passed its health check once

	// What the server knows.
	result   unitkit.State
	results  int               // that it has taken
	reported map[string]string // versions
	cuts     int
}

func newMachine(t *testing.T, s scenario, seed uint64) *machine {
	rng := rand.New(rand.NewPCG(seed, 5))
	m := &machine{t: t, s: s, disk: powercut.New(rng), rng: rng, targets: targets(s.parts), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	m.put(theFile, content("file", "1"))
	m.put("/opt/maps.versions/factory/maps/world", content("directory", "1"))
	m.put("/slots/a", content("slots", "1"))
	m.put("/slots/b", []byte("nothing yet"))
	m.put(bootEnv, []byte(`{"default":"a"}`))
	m.put("/var/README", nil)
	require.NoError(t, m.disk.Symlink("maps.versions/factory", theLink))
	require.NoError(t, m.disk.SyncDir("/opt"))
	m.boot()
	return m
}

func (m *machine) put(name string, data []byte) {
	require.NoError(m.t, m.disk.WriteFile(name, 0o644, data))
}

func (m *machine) read(name string) []byte {
	b, err := m.disk.ReadFile(name)
	require.NoError(m.t, err, "%s, %s: what must be there is not", m.s.name, m.s.release)
	return b
}

// version tells the old or the new version by its bytes; all else is neither.
func (m *machine) version(kind string, b []byte) string {
	for _, v := range []string{"1", "2"} {
		if bytes.Equal(b, contents[kind+v]) {
			return v
		}
	}
	m.t.Fatalf("%s, %s: neither the old nor the new %s runs:\n%.200q", m.s.name, m.s.release, kind, b)
	return ""
}

type env struct {
	Default string `json:"default"`
	Try     string `json:"try,omitempty"`
}

func (m *machine) env() (e env) {
	require.NoError(m.t, json.Unmarshal(m.read(bootEnv), &e))
	return e
}

// boot is what a bootloader and an init do.
func (m *machine) boot() {
	m.boots++
	e := m.env()
	m.slot = e.Default
	if e.Try != "" { // once
		b := m.read("/slots/" + e.Try)
		m.put(bootEnv, fmt.Appendf(nil, `{"default":%q}`, e.Default))
		if m.version("slots", b) == "1" || m.s.release != "dead" {
			m.slot = e.Try
		}
	}
	m.running = map[string]string{}
	m.version("slots", m.read("/slots/"+m.slot))
	m.services()
}

// services starts what runs from files.
func (m *machine) services() {
	m.running["slots"] = m.version("slots", m.read("/slots/"+m.slot))
	m.running["file"] = m.version("file", m.read(theFile))
	m.running["directory"] = m.version("directory", m.read(theLink+"/maps/world"))
	if m.running["directory"] == "2" {
		to, err := m.disk.Readlink(theLink + "/latest")
		require.NoError(m.t, err, "a version is there whole")
		require.Equal(m.t, "maps/world", to)
	}
}

// installer is the product's installer program.
func (m *machine) installer(_ context.Context, t install.Task, args ...string) (string, error) {
	other := map[string]string{"a": "b", "b": "a"}[m.slot]
	switch args[0] {
	case "current":
		return m.slot + "\n", nil
	case "other":
		return other + "\n", nil
	case "install":
		require.Equal(m.t, other, args[1], "never the slot that runs")
		r, err := m.disk.Open(args[2])
		if err != nil {
			return "", err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return "", err
		}
		require.Equal(m.t, content("slots", "2"), b, "only what was verified")
		w, err := m.disk.Create("/slots/"+args[1], 0o600)
		if err != nil {
			return "", err
		}
		for len(b) > 0 {
			n := min(len(b), 1000)
			if _, err := w.Write(b[:n]); err != nil {
				return "", err
			}
			b = b[n:]
		}
		return "written", errors.Join(w.Sync(), m.disk.SyncDir("/slots"))
	case "activate":
		e := m.env()
		if e.Try = args[1]; !m.s.try {
			e.Default, e.Try = args[1], ""
		}
		return "", m.setEnv(e)
	case "commit":
		return "", m.setEnv(env{Default: args[1]})
	}
	return "usage", errors.New("exit status 2")
}

func (m *machine) setEnv(e env) error {
	b, _ := json.Marshal(e)
	w, err := m.disk.Create(bootEnv+".new", 0o600)
	if err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	if err := w.Sync(); err != nil {
		return err
	}
	return errors.Join(m.disk.Rename(bootEnv+".new", bootEnv), m.disk.SyncDir("/boot"))
}

// once wraps a part: nothing may be installed again after its end.
type once struct {
	install.Part
	m *machine
}

func (o once) Prepare(ctx context.Context, t install.Task) (string, error) {
	require.Zero(o.m.t, o.m.results, "%s, %s: installed again after its end was told", o.m.s.name, o.m.s.release)
	return o.Part.Prepare(ctx, t)
}

func (m *machine) parts() map[string]install.Part {
	all := map[string]install.Part{
		"file":      &install.File{FS: m.disk, Path: theFile, Mode: 0o755},
		"directory": &install.Directory{FS: m.disk, Path: theLink},
		"slots":     &install.Slots{Run: m.installer},
	}
	out := map[string]install.Part{}
	for _, kind := range m.s.parts {
		out[kind] = once{all[kind], m}
	}
	return out
}

func (m *machine) update() unitkit.Update {
	return unitkit.Update{Action: 42, Release: "two", Counter: newCount, Targets: m.targets}
}

// Fetch implements install.Source.
func (m *machine) Fetch(_ context.Context, t unitkit.Target, w io.Writer, offset int64) (int64, error) {
	m.disk.Step("fetch")
	b := payloads[t.Component][offset:]
	var n int64
	for len(b) > 0 {
		part := b[:min(len(b), 700)]
		if _, err := w.Write(part); err != nil {
			return n, err
		}
		n += int64(len(part))
		b = b[len(part):]
		if m.rng.IntN(20) == 0 {
			return n, io.ErrUnexpectedEOF
		}
	}
	return n, nil
}

// Report implements install.Source: the server ends an update once.
func (m *machine) Report(_ context.Context, u *unitkit.Update, p unitkit.Progress) error {
	m.disk.Step("a report on its way")
	require.EqualValues(m.t, 42, u.Action)
	require.LessOrEqual(m.t, len(p.Details), 20)
	if m.result != "" {
		return &unitkit.StatusError{Code: 410, Path: "feedback"}
	}
	switch p.State {
	case unitkit.StateInstalled, unitkit.StateFailed, unitkit.StateRolledBack:
		m.result = p.State
		m.results++
	default:
	}
	m.disk.Step("an answer on its way")
	return nil
}

// Confirm implements install.Source.
func (m *machine) Confirm(context.Context, *unitkit.Update) error {
	require.True(m.t, m.healthy)
	m.reported = m.versions()
	m.disk.Step("an answer on its way")
	return nil
}

func (m *machine) versions() map[string]string {
	v := map[string]string{}
	for _, kind := range m.s.parts {
		v[kind] = m.running[kind]
	}
	return v
}

func (m *machine) all(version string) bool {
	for _, kind := range m.s.parts {
		if m.running[kind] != version {
			return false
		}
	}
	return true
}

// rebooting is what a restart of the machine unwinds its programs with.
type rebooting struct{}

func (m *machine) config() install.Config {
	c := install.Config{
		FS: m.disk, Dir: stateDir, Source: m, Parts: m.parts(), Now: func() time.Time { return m.now }, Checkpoint: 1500,
		Health: install.Health{Attempts: 2, Passes: 2},
		Healthy: func(context.Context) error {
			m.disk.Step("a health check")
			if m.all("2") {
				if m.s.release == "sick" {
					return errors.New("it is sick")
				}
				m.healthy = true
			}
			return nil
		},
		Restart: func(context.Context, *unitkit.Update) error {
			m.disk.Step("a restart")
			if m.s.reboots {
				panic(rebooting{})
			}
			m.services()
			return nil
		},
	}
	if m.s.reboots {
		c.BootID = func() (string, error) { return strconv.Itoa(m.boots), nil }
	}
	return c
}

// live runs the unit until all is done and told, through power cuts.
func (m *machine) live() {
	for range 40 {
		if m.process() {
			return
		}
		m.disk.Restart()
		m.boot()
	}
	m.t.Fatalf("%s, %s: it never comes to an end", m.s.name, m.s.release)
}

// process is the agent from its start to the end of the update, or until the
// machine goes down.
func (m *machine) process() (done bool) {
	defer func() {
		switch r := recover().(type) {
		case nil, rebooting:
		case powercut.Cut:
			m.cuts++
			if m.disk.CutAt = 0; m.rng.IntN(3) == 0 { // and once more
				m.disk.CutAt = m.disk.Steps() + 1 + m.rng.IntN(40)
			}
		default:
			panic(r)
		}
	}()
	ctx := m.t.Context()
	u, err := install.Open(m.config())
	if err != nil {
		require.ErrorIs(m.t, err, errDisk)
		return false
	}
	require.False(m.t, u.Damaged(), "%s, %s: a power cut never damages the journal", m.s.name, m.s.release)
	for range 300 {
		j := u.Journal()
		if j.Counters["file"]+j.Counters["directory"]+j.Counters["slots"] > 0 {
			require.True(m.t, m.healthy, "counters are raised after the health check")
		}
		if m.results > 0 && j.State == install.Idle && len(j.Outbox) == 0 {
			return true
		}
		_ = u.Deliver(ctx) // again later
		if m.result == "" {
			err := u.Offer(ctx, m.update())
			m.expected(err)
		}
		wait, err := u.Step(ctx)
		m.expected(err)
		if j.State != install.Idle {
			m.now = m.now.Add(wait)
		}
	}
	m.t.Fatalf("%s, %s: it hangs in state %s: %s", m.s.name, m.s.release, u.Status().State, u.Status().Waiting)
	return false
}

func (m *machine) expected(err error) {
	if err != nil && !errors.Is(err, errDisk) && !errors.Is(err, io.ErrUnexpectedEOF) {
		m.t.Fatalf("%s, %s: %s", m.s.name, m.s.release, err)
	}
}

var errDisk = errors.New("no space left on device")

// judge looks how it came out: all is new and told so, or all is old and told so.
func (m *machine) judge(what string) {
	m.services()
	what = fmt.Sprintf("%s, %s, %s", m.s.name, m.s.release, what)
	require.Equal(m.t, 1, m.results, "%s: its end is told once", what)
	left, err := m.disk.ReadDir(stateDir + "/download")
	require.NoError(m.t, err)
	require.Empty(m.t, left, "%s: downloads are removed", what)
	for _, dir := range []string{"/opt/app", "/opt"} {
		left, err := m.disk.ReadDir(dir)
		require.NoError(m.t, err)
		for _, e := range left {
			require.NotContains(m.t, e.Name(), ".fettle-", what)
		}
	}
	u, err := install.Open(m.config())
	require.NoError(m.t, err)
	switch m.result {
	case unitkit.StateInstalled:
		require.NotEqual(m.t, "sick", m.s.release, what)
		require.NotEqual(m.t, "dead", m.s.release, what)
		require.True(m.t, m.all("2"), "%s: installed, it says, and runs %v", what, m.running)
		require.Equal(m.t, m.versions(), m.reported, what)
		require.EqualValues(m.t, newCount, u.Journal().Counters[m.s.parts[0]], what)
	default:
		require.True(m.t, m.all("1"), "%s: %s, it says, and runs %v", what, m.result, m.running)
		require.Empty(m.t, u.Journal().Counters, what)
		require.Empty(m.t, m.reported, what)
		if m.s.release == "good" && !m.s.try && m.disk.FailAt == 0 && m.cuts < 3 { // three cuts on trial look like a version that takes the unit down
			m.t.Fatalf("%s: %s, though nothing was against it: %s", what, m.result, u.Journal().Last.Why)
		}
	}
	if m.cuts == 0 && m.disk.FailAt == 0 {
		want := unitkit.StateInstalled
		if m.s.release != "good" {
			want = unitkit.StateRolledBack
		}
		require.Equal(m.t, want, m.result, what)
	}
}

// lives runs a scenario to its end and gives the steps that it took.
func lives(t *testing.T, s scenario, seed uint64, cutAt, failAt int) (steps, cuts int) {
	m := newMachine(t, s, seed)
	begun := m.disk.Steps()
	if cutAt > 0 {
		m.disk.CutAt = begun + cutAt
	}
	if failAt > 0 {
		m.disk.FailAt, m.disk.FailWith = begun+failAt, errDisk
	}
	m.live()
	m.judge(fmt.Sprintf("seed %d, cut at %d, failing at %d", seed, cutAt, failAt))
	return m.disk.Steps() - begun, m.cuts
}

// The power is cut at every step of every kind of update, and the unit lives.
func TestPowerCutAtEveryStep(t *testing.T) {
	t.Parallel()
	total := 0
	for _, s := range scenarios() {
		steps, _ := lives(t, s, 1, 0, 0)
		for at := 1; at <= steps; at++ {
			_, cuts := lives(t, s, uint64(at), at, 0)
			total += cuts
		}
	}
	t.Logf("%d power cuts", total)
	require.Greater(t, total, 1000)
}

// The disk fails once, at any step: it is full, say.
func TestDiskFailsAtAnyStep(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios() {
		steps, _ := lives(t, s, 1, 0, 0)
		for at := 1 + len(s.name)%4; at <= steps; at += 4 {
			lives(t, s, 1, 0, at)
		}
	}
}

func TestSoakPowerCuts(t *testing.T) {
	if os.Getenv("FETTLE_SOAK") == "" {
		t.Skip("FETTLE_SOAK is not set: two minutes of power cuts")
	}
	t.Parallel()
	total, first := 0, rand.Uint64N(1<<40)
	t.Logf("seeds from %d on", first)
	for seed := first; total < 200_000; seed++ {
		for _, s := range scenarios() {
			steps, _ := lives(t, s, seed, 0, 0)
			for at := 1; at <= steps; at++ {
				_, cuts := lives(t, s, seed, at, 0)
				total += cuts
			}
		}
	}
	t.Logf("%d power cuts", total)
}
