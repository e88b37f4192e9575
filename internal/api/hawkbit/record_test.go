package hawkbit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/hawkbit"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/sqldb/trail"
)

// watched lets the audit trail see what tools do; broken says whether its
// entries cannot be kept.
func watched(t *testing.T, db *sqldb.DB) (w *world, entries func() []audit.Entry, broken *bool) {
	t.Helper()
	w, broken = newWorld(t, db, 1), new(bool)
	records := audit.New(audit.Config{Store: failing{trail.New(db), broken}, Tx: db, Clock: w.Clock, Log: slog.New(slog.DiscardHandler)})
	w.server.Close()
	w.server = httptest.NewServer(hawkbit.New(hawkbit.Config{
		Bench: w.bench, Updates: w.Updates, Tokens: w, Log: slog.New(slog.DiscardHandler), Login: "admin:admin", Trail: records,
		Base: func(*http.Request) string { return "http://fettle" },
	}))
	t.Cleanup(w.server.Close)
	return w, func() (out []audit.Entry) {
		t.Helper()
		require.NoError(t, records.Each(context.Background(), audit.Filter{}, func(_ audit.Record, e audit.Entry) error {
			out = append(out, e)
			return nil
		}))
		return out
	}, broken
}

type failing struct {
	audit.Store
	broken *bool
}

func (f failing) Append(ctx context.Context, seal func(audit.Head) (audit.Entry, audit.Record, error)) error {
	if *f.broken {
		return errors.New("the disk is full")
	}
	return f.Store.Append(ctx, seal)
}

// What tools for hawkBit change, and what they are shown of owners' units,
// stands in the audit trail like any other change and look: by whom, with
// which token, what, and whose it is; never a secret.
func TestWhatToolsDoStandsInTheAuditTrail(t *testing.T) {
	t.Parallel()
	w, entries, broken := watched(t, sqldbtest.SQLite(t))
	unit := campaigntest.UnitID(1)
	w.ok("POST", "targets", `[{"controllerId":"b","name":"B"}]`, nil)
	w.ok("PUT", "system/configs/authentication.gatewaytoken.key", `{"value":"0123456789abcdef"}`, nil)
	w.ok("PUT", "system/configs/authentication.gatewaytoken.enabled", `{"value":true}`, nil)
	w.ok("PUT", "targets/b", `{"securityToken":"another-token"}`, nil)
	set := w.set("2.1.0", 1, 1)
	w.ok("GET", "targets/b", "", nil) // nobody's
	w.ok("GET", "targets/"+unit, "", nil)
	w.ok("GET", "targets/"+unit+"/attributes", "", nil)
	action := w.give(set, unit, "")
	w.ok("GET", fmt.Sprintf("targets/%s/actions/%d/status", unit, action), "", nil)
	w.ok("DELETE", fmt.Sprintf("targets/%s/actions/%d", unit, action), "", nil)
	w.ok("DELETE", fmt.Sprintf("distributionsets/%d", set), "", nil)
	status, _ := w.do(tool, "DELETE", "targets/"+unit, "")
	require.Equal(t, 403, status)
	status, _ = w.do("ci:guessed", "DELETE", "targets/b", "")
	require.Equal(t, 401, status)
	status, _ = w.do(fixed, "DELETE", "targets/b", "")
	require.Equal(t, 200, status)

	said := entries()
	var lines []string
	for _, e := range said {
		line := fmt.Sprintf("%s %s %s %s %s", e.Kind, e.Operation, e.Object, e.Outcome, strings.Join(e.Changed, ","))
		if len(e.About) > 0 {
			line += " of its owner"
		}
		lines = append(lines, strings.Join(strings.Fields(line), " "))
		require.NotEmpty(t, e.From)
		switch e.Kind {
		case audit.Denied:
			require.Equal(t, audit.Nobody, e.Actor.Party)
		default:
			if e.Actor.Party != audit.Server {
				require.Equal(t, audit.Actor{Party: audit.Operator, ID: "operator-1", Via: "token", Of: "token-1"}, e.Actor)
			}
		}
	}
	require.Equal(t, []string{
		"change hawkbitCreateTargets rest/v1/targets done targets/b",
		"change hawkbitPutSetting rest/v1/system/configs/authentication.gatewaytoken.key done authentication.gatewaytoken.key",
		"change hawkbitPutSetting rest/v1/system/configs/authentication.gatewaytoken.enabled done authentication.gatewaytoken.enabled=true",
		"change hawkbitPutTarget rest/v1/targets/b done securityToken",
		"change hawkbitCreateModules rest/v1/softwaremodules done",
		"change hawkbitUploadArtifact rest/v1/softwaremodules/1/artifacts done",
		"change hawkbitCreateSets rest/v1/distributionsets done",
		"look hawkbitGetTarget rest/v1/targets/" + unit + " done of its owner",
		"look hawkbitGetAttributes rest/v1/targets/" + unit + "/attributes done of its owner",
		fmt.Sprintf("change hawkbitAssignTargets rest/v1/distributionsets/%d/assignedTargets done targets/%s of its owner", set, unit),
		fmt.Sprintf("look hawkbitListActionStatus rest/v1/targets/%s/actions/%d/status done of its owner", unit, action),
		fmt.Sprintf("change hawkbitCancelAction rest/v1/targets/%s/actions/%d done of its owner", unit, action),
		fmt.Sprintf("change hawkbitDeleteSet rest/v1/distributionsets/%d done", set),
		"change hawkbitDeleteTarget rest/v1/targets/" + unit + " failed of its owner",
		"denied hawkbitDeleteTarget rest/v1/targets/b refused",
		"change hawkbitDeleteTarget rest/v1/targets/b done",
	}, lines)
	require.Equal(t, audit.Actor{Party: audit.Server, ID: "hawkbit-bench-login"}, said[len(said)-1].Actor)
	require.NotContains(t, fmt.Sprint(said), "another-token")
	require.NotContains(t, fmt.Sprint(said), "0123456789abcdef")

	// What cannot be entered is not done, nor shown.
	*broken = true
	status, raw := w.do(tool, "POST", "targets", `[{"controllerId":"c","name":"C"}]`)
	require.Equal(t, 500, status, raw)
	status, raw = w.do(tool, "GET", "targets/"+campaigntest.UnitID(2), "")
	require.Equal(t, 500, status, raw)
	*broken = false
	status, _ = w.do(tool, "GET", "targets/c", "")
	require.Equal(t, 404, status)
}
