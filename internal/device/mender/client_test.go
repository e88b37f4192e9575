package mender_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/blob"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/device/mender"
	"fettle.dev/fettle/internal/fleet"
	client "fettle.dev/fettle/internal/peer/mender"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/sqldb/unitlog"
	"fettle.dev/fettle/internal/update"
)

// world is a door in front of a real gateway and real records.
type world struct {
	*devicetest.House
	t       *testing.T
	updates *update.Service
	server  *httptest.Server
	door    *mender.Handler
	wall    *clock.Manual
	tenant  string

	mu      sync.Mutex
	link    string // secret part of the address of the artifact
	refused []string
	log     bytes.Buffer
	// fetched, if set, answers in place of the artifact's bytes.
	fetched func(w http.ResponseWriter, r *http.Request, data []byte) bool
	calls   []string
}

// gateway gives version reports to the room update, as the app does.
type gateway struct{ w *world }

func (g gateway) Contact(id device.Identity) { g.w.Gateway.Contact(id) }

func (g gateway) Fingerprint(ctx context.Context, fp string) (device.Identity, error) {
	return g.w.Gateway.Fingerprint(ctx, fp)
}

func (g gateway) Desired(ctx context.Context, id device.Identity) (device.Desired, error) {
	return g.w.Gateway.Desired(ctx, id)
}

func (g gateway) ReportVersions(ctx context.Context, id device.Identity, versions map[string]string) error {
	if err := g.w.Gateway.ReportVersions(ctx, id, versions); err != nil {
		return err
	}
	return g.w.updates.Reported(ctx, id.UnitID, versions, g.w.Clock.Now())
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, House: devicetest.New(t, nil), wall: clock.NewManual(devicetest.Start), link: "s3cret"}
	blobs, err := blob.Open(t.Context(), t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, blobs.Close()) })
	w.updates, err = update.NewService(t.Context(), update.Config{
		Store: w.DB.Update(), Ledger: release.New(w.DB), Logs: unitlog.New(w.DB), Blobs: blobs, Fleet: w.DB.Fleet(), Tx: w.DB, Clock: w.Clock, Log: slog.New(slog.DiscardHandler), Dir: t.TempDir(),
	})
	require.NoError(t, err)
	token, _, err := w.Provide.CreateClaimToken(t.Context(), devicetest.Product, 100, devicetest.Start.Add(24*time.Hour), "test")
	require.NoError(t, err)
	w.tenant = token
	w.door = mender.New(mender.Config{
		Updates: w.updates, Gateway: gateway{w}, Enrol: w.Provide, Log: slog.New(slog.NewTextHandler(w, nil)), Wall: w.wall, Key: bytes.Repeat([]byte{7}, 32),
		Link: func(_ *http.Request, d *update.Deployment) (string, time.Time) {
			return fmt.Sprintf("%s/artifacts/%s/%d", w.server.URL, w.link, d.Assignment.ID), w.Clock.Now().Add(time.Hour)
		},
		Refused: func(why string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.refused = append(w.refused, why)
		},
	})
	mux := http.NewServeMux()
	mux.Handle(mender.Prefix, w.door)
	mux.HandleFunc("GET /artifacts/{secret}/{id}", w.serveArtifact)
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.calls = append(w.calls, r.Method+" "+r.URL.Path)
		w.mu.Unlock()
		mux.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.server.Close)
	return w
}

// Write keeps what is logged.
func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

// serveArtifact gives the bytes of an assignment to whoever has its address.
func (w *world) serveArtifact(rw http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		w.t.Error("the client shows its token to whoever keeps artifacts")
	}
	var id int64
	_, _ = fmt.Sscan(r.PathValue("id"), &id)
	a, err := w.updates.Assignment(r.Context(), id)
	if err != nil || r.PathValue("secret") != w.link {
		http.NotFound(rw, r)
		return
	}
	rel, err := w.updates.Release(r.Context(), a.Release)
	if err != nil {
		w.t.Error(err)
		return
	}
	_, content, err := w.updates.OpenArtifact(r.Context(), rel.ArtifactSHA256())
	if err != nil {
		w.t.Error(err)
		return
	}
	defer func() { _ = content.Close() }()
	data, _ := io.ReadAll(content)
	w.mu.Lock()
	fetched := w.fetched
	w.mu.Unlock()
	if fetched != nil && fetched(rw, r, data) {
		return
	}
	http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(data))
}

func (w *world) onFetch(fn func(http.ResponseWriter, *http.Request, []byte) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fetched = fn
}

// release uploads an artifact and declares it as a release of a version.
func (w *world) release(version string, data []byte) string {
	w.t.Helper()
	a, err := w.updates.PutArtifact(w.t.Context(), bytes.NewReader(data), version+".mender")
	require.NoError(w.t, err)
	name := "release-" + version
	require.NoError(w.t, w.updates.Put(w.t.Context(), update.Release{
		Name: name, Product: devicetest.Product, Version: version, Kind: update.Fix, Minutes: 5,
		Notes: map[string]string{"en": "Better."}, Artifact: "sha256:" + a.SHA256,
	}))
	return name
}

// accepted waits until the client has asked and approves it.
func (w *world) accepted(serial string) string {
	w.t.Helper()
	var claims []fleet.Claim
	w.eventually("the client asks to be let in", func() bool {
		var err error
		claims, err = w.Provide.Claims(w.t.Context(), fleet.ClaimFilter{Serial: serial, State: fleet.ClaimPending})
		require.NoError(w.t, err)
		return len(claims) > 0
	})
	require.Len(w.t, claims, 1, "however often it asks")
	require.Regexp(w.t, "^[0-9a-f]{64}$", claims[0].KeyFingerprint)
	c, err := w.Provide.ApproveClaim(w.t.Context(), claims[0].ID, "test")
	require.NoError(w.t, err)
	return c.UnitID
}

func (w *world) offered(unit, release string) int64 {
	w.t.Helper()
	a, err := w.updates.Assign(w.t.Context(), unit, release, "task of "+unit+" "+release)
	require.NoError(w.t, err)
	_, err = w.updates.Offer(w.t.Context(), a.ID, w.Clock.Now())
	require.NoError(w.t, err)
	return a.ID
}

func (w *world) assignment(id int64) update.Assignment {
	w.t.Helper()
	a, err := w.updates.Assignment(w.t.Context(), id)
	require.NoError(w.t, err)
	return a
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	require.Eventually(w.t, ok, 3*time.Minute, 20*time.Millisecond, what)
}

func (w *world) becomes(id int64, s update.AssignmentState) update.Assignment {
	w.t.Helper()
	w.eventually("the update is "+string(s), func() bool { return w.assignment(id).State == s })
	return w.assignment(id)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// The whole life of a real client: it waits until an operator lets it in, gets
// nothing before its owner's time, installs, and counts as installed when it
// reports what runs on it.
func TestRealClient(t *testing.T) {
	t.Parallel()
	client.Require(t)
	w, key := newWorld(t), client.NewKey(t)
	dest := filepath.Join(t.TempDir(), "app.conf")
	name := w.release("demo-2", client.Build(t, client.Artifact{Name: "demo-2", Key: &key, Dest: dest, Data: random(200_000)}))
	client.Start(t, client.Options{URL: w.server.URL, Serial: "SN-1", Tenant: w.tenant, Verify: &key, OwnKey: true})
	unit := w.accepted("SN-1")
	w.eventually("the client says what it is", func() bool {
		u, err := w.DB.Fleet().Unit(t.Context(), unit)
		require.NoError(t, err)
		said, err := w.updates.Attributes(t.Context(), unit)
		require.NoError(t, err)
		return u.Versions["software"] == "factory-1" && said["device_type"] == client.DeviceType && said["kernel"] == "test-6.1" && said["mac"] == "a, b"
	})
	a, err := w.updates.Assign(t.Context(), unit, name, "task")
	require.NoError(t, err)
	_, err = w.updates.Offer(t.Context(), a.ID, w.Clock.Now().Add(time.Hour))
	require.NoError(t, err)
	polls := w.count("/next")
	w.eventually("it polls before its owner's time", func() bool { return w.count("/next") >= polls+2 })
	require.Zero(t, w.count("/artifacts/"))

	w.Clock.Advance(time.Hour)
	got := w.becomes(a.ID, update.Installed)
	require.False(t, got.Claimed.IsZero(), "it claimed first")
	require.FileExists(t, dest)
}

func (w *world) count(part string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.calls {
		if strings.Contains(c, part) {
			n++
		}
	}
	return n
}

// The owner says "not now" while the image is on its way: the client has it,
// and waits before installing until the owner lets it go on.
func TestOwnersPause(t *testing.T) {
	t.Parallel()
	client.Require(t)
	w, ctx := newWorld(t), t.Context()
	dest := filepath.Join(t.TempDir(), "app.conf")
	name := w.release("demo-2", client.Build(t, client.Artifact{Name: "demo-2", Dest: dest, Data: random(100_000)}))
	client.Start(t, client.Options{URL: w.server.URL, Serial: "SN-2", Tenant: w.tenant})
	unit := w.accepted("SN-2")
	var once sync.Once
	w.onFetch(func(_ http.ResponseWriter, _ *http.Request, _ []byte) bool {
		once.Do(func() {
			list, err := w.updates.OfUnit(ctx, unit, 1)
			if err == nil {
				_, err = w.updates.Hold(ctx, list[0].ID)
			}
			if err != nil {
				t.Error(err)
			}
		})
		return false
	})
	id := w.offered(unit, name)
	w.eventually("it waits before installing", func() bool { return w.assignment(id).Hold.Before == "installing" })
	asked := w.count("/update_control_map")
	w.eventually("it goes on asking, so that its map does not expire", func() bool { return w.count("/update_control_map") >= asked+3 })
	require.Equal(t, update.Running, w.assignment(id).State)
	require.NoFileExists(t, dest)
	_, err := w.updates.Continue(ctx, id)
	require.NoError(t, err)
	a := w.becomes(id, update.Installed)
	require.Contains(t, a.Details, "pause before installing")
	require.False(t, a.Hold.Wanted())
	require.FileExists(t, dest)
}

// What a client refuses or cannot install fails, and its log says why.
func TestFailures(t *testing.T) {
	t.Parallel()
	client.Require(t)
	key, other := client.NewKey(t), client.NewKey(t)
	dest := filepath.Join(t.TempDir(), "app.conf")
	good := client.Artifact{Name: "demo-2", Key: &key, Dest: dest, Data: random(100_000)}
	for name, c := range map[string]struct {
		change func(*client.Artifact)
		bytes  func([]byte)
		says   string
	}{
		"not signed":       {change: func(a *client.Artifact) { a.Key = nil }, says: "expecting signed artifact, but no signature file found"},
		"signed by others": {change: func(a *client.Artifact) { a.Key = &other }, says: "verification error"},
		"another device":   {change: func(a *client.Artifact) { a.Device = "toaster" }, says: "image (device types [toaster]) not compatible with device demo-device"},
		"changed bytes":    {bytes: func(b []byte) { b[len(b)/2] ^= 1 }, says: "invalid checksum"},
		"installer fails": {change: func(a *client.Artifact) {
			a.Script, a.Dest = "#!/bin/sh\necho no space left >&2\nexit 1\n# "+strings.Repeat("x", 5000), ""
		}, says: "Update module terminated abnormally: exit status 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, a := newWorld(t), good
			if c.change != nil {
				c.change(&a)
			}
			data := client.Build(t, a)
			if c.bytes != nil {
				c.bytes(data)
			}
			release := w.release("demo-2", data)
			client.Start(t, client.Options{URL: w.server.URL, Serial: "SN-3", Tenant: w.tenant, Verify: &key})
			unit := w.accepted("SN-3")
			got := w.becomes(w.offered(unit, release), update.Failed)
			require.NoFileExists(t, dest)
			var log []update.LogLine
			w.eventually("its log arrives", func() bool {
				var err error
				log, err = w.updates.Log(t.Context(), got.ID)
				require.NoError(t, err)
				return len(log) > 0
			})
			all := ""
			for _, l := range log {
				require.False(t, l.At.IsZero())
				all += l.Level + " " + l.Text + "\n"
			}
			require.Contains(t, all, c.says)
			require.Contains(t, strings.Join(w.assignment(got.ID).Details, "\n"), c.says, "the reason stands where everybody looks first")
			u, err := w.DB.Fleet().Unit(t.Context(), unit)
			require.NoError(t, err)
			require.NotEqual(t, "demo-2", u.Versions["software"]) // factory-1, or demo-2_INCONSISTENT where its installer cannot go back
		})
	}
}

// A cancel reaches the client while it waits: it gives the deployment up.
func TestCancel(t *testing.T) {
	t.Parallel()
	client.Require(t)
	w, ctx := newWorld(t), t.Context()
	dest := filepath.Join(t.TempDir(), "app.conf")
	name := w.release("demo-2", client.Build(t, client.Artifact{Name: "demo-2", Dest: dest, Data: random(100_000)}))
	client.Start(t, client.Options{URL: w.server.URL, Serial: "SN-4", Tenant: w.tenant})
	unit := w.accepted("SN-4")
	w.onFetch(func(_ http.ResponseWriter, _ *http.Request, _ []byte) bool {
		list, err := w.updates.OfUnit(ctx, unit, 1)
		if err == nil {
			_, err = w.updates.Cancel(ctx, list[0].ID)
		}
		if err != nil {
			t.Error(err)
		}
		return false
	})
	id := w.offered(unit, name)
	w.becomes(id, update.Canceled)
	polls := w.count("/next")
	w.eventually("it lives on", func() bool { return w.count("/next") > polls })
	require.NoFileExists(t, dest)
}
