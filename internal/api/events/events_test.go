package events_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/telemetry"
)

const declared = `  features:
    - {name: solar, title: Solar charging, purposes: [care], retention: 90d}
    - {name: lock, title: Cable lock}
  faults:
    - {code: E1, title: Relay welded, severity: critical, purposes: [operation], retention: 365d}
    - {code: F*, title: Ground fault, severity: major, purposes: [operation], retention: 365d}
  log: {level: info, purposes: [care], retention: 30d}
`

// unnamed checks that events have ids of their own, and takes those away.
func unnamed(t *testing.T, page wire.Page[wire.Event]) wire.Page[wire.Event] {
	t.Helper()
	seen := map[string]bool{"": true}
	for i := range page.Items {
		require.False(t, seen[page.Items[i].ID])
		seen[page.Items[i].ID], page.Items[i].ID = true, ""
	}
	return page
}

func TestEventsOfAUnit(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	e.Apply(apitest.Product + declared)
	e.Apply(apitest.UnitFile("WC-1", "b", "", "care"), apitest.UnitFile("WC-2", "b", ""))
	start := apitest.Start.UnixMilli()
	for _, id := range []string{"WC-1", "WC-2"} {
		e.StoreEvents(id,
			telemetry.Event{Event: start, Received: start + 5, Kind: telemetry.EventFeature, Name: "solar"},
			telemetry.Event{Event: start + 1, Received: start + 5, Kind: telemetry.EventFault, Name: "E1", State: telemetry.StateSet, Sequence: 7, Text: "relay 2"},
			telemetry.Event{Event: start + 2, Received: start + 5, Kind: telemetry.EventLog, Name: "modem", Level: telemetry.LevelWarn, Text: "no carrier"},
			telemetry.Event{Event: start + 3, Received: start + 5, Kind: telemetry.EventFeature, Name: "undeclared since"},
			telemetry.Event{Event: start + 4, Received: start + 5, Kind: telemetry.EventFault, Name: "F7", State: telemetry.StateCleared},
		)
	}
	list := func(query string) wire.Page[wire.Event] {
		t.Helper()
		return unnamed(t, apitest.Call[wire.Page[wire.Event]](e, 200, "GET", "/v1/units/WC-1/events"+query, nil))
	}
	at := func(ms int) time.Time { return apitest.Start.Add(time.Duration(ms) * time.Millisecond).UTC() }
	received := at(5)
	want := []wire.Event{
		{At: at(4), Received: received, Kind: "fault", Name: "F7", Title: "Ground fault", Severity: "major", State: "cleared"},
		{At: at(2), Received: received, Kind: "log", Name: "modem", Level: "warn", Text: "no carrier"},
		{At: at(1), Received: received, Kind: "fault", Name: "E1", Title: "Relay welded", Severity: "critical", State: "set", Sequence: 7, Text: "relay 2"},
		{At: at(0), Received: received, Kind: "feature", Name: "solar", Title: "Solar charging"},
	}
	require.Equal(t, wire.Page[wire.Event]{Items: want}, list(""))
	require.Equal(t, []wire.Event{want[0], want[2]}, list("?kind=fault").Items)
	require.Equal(t, want[1:3], list("?from="+at(1).Format(time.RFC3339Nano)+"&to="+at(3).Format(time.RFC3339Nano)).Items)
	var paged []wire.Event
	for after := "?limit=1"; ; {
		page := list(after)
		paged = append(paged, page.Items...)
		if page.Next == "" {
			break
		}
		after = "?limit=1&after=" + page.Next
	}
	require.Equal(t, want, paged)

	// What the owner does not permit is not shown, whatever is stored.
	other := unnamed(t, apitest.Call[wire.Page[wire.Event]](e, 200, "GET", "/v1/units/WC-2/events", nil))
	require.Equal(t, []wire.Event{want[0], want[2]}, other.Items)

	for query, says := range map[string]string{
		"?kind=dance":   "query.kind",
		"?after=x":      "query.after",
		"?after=1.2.3x": "query.after",
		"?limit=0":      "query.limit",
		"?from=2014-01-02T00:00:00Z&to=2014-01-01T00:00:00Z": "query.to",
	} {
		status, raw, _ := e.Do("GET", "/v1/units/WC-1/events"+query, nil, apitest.Bearer(e.Admin))
		require.Equal(t, 422, status, query)
		require.Contains(t, string(raw), says)
	}
	status, _, _ := e.Do("GET", "/v1/units/WC-9/events", nil, apitest.Bearer(e.Admin))
	require.Equal(t, 404, status)
	status, _, _ = e.Do("GET", "/v1/units/WC-1/events", nil, nil)
	require.Equal(t, 401, status)
}

func TestEventDeclarations(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	for wrong, says := range map[string]string{
		"  features:\n    - {name: solar, title: Solar, purposes: [nope], retention: 90d}\n":                                                                                        "body.documents[0].spec.features[0].purposes[0]",
		"  features:\n    - {name: solar, title: Solar, purposes: [care]}\n":                                                                                                        "spec.features[0].retention",
		"  faults:\n    - {code: '', title: x, severity: major, purposes: [care], retention: 90d}\n":                                                                                "spec.faults[0].code",
		"  faults:\n    - {code: E1, title: x, severity: bad, purposes: [care], retention: 90d}\n":                                                                                  "spec.faults[0].severity",
		"  faults:\n    - {code: E1, title: x, severity: major, purposes: [], retention: 90d}\n":                                                                                    "spec.faults[0].purposes",
		"  log: {level: loud, purposes: [care], retention: 30d}\n":                                                                                                                  "spec.log.level",
		"  log: {level: info, purposes: [care]}\n":                                                                                                                                  "spec.log.retention",
		"  faults:\n    - {code: E*, title: x, severity: major, purposes: [care], retention: 90d}\n    - {code: E1, title: x, severity: major, purposes: [care], retention: 90d}\n": "spec.faults[1].code",
	} {
		require.Contains(t, strings.Join(e.Refused(apitest.Product+wrong), "\n"), says)
	}
}
