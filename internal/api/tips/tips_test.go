package tips_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/tips"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/sqldb/person"
	kept "fettle.dev/fettle/internal/sqldb/tips"
	"fettle.dev/fettle/internal/tip"
)

const cool = `apiVersion: fettle.dev/v1
kind: Tip
metadata: {name: cool}
spec:
  product: wall-charger
  purpose: care
  when: current > 10.0
  title: {en: Charge later, de: Später laden}
  text: {en: It is cooler at night., de: Nachts ist es kühler.}
  channels: [portal]
  wait: 1m
  valid: 2h
  every: 1d
`

// Whoever drives a unit is shown its tips since they joined, in their language,
// and switches them for themselves; the owner's switch holds for both.
func TestTipsReachDrivers(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		ctx := t.Context()
		e.Apply(apitest.Product, cool, apitest.UnitFile("WC-1", "B1", "ada@example.org", "care"), apitest.UnitFile("WC-2", "B1", "ben@example.org"))
		ada, ben := e.As(wire.OwnerCookie, e.OwnerSession("ada@example.org")), e.As(wire.OwnerCookie, e.OwnerSession("ben@example.org"))
		mine := func(who func(*http.Request)) (out tips.Mine) {
			t.Helper()
			status, raw, _ := e.Do("GET", "/owner/v1/tips", nil, who)
			require.Equal(t, 200, status, "%s", raw)
			require.NoError(t, json.Unmarshal(raw, &out))
			return out
		}
		do := func(who func(*http.Request), want int, method, path string, body any) {
			t.Helper()
			status, raw, _ := e.Do(method, path, body, who)
			require.Equal(t, want, status, "%s", raw)
		}
		u, err := e.Deps.Fleet.Unit(ctx, "WC-1")
		require.NoError(t, err)
		declared, err := e.Deps.Tips.Tip(ctx, "cool")
		require.NoError(t, err)
		give := func(id string) {
			t.Helper()
			now := e.Clock.Now()
			fresh, err := kept.New(e.DB).Give(ctx, tip.Given{
				ID: id, Tip: "cool", Version: declared.Version, Product: u.Product, UnitID: u.ID, UnitKey: u.Key, OwnerID: u.OwnerID, At: now, Until: now.Add(2 * time.Hour), ChangedAt: now,
			})
			require.NoError(t, err)
			require.True(t, fresh)
		}
		give("before")
		e.Clock.Advance(time.Minute)
		driver, err := e.Deps.Fleet.OwnerByEmail(ctx, "ben@example.org")
		require.NoError(t, err)
		require.NoError(t, person.New(e.DB).PutDriver(ctx, people.DriverOf{UnitID: "WC-1", PersonID: driver.ID, JoinedAt: e.Clock.Now()}))
		require.Empty(t, mine(ben).Now, "it was given before they joined")
		do(ben, 404, "POST", "/owner/v1/tips/before", tips.Said{Event: "shown"})

		give("after")
		e.Clock.Advance(time.Minute)
		require.Len(t, mine(ada).Now, 2)
		now := mine(ben).Now
		require.Len(t, now, 1)
		require.Equal(t, "after", now[0].ID)

		do(ben, 204, "PUT", "/owner/v1/tips/switches", tips.Switching{Tip: "cool"})
		require.Empty(t, mine(ben).Now)
		require.Len(t, mine(ada).Now, 2, "a driver switches for themselves")
		do(ben, 204, "PUT", "/owner/v1/tips/switches", tips.Switching{Tip: "cool", On: true})
		require.Len(t, mine(ben).Now, 1)
		do(ada, 204, "PUT", "/owner/v1/tips/switches", tips.Switching{})
		require.Empty(t, mine(ben).Now, "what the owner does not want is given to nobody")
		do(ada, 204, "PUT", "/owner/v1/tips/switches", tips.Switching{On: true})

		do(ben, 204, "POST", "/owner/v1/tips/after", tips.Said{Event: "shown"})
		do(ben, 204, "POST", "/owner/v1/tips/after", tips.Said{Event: "dismissed"})
		require.Empty(t, mine(ben).Now)
		require.Len(t, mine(ben).Earlier, 1)
	})
}
