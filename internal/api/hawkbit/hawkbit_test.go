package hawkbit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/hawkbit"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/sqldb"
	store "fettle.dev/fettle/internal/sqldb/bench"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/bench"
)

type world struct {
	*campaigntest.World
	t       *testing.T
	bench   *bench.Service
	server  *httptest.Server
	refused atomic.Int64
	changed []string
}

// Tokens knows one of each scope.
func (w *world) APIToken(_ context.Context, secret string) (access.APIToken, error) {
	for _, s := range []access.Scope{access.ScopeHawkbit, access.ScopeRead, access.ScopeAdmin} {
		if secret == "fet_"+string(s) {
			return access.APIToken{ID: "token-1", OperatorID: "operator-1", Name: "ci", Scope: s}, nil
		}
	}
	return access.APIToken{}, fault.New(fault.Denied, "not known")
}

func (w *world) UnitStateChanged(context.Context, string) error { return nil }
func (w *world) CredentialChanged(string)                       {}

func newWorld(t *testing.T, db *sqldb.DB, key byte) *world {
	t.Helper()
	w := &world{World: campaigntest.New(t, db, 2), t: t}
	var err error
	w.bench, err = bench.New(t.Context(), bench.Config{
		Store: store.New(db), Updates: w.Updates, Fleet: db.Fleet(), Campaigns: w.Campaigns, Tx: db, Clock: w.Clock, IDs: clock.Random{},
		Tokens: fleet.NewProvisioning(db.Fleet(), db.Credentials(), db.Claims(), db, w.Clock, clock.Random{}, w),
		Key:    bytes.Repeat([]byte{key}, 32), Product: "bench",
		Changed: func(_ context.Context, products, units []string) error {
			w.changed = append(append(w.changed, products...), units...)
			return nil
		},
	})
	require.NoError(t, err)
	w.server = httptest.NewServer(hawkbit.New(hawkbit.Config{
		Bench: w.bench, Updates: w.Updates, Tokens: w, Log: slog.New(slog.DiscardHandler), Login: "admin:admin",
		Base: func(*http.Request) string { return "http://fettle" }, Refused: func() { w.refused.Add(1) },
	}))
	t.Cleanup(w.server.Close)
	return w
}

const tool, fixed = "ci:fet_hawkbit", "admin:admin"

func (w *world) do(login, method, path, body string) (int, string) {
	w.t.Helper()
	return w.send(login, method, path, "application/json", strings.NewReader(body))
}

func (w *world) send(login, method, path, kind string, body io.Reader) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+hawkbit.Prefix+path, body)
	require.NoError(w.t, err)
	req.Header.Set("Content-Type", kind)
	if user, password, ok := strings.Cut(login, ":"); ok {
		req.SetBasicAuth(user, password)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return res.StatusCode, string(raw)
}

func (w *world) ok(method, path, body string, out any) {
	w.t.Helper()
	status, raw := w.do(tool, method, path, body)
	require.Contains(w.t, []int{200, 201, 204}, status, "%s %s: %s", method, path, raw)
	if out != nil {
		require.NoError(w.t, json.Unmarshal([]byte(raw), out), raw)
	}
}

// set makes a distribution set of modules with files.
func (w *world) set(version string, modules, files int) int64 {
	w.t.Helper()
	var ids []struct{ ID int64 }
	list := []string{}
	for m := range modules {
		w.ok("POST", "softwaremodules", fmt.Sprintf(`[{"name":"module %d","version":%q,"type":"os"}]`, m, version), &ids)
		id := ids[0].ID
		for f := range files {
			var form bytes.Buffer
			mw := multipart.NewWriter(&form)
			part, err := mw.CreateFormFile("file", fmt.Sprintf("bundle.raucb_%d", f))
			require.NoError(w.t, err)
			_, _ = fmt.Fprintf(part, "bundle %s %d %d", version, m, f)
			require.NoError(w.t, mw.Close())
			status, raw := w.send(tool, "POST", fmt.Sprintf("softwaremodules/%d/artifacts", id), mw.FormDataContentType(), &form)
			require.Equal(w.t, 201, status, raw)
		}
		list = append(list, fmt.Sprintf(`{"id":%d}`, id))
	}
	w.ok("POST", "distributionsets", fmt.Sprintf(`[{"name":"set %s","description":"Better.","version":%q,"modules":[%s],"type":"os"}]`, version, version, strings.Join(list, ",")), &ids)
	return ids[0].ID
}

func (w *world) give(set int64, unit, how string) int64 {
	w.t.Helper()
	var out struct{ AssignedActions []struct{ ID int64 } }
	w.ok("POST", fmt.Sprintf("distributionsets/%d/assignedTargets", set), `[{"id":"`+unit+`"`+how+`}]`, &out)
	return out.AssignedActions[0].ID
}

func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 1)
	for _, login := range []string{"", "ci:wrong", "ci:fet_read", "ci:fet_admin", "admin:admi", "admin:admin "} {
		for _, path := range []string{"targets", "system/configs", "nothing"} {
			status, raw := w.do(login, "GET", path, "")
			require.Equal(t, 401, status, "%s %s: %s", login, path, raw)
		}
	}
	require.Equal(t, int64(18), w.refused.Load(), "each is counted")
	// The bench login reaches no owner's unit.
	owned := campaigntest.UnitID(1)
	set := w.set("2.1.0", 1, 1)
	for _, c := range [][2]string{
		{"GET", "targets/" + owned},
		{"DELETE", "targets/" + owned},
		{"GET", "targets/" + owned + "/attributes"},
		{"GET", "targets/" + owned + "/actions"},
		{"POST", fmt.Sprintf("distributionsets/%d/assignedTargets", set)},
	} {
		status, raw := w.do(fixed, c[0], c[1], `[{"id":"`+owned+`"}]`)
		require.Equal(t, 404, status, "%v: %s", c, raw)
	}
	status, raw := w.do(fixed, "GET", "targets", "")
	require.Equal(t, 200, status)
	require.JSONEq(t, `{"content":[],"total":0,"size":0}`, raw)
	// A token reads and asks them, and does nothing in their owners' place.
	status, raw = w.do(tool, "GET", "targets/"+owned, "")
	require.Equal(t, 200, status)
	require.NotContains(t, raw, "securityToken")
	status, _ = w.do(tool, "DELETE", "targets/"+owned, "")
	require.Equal(t, 403, status)
	status, _ = w.do(tool, "PUT", "targets/"+owned, `{"securityToken":"0123456789abcdef"}`)
	require.Equal(t, 403, status)
}

func TestSettings(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	w := newWorld(t, db, 1)
	require.Zero(t, w.bench.Polling("bench"))
	require.False(t, w.bench.Gateway(""))
	require.False(t, w.bench.Issuer(""))
	put := func(key, value string) int {
		status, _ := w.do(tool, "PUT", "system/configs/"+key, `{"value":`+value+`}`)
		return status
	}
	require.Equal(t, 204, put("pollingTime", `"00:00:30"`))
	require.Equal(t, 30*time.Second, w.bench.Polling("bench"))
	require.Zero(t, w.bench.Polling(campaigntest.Product), "other products poll as the configuration says")
	require.Equal(t, 204, put("authentication.gatewaytoken.key", `"0123456789abcdef"`))
	require.False(t, w.bench.Gateway("0123456789abcdef"), "off")
	require.Equal(t, 204, put("authentication.gatewaytoken.enabled", `true`))
	require.True(t, w.bench.Gateway("0123456789abcdef"))
	require.False(t, w.bench.Gateway("0123456789abcdeg"))
	require.False(t, w.bench.On(t.Context(), campaigntest.UnitID(1)), "it speaks for no owner's unit")
	for key, value := range map[string]string{
		"pollingTime": `"30"`, "authentication.targettoken.enabled": `false`, "anonymous.download.enabled": `true`,
		"authentication.gatewaytoken.key": `"short"`, "authentication.header.enabled": `"perhaps"`, "pollingOverdueTime": `5`,
	} {
		require.Equal(t, 400, put(key, value), key)
	}
	require.Equal(t, 404, put("nothing", `"x"`))
	var v struct{ Value any }
	w.ok("GET", "system/configs/authentication.gatewaytoken.key", "", &v)
	require.Equal(t, "0123456789abcdef", v.Value)
	w.ok("GET", "system/configs/authentication.gatewaytoken.enabled", "", &v)
	require.Equal(t, true, v.Value)
	doc, err := store.New(db).Get(t.Context(), bench.KindSetting, bench.GatewayKey)
	require.NoError(t, err)
	require.NotContains(t, string(doc), "0123456789abcdef", "sealed")
}

// Targets of tools stand on a bench, with a token that is kept hashed for the
// units' door and sealed for the tools.
func TestTargets(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w, ctx := newWorld(t, db, 1), t.Context()
		w.ok("POST", "targets", `[{"controllerId":"test-1.5","name":"test-1.5"},{"controllerId":"b","name":"B","securityToken":"ieHai3du7gee7aPhojeth4ong"}]`, nil)
		require.Equal(t, []string{"bench", "test-1.5", "b"}, w.changed)
		var one struct{ ControllerID, Name, SecurityToken string }
		w.ok("GET", "targets/test-1.5", "", &one)
		require.True(t, strings.HasPrefix(one.SecurityToken, fleet.UnitTokenPrefix))
		creds, err := db.Credentials().Credentials(ctx, "test-1.5")
		require.NoError(t, err)
		require.Equal(t, fleet.SecretHash(one.SecurityToken), creds.TokenHash)
		sealed, err := store.New(db).Get(ctx, bench.KindToken, "test-1.5")
		require.NoError(t, err)
		require.NotContains(t, string(sealed), one.SecurityToken)
		w.ok("GET", "targets/b", "", &one)
		require.Equal(t, "ieHai3du7gee7aPhojeth4ong", one.SecurityToken)
		w.ok("PUT", "targets/b", `{"securityToken":"another-token"}`, &one)
		require.Equal(t, "another-token", one.SecurityToken)
		for _, bad := range []string{`[{"controllerId":"b"}]`, `[{"controllerId":"../x"}]`, `[{"controllerId":"c","securityToken":"x"}]`, `{}`} {
			status, raw := w.do(tool, "POST", "targets", bad)
			require.Contains(t, []int{400, 409}, status, "%s: %s", bad, raw)
		}
		var page struct {
			Content     []struct{ ControllerID string }
			Total, Size int
		}
		w.ok("GET", "targets?offset=1&limit=1&sort=controllerId:DESC", "", &page)
		require.Equal(t, 4, page.Total)
		require.Equal(t, 1, page.Size)
		require.Equal(t, "b", page.Content[0].ControllerID)
		for _, bad := range []string{"limit=x", "offset=-1", "sort=name", "sort=id:UP"} {
			status, _ := w.do(tool, "GET", "targets?"+bad, "")
			require.Equal(t, 400, status, bad)
		}
		// One that gets an owner is no bench unit any more: its token cannot be read.
		u, err := db.Fleet().Unit(ctx, "b")
		require.NoError(t, err)
		u.OwnerID = "owner-1"
		require.NoError(t, db.Fleet().PutUnits(ctx, []fleet.Unit{u}))
		_, raw := w.do(tool, "GET", "targets/b", "")
		require.NotContains(t, raw, "securityToken")
		asked := func() bool {
			t.Helper()
			work, err := w.Updates.Work(ctx, "test-1.5")
			require.NoError(t, err)
			return work.Attributes
		}
		require.True(t, asked())
		require.NoError(t, w.Updates.SetAttributes(ctx, "test-1.5", update.AttributesMerge, map[string]string{"model": "T-1000"}))
		require.False(t, asked())
		w.ok("DELETE", "targets/test-1.5", "", nil)
		status, _ := w.do(tool, "GET", "targets/test-1.5", "")
		require.Equal(t, 404, status)
		// Who has its id next is another unit.
		w.ok("POST", "targets", `[{"controllerId":"test-1.5","name":"test-1.5"}]`, nil)
		require.True(t, asked(), "it is asked to describe itself anew")
		_, raw = w.do(tool, "GET", "targets/test-1.5/attributes", "")
		require.JSONEq(t, `{}`, raw)
	})
}

func TestAssignments(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w, ctx := newWorld(t, db, 1), t.Context()
		w.ok("POST", "targets", `[{"controllerId":"b","name":"B"}]`, nil)
		type shown struct{ Type, Status, DetailStatus, ForceType string }
		look := func(unit string, id int64) (a shown) {
			t.Helper()
			w.ok("GET", fmt.Sprintf("targets/%s/actions/%d", unit, id), "", &a)
			return a
		}
		history := func(id int64) (out []struct {
			ID       int64
			Type     string
			Messages []string
		},
		) {
			t.Helper()
			page := struct{ Content any }{&out}
			w.ok("GET", fmt.Sprintf("targets/b/actions/%d/status?offset=0&limit=50&sort=id:DESC", id), "", &page)
			return out
		}
		one := w.give(w.set("1.0", 1, 1), "b", "")
		require.Equal(t, shown{"update", "pending", "running", "forced"}, look("b", one))
		work, err := w.Updates.Work(ctx, "b")
		require.NoError(t, err)
		require.Equal(t, one, work.Action.ID, "it starts at once")
		// The next one takes its place; the unit is asked to stop.
		two := w.give(w.set("1.1", 2, 2), "b", `,"type":"soft"`)
		require.Equal(t, "canceling", look("b", one).DetailStatus)
		_, err = w.Updates.CancelFeedback(ctx, "b", one, update.Feedback{State: update.Canceled, Details: []string{"Action canceled."}})
		require.NoError(t, err)
		require.Equal(t, shown{"cancel", "finished", "canceled", "forced"}, look("b", one))
		require.Equal(t, "canceled", history(one)[0].Type)
		require.Equal(t, []string{"Action canceled."}, history(one)[0].Messages)
		d, err := w.Updates.Deployment(ctx, "b", two)
		require.NoError(t, err)
		require.Len(t, d.Parts, 2)
		require.Len(t, d.Parts[1].More, 1)
		_, _, err = w.Updates.Fetch(ctx, two, d.Parts[1].More[0].SHA256, false)
		require.NoError(t, err, "each of its files may be fetched")
		download, install, window := d.Assignment.Manner.Wire(w.Clock.Now())
		require.Equal(t, []string{"attempt", "attempt", ""}, []string{download, install, window})
		_, err = w.Updates.Feedback(ctx, "b", two, update.Feedback{State: update.Failed, Details: []string{"cannot handle multiple chunks"}})
		require.NoError(t, err)
		require.Equal(t, "error", history(two)[0].Type)
		require.Equal(t, "cannot handle multiple chunks", history(two)[0].Messages[0], "the client's own words come first")
		require.Contains(t, history(two)[0].Messages[1], "no part of it is installed")

		three := w.give(w.set("1.2", 1, 1), "b", `,"type":"downloadonly"`)
		_, err = w.Updates.Downloaded(ctx, "b", three, update.Feedback{State: update.Running, Details: []string{"File checksum OK."}})
		require.NoError(t, err)
		require.Equal(t, shown{"update", "finished", "downloaded", "downloadonly"}, look("b", three))
		work, err = w.Updates.Work(ctx, "b")
		require.NoError(t, err)
		require.Nil(t, work.Action, "it is not shown again")

		start := w.Clock.Now().Add(time.Minute)
		four := w.give(w.set("1.3", 1, 1), "b", fmt.Sprintf(`,"maintenanceWindow":{"schedule":%q,"timezone":"+02:00","duration":"00:01:00"}`,
			start.In(time.FixedZone("", 7200)).Format("5 4 15 ? 1 * 2006")))
		a, err := w.Updates.Assignment(ctx, four)
		require.NoError(t, err)
		for _, c := range []struct {
			at              time.Time
			install, window string
		}{{start.Add(-time.Second), "skip", "unavailable"}, {start, "forced", "available"}, {start.Add(time.Minute), "skip", "unavailable"}} {
			_, install, window := a.Manner.Wire(c.at)
			require.Equal(t, [2]string{c.install, c.window}, [2]string{install, window})
		}
		w.ok("DELETE", fmt.Sprintf("targets/b/actions/%d", four), "", nil)
		w.ok("DELETE", fmt.Sprintf("targets/b/actions/%d?force=true", four), "", nil)
		status, _ := w.do(tool, "DELETE", fmt.Sprintf("targets/b/actions/%d", four), "")
		require.Equal(t, 409, status, "it is over")
		status, _ = w.do(tool, "GET", fmt.Sprintf("targets/%s/actions/%d", campaigntest.UnitID(1), four), "")
		require.Equal(t, 404, status, "another unit's")
		empty := w.set("9", 1, 0)
		for path, body := range map[string]string{
			fmt.Sprintf("distributionsets/%d/assignedTargets", empty): `[{"id":"b"}]`, "distributionsets/99/assignedTargets": `[{"id":"b"}]`,
			fmt.Sprintf("distributionsets/%d/assignedTargets?x", empty): `[{"id":"b","type":"now"}]`,
		} {
			status, raw := w.do(tool, "POST", path, body)
			require.Contains(t, []int{400, 404}, status, "%s: %s", path, raw)
		}
	})
}

// An owner's unit gets a campaign of its own: the owner is asked, and nobody
// can hurry them.
func TestOwnersAreAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 1)
	ctx, unit := t.Context(), campaigntest.UnitID(1)
	set := w.set("2.1.0", 1, 1)
	status, raw := w.do(tool, "POST", fmt.Sprintf("distributionsets/%d/assignedTargets", set), `[{"id":"`+unit+`","type":"downloadonly"}]`)
	require.Equal(t, 400, status, raw)
	id := w.give(set, unit, `,"type":"forced"`)
	for range 3 {
		_, err := w.Campaigns.Pass(ctx)
		require.NoError(t, err)
	}
	tasks, err := w.DB.Campaign().Tasks(ctx, campaign.TaskFilter{UnitID: unit, Wave: -1})
	require.NoError(t, err)
	require.Len(t, tasks, 1)
	require.Equal(t, campaign.Offered, tasks[0].State, "forced forces no owner")
	work, err := w.Updates.Work(ctx, unit)
	require.NoError(t, err)
	require.Nil(t, work.Action)
	_, err = w.Campaigns.Choose(ctx, tasks[0].OwnerID, tasks[0].ID, campaign.StartNow, time.Time{})
	require.NoError(t, err)
	work, err = w.Updates.Work(ctx, unit)
	require.NoError(t, err)
	require.Equal(t, id, work.Action.ID, "under the number that the tool was given")
	status, _ = w.do(tool, "DELETE", fmt.Sprintf("targets/%s/actions/%d?force=true", unit, id), "")
	require.Equal(t, 409, status)
}

func FuzzAssignment(f *testing.F) {
	f.Add(`{"id":"b","type":"soft","maintenanceWindow":{"schedule":"0 0 2 ? * *","timezone":"+02:00","duration":"00:01:00"}}`)
	f.Add(`{"type":1}`)
	f.Fuzz(func(t *testing.T, body string) {
		if err := hawkbit.ParseAssignment([]byte(body)); err != nil && fault.KindOf(err) != fault.Invalid {
			t.Fatalf("%s: %v is not the tool's mistake", body, err)
		}
	})
}
