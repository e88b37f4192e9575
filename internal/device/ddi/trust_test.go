package ddi_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/device/ddi"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

func networks(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// routes are all calls of a unit, with a body where one is wanted.
func routes(unit string, action int64) [][3]string {
	n := fmt.Sprint(action)
	return [][3]string{
		{"GET", unit, ""},
		{"HEAD", unit, ""},
		{"PUT", unit + "/configData", `{"data":{"a":"b"}}`},
		{"GET", unit + "/desired", ""},
		{"GET", unit + "/deploymentBase/" + n, ""},
		{"POST", unit + "/deploymentBase/" + n + "/feedback", said(action, "closed", "success")},
		{"GET", unit + "/installedBase/" + n, ""},
		{"GET", unit + "/cancelAction/" + n, ""},
		{"POST", unit + "/cancelAction/" + n + "/feedback", said(action, "closed", "success")},
		{"GET", unit + "/confirmationBase", ""},
		{"GET", unit + "/confirmationBase/" + n, ""},
		{"POST", unit + "/confirmationBase/" + n + "/feedback", `{"confirmation":"confirmed"}`},
		{"POST", unit + "/confirmationBase/activateAutoConfirm", `{}`},
		{"POST", unit + "/confirmationBase/deactivateAutoConfirm", `{}`},
	}
}

// Every call of every unit wants a credential of that unit; what is refused is
// counted by its reason, written down without the credential, and changes nothing.
func TestNobodyElseIsLetIn(t *testing.T) {
	t.Parallel()
	gateway := ddi.Gateway{Name: "site", Token: hashOf("the gateway's"), Products: []string{campaigntest.Product}}
	near, far := gateway, gateway
	near.Networks, far.Networks = networks("127.0.0.0/8"), networks("10.0.0.0/8")
	proxy := ddi.Proxy{Name: "mtls", Products: []string{campaigntest.Product}, Authority: "our CA"}
	nearProxy, farProxy := proxy, proxy
	nearProxy.Networks, farProxy.Networks = networks("127.0.0.1/32"), networks("10.0.0.7/32")
	one, two := campaigntest.UnitID(1), campaigntest.UnitID(2)
	for _, c := range []struct {
		name   string
		trust  ddi.Trust
		unit   string
		header []string
		reason string
	}{
		{"nothing", ddi.Trust{}, one, nil, "credential"},
		{"a wrong token", ddi.Trust{}, one, []string{"Authorization", "TargetToken s3cret"}, "credential"},
		{"the token of another unit", ddi.Trust{}, one, []string{"Authorization", "TargetToken token of " + two}, "credential"},
		{"a gateway's token where there is no gateway", ddi.Trust{}, one, []string{"Authorization", "GatewayToken the gateway's"}, "gateway-token"},
		{"a wrong gateway's token", ddi.Trust{Gateways: []ddi.Gateway{near}}, one, []string{"Authorization", "GatewayToken s3cret"}, "gateway-token"},
		{"a gateway's token from outside its network", ddi.Trust{Gateways: []ddi.Gateway{far}}, one, []string{"Authorization", "GatewayToken the gateway's"}, "gateway-network"},
		{"the same with a forged forwarding header", ddi.Trust{Gateways: []ddi.Gateway{far}}, one, []string{"Authorization", "GatewayToken the gateway's", "X-Forwarded-For", "10.0.0.1"}, "gateway-network"},
		{"a gateway for a unit of another product", ddi.Trust{Gateways: []ddi.Gateway{near}}, two, []string{"Authorization", "GatewayToken the gateway's"}, "gateway-product"},
		{"a gateway for a unit that is not there", ddi.Trust{Gateways: []ddi.Gateway{near}}, "nobody", []string{"Authorization", "GatewayToken the gateway's"}, "credential"},
		{"a forged header", ddi.Trust{}, one, []string{"X-Controller-Id", one, "X-Authority", "our CA"}, "header-network"},
		{"a forged header beside a proxy", ddi.Trust{Proxies: []ddi.Proxy{farProxy}}, one, []string{"X-Controller-Id", one, "X-Authority", "our CA"}, "header-network"},
		{"a forged header beside a right token", ddi.Trust{Proxies: []ddi.Proxy{farProxy}}, one, []string{"X-Controller-Id", one, "Authorization", "TargetToken token of " + one}, "header-network"},
		{"a proxy that verified another unit", ddi.Trust{Proxies: []ddi.Proxy{nearProxy}}, one, []string{"X-Controller-Id", two, "X-Authority", "our CA"}, "header-unit"},
		{"a proxy that verified none", ddi.Trust{Proxies: []ddi.Proxy{nearProxy}}, one, []string{"X-Controller-Id", "", "X-Authority", "our CA"}, "header-unit"},
		{"another authority", ddi.Trust{Proxies: []ddi.Proxy{nearProxy}}, one, []string{"X-Controller-Id", one, "X-Authority", "another CA"}, "header-issuer"},
		{"no authority", ddi.Trust{Proxies: []ddi.Proxy{nearProxy}}, one, []string{"X-Controller-Id", one}, "header-issuer"},
		{"a proxy for a unit of another product", ddi.Trust{Proxies: []ddi.Proxy{nearProxy}}, two, []string{"X-Controller-Id", two, "X-Authority", "our CA"}, "header-product"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newTrusting(t, sqldbtest.SQLite(t), c.trust)
			a := w.assign(1)
			w.offer(a, w.Clock.Now())
			calls := routes(c.unit, a.ID)
			for _, call := range calls {
				got := w.do(call[0], call[1], "", call[2], c.header...)
				require.Equal(t, 401, got.status, "%s %s", call[0], call[1])
				require.NotContains(t, got.body, "gateway", "the answer does not say which part is wrong")
			}
			require.NoError(t, testutil.GatherAndCompare(w.metrics, strings.NewReader(counted(c.reason, len(calls))), "fettle_ddi_refused_total"))
			require.Contains(t, w.log.String(), "reason="+c.reason)
			require.NotContains(t, w.log.String(), "s3cret")
			require.NotContains(t, w.log.String(), "the gateway's\"")
			require.Equal(t, update.Offered, w.state(a.ID).State)
			require.Zero(t, w.units.n.Load(), "a stranger is no contact")
			known, err := w.Updates.Attributes(t.Context(), c.unit)
			require.NoError(t, err)
			require.Empty(t, known)
		})
	}
}

func counted(reason string, n int) string {
	var b strings.Builder
	b.WriteString("# HELP fettle_ddi_refused_total Requests of update clients that were not believed, by reason.\n# TYPE fettle_ddi_refused_total counter\n")
	for _, r := range []string{"action", "credential", "gateway-network", "gateway-product", "gateway-token", "header-issuer", "header-network", "header-product", "header-unit"} {
		count := 0
		if r == reason {
			count = n
		}
		fmt.Fprintf(&b, "fettle_ddi_refused_total{reason=%q} %d\n", r, count)
	}
	return b.String()
}

func TestATrustedGatewayAndProxySpeakForTheirUnits(t *testing.T) {
	t.Parallel()
	one := campaigntest.UnitID(1)
	products := []string{"some other", campaigntest.Product}
	w := newTrusting(t, sqldbtest.SQLite(t), ddi.Trust{
		Gateways: []ddi.Gateway{
			{Name: "first", Token: hashOf("first"), Networks: networks("192.0.2.0/24"), Products: products},
			{Name: "second", Token: hashOf("second"), Networks: networks("192.0.2.0/24", "127.0.0.1/32"), Products: products},
		},
		Proxies: []ddi.Proxy{{Name: "mtls", Networks: networks("127.0.0.0/8"), Products: products, AuthorityHeader: "X-Ssl-Issuer-Hash", Authority: "ab:cd"}},
	})
	a := w.assign(1)
	w.offer(a, w.Clock.Now())
	for _, header := range [][]string{
		{"Authorization", "GatewayToken second"},
		{"X-Controller-Id", one, "X-Ssl-Issuer-Hash", "ab:cd"},
	} {
		before := w.units.n.Load()
		got := w.do(http.MethodGet, one, "", "", header...)
		require.Equal(t, 200, got.status, got.body)
		require.Contains(t, got.body, "deploymentBase")
		require.Greater(t, w.units.n.Load(), before, "it is contact with the unit")
		// A unit that is known here alone is told here what its owner permits it to send.
		got = w.do(http.MethodGet, one+"/desired", "", "", header...)
		require.Equal(t, 200, got.status, got.body)
		require.JSONEq(t, `{"collect":["current of `+one+`"]}`, got.body)
		got = w.do(http.MethodGet, one+"/desired", "", "", append([]string{"If-None-Match", `"other", ` + got.header.Get("ETag")}, header...)...)
		require.Equal(t, 304, got.status)
		require.Empty(t, got.body)
	}
	require.Equal(t, 200, w.do(http.MethodPost, fmt.Sprintf("%s/deploymentBase/%d/feedback", one, a.ID), "", said(a.ID, "proceeding", "none"), "Authorization", "GatewayToken second").status)
	require.Equal(t, update.Running, w.state(a.ID).State)
}

func TestMistakesOfTrustAreNamed(t *testing.T) {
	t.Parallel()
	bad := ddi.Trust{Gateways: []ddi.Gateway{{Token: "s3cret"}}, Proxies: []ddi.Proxy{{Name: "x"}}}
	var paths []string
	bad.Check(func(path, expected, got string) {
		require.NotEmpty(t, expected)
		require.NotContains(t, got, "s3cret")
		paths = append(paths, path)
	})
	require.Equal(t, []string{"gateways[0].tokenSHA256", "gateways[0].name", "gateways[0].networks", "gateways[0].products", "proxies[0].networks", "proxies[0].products"}, paths)
	good := ddi.Trust{Gateways: []ddi.Gateway{{Name: "g", Token: hashOf("x"), Networks: networks("10.0.0.0/8"), Products: []string{"p"}}}}
	good.Check(func(path, _, _ string) { t.Error(path) })
}

func TestSleepIsShortWhileTheOwnerIsAsked(t *testing.T) {
	t.Parallel()
	w, unit := newWorld(t, sqldbtest.SQLite(t)), campaigntest.UnitID(1)
	slept := func() string {
		s, _ := w.poll(unit)
		return s
	}
	require.Equal(t, "00:01:30", slept())
	require.Zero(t, w.units.told.Load())
	a := w.assign(1) // withheld: its owner is asked
	for range 2 {    // read, then remembered
		require.Equal(t, "00:00:20", slept())
		require.EqualValues(t, 20*time.Second, w.units.told.Load())
	}
	w.units.listening.Store(true)
	require.Equal(t, "00:01:30", slept(), "it hears of the owner's start at once")
	w.units.listening.Store(false)
	w.offer(a, w.Clock.Now().Add(time.Hour))
	require.Equal(t, "00:00:20", slept())
	w.Clock.Advance(time.Hour)
	_, links := w.poll(unit)
	require.Contains(t, links, "deploymentBase", "what is due is shown although nothing changed")
	w.Reports(unit, "2.0.0")
	sleep, links := w.poll(unit)
	require.Equal(t, "00:01:30", sleep)
	require.Contains(t, links, "installedBase")
}

// An owner who is asked has no assignment yet: the offer is enough, and many
// offers do not become a flood of polls.
func TestSleepIsShortWhileAnOfferIsOpen(t *testing.T) {
	t.Parallel()
	one, two := campaigntest.UnitID(1), campaigntest.UnitID(2)
	open, more := []string{one, one}, 0
	offers := ddi.NewOffers(func(_ context.Context, fn func(string)) error {
		for _, id := range open {
			fn(id)
		}
		for i := range more {
			fn(fmt.Sprint("another ", i))
		}
		return nil
	}, slog.New(slog.DiscardHandler))
	w := newOffering(t, sqldbtest.SQLite(t), ddi.Trust{}, offers, 20*time.Second)
	slept := func(unit string) string {
		s, _ := w.poll(unit)
		return s
	}
	require.Equal(t, "00:01:30", slept(one), "not read yet")
	require.NoError(t, offers.Refresh(t.Context()))
	require.Equal(t, "00:00:20", slept(one))
	require.Equal(t, "00:01:30", slept(two))
	w.units.listening.Store(true)
	require.Equal(t, "00:01:30", slept(one))
	w.units.listening.Store(false)
	more = 45_000
	require.NoError(t, offers.Refresh(t.Context()))
	require.Equal(t, "00:00:45", slept(one))
	require.EqualValues(t, 45*time.Second, w.units.told.Load())
	more = 200_000
	require.NoError(t, offers.Refresh(t.Context()))
	require.Equal(t, "00:01:30", slept(one), "never longer than usual")
	open, more = nil, 0
	require.NoError(t, offers.Refresh(t.Context()))
	require.Equal(t, "00:01:30", slept(one))
}

func TestAUnitThatPollsTooOftenIsToldWhenToComeAgain(t *testing.T) {
	t.Parallel()
	w, unit := newWorld(t, sqldbtest.SQLite(t)), campaigntest.UnitID(1)
	w.units.often.Store(true)
	got := w.do(http.MethodGet, unit, unit, "")
	require.Equal(t, 429, got.status)
	require.Equal(t, "2", got.header.Get("Retry-After"))
	require.Equal(t, 405, w.do(http.MethodDelete, unit, unit, "").status)
}
