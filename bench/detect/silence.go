package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

const silentYAML = `apiVersion: fettle.dev/v1
kind: Detector
metadata: {name: silent}
spec: {product: fleet, type: silence, severity: minor, purpose: care}
`

// silence makes fleets that report by the hour for three months, of which half
// of the units die in the last, and asks a backtest of the default detector who
// was found, and who was taken for dead.
func silence(b *bench) ([]line, error) {
	var lines []line
	for _, lost := range []float64{0, .1} {
		seen, err := b.deaths(lost)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line{"silence (made up)", fmt.Sprintf("400 units by the hour, %.0f %% of reports lost", 100*lost), seen, ""})
	}
	return lines, nil
}

func (b *bench) deaths(lost float64) (string, error) {
	const units, days, hour = 400, 90, time.Hour
	rng := rand.New(rand.NewPCG(4, 4))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	path := func(name string) string { return filepath.Join(b.temp, name) }
	reports, err := os.Create(path("reports.csv"))
	if err != nil {
		return "", err
	}
	failures, err := os.Create(path("deaths.csv"))
	if err != nil {
		return "", err
	}
	w := bufio.NewWriter(reports)
	fmt.Fprintln(w, "time,unit,alive")
	fmt.Fprintln(failures, "unit,time")
	death, last := map[string]time.Time{}, map[string]time.Time{}
	var phase [units]time.Duration
	for u := range phase {
		phase[u] = time.Duration(rng.Int64N(int64(hour)))
		if id := fmt.Sprintf("u%03d", u); u%2 == 0 {
			death[id] = start.Add(days*24*hour - 4*24*hour - time.Duration(rng.Int64N(int64(26*24*hour)))).Truncate(time.Second)
			fmt.Fprintf(failures, "%s,%s\n", id, death[id].Format(time.RFC3339))
		}
	}
	for h := range days * 24 {
		for u, p := range phase {
			id := fmt.Sprintf("u%03d", u)
			at := start.Add(time.Duration(h)*hour + p + time.Duration(rng.Int64N(int64(hour/5))))
			if d, dies := death[id]; dies && at.After(d) || rng.Float64() < lost {
				continue
			}
			last[id] = at
			fmt.Fprintf(w, "%s,%s,1\n", at.Format(time.RFC3339), id)
		}
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	if err := reports.Close(); err != nil {
		return "", err
	}
	if err := failures.Close(); err != nil {
		return "", err
	}
	if err := os.WriteFile(path("silent.yaml"), []byte(silentYAML), 0o600); err != nil {
		return "", err
	}
	out, err := b.output("backtest", "-f", path("silent.yaml"), "--data", path("reports.csv"), "--unit", "unit", "--time", "time",
		"--failures", path("deaths.csv"), "--horizon", "1h", "--late", "30d", "--sweep", "none", "-o", "json")
	if err != nil {
		return "", err
	}
	var r struct {
		UnitMonths float64
		Thresholds []struct{ Found, Missed, False int }
		Findings   []struct {
			UnitID   string
			OpenedAt time.Time
		}
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return "", err
	}
	late := time.Duration(0)
	for _, f := range r.Findings {
		if d, dies := death[f.UnitID]; dies && f.OpenedAt.After(d) {
			late = max(late, f.OpenedAt.Sub(last[f.UnitID]))
		}
	}
	t := r.Thresholds[0]
	return fmt.Sprintf("%d of %d deaths found, at most %.1f h after the last report; %d living taken for dead, %.2f per 1,000 unit-months",
		t.Found, t.Found+t.Missed, late.Hours(), t.False, 1000*float64(t.False)/r.UnitMonths), nil
}
