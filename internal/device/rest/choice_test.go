package rest

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
)

func TestOwnersWordFromTheUnit(t *testing.T) {
	t.Parallel()
	var got []Choice
	var of []string
	var refuse error
	r := newRig(t, Config{Choose: func(_ context.Context, unitID string, c Choice) error {
		got, of = append(got, c), append(of, unitID)
		return refuse
	}}, nil)
	unit := r.Units(1)[0]
	say := func(body string) int {
		resp, _ := r.do(t, http.MethodPost, "/fettle/v1/choice", unit, r.Token(unit), body)
		return resp.StatusCode
	}
	require.Equal(t, 204, say(`{"action":7,"choice":"postpone","until":"2026-11-23T02:00:00+01:00","at":"2026-11-22T12:00:00Z"}`))
	require.Equal(t, []string{unit}, of, "who it is follows from the credential")
	require.Equal(t, Postpone, got[0].Choice)
	require.True(t, got[0].Until.Equal(time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)))
	for _, body := range []string{``, `[]`, `{"choice":"not-now"}`, `{"action":7}`, `{"action":7,"choice":"perhaps"}`, `{"action":7,"choice":"postpone"}`, `{"action":"x","choice":"not-now"}`} {
		require.Equal(t, 400, say(body), body)
	}
	require.Len(t, got, 1)
	refuse = fault.New(fault.NotFound, "no action 7")
	require.Equal(t, 404, say(`{"action":7,"choice":"start-now"}`))
	refuse = fault.New(fault.Conflict, "too late")
	require.Equal(t, 409, say(`{"action":7,"choice":"start-now"}`))
	resp, _ := r.do(t, http.MethodPost, "/fettle/v1/choice", unit, "wrong", `{"action":7,"choice":"start-now"}`)
	require.Equal(t, 401, resp.StatusCode)
	require.Len(t, got, 3)
}

func FuzzChoice(f *testing.F) {
	f.Add([]byte(`{"action":7,"choice":"postpone","until":"2026-11-23T02:00:00+01:00"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseChoice(b); err == nil && (c.Action < 1 || c.Choice == "") {
			t.Fatalf("%+v", c)
		}
	})
}
