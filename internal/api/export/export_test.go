package export_test

import (
	"bytes"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/telemetry"
)

// row is a row of the file, as another implementation of Parquet reads it.
type row struct {
	Unit     string    `parquet:"unit_id,optional"`
	Event    time.Time `parquet:"event_time,optional,timestamp(microsecond)"`
	Received time.Time `parquet:"receive_time,optional,timestamp(microsecond)"`
	Sequence *int64    `parquet:"sequence,optional"`
	Current  *float64  `parquet:"current,optional"`
	Plug     *float64  `parquet:"plug_temperature,optional"`
}

func get(t *testing.T, e *apitest.Env, query url.Values, columns ...string) ([]row, http.Header) {
	t.Helper()
	status, body, header := e.Do("GET", "/v1/products/wall-charger/export?"+query.Encode(), nil, apitest.Bearer(e.Admin))
	require.Equal(t, 200, status, string(body))
	require.Equal(t, "application/vnd.apache.parquet", header.Get("Content-Type"))
	f, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)))
	require.NoError(t, err)
	var names []string
	for _, c := range f.Root().Columns() {
		names = append(names, c.Name()+" "+c.Type().String())
	}
	require.Equal(t, append([]string{
		"unit_id STRING", "event_time TIMESTAMP(isAdjustedToUTC=true,unit=MICROS)", "receive_time TIMESTAMP(isAdjustedToUTC=true,unit=MICROS)", "sequence INT(64,true)",
	}, columns...), names)
	rows, err := parquet.Read[row](bytes.NewReader(body), int64(len(body)))
	require.NoError(t, err)
	return rows, header
}

func TestExport(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	e.Apply(apitest.Product)
	e.Apply(apitest.UnitFile("WC-1", "b", "", "care"), apitest.UnitFile("WC-2", "b", ""), apitest.UnitFile("WC-3", "b", "", "care"))
	start := apitest.Start.UnixMilli()
	for _, id := range []string{"WC-1", "WC-2", "WC-3"} {
		e.Store(id,
			telemetry.Row{Event: start, Received: start + 5, Sequence: 7, Values: []telemetry.Value{{Signal: "current", Number: 16}, {Signal: "plug_temperature", Number: 61.5}}},
			telemetry.Row{Event: start + 1000, Received: start + 1005, Values: []telemetry.Value{{Signal: "current", Number: 8}}},
			telemetry.Row{Event: start + 2000, Received: start + 2005},
		)
	}
	number := func(n float64) *float64 { return &n }
	rows, header := get(t, e, nil, "current DOUBLE", "plug_temperature DOUBLE", "charging BOOLEAN")
	require.Equal(t, "4", header.Get("Fettle-Rows"))
	require.Equal(t, "1", header.Get("Fettle-Units-Withheld"), "WC-2 permits nothing")
	require.Len(t, rows, 4)
	seven := int64(7)
	require.Equal(t, "WC-1", rows[0].Unit)
	require.Equal(t, apitest.Start.UTC(), rows[0].Event.UTC())
	require.Equal(t, apitest.Start.Add(5*time.Millisecond).UTC(), rows[0].Received.UTC())
	require.Equal(t, &seven, rows[0].Sequence)
	require.Equal(t, number(16), rows[0].Current)
	require.Equal(t, number(61.5), rows[0].Plug)
	require.Equal(t, number(8), rows[1].Current)
	require.Nil(t, rows[1].Plug)

	rows, _ = get(t, e, url.Values{"unit": {"WC-3"}, "signal": {"plug_temperature"}, "to": {apitest.Start.Add(time.Second).UTC().Format(time.RFC3339)}}, "plug_temperature DOUBLE")
	require.Len(t, rows, 1)
	require.Equal(t, "WC-3", rows[0].Unit)

	for query, want := range map[string]struct {
		status int
		says   string
	}{
		"unit=WC-9":     {422, "WC-9"},
		"signal=colour": {422, "colour"},
		"from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z": {422, "after from"},
		"unit=WC-2": {404, "nothing to export"},
		"from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z": {404, "nothing to export"},
	} {
		status, body, _ := e.Do("GET", "/v1/products/wall-charger/export?"+query, nil, apitest.Bearer(e.Admin))
		require.Equal(t, want.status, status, "%s: %s", query, body)
		require.Contains(t, string(body), want.says)
	}
}
