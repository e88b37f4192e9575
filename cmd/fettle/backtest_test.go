package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A file whose rows are seconds apart has the ticks of a service that was up:
// else all of its time would be an outage, in which nobody can fall silent.
func TestSilenceInAFileOfManyUnits(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	death := start.Add(60 * time.Hour)
	var rows strings.Builder
	rows.WriteString("time,unit,alive\n")
	for minute := range 72 * 60 { // two of twenty units in each minute
		for half := range 2 {
			unit := (2*minute + half) % 20
			if at := start.Add(time.Duration(2*minute+half) * 30 * time.Second); unit != 7 || at.Before(death) {
				fmt.Fprintf(&rows, "%s,u%d,1\n", at.Format(time.RFC3339), unit)
			}
		}
	}
	dir := t.TempDir()
	data, detector := filepath.Join(dir, "fleet.csv"), filepath.Join(dir, "silent.yaml")
	require.NoError(t, os.WriteFile(data, []byte(rows.String()), 0o600))
	require.NoError(t, os.WriteFile(detector, []byte(`apiVersion: fettle.dev/v1
kind: Detector
metadata: {name: silent}
spec: {product: fleet, type: silence, severity: minor, purpose: care}
`), 0o600))
	var out, errOut bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"backtest", "-f", detector, "--data", data, "--unit", "unit", "--sweep", "none", "-o", "json"}, nil, &out, &errOut), errOut.String())
	var got struct {
		Findings []struct {
			UnitID   string    `json:"unitId"`
			OpenedAt time.Time `json:"openedAt"`
		} `json:"findings"`
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	require.Len(t, got.Findings, 1)
	require.Equal(t, "u7", got.Findings[0].UnitID)
	require.WithinRange(t, got.Findings[0].OpenedAt, death, death.Add(time.Hour))
}
