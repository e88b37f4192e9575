package tuf_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/device/ddi"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/trust"
	"fettle.dev/fettle/internal/update/trust/ceremony"
	"fettle.dev/fettle/unitkit"
)

func (w *world) send(method, path, body string, header map[string]string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(body))
	for k, v := range header {
		r.Header.Set(k, v)
	}
	rec := httptest.NewRecorder()
	w.real.ServeHTTP(rec, r)
	return rec
}

// Version reports that are not the unit's own newest are refused by name, and
// counted; what they claim counts for nothing.
func TestReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := campaigntest.UnitID(1), campaigntest.UnitID(2)
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	_, other, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	report := func(unit string, sequence uint64, version string, key ed25519.PrivateKey) unitkit.SignedReport {
		s, err := unitkit.SignReport(unitkit.VersionReport{Unit: unit, Sequence: sequence, Versions: map[string]string{"software": version}}, key)
		require.NoError(t, err)
		return s
	}
	post := func(unit string, s any) *httptest.ResponseRecorder {
		b, err := json.Marshal(s)
		require.NoError(t, err)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/tuf/director/report", strings.NewReader(string(b)))
		r.SetBasicAuth(unit, "token of "+unit)
		rec := httptest.NewRecorder()
		w.real.ServeHTTP(rec, r)
		return rec
	}
	first := report(one, 5, "1.0.0", key)
	require.Equal(t, 200, post(one, first).Code)
	require.Equal(t, "1.0.0", w.versions[one]["software"])
	require.Equal(t, 200, post(one, report(one, 6, "2.0.0", key)).Code)

	forged := report(one, 9, "9.9.9", key)
	forged.Signed = []byte(strings.Replace(string(forged.Signed), "9.9.9", "8.8.8", 1))
	for _, x := range []struct {
		name   string
		unit   string
		report any
		code   trust.ReportCode
		status int
	}{
		{"the same again", one, report(one, 6, "2.0.0", key), trust.ReportReplayed, 409},
		{"an older one after a newer", one, first, trust.ReportReplayed, 409},
		{"another key with the unit's credential", one, report(one, 10, "9.9.9", other), trust.ReportKey, 403},
		{"another unit's", two, report(one, 10, "9.9.9", key), trust.ReportUnit, 403},
		{"changed on the way", one, forged, trust.ReportForged, 400},
		{"no report at all", one, []int{1}, trust.ReportForged, 400},
	} {
		rec := post(x.unit, x.report)
		require.Equal(t, x.status, rec.Code, "%s: %s", x.name, rec.Body.String())
		require.Contains(t, rec.Body.String(), "refused as "+string(x.code), x.name)
		require.Equal(t, string(x.code), w.refused[len(w.refused)-1], x.name)
	}
	require.Equal(t, "2.0.0", w.versions[one]["software"])
	require.Empty(t, w.versions[two])
	require.Equal(t, 413, post(one, strings.Repeat("x", 70<<10)).Code)

	require.NoError(t, w.trust.ForgetUnit(t.Context(), one)) // its storage was replaced
	require.Equal(t, 200, post(one, report(one, 1, "2.0.0", other)).Code)
}

// A client that skips says that it succeeded: that is a claim, and no more.
func TestFalseSuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := campaigntest.UnitID(1)
	as := map[string]string{"Authorization": "TargetToken token of " + id, "Content-Type": "application/json"}
	rec := w.send(http.MethodGet, ddi.Prefix+id+"/deploymentBase/1", "", as)
	require.Equal(t, 200, rec.Code)
	require.NotContains(t, rec.Body.String(), "skip")
	rec = w.send(http.MethodPost, ddi.Prefix+id+"/deploymentBase/1/feedback",
		`{"id":"1","status":{"execution":"closed","result":{"finished":"success"},"details":["Skipped Update."]}}`, as)
	require.Equal(t, 200, rec.Code, rec.Body.String())
	a, err := w.Updates.Assignment(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, update.Claimed, a.State)
	require.Zero(t, a.Installed)
}

// Nobody speaks for another unit: not with its own credential, not with a
// gateway's, not with a header.
func TestImpersonation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := campaigntest.UnitID(1), campaigntest.UnitID(2)
	said := `{"id":"1","status":{"execution":"closed","result":{"finished":"failure"},"details":["sabotage"]}}`
	for _, x := range []struct {
		name, path string
		header     map[string]string
		want       int
	}{
		{"feedback for another unit's action", ddi.Prefix + two + "/deploymentBase/1/feedback", map[string]string{"Authorization": "TargetToken token of " + two}, 404},
		{"another unit's path", ddi.Prefix + one + "/deploymentBase/1/feedback", map[string]string{"Authorization": "TargetToken token of " + two}, 401},
		{"a gateway token", ddi.Prefix + one + "/deploymentBase/1/feedback", map[string]string{"Authorization": "GatewayToken token of " + one}, 401},
		{"a forged header", ddi.Prefix + one + "/deploymentBase/1/feedback", map[string]string{"X-Controller-Id": one, "X-Ssl-Issuer-Hash-1": "x"}, 401},
		{"a gateway token for metadata", "/tuf/director/report", map[string]string{"Authorization": "GatewayToken token of " + one}, 401},
		{"a forged header for metadata", "/tuf/director/report", map[string]string{"X-Controller-Id": one}, 401},
	} {
		require.Equal(t, x.want, w.send(http.MethodPost, x.path, said, x.header).Code, x.name)
	}
	a, err := w.Updates.Assignment(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, update.Offered, a.State)
	require.Empty(t, a.Details)
}

// A release that is not signed is not offered, and says so; signing it is all
// that is missing.
func TestUnsignedReleasesWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Updates.SetSigned(w.trust.Refuse)
	w.release(update.Release{Name: "charger-2.1.0", Version: "2.1.0"}, "newer")
	a := w.offer(2, "charger-2.1.0", time.Time{})
	look := func() update.Work {
		x, err := w.Updates.Work(t.Context(), campaigntest.UnitID(2))
		require.NoError(t, err)
		return x
	}
	require.Nil(t, look().Action)
	got, err := w.Updates.Assignment(t.Context(), a.ID)
	require.NoError(t, err)
	require.NotNil(t, got.Waiting)
	require.Equal(t, trust.CodeUnsigned, got.Waiting.Code)
	require.Contains(t, got.Waiting.Why, "fettle keys export")
	u, err := w.unit(2, nil).Check(t.Context())
	require.NoError(t, err)
	require.Nil(t, u)

	w.signTargets(w.bob, w.alice)
	require.NotNil(t, look().Action)
	u, err = w.unit(2, nil).Check(t.Context())
	require.NoError(t, err)
	require.Equal(t, "charger-2.1.0", u.Release)

	w.Clock.Advance(400 * day)
	no, err := w.trust.Refuse(t.Context(), &update.Release{Name: "charger-2.1.0", Product: campaigntest.Product, Artifact: "sha256:" + u.Targets[0].SHA256, Version: "2.1.0"})
	require.NoError(t, err)
	require.Contains(t, no.Why, "expired")
}

// What is not signed well enough, does not follow, or names keys that the
// server does not hold is not put into force.
func TestImportsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	bring := func(b *ceremony.Bundle, want string) {
		t.Helper()
		_, err := w.trust.Import(ctx, b)
		require.ErrorContains(t, err, want)
	}
	w.release(update.Release{Name: "charger-2.1.0", Version: "2.1.0"}, "newer")
	b := w.export()
	bring(b, "signatures are missing: image targets 2 needs 2 more")
	w.sign(b, w.alice)
	bring(b, "needs 1 more of the root's keys: bob, carol")
	// The file may say whatever it likes of what is in force.
	mallory, mate := newHolder(t, "mallory", "root", "targets"), newHolder(t, "mate", "root", "targets")
	fake := w.export()
	fake.Trusted = ceremony.Trusted{}
	require.NoError(t, fake.Create([]ceremony.KeyFile{mallory.file, mate.file}, 2, w.Clock.Now().AddDate(1, 0, 0)))
	w.sign(fake, mallory, mate)
	bring(fake, "old root's keys: alice, bob, carol")

	next := w.export()
	require.NoError(t, next.Rotate(ceremony.Rotation{Expires: w.Clock.Now().AddDate(1, 0, 0)}))
	again, err := next.Copy()
	require.NoError(t, err)
	w.sign(next, w.alice, w.bob)
	w.bring(next)
	bring(next, "is in force already")
	w.sign(again, w.bob, w.carol)
	bring(again, "is in force already")

	stranger := w.export()
	for name := range stranger.Online {
		stranger.Online[name] = mallory.file.Public
	}
	require.NoError(t, stranger.Rotate(ceremony.Rotation{Expires: w.Clock.Now().AddDate(1, 0, 0)}))
	w.sign(stranger, w.alice, w.bob)
	bring(stranger, "that this server does not hold")

	old := w.export()
	require.NoError(t, old.Rotate(ceremony.Rotation{Expires: w.Clock.Now().Add(time.Minute)}))
	w.sign(old, w.alice, w.bob)
	w.Clock.Advance(time.Hour)
	bring(old, "expired at")
	require.EqualValues(t, 2, mustStatus(t, w).Roots[0].Version)
}

func mustStatus(t *testing.T, w *world) trust.Status {
	t.Helper()
	s, err := w.trust.Status(t.Context())
	require.NoError(t, err)
	return s
}

// A service that starts anew goes on where it was: its keys, its roots, and
// director versions above all it has given.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.unit(1, nil)
	u, err := c.Check(t.Context())
	require.NoError(t, err)
	require.NotNil(t, u)
	before := mustStatus(t, w)
	w.Clock.Advance(-30 * time.Minute) // and the clock is set back
	w.open(w.DB)
	require.Equal(t, before, mustStatus(t, w))
	w.offer(2, campaigntest.Release, time.Time{})
	for range 3 {
		u, err = c.Check(t.Context())
		require.NoError(t, err)
		require.NotNil(t, u)
		w.Clock.Advance(time.Minute)
		_, err = w.Updates.Offer(t.Context(), u.Action, w.Clock.Now()) // something new to say
		require.NoError(t, err)
	}

	// With the wrong key in the data directory nothing is signed, and it is said why.
	w.seal = append([]byte{8}, w.seal[1:]...)
	w.open(w.DB)
	s := mustStatus(t, w)
	require.Contains(t, fmt.Sprint(s.Warnings), "key is missing")
	require.Equal(t, http.StatusServiceUnavailable, w.status("/tuf/director/timestamp.json"))
}
