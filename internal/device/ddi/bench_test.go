package ddi_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/device/ddi"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update/link"
)

// tools have let in a gateway and a proxy, for one unit on a bench.
type tools struct{ unit string }

func (tools) Polling(string) time.Duration               { return 0 }
func (tools) Gateway(token string) bool                  { return token == "tools' own" }
func (tools) Issuer(hash string) bool                    { return hash == "ce275665" }
func (b tools) On(_ context.Context, unitID string) bool { return unitID == b.unit }

// What tools for hawkBit have set lets a proxy speak for bench units: by the
// headers of either age of hawkBit, from this machine, and for no other unit.
func TestABenchsProxyAndGatewaySpeakForBenchUnitsAlone(t *testing.T) {
	t.Parallel()
	one, two := campaigntest.UnitID(1), campaigntest.UnitID(2)
	w := &world{World: campaigntest.New(t, sqldbtest.SQLite(t), 3), t: t, units: &auth{}, log: &lines{}, metrics: prometheus.NewRegistry()}
	links, err := link.New(make([]byte, link.KeySize), w.Clock)
	require.NoError(t, err)
	door := ddi.New(ddi.Config{
		Updates: w.Updates, Units: w.units, Links: links, Bench: tools{one}, Log: slog.New(slog.NewTextHandler(w.log, nil)), Metrics: w.metrics,
	})
	from := "127.0.0.1:5000"
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = from
		door.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.server.Close)
	get := func(unit string, header ...string) int {
		return w.do(http.MethodGet, unit, "", "", header...).status
	}
	for _, issuer := range []string{"X-Ssl-Issuer-Hash-1", "X-Authority-1", "X-Authority"} {
		for _, name := range []string{"X-Controller-Id", "X-Ssl-Client-Cn"} {
			require.Equal(t, 200, get(one, name, one, issuer, "ce275665"), "%s %s", name, issuer)
			require.Equal(t, 401, get(one, name, one, issuer, "another"), "%s %s", name, issuer)
			require.Equal(t, 401, get(one, name, two, issuer, "ce275665"), "%s %s", name, issuer)
			require.Equal(t, 401, get(two, name, two, issuer, "ce275665"), "not on a bench")
		}
	}
	require.Equal(t, 200, get(one, "Authorization", "GatewayToken tools' own"))
	require.Equal(t, 401, get(two, "Authorization", "GatewayToken tools' own"))
	require.Equal(t, 401, get(one, "X-Ssl-Client-Cn", one, "X-Authority-1", "ce275665", "Authorization", "TargetToken wrong"), "a token that is shown must be right")
	from = "192.0.2.1:5000"
	require.Equal(t, 401, get(one, "X-Controller-Id", one, "X-Authority-1", "ce275665"), "from elsewhere")
	require.Equal(t, 401, get(one, "X-Ssl-Client-Cn", one, "X-Authority-1", "ce275665"), "from elsewhere")

	var counts strings.Builder
	counts.WriteString("# HELP fettle_ddi_refused_total Requests of update clients that were not believed, by reason.\n# TYPE fettle_ddi_refused_total counter\n")
	for _, c := range []struct {
		reason string
		n      int
	}{
		{"action", 0},
		{"credential", 8}, // X-Ssl-Client-Cn that is not believed is as if it were not there
		{"gateway-network", 0},
		{"gateway-product", 1},
		{"gateway-token", 0},
		{"header-issuer", 0},
		{"header-network", 7},
		{"header-product", 6},
		{"header-unit", 0},
	} {
		fmt.Fprintf(&counts, "fettle_ddi_refused_total{reason=%q} %d\n", c.reason, c.n)
	}
	require.NoError(t, testutil.GatherAndCompare(w.metrics, strings.NewReader(counts.String()), "fettle_ddi_refused_total"))
}
