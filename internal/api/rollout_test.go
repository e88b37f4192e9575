package api_test

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strconv"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/wire"
)

// lines are a stream's, as JSON objects, and as the rows of its CSV.
func lines(e *apitest.Env, path string) (objects []map[string]any, rows [][]string) {
	status, body, header := e.Do("GET", path, nil, apitest.Bearer(e.Admin))
	require.Equal(e.T, 200, status, "%s", body)
	require.Equal(e.T, "application/jsonl", header.Get("Content-Type"))
	for s := bufio.NewScanner(bytes.NewReader(body)); s.Scan(); {
		var o map[string]any
		require.NoError(e.T, json.Unmarshal(s.Bytes(), &o))
		objects = append(objects, o)
	}
	status, body, header = e.Do("GET", path+"?format=csv", nil, apitest.Bearer(e.Admin))
	require.Equal(e.T, 200, status, "%s", body)
	require.Contains(e.T, header.Get("Content-Type"), "text/csv")
	rows, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	require.NoError(e.T, err)
	require.Len(e.T, rows, len(objects)+1, "a header, and a row a unit")
	return objects, rows
}

// dryUnits holds the stream of a dry run against what the dry run says of it.
func dryUnits(e *apitest.Env, base string, plan *wire.DryRun) {
	objects, rows := lines(e, base+"/dry-run/units")
	require.Equal(e.T, []string{"unit", "offered", "wave", "code", "why"}, rows[0])
	offered, not := map[string]string{}, map[string]string{}
	for i, o := range objects {
		unit, _ := o["unit"].(string)
		wave, _ := o["wave"].(string)
		why, _ := o["why"].(string)
		code, _ := o["code"].(string)
		is, _ := o["offered"].(bool)
		require.Equal(e.T, []string{unit, strconv.FormatBool(is), wave, code, why}, rows[i+1])
		if is {
			offered[unit] = wave
		} else {
			not[unit] = code + ": " + why
		}
	}
	wantOffered, wantNot := map[string]string{}, map[string]string{}
	for _, o := range plan.Offered {
		wantOffered[o.UnitID] = plan.Waves[o.Wave].Name
	}
	for _, n := range plan.Not {
		wantNot[n.UnitID] = string(n.Code) + ": " + n.Why
	}
	require.Equal(e.T, wantOffered, offered)
	require.Equal(e.T, wantNot, not)
}

// dryUnsigned has a campaign's release wait for signatures: the dry run, its
// units and the campaigns' list say so before any owner is asked.
func dryUnsigned(e *apitest.Env, base, product string) {
	e.T.Helper()
	require.Nil(e.T, apitest.Call[wire.DryRun](e, 200, "POST", base+"/dry-run", nil).Waiting)
	apitest.Call[struct{}](e, 204, "PUT", "/v1/trust/products/"+product, nil)
	plan := apitest.Call[wire.DryRun](e, 200, "POST", base+"/dry-run", nil)
	require.NotNil(e.T, plan.Waiting)
	require.EqualValues(e.T, "unsigned", plan.Waiting.Code)
	objects, _ := lines(e, base+"/dry-run/units")
	unsigned := 0
	for _, o := range objects {
		if o["code"] == "unsigned" {
			require.Equal(e.T, true, o["offered"])
			unsigned++
		}
	}
	require.Equal(e.T, plan.OfferedCount, unsigned)
	all := apitest.Call[wire.Page[wire.Campaign]](e, 200, "GET", "/v1/campaigns", nil).Items
	require.Equal(e.T, all, apitest.Call[wire.Page[wire.Campaign]](e, 200, "GET", "/v1/campaigns?release="+all[0].Spec.Release, nil).Items)
	require.Empty(e.T, apitest.Call[wire.Page[wire.Campaign]](e, 200, "GET", "/v1/campaigns?release=another", nil).Items)
	waiting := all[0].Waiting
	require.NotNil(e.T, waiting)
	require.Contains(e.T, waiting.Why, "fettle keys export")
	apitest.Call[struct{}](e, 204, "DELETE", "/v1/trust/products/"+product, nil)
	require.Nil(e.T, apitest.Call[wire.CampaignDetail](e, 200, "GET", base, nil).Waiting)
}

// reportUnits holds the stream of a report against the report.
func reportUnits(e *apitest.Env, base string, report *wire.Report) {
	objects, rows := lines(e, base+"/report/units")
	require.Equal(e.T, "unit", rows[0][0])
	require.Len(e.T, rows[0], 13)
	require.Len(e.T, objects, report.Involved)
	states := map[string]int{}
	installed := 0
	for _, o := range objects {
		state, _ := o["state"].(string)
		states[state]++
		if o["installedAt"] != nil {
			installed++
		}
		require.NotContains(e.T, o, "ownerId")
		require.NotEmpty(e.T, o["unit"])
		require.NotEmpty(e.T, o["wave"])
	}
	require.Equal(e.T, report.Verified, states["verified"])
	require.Equal(e.T, report.Installed, installed)
}
