package ddi_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/ddi"
	"fettle.dev/fettle/internal/device/download"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/peer/swupdate"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/link"
)

// auth knows the token of each unit: "token of <unit>".
type auth struct {
	n         atomic.Int64 // contacts
	listening atomic.Bool
	told      atomic.Int64 // the last sleep told, ns
	often     atomic.Bool
}

func (a *auth) Poll(ctx context.Context, unitID, token string, from netip.Addr) (device.Identity, error) {
	if a.often.Load() {
		return device.Identity{}, &device.OftenError{After: 1500 * time.Millisecond, By: "unit"}
	}
	id, err := a.Token(ctx, unitID, token)
	if err == nil && from.IsLoopback() {
		a.Contact(id)
	}
	return id, err
}

func (a *auth) Contact(device.Identity)            { a.n.Add(1) }
func (a *auth) Listening(string) bool              { return a.listening.Load() }
func (a *auth) Told(_ string, again time.Duration) { a.told.Store(int64(again)) }

// Vouched knows the units of a World, of which those with an odd number are of
// its product.
func (a *auth) Vouched(_ context.Context, unitID string) (device.Identity, error) {
	if !strings.HasPrefix(unitID, "WC-") {
		return device.Identity{}, device.ErrCredential
	}
	if (unitID[len(unitID)-1]-'0')%2 == 0 {
		return device.Identity{UnitID: unitID, Product: "another"}, nil
	}
	return device.Identity{UnitID: unitID, Product: campaigntest.Product}, nil
}

func (*auth) Token(_ context.Context, unitID, token string) (device.Identity, error) {
	if token != "token of "+unitID {
		return device.Identity{}, fault.New(fault.Denied, "wrong")
	}
	return device.Identity{UnitID: unitID, Product: campaigntest.Product}, nil
}

// Desired is what one signal's owner permits.
func (*auth) Desired(_ context.Context, id device.Identity) (device.Desired, error) {
	return device.Desired{Collect: []string{"current of " + id.UnitID}}, nil
}

// TokenAlone knows none: update clients name their unit.
func (*auth) TokenAlone(context.Context, string) (device.Identity, error) {
	return device.Identity{}, fault.New(fault.Denied, "no token says whose it is here")
}

// Certificate knows the unit by the certificate's common name.
func (*auth) Certificate(_ context.Context, leaf *x509.Certificate) (device.Identity, error) {
	return device.Identity{UnitID: leaf.Subject.CommonName, Product: campaigntest.Product}, nil
}

type world struct {
	*campaigntest.World
	t       *testing.T
	server  *httptest.Server
	units   *auth
	log     *lines
	metrics *prometheus.Registry
}

// lines is a log that can be read while others write to it.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t *testing.T, db *sqldb.DB) *world { return newTrusting(t, db, ddi.Trust{}) }

func newTrusting(t *testing.T, db *sqldb.DB, trust ddi.Trust) *world {
	t.Helper()
	return newOffering(t, db, trust, nil, 20*time.Second)
}

func newOffering(t *testing.T, db *sqldb.DB, trust ddi.Trust, offers *ddi.Offers, offered time.Duration) *world {
	t.Helper()
	w := &world{World: campaigntest.New(t, db, 3), t: t, units: &auth{}, log: &lines{}, metrics: prometheus.NewRegistry()}
	links, err := link.New(make([]byte, link.KeySize), w.Clock)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(ddi.Prefix, ddi.New(ddi.Config{
		Updates: w.Updates, Units: w.units, Links: links, Offers: offers, Trust: trust, Log: slog.New(slog.NewTextHandler(w.log, nil)), Metrics: w.metrics,
		Polling: 90 * time.Second, Offered: offered,
	}))
	mux.Handle(link.Prefix, download.New(download.Config{
		Updates: w.Updates, Blobs: w.Blobs, Links: links, Clock: w.Clock, Log: slog.New(slog.DiscardHandler), Recheck: 100 * time.Millisecond,
	}))
	w.server = httptest.NewServer(mux)
	t.Cleanup(w.server.Close)
	return w
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (w *world) do(method, path, unit, body string, header ...string) answer {
	w.t.Helper()
	url := path
	if !strings.HasPrefix(path, "http") {
		url = w.server.URL + ddi.Prefix + path
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, url, strings.NewReader(body))
	require.NoError(w.t, err)
	if unit != "" {
		req.Header.Set("Authorization", "TargetToken token of "+unit)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return answer{res.StatusCode, res.Header, string(b)}
}

// links are those that a unit's poll shows.
func (w *world) links(unit string) map[string]string {
	w.t.Helper()
	_, out := w.poll(unit)
	return out
}

// poll gives the sleep and the links.
func (w *world) poll(unit string) (string, map[string]string) {
	w.t.Helper()
	a := w.do(http.MethodGet, unit, unit, "")
	require.Equal(w.t, 200, a.status, a.body)
	var base struct {
		Config struct {
			Polling struct{ Sleep string }
		}
		Links map[string]struct{ Href string } `json:"_links"`
	}
	require.NoError(w.t, json.Unmarshal([]byte(a.body), &base))
	out := map[string]string{}
	for k, l := range base.Links {
		require.True(w.t, strings.HasPrefix(l.Href, w.server.URL), l.Href)
		out[k] = l.Href
	}
	return base.Config.Polling.Sleep, out
}

func (w *world) assign(n int) update.Assignment {
	w.t.Helper()
	a, err := w.Updates.Assign(w.t.Context(), campaigntest.UnitID(n), campaigntest.Release, fmt.Sprintf("task-%d", n))
	require.NoError(w.t, err)
	return a
}

func (w *world) offer(a update.Assignment, at time.Time) {
	w.t.Helper()
	_, err := w.Updates.Offer(w.t.Context(), a.ID, at)
	require.NoError(w.t, err)
}

func (w *world) state(id int64) update.Assignment {
	w.t.Helper()
	a, err := w.Updates.Assignment(w.t.Context(), id)
	require.NoError(w.t, err)
	return a
}

func said(id int64, execution, finished string, details ...string) string {
	d, _ := json.Marshal(details)
	return fmt.Sprintf(`{"id":"%d","time":"20140303T120000","status":{"execution":%q,"result":{"finished":%q,"progress":{"cnt":1,"of":3}},"details":%s}}`, id, execution, finished, d)
}

func (w *world) download(unit string, deployment string) (href string) {
	w.t.Helper()
	a := w.do(http.MethodGet, deployment, unit, "")
	require.Equal(w.t, 200, a.status, a.body)
	var d struct {
		ID         string
		Deployment struct {
			Download, Update string
			Chunks           []struct {
				Version   string
				Artifacts []struct {
					Filename string
					Size     int64
					Hashes   map[string]string
					Links    map[string]struct{ Href string } `json:"_links"`
				}
			}
		}
	}
	require.NoError(w.t, json.Unmarshal([]byte(a.body), &d))
	require.Equal(w.t, "forced", d.Deployment.Update)
	require.Len(w.t, d.Deployment.Chunks, 1)
	require.Len(w.t, d.Deployment.Chunks[0].Artifacts, 1)
	f := d.Deployment.Chunks[0].Artifacts[0]
	require.Len(w.t, f.Hashes["sha1"], 40)
	require.Len(w.t, f.Hashes["md5"], 32)
	require.Len(w.t, f.Hashes["sha256"], 64)
	require.Positive(w.t, f.Size)
	return f.Links["download"].Href
}

func TestDeploymentIsNotShownBeforeItsTime(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w, unit := newWorld(t, db), campaigntest.UnitID(1)
		require.Equal(t, []string{"configData"}, keys(w.links(unit)))
		a := w.assign(1)
		require.NotContains(t, w.links(unit), "deploymentBase")
		path := fmt.Sprintf("%s/deploymentBase/%d", unit, a.ID)
		require.Equal(t, 404, w.do(http.MethodGet, path, unit, "").status)
		require.Equal(t, 404, w.do(http.MethodPost, path+"/feedback", unit, said(a.ID, "closed", "success")).status, "no success of what was never shown")

		w.offer(a, w.Clock.Now().Add(time.Hour))
		require.NotContains(t, w.links(unit), "deploymentBase")
		require.Equal(t, 404, w.do(http.MethodPost, path+"/feedback", unit, said(a.ID, "closed", "success")).status)
		w.Clock.Advance(time.Hour)
		link := w.links(unit)["deploymentBase"]
		require.Contains(t, link, "?c=")
		href := w.download(unit, link)

		// The owner changes their mind: link, deployment and bytes are gone.
		_, err := w.Updates.Withhold(t.Context(), a.ID)
		require.NoError(t, err)
		require.NotContains(t, w.links(unit), "deploymentBase")
		require.Equal(t, 404, w.do(http.MethodGet, link, unit, "").status)
		require.Equal(t, 410, w.do(http.MethodGet, href, unit, "").status)

		w.Clock.Advance(time.Second)
		w.offer(a, w.Clock.Now())
		require.NotEqual(t, link, w.links(unit)["deploymentBase"], "a new offer has a new link")
		got := w.do(http.MethodGet, href, unit, "")
		require.Equal(t, "the image of version 2.0.0", got.body)
		require.Equal(t, update.Running, w.state(a.ID).State, "a download is a beginning")
		_, err = w.Updates.Withhold(t.Context(), a.ID)
		require.Equal(t, fault.Conflict, fault.KindOf(err))
	})
}

func keys(m map[string]string) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	return out
}

func TestFeedback(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		execution string
		finished  string
		want      update.AssignmentState
	}{
		{"proceeding", "proceeding", "none", update.Running},
		{"download", "download", "none", update.Running},
		{"downloaded", "downloaded", "none", update.Running},
		{"scheduled", "scheduled", "none", update.Running},
		{"resumed", "resumed", "none", update.Running},
		{"rejected is words only", "rejected", "none", update.Offered},
		{"closed with none is a success", "closed", "none", update.Claimed},
		{"closed with success", "closed", "success", update.Claimed},
		{"closed with failure", "closed", "failure", update.Failed},
		{"canceled", "canceled", "none", update.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, unit := newWorld(t, sqldbtest.SQLite(t)), campaigntest.UnitID(1)
			a := w.assign(1)
			w.offer(a, w.Clock.Now())
			path := fmt.Sprintf("%s/deploymentBase/%d/feedback", unit, a.ID)
			got := w.do(http.MethodPost, path, unit, said(a.ID, c.execution, c.finished, "words of the client"))
			require.Equal(t, 200, got.status)
			require.Empty(t, got.body)
			now := w.state(a.ID)
			require.Equal(t, c.want, now.State)
			require.Equal(t, []string{"words of the client"}, now.Details)
			require.Equal(t, [2]int{1, 3}, [2]int{now.Done, now.Of})
			if now.State == update.Claimed || now.Over() {
				require.Equal(t, 410, w.do(http.MethodPost, path, unit, said(a.ID, "closed", "success")).status, "it is over")
				require.NotContains(t, w.links(unit), "deploymentBase", "it would be installed again")
			}
		})
	}
}

func TestFeedbackThatIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t))
	one, two := campaigntest.UnitID(1), campaigntest.UnitID(2)
	a, b := w.assign(1), w.assign(2)
	w.offer(a, w.Clock.Now())
	w.offer(b, w.Clock.Now())
	post := func(unit, credential string, id any, body string) int {
		return w.do(http.MethodPost, fmt.Sprintf("%s/deploymentBase/%v/feedback", unit, id), credential, body).status
	}
	ok := said(a.ID, "closed", "success")
	require.Equal(t, 404, post(two, two, a.ID, ok), "another unit's action")
	require.NoError(t, testutil.GatherAndCompare(w.metrics, strings.NewReader(counted("action", 1)), "fettle_ddi_refused_total"))
	require.Contains(t, w.log.String(), "reason=action", "and written down")
	require.Equal(t, 401, post(one, two, a.ID, ok), "another unit's name")
	require.Equal(t, 401, post(one, "", a.ID, ok))
	require.Equal(t, 404, post(one, one, 4711, said(4711, "closed", "success")), "unknown")
	require.Equal(t, 404, post(one, one, "abc", ok))
	require.Equal(t, 404, post(one, one, "-1", ok))
	require.Equal(t, 404, post(one, one, "99999999999", ok))
	require.Equal(t, 400, post(one, one, a.ID, said(b.ID, "closed", "success")), "body and path disagree")
	require.Equal(t, 400, post(one, one, a.ID, `{`))
	require.Equal(t, 400, post(one, one, a.ID, `{"id":"1"}`))
	require.Equal(t, 400, post(one, one, a.ID, said(a.ID, "finished", "success")))
	require.Equal(t, 400, post(one, one, a.ID, said(a.ID, "closed", "maybe")))
	require.Equal(t, 413, post(one, one, a.ID, `{"x":"`+strings.Repeat("x", 1<<17)+`"}`))
	require.Equal(t, update.Offered, w.state(a.ID).State, "none of it counted")
	require.Equal(t, update.Offered, w.state(b.ID).State)
	require.Equal(t, 404, w.do(http.MethodGet, fmt.Sprintf("%s/deploymentBase/%d", two, a.ID), two, "").status)
}

// A unit cannot confirm in its owner's place, withheld or offered.
func TestNothingIsConfirmedByTheUnit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t))
	unit, other := campaigntest.UnitID(1), campaigntest.UnitID(2)
	a := w.assign(1)
	n := fmt.Sprint(a.ID)
	for range 2 { // withheld, then offered
		got := w.do(http.MethodGet, unit+"/confirmationBase", unit, "")
		require.Equal(t, 200, got.status)
		require.JSONEq(t, `{"autoConfirm":{"active":false}}`, got.body)
		require.Equal(t, 404, w.do(http.MethodGet, unit+"/confirmationBase/"+n, unit, "").status)
		require.Equal(t, 404, w.do(http.MethodPost, unit+"/confirmationBase/"+n+"/feedback", unit, `{"confirmation":"confirmed"}`).status)
		require.Equal(t, 403, w.do(http.MethodPost, unit+"/confirmationBase/activateAutoConfirm", unit, `{}`).status)
		got = w.do(http.MethodPost, unit+"/confirmationBase/deactivateAutoConfirm", unit, "")
		require.Equal(t, 200, got.status)
		require.Empty(t, got.body)
		require.NotContains(t, keys(w.links(unit)), "confirmationBase")
		w.offer(a, w.Clock.Now())
	}
	require.Equal(t, update.Offered, w.state(a.ID).State)
	require.Equal(t, 401, w.do(http.MethodGet, other+"/confirmationBase", unit, "", "Authorization", "TargetToken token of "+unit).status)
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	w, unit := newWorld(t, sqldbtest.SQLite(t)), campaigntest.UnitID(1)
	require.Equal(t, 401, w.do(http.MethodGet, unit, "", "").status)
	for _, h := range []string{"TargetToken wrong", "TargetToken", "GatewayToken token of " + unit, "Bearer token of " + unit, "Basic x"} {
		require.Equal(t, 401, w.do(http.MethodGet, unit, "", "", "Authorization", h).status, h)
	}
	require.Zero(t, w.units.n.Load(), "a stranger is no contact")
	require.Equal(t, 200, w.do(http.MethodGet, unit, unit, "").status)
	require.EqualValues(t, 1, w.units.n.Load())
}

func TestAClientCertificateSpeaksForItsOwnUnitOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t))
	h := ddi.New(ddi.Config{
		Updates: w.Updates, Units: w.units, Log: slog.New(slog.DiscardHandler),
		BaseURL: func(*http.Request) string { return "https://updates.example.com" },
	})
	get := func(unit, name, token string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, ddi.Prefix+unit, nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: pkix.Name{CommonName: name}}}}
		if token != "" {
			r.Header.Set("Authorization", "TargetToken "+token)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec.Code, rec.Body.String()
	}
	one, two := campaigntest.UnitID(1), campaigntest.UnitID(2)
	status, body := get(one, one, "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"sleep":"00:05:00"`)
	require.Contains(t, body, "https://updates.example.com/DEFAULT/controller/v1/"+one)
	status, _ = get(one, two, "")
	require.Equal(t, 401, status)
	status, _ = get(one, one, "wrong")
	require.Equal(t, 401, status, "a wrong token is not outweighed by a certificate")
}

func TestDownloadResumes(t *testing.T) {
	t.Parallel()
	w, unit := newWorld(t, sqldbtest.SQLite(t)), campaigntest.UnitID(1)
	a := w.assign(1)
	w.offer(a, w.Clock.Now())
	href := w.download(unit, w.links(unit)["deploymentBase"])
	head := w.do(http.MethodHead, href, unit, "")
	require.Equal(t, 200, head.status)
	require.Equal(t, "26", head.header.Get("Content-Length"))
	require.Equal(t, "bytes", head.header.Get("Accept-Ranges"))
	require.Equal(t, update.Offered, w.state(a.ID).State, "a HEAD begins nothing")
	part := w.do(http.MethodGet, href, unit, "", "Range", "bytes=13-")
	require.Equal(t, 206, part.status)
	require.Equal(t, "version 2.0.0", part.body)
	require.Equal(t, "bytes 13-25/26", part.header.Get("Content-Range"))
	require.Equal(t, 416, w.do(http.MethodGet, href, unit, "", "Range", "bytes=26-").status)
	many := w.do(http.MethodGet, href, unit, "", "Range", "bytes=0-2,20-25")
	require.Equal(t, 206, many.status)
	require.Contains(t, many.header.Get("Content-Type"), "multipart/byteranges")
	require.Equal(t, 200, w.do(http.MethodGet, href, "", "").status, "the address is the credential")
	_, err := w.Updates.Cancel(t.Context(), a.ID)
	require.NoError(t, err)
	require.Equal(t, 410, w.do(http.MethodGet, href, unit, "").status)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		execution, finished string
		want                update.AssignmentState
	}{
		{"closed", "success", update.Canceled},
		{"closed", "none", update.Canceled},
		{"canceled", "none", update.Canceled},
		{"rejected", "none", update.Running},
		{"proceeding", "none", update.Canceling},
	} {
		t.Run(c.execution+" "+c.finished, func(t *testing.T) {
			t.Parallel()
			w, unit := newWorld(t, sqldbtest.SQLite(t)), campaigntest.UnitID(1)
			a := w.assign(1)
			w.offer(a, w.Clock.Now())
			require.Equal(t, 404, w.do(http.MethodGet, fmt.Sprintf("%s/cancelAction/%d", unit, a.ID), unit, "").status)
			_, err := w.Updates.Cancel(t.Context(), a.ID)
			require.NoError(t, err)
			links := w.links(unit)
			require.NotContains(t, links, "deploymentBase")
			got := w.do(http.MethodGet, links["cancelAction"], unit, "")
			require.JSONEq(t, fmt.Sprintf(`{"id":"%[1]d","cancelAction":{"stopId":"%[1]d"}}`, a.ID), got.body)
			require.Equal(t, 404, w.do(http.MethodPost, fmt.Sprintf("%s/cancelAction/%d/feedback", campaigntest.UnitID(2), a.ID), campaigntest.UnitID(2), said(a.ID, "closed", "success")).status)
			answer := w.do(http.MethodPost, links["cancelAction"]+"/feedback", unit, said(a.ID, c.execution, c.finished))
			require.Equal(t, 200, answer.status)
			require.Empty(t, answer.body)
			require.Equal(t, c.want, w.state(a.ID).State)
		})
	}
}

// SWUpdate sends why it failed by another thread than that it did.
func TestWordsThatComeAfterTheFailureAreKept(t *testing.T) {
	t.Parallel()
	w, unit := newWorld(t, sqldbtest.SQLite(t)), campaigntest.UnitID(1)
	a := w.assign(1)
	w.offer(a, w.Clock.Now())
	path := fmt.Sprintf("%s/deploymentBase/%d/feedback", unit, a.ID)
	require.Equal(t, 200, w.do(http.MethodPost, path, unit, said(a.ID, "closed", "failure", "No suitable .swu image found")).status)
	require.Equal(t, 410, w.do(http.MethodPost, path, unit, said(a.ID, "proceeding", "none", "ERROR : SW not compatible with hardware")).status)
	require.Equal(t, 410, w.do(http.MethodPost, path, unit, said(a.ID, "closed", "success", "never mind")).status)
	got := w.state(a.ID)
	require.Equal(t, update.Failed, got.State)
	require.Equal(t, "ERROR : SW not compatible with hardware", update.Reason(got.Details))
	w.Clock.Advance(2 * time.Minute)
	require.Equal(t, 410, w.do(http.MethodPost, path, unit, said(a.ID, "proceeding", "none", "ERROR : of something else")).status)
	require.NotContains(t, w.state(a.ID).Details, "ERROR : of something else")
}

// A client whose download was cut by a cancel may say that it failed before it
// hears of the cancel.
func TestAFailureAfterACancelIsACancel(t *testing.T) {
	t.Parallel()
	w, unit := newWorld(t, sqldbtest.SQLite(t)), campaigntest.UnitID(1)
	a := w.assign(1)
	w.offer(a, w.Clock.Now())
	path := fmt.Sprintf("%s/deploymentBase/%d/feedback", unit, a.ID)
	require.Equal(t, 200, w.do(http.MethodPost, path, unit, said(a.ID, "proceeding", "none")).status)
	_, err := w.Updates.Cancel(t.Context(), a.ID)
	require.NoError(t, err)
	require.Equal(t, 200, w.do(http.MethodPost, path, unit, said(a.ID, "proceeding", "none", "still at it")).status)
	require.Equal(t, update.Canceling, w.state(a.ID).State)
	require.Equal(t, 200, w.do(http.MethodPost, path, unit, said(a.ID, "closed", "failure", "ERROR : Channel operation returned HTTP error code 410.")).status)
	got := w.state(a.ID)
	require.Equal(t, update.Canceled, got.State)
	require.Contains(t, got.Details, "ERROR : Channel operation returned HTTP error code 410.")
	require.NotContains(t, w.links(unit), "cancelAction")
}

func TestConfigDataIsAskedForOnce(t *testing.T) {
	t.Parallel()
	w, unit := newWorld(t, sqldbtest.SQLite(t)), campaigntest.UnitID(1)
	put := func(body string) int { return w.do(http.MethodPut, unit+"/configData", unit, body).status }
	require.Equal(t, 400, put(`[]`))
	require.Equal(t, 400, put(`{"data":{"a":"b"},"mode":"guess"}`))
	require.Equal(t, 400, put(`{"data":{"a":{}}}`))
	require.Contains(t, w.links(unit), "configData")
	require.Equal(t, 200, put(`{"id":"","time":"20140303T120000","status":{"result":{"finished":"success"},"execution":"closed","details":[""]},"data":{"serial":"1","n":2}}`))
	require.NotContains(t, w.links(unit), "configData")
	has := func() map[string]string {
		a, err := w.Updates.Attributes(t.Context(), unit)
		require.NoError(t, err)
		return a
	}
	require.Equal(t, map[string]string{"serial": "1", "n": "2"}, has())
	require.Equal(t, 200, put(`{"data":{"n":"3"},"mode":"merge"}`))
	require.Equal(t, map[string]string{"serial": "1", "n": "3"}, has())
	require.Equal(t, 200, put(`{"data":{"serial":""},"mode":"remove"}`))
	require.Equal(t, map[string]string{"n": "3"}, has())
	require.Equal(t, 200, put(`{"data":{"x":"y"},"mode":"replace"}`))
	require.Equal(t, map[string]string{"x": "y"}, has())
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf(`"k%d":"v"`, i))
	}
	require.Equal(t, 400, put(`{"data":{`+strings.Join(many, ",")+`}}`))
	u, err := w.DB.Fleet().Unit(t.Context(), unit)
	require.NoError(t, err)
	require.Equal(t, "1.0.0", u.Versions["software"], "a client's attributes are no version report")
}

func TestInstalledBase(t *testing.T) {
	t.Parallel()
	w, unit := newWorld(t, sqldbtest.SQLite(t)), campaigntest.UnitID(1)
	a := w.assign(1)
	w.offer(a, w.Clock.Now())
	path := fmt.Sprintf("%s/deploymentBase/%d/feedback", unit, a.ID)
	require.Equal(t, 200, w.do(http.MethodPost, path, unit, said(a.ID, "closed", "success")).status)
	require.NotContains(t, w.links(unit), "installedBase", "a claim is not an installation")
	w.Reports(unit, "2.0.0")
	link := w.links(unit)["installedBase"]
	require.Equal(t, 200, w.do(http.MethodGet, link, unit, "").status)
	require.Equal(t, 404, w.do(http.MethodGet, strings.ReplaceAll(link, unit, campaigntest.UnitID(2)), campaigntest.UnitID(2), "").status)
}

func TestARealSWUpdateInstalls(t *testing.T) {
	t.Parallel()
	swupdate.Require(t)
	w, unit := newWorld(t, sqldbtest.SQLite(t)), campaigntest.UnitID(1)
	key, dest := swupdate.NewKey(t), swupdate.Dir(t)
	payload := bytes.Repeat([]byte("version 2.0.0\n"), 50_000)
	installed := filepath.Join(dest, "payload.txt")
	image := swupdate.Build(t, key, "2.0.0", installed, payload)
	artifact, err := w.Updates.PutArtifact(t.Context(), bytes.NewReader(image), "real.swu")
	require.NoError(t, err)
	release, err := w.Updates.Release(t.Context(), campaigntest.Release)
	require.NoError(t, err)
	release.Artifact = "sha256:" + artifact.SHA256
	require.NoError(t, w.Updates.Put(t.Context(), release))

	client := swupdate.Start(t, swupdate.Options{URL: w.server.URL, UnitID: unit, Token: "token of " + unit, Key: key, Poll: 600 * time.Second})
	client.Poll(t)
	eventually := func(what string, ok func() bool) {
		t.Helper()
		require.Eventually(t, ok, 30*time.Second, 50*time.Millisecond, "%s", what)
	}
	eventually("it describes itself", func() bool {
		a, err := w.Updates.Attributes(t.Context(), unit)
		return err == nil && a["serial"] == unit
	})
	a := w.assign(1)
	before := w.units.n.Load()
	client.Poll(t)
	eventually("it polls", func() bool { return w.units.n.Load() > before })
	time.Sleep(500 * time.Millisecond)
	require.Equal(t, update.Withheld, w.state(a.ID).State)
	require.Empty(t, w.state(a.ID).Details)
	require.NoFileExists(t, installed)

	w.offer(a, w.Clock.Now())
	client.Poll(t)
	eventually("it installs", func() bool {
		got, err := os.ReadFile(installed)
		return err == nil && bytes.Equal(got, payload)
	})
	eventually("it says so", func() bool {
		return strings.Contains(strings.Join(w.state(a.ID).Details, "\n"), "All Chunks Installed")
	})
	require.Equal(t, update.Running, w.state(a.ID).State)
	client.Confirm(t, a.ID)
	eventually("it claims success", func() bool { return w.state(a.ID).State == update.Claimed })
	w.Reports(unit, "2.0.0")
	require.Equal(t, update.Installed, w.state(a.ID).State)
}

func TestARealSWUpdateRefusesAForgedImage(t *testing.T) {
	t.Parallel()
	swupdate.Require(t)
	w, unit := newWorld(t, sqldbtest.SQLite(t)), campaigntest.UnitID(1)
	mine, forger, dest := swupdate.NewKey(t), swupdate.NewKey(t), swupdate.Dir(t)
	installed := filepath.Join(dest, "payload.txt")
	artifact, err := w.Updates.PutArtifact(t.Context(), bytes.NewReader(swupdate.Build(t, forger, "2.0.0", installed, []byte("evil"))), "forged.swu")
	require.NoError(t, err)
	release, err := w.Updates.Release(t.Context(), campaigntest.Release)
	require.NoError(t, err)
	release.Artifact = "sha256:" + artifact.SHA256
	require.NoError(t, w.Updates.Put(t.Context(), release))
	a := w.assign(1)
	w.offer(a, w.Clock.Now())
	client := swupdate.Start(t, swupdate.Options{URL: w.server.URL, UnitID: unit, Token: "token of " + unit, Key: mine, Poll: 600 * time.Second})
	client.Poll(t)
	require.Eventually(t, func() bool { // it describes itself first, and comes back a polling interval later
		known, err := w.Updates.Attributes(t.Context(), unit)
		return err == nil && known["serial"] == unit
	}, time.Minute, 50*time.Millisecond)
	client.Poll(t)
	require.Eventually(t, func() bool { return w.state(a.ID).State == update.Failed }, time.Minute, 50*time.Millisecond)
	require.NoFileExists(t, installed)
	require.Greater(t, len(w.state(a.ID).Details), 1, "the words before the closing ones say why")
}

func TestARealSWUpdateTakesACancel(t *testing.T) {
	t.Parallel()
	swupdate.Require(t)
	w, unit := newWorld(t, sqldbtest.SQLite(t)), campaigntest.UnitID(1)
	a := w.assign(1)
	w.offer(a, w.Clock.Now())
	_, err := w.Updates.Cancel(t.Context(), a.ID)
	require.NoError(t, err)
	require.Equal(t, update.Canceling, w.state(a.ID).State)
	client := swupdate.Start(t, swupdate.Options{URL: w.server.URL, UnitID: unit, Token: "token of " + unit, Key: swupdate.NewKey(t), Poll: time.Second})
	client.Poll(t)
	require.Eventually(t, func() bool { return w.state(a.ID).State == update.Canceled }, time.Minute, 50*time.Millisecond)
	require.NotContains(t, w.links(unit), "cancelAction")
}
