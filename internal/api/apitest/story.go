package apitest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/telemetry"
)

// Product is the story's wall charger.
const Product = `apiVersion: fettle.dev/v1
kind: Product
metadata: {name: wall-charger}
spec:
  title: Wall charger
  purposes:
    - {name: care, title: Care, description: To find faults before they bother you., basis: consent}
    - {name: operation, title: Operation, description: "Versions and progress of updates, without which none can be offered.", basis: necessary}
  signals:
    - {name: current, type: number, unit: A, purposes: [care], retention: 90d, description: Charging current.}
    - {name: plug_temperature, type: number, unit: Cel, purposes: [care], retention: 90d, description: Temperature of the plug.}
    - {name: charging, type: boolean, purposes: [care], retention: 90d, description: Whether the car charges.}
  tolerances:
    - name: plug
      signal: plug_temperature
      bands:
        - {when: current >= 16.0, max: 70}
        - {max: 50}
`

// Detector is the story's.
const Detector = `apiVersion: fettle.dev/v1
kind: Detector
metadata: {name: plug-overheat}
spec:
  product: wall-charger
  title: Plug too hot
  type: tolerance
  severity: critical
  purpose: care
  tolerance: plug
  hold: 10m
  exposure: current >= 16.0
`

// UnitFile declares a unit; owner and consents may be empty.
func UnitFile(id, batch, owner string, consents ...string) string {
	s := fmt.Sprintf("apiVersion: fettle.dev/v1\nkind: Unit\nmetadata: {name: %s}\nspec:\n  product: wall-charger\n  serial: %q\n  hardware: A\n  batch: %s\n", id, strings.TrimPrefix(id, "WC-"), batch)
	if owner != "" {
		s += fmt.Sprintf("  owner: {email: %s, locale: de}\n", owner)
	}
	if len(consents) > 0 {
		s += "  consents: [" + strings.Join(consents, ", ") + "]\n"
	}
	return s
}

// ReleaseFile declares the story's release of an artifact.
func ReleaseFile(sha256 string) string {
	return `apiVersion: fettle.dev/v1
kind: Release
metadata: {name: charger-2.0.0}
spec:
  product: wall-charger
  version: 2.0.0
  kind: safety
  minutes: 45
  notes: {en: "The charger draws less current when its plug gets warm.", de: "Weniger Strom bei warmem Stecker."}
  unavailable: {en: Charging.}
  artifact: "sha256:` + sha256 + "\"\n"
}

// CampaignFile is the story's.
const CampaignFile = `apiVersion: fettle.dev/v1
kind: Campaign
metadata: {name: adapter-overheat}
spec:
  product: wall-charger
  kind: safety
  title: {en: Adapter overheats, de: Adapter wird heiss}
  reason: {en: The plug of your charger gets too hot.}
  cohort: hot-adapters
  release: charger-2.0.0
  detector: plug-overheat
  waves: [{name: first, count: 1}, {name: rest}]
  gate: {soak: 1h, verified: 0.9, failed: 0.1, relapsed: 0.1}
  exposure: 2h
  deadline: 14d
`

// Documents reads files into documents.
func Documents(e *Env, files ...string) []wire.Document {
	e.T.Helper()
	var out []wire.Document
	for _, f := range files {
		docs, wrong := declare.ParseFile("test.yaml", []byte(f))
		require.Empty(e.T, wrong)
		for _, d := range docs {
			out = append(out, wire.Document{APIVersion: d.APIVersion, Kind: d.Kind, Metadata: d.Metadata, Spec: wire.Spec(d.Spec)})
		}
	}
	return out
}

// Apply applies files as admin.
func (e *Env) Apply(files ...string) wire.Applied {
	e.T.Helper()
	return Call[wire.Applied](e, http.StatusOK, http.MethodPost, "/v1/apply", wire.Apply{Documents: Documents(e, files...)})
}

// Refused applies files that have mistakes, and gives these: location and message.
func (e *Env) Refused(files ...string) []string {
	e.T.Helper()
	status, raw, header := e.Do(http.MethodPost, "/v1/apply", wire.Apply{Documents: Documents(e, files...)}, Bearer(e.Admin))
	require.Equal(e.T, http.StatusUnprocessableEntity, status, "%s", raw)
	require.Equal(e.T, "application/problem+json", header.Get("Content-Type"))
	var p struct {
		Errors []struct{ Location, Message string }
	}
	require.NoError(e.T, json.Unmarshal(raw, &p))
	var out []string
	for _, m := range p.Errors {
		out = append(out, m.Location+": "+m.Message)
	}
	return out
}

// Hour is rows of one unit, a minute apart, over hours from Start.
func Hour(from, hours int, current, temperature float64) []telemetry.Row {
	var out []telemetry.Row
	for m := from * 60; m < (from+hours)*60; m++ {
		out = append(out, telemetry.Row{
			Event:  Start.UnixMilli() + int64(m)*60_000,
			Values: []telemetry.Value{{Signal: "current", Number: current}, {Signal: "plug_temperature", Number: temperature}},
		})
	}
	return out
}

// Hot declares the story with four units and stores ten hours of each: WC-1
// and WC-2 overheat, WC-3 does not, WC-4 does not permit to look.
func (e *Env) Hot() {
	e.T.Helper()
	e.Apply(Product, Detector,
		UnitFile("WC-1", "B1", "ada@example.org", "care"), UnitFile("WC-2", "B1", "bob@example.org", "care"),
		UnitFile("WC-3", "B2", "eve@example.org", "care"), UnitFile("WC-4", "B1", "dan@example.org"))
	for unit, celsius := range map[string]float64{"WC-1": 90, "WC-2": 85, "WC-3": 40} {
		e.Store(unit, Hour(0, 10, 16, celsius)...)
	}
	e.Store("WC-4", telemetry.Row{Event: Start.UnixMilli(), NotConsented: 2})
	e.Clock.Advance(10 * time.Hour)
}

// Backtest runs a detector over history until it has ended.
func (e *Env) Backtest(in wire.BacktestRequest) wire.Backtest {
	e.T.Helper()
	j := Call[wire.Backtest](e, http.StatusAccepted, http.MethodPost, "/v1/backtests", in)
	require.Eventually(e.T, func() bool {
		j = Call[wire.Backtest](e, http.StatusOK, http.MethodGet, "/v1/backtests/"+j.ID, nil)
		return j.State.Ended()
	}, time.Minute, 5*time.Millisecond)
	return j
}

// Keep puts what Backtest finds into the records, as the watcher would.
func (e *Env) Keep() []condition.Finding {
	e.T.Helper()
	var out []condition.Finding
	j := e.Backtest(wire.BacktestRequest{Name: "plug-overheat", Detector: Documents(e, Detector)[0].Spec})
	for _, f := range Call[wire.Page[wire.Finding]](e, http.StatusOK, http.MethodGet, "/v1/backtests/"+j.ID+"/findings?limit=1000", nil).Items {
		u, err := e.DB.Fleet().Unit(e.T.Context(), f.UnitID)
		require.NoError(e.T, err)
		f.UnitKey = u.Key
		out = append(out, f.Finding)
	}
	require.NoError(e.T, e.DB.Condition().Commit(e.T.Context(), "0", 1, out, nil))
	return out
}
