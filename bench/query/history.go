package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"time"

	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/telemetry"
)

const product = "truck"

// openHistory stores what the fleet reports, as the history writer does: in
// transactions of 20,000 messages.
func openHistory(ctx context.Context, dir string, f *fleet) (*duckdb.History, error) {
	h, err := duckdb.Open(ctx, duckdb.Config{Dir: filepath.Join(dir, "history")}, slog.Default())
	if err != nil {
		return nil, err
	}
	signals := map[string]string{}
	for _, names := range [][]string{readings, diagnostics} {
		for _, name := range names {
			signals[name] = "number"
		}
	}
	if err := h.EnsureProduct(ctx, product, signals); err != nil {
		return nil, err
	}
	b := &telemetry.Batch{Product: product}
	seq := uint64(0)
	flush := func() error {
		seq++
		err := h.Append(ctx, []telemetry.Sequenced{{Seq: seq, Batch: b}})
		b = &telemetry.Batch{Product: product}
		return err
	}
	message := func(at int64, t *truck, names []string, values []float64) telemetry.Row {
		row := telemetry.Row{Unit: t.key, Event: at, Received: at, Values: make([]telemetry.Value, len(names))}
		for i, name := range names {
			row.Values[i] = telemetry.Value{Signal: name, Number: values[i]}
		}
		return row
	}
	err = f.each(func(at int64, t *truck, r, d []float64) error {
		b.Rows = append(b.Rows, message(at, t, readings, r), message(at, t, diagnostics, d))
		if len(b.Rows) >= 20_000 {
			return flush()
		}
		return nil
	})
	if err == nil && len(b.Rows) > 0 {
		err = flush()
	}
	if err == nil {
		err = h.Compact(ctx)
	}
	return h, err
}

// questions are those of the benchmark.
func questions(f *fleet, h *duckdb.History, db influx) []question {
	trucks := map[int64]*truck{}
	for i := range f.trucks {
		trucks[f.trucks[i].key] = &f.trucks[i]
	}
	newest := func(ctx context.Context, fn func(t *truck, s []telemetry.Stat), signals ...string) error {
		q := telemetry.WindowQuery{Product: product, Signals: signals, Measures: telemetry.MeasureLast}
		return h.Windows(ctx, q, func(w *telemetry.Window) error {
			fn(trucks[w.Unit], w.Stats)
			return nil
		})
	}
	return []question{
		{
			name: "last position by truck",
			fettle: func(ctx context.Context) (answer, error) {
				a := answer{}
				return a, newest(ctx, func(t *truck, s []telemetry.Stat) { a[t.name] = number(s[0].Last) + " " + number(s[1].Last) }, "latitude", "longitude")
			},
			influx: func(ctx context.Context) (answer, error) {
				return db.ask(ctx, `SELECT latitude, longitude FROM readings GROUP BY "name" ORDER BY time DESC LIMIT 1`, "name", 1, 2)
			},
		},
		{
			name: "low fuel",
			fettle: func(ctx context.Context) (answer, error) {
				a := answer{}
				return a, newest(ctx, func(t *truck, s []telemetry.Stat) {
					if s[0].Last <= 0.1 {
						a[t.name] = number(s[0].Last)
					}
				}, "fuel_state")
			},
			influx: func(ctx context.Context) (answer, error) {
				return db.ask(ctx, `SELECT f FROM (SELECT last(fuel_state) AS f FROM "diagnostics" GROUP BY "name") WHERE f <= 0.1 GROUP BY "name"`, "name", 1)
			},
		},
		{
			name: "stationary trucks",
			fettle: func(ctx context.Context) (answer, error) {
				a := answer{}
				q := telemetry.WindowQuery{
					Product: product, Signals: []string{"velocity"}, From: f.end().Add(-10 * time.Minute), To: f.end(), Width: 10 * time.Minute, Measures: telemetry.MeasureMean,
				}
				return a, h.Windows(ctx, q, func(w *telemetry.Window) error {
					if mean := w.Stats[0].Mean(); mean < 1 {
						a[trucks[w.Unit].name] = rounded(mean)
					}
					return nil
				})
			},
			influx: func(ctx context.Context) (answer, error) {
				a, err := db.ask(ctx, fmt.Sprintf(`SELECT v FROM (SELECT mean(velocity) AS v FROM readings WHERE time >= %d AND time < %d GROUP BY time(10m), "name") WHERE v < 1 GROUP BY "name"`,
					f.end().Add(-10*time.Minute).UnixNano(), f.end().UnixNano()), "name", 1)
				return a.rounded(), err
			},
		},
		{
			name: "breakdown frequency by model", slow: true,
			fettle: func(ctx context.Context) (answer, error) {
				counts := map[string]int{}
				q := telemetry.WindowQuery{
					Product: product, Signals: []string{"status"}, From: begin, To: f.end(), Width: 10 * time.Minute, Measures: telemetry.MeasureCount | telemetry.MeasureNonzero,
				}
				var of *truck
				ran := false
				err := h.Windows(ctx, q, func(w *telemetry.Window) error {
					runs := 2*w.Stats[0].Nonzero >= w.Stats[0].Count
					if t := trucks[w.Unit]; t != of {
						of = t
					} else if runs && !ran {
						counts[t.model]++
					}
					ran = runs
					return nil
				})
				a := answer{}
				for model, n := range counts {
					a[model] = strconv.Itoa(n)
				}
				return a, err
			},
			influx: func(ctx context.Context) (answer, error) {
				return db.ask(ctx, fmt.Sprintf(`SELECT count(changed) FROM (SELECT difference(runs) AS changed FROM (SELECT floor(2*(sum(nzs)/count(nzs)))/floor(2*(sum(nzs)/count(nzs))) AS runs FROM (SELECT status/status AS nzs FROM "diagnostics" WHERE time >= %[1]d AND time < %[2]d GROUP BY model, "name") WHERE time >= %[1]d AND time < %[2]d GROUP BY time(10m), model, "name") GROUP BY model, "name") WHERE changed = 1 GROUP BY model`,
					begin.UnixNano(), f.end().UnixNano()), "model", 1)
			},
		},
		{
			name: "average load by fleet and model", slow: true,
			fettle: func(ctx context.Context) (answer, error) {
				sums, counts := map[string]float64{}, map[string]int64{}
				q := telemetry.WindowQuery{Product: product, Signals: []string{"current_load"}, Measures: telemetry.MeasureMean}
				err := h.Windows(ctx, q, func(w *telemetry.Window) error {
					t := trucks[w.Unit]
					sums[t.fleet+" "+t.model] += w.Stats[0].Sum / t.capacity
					counts[t.fleet+" "+t.model] += w.Stats[0].Count
					return nil
				})
				a := answer{}
				for k, n := range counts {
					a[k] = rounded(sums[k] / float64(n))
				}
				return a, err
			},
			influx: func(ctx context.Context) (answer, error) {
				a, err := db.ask(ctx, `SELECT mean(ml) FROM (SELECT current_load/load_capacity AS ml FROM "diagnostics" GROUP BY "name", fleet, model) GROUP BY fleet, model`, "fleet model", 1)
				return a.rounded(), err
			},
		},
	}
}

func number(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }

// rounded is a number to as many places as sums in another order agree on.
func rounded(n float64) string { return strconv.FormatFloat(n, 'g', 9, 64) }

func (a answer) rounded() answer {
	for k, v := range a {
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			a[k] = rounded(n)
		}
	}
	return a
}
