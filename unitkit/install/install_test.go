package install_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/unitkit"
	"fettle.dev/fettle/unitkit/install"
)

// unit is a unit on the machine's own file system, and its server.
type unit struct {
	t       *testing.T
	dir     string
	path    string // of the component app
	now     time.Time
	cfg     install.Config
	u       *install.Updater
	files   map[string][]byte // that the server has, by hash
	fetched []int64           // offsets that were asked for
	fetch   func(w io.Writer, b []byte) error
	said    []unitkit.Progress
	told    []install.Choice
	confirm int
	offline bool
	gone    bool
	veto    error
	sick    error
}

func newUnit(t *testing.T) *unit {
	t.Helper()
	x := &unit{t: t, dir: t.TempDir(), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), files: map[string][]byte{}}
	x.path = filepath.Join(x.dir, "app")
	require.NoError(t, os.WriteFile(x.path, []byte("old"), 0o600))
	x.cfg = install.Config{
		Dir: filepath.Join(x.dir, "state"), Source: x, Parts: map[string]install.Part{"app": &install.File{FS: install.OS{}, Path: x.path, Mode: 0o755}},
		MayBegin: func(context.Context, *unitkit.Update) error { return x.veto },
		Healthy:  func(context.Context) error { return x.sick },
		Health:   install.Health{Attempts: 2, Interval: time.Second},
		Now:      func() time.Time { return x.now },
	}
	x.open()
	return x
}

// open is a start of the program.
func (x *unit) open() {
	x.t.Helper()
	u, err := install.Open(x.cfg)
	require.NoError(x.t, err)
	x.u = u
}

func (x *unit) target(component, version string, b []byte) unitkit.Target {
	sum := sha256.Sum256(b)
	h := hex.EncodeToString(sum[:])
	x.files[h] = b
	return unitkit.Target{Component: component, Version: version, Filename: component + "-" + version, Length: int64(len(b)), SHA256: h, Counter: 7}
}

func (x *unit) update(action int64) unitkit.Update {
	return unitkit.Update{Action: action, Release: fmt.Sprintf("r%d", action), Kind: "fix", Counter: 7, Targets: []unitkit.Target{x.target("app", "2", []byte("new"))}}
}

func (x *unit) Fetch(_ context.Context, t unitkit.Target, w io.Writer, offset int64) (int64, error) {
	x.fetched = append(x.fetched, offset)
	if x.offline {
		return 0, io.ErrUnexpectedEOF
	}
	b := x.files[t.SHA256][offset:]
	if x.fetch != nil {
		return 0, x.fetch(w, b)
	}
	n, err := w.Write(b)
	return int64(n), err
}

func (x *unit) Report(_ context.Context, u *unitkit.Update, p unitkit.Progress) error {
	switch {
	case x.offline:
		return io.ErrUnexpectedEOF
	case x.gone:
		return &unitkit.StatusError{Code: 410}
	}
	x.said = append(x.said, p)
	return nil
}

func (x *unit) Confirm(context.Context, *unitkit.Update) error {
	if x.offline {
		return io.ErrUnexpectedEOF
	}
	x.confirm++
	return nil
}

func (x *unit) offer(u unitkit.Update) {
	x.t.Helper()
	require.NoError(x.t, x.u.Offer(x.t.Context(), u))
}

// steps goes on for as long as there is something to do at once.
func (x *unit) steps() install.State {
	x.t.Helper()
	for range 50 {
		state := x.u.Status().State
		wait, err := x.u.Step(x.t.Context())
		if err != nil {
			x.t.Logf("%s: %s", state, err)
		}
		if wait > 0 {
			break
		}
	}
	if !x.offline {
		require.NoError(x.t, x.u.Deliver(x.t.Context()))
	}
	return x.u.Status().State
}

// until goes on, waiting when it has to.
func (x *unit) until(want install.State) {
	x.t.Helper()
	for range 100 {
		if x.u.Status().State == want {
			return
		}
		wait, err := x.u.Step(x.t.Context())
		if err != nil {
			x.t.Logf("%s", err)
		}
		x.now = x.now.Add(wait)
	}
	x.t.Fatalf("never %s: %+v", want, x.u.Status())
}

func (x *unit) runs() string {
	x.t.Helper()
	b, err := os.ReadFile(x.path)
	require.NoError(x.t, err)
	return string(b)
}

func (x *unit) results() (list []unitkit.State) {
	for _, p := range x.said {
		switch p.State {
		case unitkit.StateInstalled, unitkit.StateFailed, unitkit.StateRolledBack, unitkit.StateCanceled, unitkit.StateRefused:
			list = append(list, p.State)
		default:
		}
	}
	return list
}

func (x *unit) words() string {
	var all []string
	for _, p := range x.said {
		all = append(all, p.Details...)
	}
	return strings.Join(all, "\n")
}

func TestInstalls(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	x.offer(x.update(1))
	require.Equal(t, install.Idle, x.steps())
	require.Equal(t, "new", x.runs())
	info, err := os.Stat(x.path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o755), info.Mode())
	require.Equal(t, []unitkit.State{unitkit.StateInstalled}, x.results())
	require.Equal(t, 1, x.confirm)
	s := x.u.Status()
	require.Equal(t, map[string]uint64{"app": 7}, s.Counters)
	require.Equal(t, map[string]string{"app": "2"}, s.Versions)
	require.Equal(t, unitkit.StateInstalled, s.Last.Result)
	require.NoFileExists(t, x.path+".fettle-old")

	// The server has not heard of the end: it is told once more, and nothing is installed.
	x.open()
	require.NoError(t, os.WriteFile(x.path, []byte("mark"), 0o600))
	x.offer(x.update(1))
	require.Equal(t, install.Idle, x.steps())
	require.Equal(t, "mark", x.runs())
	require.Equal(t, []unitkit.State{unitkit.StateInstalled, unitkit.StateInstalled}, x.results())

	old := x.update(2)
	old.Targets[0].Counter = 6
	require.ErrorIs(t, x.u.Offer(t.Context(), old), install.ErrRollback)
	require.Equal(t, install.Idle, x.u.Status().State)
}

func TestOffersThatAreRefused(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	for want, change := range map[error]func(u *unitkit.Update){
		install.ErrUpdate: func(u *unitkit.Update) { u.Targets = nil },
		install.ErrNoPart: func(u *unitkit.Update) { u.Targets[0].Component = "other" },
	} {
		u := x.update(1)
		change(&u)
		require.ErrorIs(t, x.u.Offer(t.Context(), u), want)
	}
	u := x.update(1)
	u.Targets[0].SHA256 = "../../etc/passwd"
	require.ErrorIs(t, x.u.Offer(t.Context(), u), install.ErrUpdate, "a hash is a file name")
	u = x.update(1)
	u.Targets = append(u.Targets, u.Targets[0])
	require.ErrorIs(t, x.u.Offer(t.Context(), u), install.ErrUpdate)
}

func TestABadVersionIsReturned(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	x.cfg.Healthy = func(context.Context) error {
		if x.runs() == "new" {
			return errors.New("the relay does not click")
		}
		return nil
	}
	x.open()
	x.offer(x.update(1))
	x.until(install.Idle)
	require.NoError(t, x.u.Deliver(t.Context()))
	require.Equal(t, "old", x.runs())
	require.Equal(t, []unitkit.State{unitkit.StateRolledBack}, x.results())
	require.Contains(t, x.words(), "the health check failed 2 times")
	require.Contains(t, x.words(), "the relay does not click")
	require.Contains(t, x.words(), "the version from before runs again, its health check passes, and the unit may be used")
	require.Empty(t, x.u.Status().Counters)
	require.Zero(t, x.confirm)
}

func TestAVersionThatTakesTheUnitDownIsReturned(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	x.sick = errors.New("not yet")
	x.cfg.Health = install.Health{Attempts: 1000, Interval: time.Second, Deadline: time.Hour}
	x.open()
	x.offer(x.update(1))
	x.until(install.Checking)
	for range 3 { // a watchdog restarts the machine again and again
		require.Equal(t, install.Checking, x.steps())
		x.open()
	}
	x.sick = nil
	x.until(install.Idle)
	require.Equal(t, "old", x.runs())
	require.Contains(t, x.u.Status().Last.Why, "restarted 3 times while the new version was on trial")
}

func TestDamageAfterTheDownloadIsNoticed(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	x.veto = errors.New("in use")
	u := x.update(1)
	x.offer(u)
	require.Equal(t, install.Waiting, x.steps())
	require.NoError(t, os.WriteFile(filepath.Join(x.cfg.Dir, "download", u.Targets[0].SHA256), []byte("bad"), 0o600))
	x.veto = nil
	require.Equal(t, install.Idle, x.steps())
	require.Equal(t, "old", x.runs())
	require.Equal(t, []unitkit.State{unitkit.StateFailed}, x.results())
	require.Contains(t, x.words(), "nothing was changed")
}

func TestForgedBytesAreNeverInstalled(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	x.fetch = func(w io.Writer, b []byte) error { _, err := w.Write([]byte("EVIL")[:len(b)]); return err }
	x.offer(x.update(1))
	require.Equal(t, install.Idle, x.steps())
	require.Equal(t, "old", x.runs())
	require.Equal(t, []int64{0, 0}, x.fetched, "once more, then no more")
	require.Equal(t, []unitkit.State{unitkit.StateFailed}, x.results())
	require.Contains(t, x.words(), string(unitkit.ErrArbitrarySoftware))
}

func TestDownloadsResume(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	big := bytes.Repeat([]byte("0123456789"), 1000)
	u := x.update(1)
	u.Targets = []unitkit.Target{x.target("app", "2", big)}
	part := 4000
	x.fetch = func(w io.Writer, b []byte) error {
		if _, err := w.Write(b[:min(part, len(b))]); err != nil {
			return err
		}
		if len(b) > part {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	x.veto = errors.New("in use")
	x.offer(u)
	x.steps()
	x.open()
	x.until(install.Waiting)
	require.Equal(t, []int64{0, 4000, 8000}, x.fetched)

	// Withheld by the owner, and offered again: nothing is fetched twice.
	require.NoError(t, x.u.Nothing())
	require.Equal(t, install.Idle, x.steps())
	x.offer(u)
	x.until(install.Waiting)
	require.Equal(t, []int64{0, 4000, 8000}, x.fetched)
	x.veto = nil
	x.until(install.Idle)
	require.Equal(t, string(big), x.runs())
}

func TestOwnersTime(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	u := x.update(1)
	u.NotBefore = x.now.Add(2 * time.Hour)
	u.NotAfter = x.now.Add(6 * time.Hour)
	x.offer(u)
	require.Equal(t, install.Waiting, x.steps(), "downloaded ahead of it")
	require.Empty(t, x.said, "nothing is told of it: the owner may still choose otherwise")
	require.Equal(t, "the owner's time is 2026-11-22T14:00:00Z", x.u.Status().Waiting)

	x.offline = true // and over a restart
	x.open()
	x.now = x.now.Add(time.Hour)
	require.NoError(t, x.u.Choose(install.Postpone, x.now.Add(90*time.Minute)))
	x.now = x.now.Add(85 * time.Minute)
	require.Equal(t, install.Waiting, x.steps())
	require.NoError(t, x.u.Choose(install.NotNow, time.Time{}))
	x.now = x.now.Add(30 * time.Minute)
	require.Equal(t, install.Waiting, x.steps())
	require.Equal(t, "the owner said: not now", x.u.Status().Waiting)
	x.open()
	x.veto = errors.New("charging")
	require.NoError(t, x.u.Choose(install.StartNow, time.Time{}))
	require.Equal(t, install.Waiting, x.steps())
	require.Equal(t, "charging", x.u.Status().Waiting, "the unit has the last word")
	x.veto = nil
	require.Equal(t, install.Idle, x.steps())
	require.Equal(t, "new", x.runs())
	require.ErrorIs(t, x.u.Choose(install.NotNow, time.Time{}), install.ErrNoUpdate)

	x.offline = false
	require.NoError(t, x.u.Deliver(t.Context()))
	require.Equal(t, []unitkit.State{unitkit.StateInstalled}, x.results())
	for _, said := range []string{"not before 2026-11-22T14:30:00Z", "not now", "start now"} {
		require.Contains(t, x.words(), "the owner said on the unit: "+said)
	}
}

func TestTheServersNewTimeCountsMoreThanAnOldWord(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	x.cfg.Tell = func(_ context.Context, _ *unitkit.Update, c install.Choice) error {
		x.told = append(x.told, c)
		return nil
	}
	x.open()
	u := x.update(1)
	u.NotBefore = x.now.Add(time.Hour)
	x.offer(u)
	x.steps()
	require.NoError(t, x.u.Choose(install.NotNow, time.Time{}))
	x.offer(u)
	x.now = x.now.Add(2 * time.Hour)
	require.Equal(t, install.Waiting, x.steps())
	require.Len(t, x.told, 1)
	u.NotBefore = x.now.Add(-time.Minute) // the owner chose in the portal
	x.offer(u)
	require.Equal(t, install.Idle, x.steps())
	require.Equal(t, "new", x.runs())
	require.ErrorContains(t, x.u.Choose("perhaps", time.Time{}), "start-now, not-now or postpone")
}

func TestTheServersWordRunsOut(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	u := x.update(1)
	u.NotBefore, u.NotAfter = x.now.Add(time.Hour), x.now.Add(2*time.Hour)
	x.offer(u)
	x.now = x.now.Add(3 * time.Hour)
	require.Equal(t, install.Waiting, x.steps())
	require.Contains(t, x.u.Status().Waiting, "the server must be asked again")
	u.NotAfter = x.now.Add(time.Hour)
	x.offer(u)
	require.Equal(t, install.Idle, x.steps())
}

func TestCancel(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	x.veto = errors.New("in use")
	u := x.update(1)
	x.offer(u)
	require.Equal(t, install.Waiting, x.steps())
	stop := unitkit.Update{Action: 1, Cancel: true}
	x.offer(stop)
	require.Equal(t, install.Idle, x.steps())
	require.Equal(t, []unitkit.State{unitkit.StateCanceled}, x.results())

	x.sick = errors.New("not yet")
	x.veto = nil
	u.Action = 2
	x.offer(u)
	require.Equal(t, install.Checking, x.steps())
	stop.Action = 2
	require.ErrorIs(t, x.u.Offer(t.Context(), stop), install.ErrTooLate)
	u.Action = 3
	require.ErrorIs(t, x.u.Offer(t.Context(), u), install.ErrBusy)
	require.ErrorIs(t, x.u.Choose(install.NotNow, time.Time{}), install.ErrTooLate)
	require.NoError(t, x.u.Nothing(), "what has begun goes on")
	x.sick = nil
	x.until(install.Idle)
	require.NoError(t, x.u.Deliver(t.Context()))
	require.Equal(t, "new", x.runs())
	require.Contains(t, x.results(), unitkit.StateRefused)

	stop.Action = 99
	x.offer(stop)
	require.NoError(t, x.u.Deliver(t.Context()), "one that it never knew is stopped as well")
	require.Equal(t, unitkit.StateCanceled, x.said[len(x.said)-1].State)
}

// A cancel stops a download that goes on.
func TestCancelInADownload(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	begun := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	x.cfg.Source = slow{x, begun}
	x.open()
	x.offer(x.update(1))
	done := make(chan error)
	go func() {
		_, err := x.u.Step(ctx)
		done <- err
	}()
	<-begun
	x.offer(unitkit.Update{Action: 1, Cancel: true})
	require.NoError(t, <-done)
	require.Equal(t, install.Idle, x.u.Status().State)
}

type slow struct {
	*unit
	begun chan struct{}
}

func (s slow) Fetch(ctx context.Context, _ unitkit.Target, w io.Writer, _ int64) (int64, error) {
	_, _ = w.Write([]byte("n"))
	close(s.begun)
	<-ctx.Done()
	return 1, ctx.Err()
}

func TestWhatTheServerNoLongerWantsIsDropped(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	x.gone = true
	x.offer(x.update(1))
	x.steps()
	require.Zero(t, x.u.Status().Unsent)
}

func TestReportsAreBoundedWhileOffline(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	x.sick = errors.New(strings.Repeat("very sick ", 1000))
	x.offer(x.update(1))
	x.offline = true
	for i := range int64(100) {
		x.offline = true
		if i > 0 {
			require.NoError(t, x.u.Offer(t.Context(), x.update(i+1)))
		}
		x.offline = false
		x.until(install.Idle)
	}
	require.LessOrEqual(t, x.u.Status().Unsent, 32)
	info, err := os.Stat(filepath.Join(x.cfg.Dir, "journal.json"))
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(200_000))
}

func TestAFailureToPrepareChangesNothing(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	x.cfg.Parts["app"] = &install.File{FS: install.OS{}, Path: filepath.Join(x.dir, "no", "such", "app")}
	x.open()
	x.offer(x.update(1))
	require.Equal(t, install.Idle, x.steps())
	require.Equal(t, []unitkit.State{unitkit.StateFailed}, x.results())
	require.Contains(t, x.words(), "no such file or directory")
}

func TestADamagedJournalIsSetAside(t *testing.T) {
	t.Parallel()
	x := newUnit(t)
	x.veto = errors.New("in use")
	x.offer(x.update(1))
	x.steps()
	name := filepath.Join(x.cfg.Dir, "journal.json")
	raw, err := os.ReadFile(name)
	require.NoError(t, err)
	raw[10] ^= 1
	require.NoError(t, os.WriteFile(name, raw, 0o600))
	x.open()
	require.True(t, x.u.Damaged())
	require.Equal(t, install.Idle, x.u.Status().State)
	require.FileExists(t, filepath.Join(x.cfg.Dir, "journal.bad"))
	require.Equal(t, "old", x.runs())
}

func archiveOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.Typeflag == tar.TypeReg {
			e.Size = 4
		}
		if e.Mode == 0 {
			e.Mode = 0o755
		}
		require.NoError(t, w.WriteHeader(&e))
		if e.Size > 0 {
			_, err := w.Write([]byte("data"))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestDirectoriesByArchive(t *testing.T) {
	t.Parallel()
	plain := archiveOf(t, tar.Header{Name: "bin/tool", Typeflag: tar.TypeReg}, tar.Header{Name: "tool", Typeflag: tar.TypeSymlink, Linkname: "bin/tool"})
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	_, _ = g.Write(plain)
	require.NoError(t, g.Close())
	z, err := zstd.NewWriter(&zs)
	require.NoError(t, err)
	_, _ = z.Write(plain)
	require.NoError(t, z.Close())
	for name, b := range map[string][]byte{"plain": plain, "gzip": gz.Bytes(), "zstd": zs.Bytes()} {
		x := newUnit(t)
		link := filepath.Join(x.dir, "tools")
		x.cfg.Parts["app"] = &install.Directory{FS: install.OS{}, Path: link}
		x.open()
		u := x.update(1)
		u.Targets = []unitkit.Target{x.target("app", "2", b)}
		x.offer(u)
		require.Equal(t, install.Idle, x.steps(), name)
		got, err := os.ReadFile(filepath.Join(link, "tool"))
		require.NoError(t, err, "%s: %s", name, x.words())
		require.Equal(t, "data", string(got))
	}
}

// No archive writes outside its directory.
func TestArchivesThatAreRefused(t *testing.T) {
	t.Parallel()
	reg, link := byte(tar.TypeReg), byte(tar.TypeSymlink)
	for name, entries := range map[string][]tar.Header{
		"above":             {{Name: "../evil", Typeflag: reg}},
		"absolute":          {{Name: "/evil", Typeflag: reg}},
		"above, later":      {{Name: "a/../../evil", Typeflag: reg}},
		"a link out":        {{Name: "a", Typeflag: link, Linkname: "../.."}},
		"an absolute link":  {{Name: "a", Typeflag: link, Linkname: "/etc"}},
		"through a link":    {{Name: "d", Typeflag: tar.TypeDir}, {Name: "a", Typeflag: link, Linkname: "d"}, {Name: "a/evil", Typeflag: reg}},
		"a link, replaced":  {{Name: "a", Typeflag: link, Linkname: "b"}, {Name: "a", Typeflag: reg}},
		"a hard link":       {{Name: "a", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}},
		"a device":          {{Name: "a", Typeflag: tar.TypeChar}},
		"too large":         {{Name: "a", Typeflag: reg}, {Name: "b", Typeflag: reg}, {Name: "c", Typeflag: reg}},
		"a file, then more": {{Name: "a", Typeflag: reg}, {Name: "a/b", Typeflag: reg}},
	} {
		x := newUnit(t)
		x.cfg.Parts["app"] = &install.Directory{FS: install.OS{}, Path: filepath.Join(x.dir, "in", "tools"), Max: 10}
		require.NoError(t, os.Mkdir(filepath.Join(x.dir, "in"), 0o700))
		x.open()
		u := x.update(1)
		u.Targets = []unitkit.Target{x.target("app", "2", archiveOf(t, entries...))}
		x.offer(u)
		require.Equal(t, install.Idle, x.steps(), name)
		require.Equal(t, []unitkit.State{unitkit.StateFailed}, x.results(), name)
		_ = filepath.WalkDir(x.dir, func(path string, _ fs.DirEntry, _ error) error {
			require.NotEqual(t, "evil", filepath.Base(path), name)
			return nil
		})
	}
}

// Deltas save the download; what they give is verified like any other.
func TestDelta(t *testing.T) {
	t.Parallel()
	for name, made := range map[string]string{"right": "new", "wrong": "bad", "torn": "n"} {
		x := newUnit(t)
		x.cfg.Delta = func(_ context.Context, _ unitkit.Target, w io.Writer) error {
			_, err := w.Write([]byte(made))
			if name == "torn" {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		x.open()
		x.offer(x.update(1))
		require.Equal(t, install.Idle, x.steps(), name)
		require.Equal(t, "new", x.runs(), name)
		if name == "right" {
			require.Empty(t, x.fetched)
		} else {
			require.Equal(t, []int64{0}, x.fetched, name)
		}
	}
}

func FuzzArchive(f *testing.F) {
	f.Add([]byte("not an archive"))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		dir := t.TempDir()
		name := filepath.Join(dir, "archive")
		require.NoError(t, os.WriteFile(name, b, 0o600))
		p := install.Directory{FS: install.OS{}, Path: filepath.Join(dir, "in", "link"), Max: 1 << 20}
		require.NoError(t, os.Mkdir(filepath.Join(dir, "in"), 0o700))
		sum := sha256.Sum256(b)
		_, _ = p.Prepare(t.Context(), install.Task{Target: unitkit.Target{SHA256: hex.EncodeToString(sum[:])}, File: name})
		list, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, list, 2, "nothing is written outside")
	})
}
