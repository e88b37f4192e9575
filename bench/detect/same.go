package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"fettle.dev/fettle/internal/detect/detecttest"
)

// A change is one that should change no score. The recording is changed before
// it is scored, and scored by its own rows and windows after.
type change struct {
	name   string
	value  func(float64) float64 // nil: as it is
	turned bool                  // columns renamed, and the last first
	copies int                   // rows in place of one
	every  int                   // one row of so many is kept
}

var changes = []change{
	{"as they are", nil, false, 1, 1},
	{"values times a million", func(v float64) float64 { return 1e6 * v }, false, 1, 1},
	{"values and 12345.678", func(v float64) float64 { return v + 12345.678 }, false, 1, 1},
	{"values negated", func(v float64) float64 { return -v }, false, 1, 1},
	{"columns renamed and reordered", nil, true, 1, 1},
	{"every row twice, the second half an interval later", nil, false, 2, 1},
	{"every other row left out", nil, false, 1, 2},
}

// same scores changed recordings.
func same(b *bench) ([]line, error) {
	recs, err := detecttest.ReadNAB(filepath.Join(b.data, "nab-dev"))
	if err != nil {
		return nil, err
	}
	runs, err := detecttest.ReadSKAB(filepath.Join(b.data, "skab-valve1"))
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, c := range changes {
		var scores [][]float64
		var on [][]bool
		for _, r := range recs {
			rows := &detecttest.Rows{Signals: []string{"value"}, Times: r.Times}
			for _, v := range r.Values {
				rows.Values = append(rows.Values, []float64{v})
			}
			s, _, err := b.changed(rows, c, 0)
			if err != nil {
				return nil, err
			}
			scores = append(scores, s)
		}
		for _, r := range runs {
			_, a, err := b.changed(r, c, 400)
			if err != nil {
				return nil, err
			}
			on = append(on, a)
		}
		seen := fmt.Sprintf("%.1f; %s", detecttest.ScoreNAB(recs, scores, detecttest.Profiles[0], math.NaN()).Score, detecttest.ScoreAlarms(runs, on, 400))
		lines = append(lines, line{"NAB; SKAB", "standard, no --warmup; alarm by row: " + c.name, seen, ""})
	}
	return lines, nil
}

// changed is what each row of a recording scores when it is changed: of two in
// its place the higher score. A row left out scores nothing, and has the state
// of the one before.
func (b *bench) changed(r *detecttest.Rows, c change, warmup int) (scores []float64, alarms []bool, err error) {
	path := filepath.Join(b.temp, "changed.csv")
	if err := write(path, r, c); err != nil {
		return nil, nil, err
	}
	t, err := b.table("score", "--warmup", strconv.Itoa(warmup*c.copies/c.every), path)
	if err != nil {
		return nil, nil, err
	}
	out, err := floats(t["anomaly_score"])
	if err != nil {
		return nil, nil, err
	}
	scores, alarms = make([]float64, len(r.Times)), make([]bool, len(r.Times))
	for i := range r.Times {
		k := i / c.every * c.copies
		for j := k; j < k+c.copies; j++ {
			alarms[i] = t["alarm"][j] == "1"
			if i%c.every == 0 {
				scores[i] = max(scores[i], out[j])
			}
		}
	}
	return scores, alarms, nil
}

func write(path string, r *detecttest.Rows, c change) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	columns := len(r.Signals)
	row := func(first string, cell func(i int) string) {
		cells := []string{first}
		for i := range columns {
			if c.turned {
				i = columns - 1 - i
			}
			cells = append(cells, cell(i))
		}
		fmt.Fprintln(w, strings.Join(cells, ",")) // an error shows at the end
	}
	row("time", func(i int) string {
		if c.turned {
			return fmt.Sprintf("c%d", i)
		}
		return r.Signals[i]
	})
	for i := 0; i < len(r.Times); i += c.every {
		next := r.Times[min(i+1, len(r.Times)-1)]
		for k := range c.copies {
			at := r.Times[i] + int64(k)*(next-r.Times[i])/int64(c.copies)
			row(strconv.FormatInt(at, 10), func(j int) string {
				v := r.Values[i][j]
				if math.IsNaN(v) {
					return ""
				}
				if c.value != nil {
					v = c.value(v)
				}
				return strconv.FormatFloat(v, 'g', -1, 64)
			})
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
