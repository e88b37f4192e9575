package rest

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Who sends too much, or while there is no room, is told when to come again.
func TestLimitsAreTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, nil)
	p := devicetest.Charger()
	p.Limits = &fleet.Limits{UnitRate: 0.1, UnitBurst: 2}
	r.Declare(p)
	ids := r.Units(2)
	post := func(unit string) (int, string, string) {
		resp, body := r.do(t, "POST", "/fettle/v1/telemetry", unit, r.Token(unit), `{"values":{"current":1,"error":2}}`)
		return resp.StatusCode, resp.Header.Get("Retry-After"), body
	}
	status, _, _ := post(ids[0])
	require.Equal(t, 200, status)
	status, after, body := post(ids[0])
	require.Equal(t, 429, status)
	seconds, err := strconv.Atoi(after)
	require.NoError(t, err)
	require.InDelta(t, 20, seconds, 2)
	require.Contains(t, body, "more than the unit's limit of samples a second")
	require.Len(t, r.Stream.Rows(), 1)

	r.Stream.Fail(telemetry.ErrFull)
	first := make(chan int, 1)
	go func() { code, _, _ := post(ids[1]); first <- code }() // it is taken and waits
	require.Eventually(t, func() bool { return r.Gateway.Ready(t.Context()) != nil }, time.Minute, time.Millisecond)
	resp, _ := r.do(t, "POST", "/fettle/v1/events", ids[1], r.Token(ids[1]), `{"kind":"log"}`)
	require.Equal(t, 429, resp.StatusCode)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	r.Stream.Fail(nil)
	require.Equal(t, 200, <-first)
	require.NoError(t, r.Gateway.Ready(t.Context()))
}
