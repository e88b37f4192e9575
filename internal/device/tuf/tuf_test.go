package tuf_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/device/tuf"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/unitkit"
)

// A unit's whole way: it is told of a release that two holders have signed,
// fetches and verifies it ahead of the owner's time, reports nothing before
// that time, installs, confirms, and goes back to nothing.
func TestWholeWay(t *testing.T) {
	t.Parallel()
	w := bareWorld(t)
	ctx := t.Context()
	w.createRoots(w.alice, w.bob, w.carol)
	at := w.Clock.Now().Add(3 * time.Hour)
	a := w.offer(1, campaigntest.Release, at)
	runs := "1.0.0"
	state, err := unitkit.DirStore(t.TempDir())
	require.NoError(t, err)
	as := func(c *unitkit.Config) {
		c.Components = func() map[string]unitkit.Component {
			return map[string]unitkit.Component{"software": {Hardware: "B", Version: runs}}
		}
	}
	c := w.unit(1, state, as)

	u, err := c.Check(ctx)
	require.NoError(t, err)
	require.Nil(t, u, "what nobody has signed is not named")

	require.NoError(t, w.trust.Require(ctx, campaigntest.Product, "test"))
	w.signTargets(w.bob, w.carol)
	u, err = c.Check(ctx)
	require.NoError(t, err)
	require.NotNil(t, u)
	require.Equal(t, a.ID, u.Action)
	require.Equal(t, "safety", u.Kind)
	require.True(t, u.NotBefore.Equal(at))
	require.True(t, u.NotAfter.Equal(at.Add(24*time.Hour)))
	require.False(t, u.Ready(w.Clock.Now()))
	require.Len(t, u.Targets, 1)
	require.Equal(t, "2.0.0", u.Targets[0].Version)
	require.Equal(t, "charger-2.0.0.swu", u.Targets[0].Filename)

	path := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(path+".part", []byte("the image of"), 0o600)) // cut here before
	require.NoError(t, c.FetchFile(ctx, u.Targets[0], path))
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "the image of version 2.0.0", string(image))
	require.NoError(t, c.Report(ctx, u, unitkit.Progress{State: unitkit.StateDownloaded}))
	got, err := w.Updates.Assignment(ctx, a.ID)
	require.NoError(t, err)
	require.Equal(t, update.Offered, got.State, "the owner may still change their mind")

	w.Clock.Set(at)
	require.True(t, u.Ready(c.Now()))
	require.NoError(t, c.Report(ctx, u, unitkit.Progress{State: unitkit.StateInstalling, Done: 1, Of: 2}))
	got, err = w.Updates.Assignment(ctx, a.ID)
	require.NoError(t, err)
	require.Equal(t, update.Running, got.State)

	require.ErrorContains(t, c.Confirm(ctx, u), "runs version", "not before it runs")
	runs = "2.0.0"
	c = w.unit(1, state, as) // the restart
	require.NoError(t, c.Report(ctx, u, unitkit.Progress{State: unitkit.StateInstalled}))
	require.NoError(t, c.Confirm(ctx, u))
	require.Equal(t, map[string]string{"software": "2.0.0"}, w.versions[campaigntest.UnitID(1)])
	require.Equal(t, u.Targets[0].Counter, c.Counters()["software"])
	u, err = c.Check(ctx)
	require.NoError(t, err)
	require.Nil(t, u)
}

// The owner withdraws: what was named is named no more, and the address of the
// bytes is dead at once.
func TestWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.unit(1, nil)
	u, err := c.Check(t.Context())
	require.NoError(t, err)
	target := "/tuf/targets/" + u.Targets[0].SHA256 + "/" + u.Targets[0].Filename
	address := w.redirect(target)
	require.Equal(t, http.StatusOK, w.status(address))

	_, err = w.Updates.Withhold(t.Context(), u.Action)
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, w.status(target))
	require.GreaterOrEqual(t, w.status(address), 400, "the address that was given before")
	var got bytes.Buffer
	_, err = c.Fetch(t.Context(), u.Targets[0], &got, 0)
	require.Error(t, err)
	require.Zero(t, got.Len())
	u, err = c.Check(t.Context())
	require.NoError(t, err)
	require.Nil(t, u)
}

func (w *world) ask(path string, set func(*http.Request)) *httptest.ResponseRecorder {
	w.t.Helper()
	id := campaigntest.UnitID(1)
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, path, nil)
	r.SetBasicAuth(id, "token of "+id)
	if set != nil {
		set(r)
	}
	rec := httptest.NewRecorder()
	w.real.ServeHTTP(rec, r)
	return rec
}

func (w *world) status(path string) int { return w.ask(path, nil).Code }

func (w *world) redirect(path string) string {
	w.t.Helper()
	rec := w.ask(path, nil)
	require.Equal(w.t, http.StatusTemporaryRedirect, rec.Code)
	return rec.Header().Get("Location")
}

// Nobody is served without a unit's credential, a unit is served its own, and
// an unchanged timestamp costs nothing.
func TestDoor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"image/1.root.json", "image/timestamp.json", "director/timestamp.json", "director/1.root.json", "targets/" + strings.Repeat("0", 64) + "/x"} {
		require.Equal(t, http.StatusUnauthorized, w.ask(tuf.Prefix+path, func(r *http.Request) { r.Header.Del("Authorization") }).Code, path)
		require.Equal(t, http.StatusUnauthorized, w.ask(tuf.Prefix+path, func(r *http.Request) { r.SetBasicAuth(campaigntest.UnitID(2), "token of "+campaigntest.UnitID(1)) }).Code, path)
	}
	for _, path := range []string{
		"image/2.root.json", "image/0.root.json", "image/01.root.json", "image/root.json", "image/1.secret.json", "image/9.targets.json", "director/1.targets.json",
		"image/99999999999999999999.root.json", "image/-1.root.json", "targets/" + strings.Repeat("0", 64) + "/x",
	} {
		require.GreaterOrEqual(t, w.status(tuf.Prefix+path), 404, path)
		require.Less(t, w.status(tuf.Prefix+path), 500, path)
	}
	first := w.ask("/tuf/director/timestamp.json", nil)
	tag := first.Header().Get("ETag")
	require.NotEmpty(t, tag)
	require.Equal(t, "private, no-cache", first.Header().Get("Cache-Control"))
	asked := func(r *http.Request) { r.Header.Set("If-None-Match", tag) }
	require.Equal(t, http.StatusNotModified, w.ask("/tuf/director/timestamp.json", asked).Code)
	w.Clock.Advance(5 * time.Hour)
	require.Equal(t, http.StatusNotModified, w.ask("/tuf/director/timestamp.json", asked).Code)
	w.Clock.Advance(2 * time.Hour)
	require.Equal(t, http.StatusOK, w.ask("/tuf/director/timestamp.json", asked).Code, "past half of its life")
	tag = w.ask("/tuf/director/timestamp.json", nil).Header().Get("ETag")
	_, err := w.Updates.Withhold(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, w.ask("/tuf/director/timestamp.json", asked).Code, "something else to say")
}
