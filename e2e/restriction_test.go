package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/wire"
)

// A restriction (GDPR 18) keeps what there is and uses none of it: it is not
// judged, nor shown to those who run the service, nor added to. An objection
// (21) stops its purpose alone. The owner may end both, and what was kept is
// there again, also after a kill.
func TestRestrictionAndObjection(t *testing.T) {
	t.Parallel()
	s, token, _, call := kettle(t)
	for _, purpose := range []string{"care", "proof"} {
		call("PUT", "/owner/v1/units/K-1/consents/"+purpose, map[string]any{"given": true, "notice": "1"}, nil)
	}
	post := func(body string, kept int64) {
		t.Helper()
		before := s.accounting("K-1")
		status, text := s.post1("K-1", token, body)
		require.Equal(t, 200, status, text)
		after := s.accounting("K-1")
		require.Equal(t, kept, after.Stored-before.Stored, text)
		require.Equal(t, after.Acknowledged-before.Acknowledged-kept, after.NotConsented-before.NotConsented, text)
	}
	series := func(signal string) (out wire.Series) {
		s.get("/v1/units/K-1/series?signal="+signal+"&from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z", &out)
		return out
	}
	points := func(signal string) int { return len(series(signal).Points) }
	findings := func(state string) int {
		var page wire.Page[wire.Finding]
		s.get("/v1/findings?unit=K-1&state="+state, &page)
		return len(page.Items)
	}
	post(`{"values":{"heat":20,"fuse":true}}`, 2)
	until(t, 30*time.Second, "what is measured is shown", func() bool { return points("heat") > 0 && points("fuse") > 0 })

	ask := func(kind, purpose string) {
		t.Helper()
		body := map[string]any{"kind": kind, "unitId": "K-1"}
		if purpose != "" {
			body["purpose"] = purpose
		}
		call("POST", "/owner/v1/rights/requests", body, nil)
	}
	lift := func(purpose string) {
		t.Helper()
		call("DELETE", "/owner/v1/rights/limits?unit=K-1&purpose="+purpose, nil, nil)
	}

	ask("restriction", "")
	for _, signal := range []string{"heat", "fuse"} {
		got := series(signal)
		require.True(t, got.Withheld && len(got.Points) == 0, "%s is not shown: %+v", signal, got)
	}
	post(`{"values":{"heat":99,"fuse":true}}`, 0) // far beyond what is tolerable
	require.Zero(t, findings(""), "nothing is judged")
	s.kill()
	s.start()
	require.True(t, series("heat").Withheld, "a kill does not end it")
	var data wire.MyData
	call("GET", "/owner/v1/units/K-1/data", nil, &data)
	require.Empty(t, data.Withdrawals, "nothing is erased")

	lift("")
	require.False(t, series("heat").Withheld)
	until(t, 30*time.Second, "what was kept is shown again", func() bool { return points("heat") > 0 && points("fuse") > 0 })

	// An objection is to one purpose.
	ask("objection", "care")
	require.True(t, series("heat").Withheld, "for which heat is measured")
	require.False(t, series("fuse").Withheld)
	until(t, 30*time.Second, "another purpose goes on", func() bool { return points("fuse") > 0 })
	post(`{"values":{"heat":98,"fuse":true}}`, 1)
	require.Zero(t, findings(""), "nothing is judged for it")
	lift("care")
	post(`{"values":{"heat":97}}`, 1)
	until(t, 30*time.Second, "it is judged again", func() bool { return findings("") == 1 })
}
