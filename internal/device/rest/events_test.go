package rest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device/devicetest"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, nil)
	r.Declare(devicetest.Eventful())
	unit := r.Units(1)[0]
	resp, body := r.do(t, "POST", "/fettle/v1/events", unit, r.Token(unit),
		`[{"ts":1401624000000,"kind":"fault","name":"E1"},{"kind":"log","text":"x"},{"kind":"feature","name":"x"}]`)
	require.Equal(t, 200, resp.StatusCode, body)
	require.JSONEq(t, `{"results":[
		{"kept":1,"notConsented":0,"undeclared":0,"invalid":0},
		{"kept":0,"notConsented":0,"undeclared":0,"invalid":1,"why":"level: expected debug, info, warn, error or fatal"},
		{"kept":0,"notConsented":0,"undeclared":1,"invalid":0}]}`, body)
	require.Len(t, r.Stream.Events(), 1)
	resp, body = r.do(t, "POST", "/fettle/v1/events", unit, r.Token(unit), `[{"kind":"log"},{"kind":"log","ts":"x"}]`)
	require.Equal(t, 400, resp.StatusCode)
	require.Contains(t, body, "body[1].ts")
	resp, _ = r.do(t, "POST", "/fettle/v1/events", unit, "fut_wrong", `[]`)
	require.Equal(t, 401, resp.StatusCode)
	resp, body = r.do(t, "POST", "/fettle/v1/events", unit, r.Token(unit), `[]`)
	require.Equal(t, 200, resp.StatusCode)
	require.JSONEq(t, `{"results":[]}`, body)
}
