package main

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"fettle.dev/fettle/internal/detect/trend/trendtest"
)

// trends measures the coverage of the 80 % intervals of internal/detect/trend:
// on made-up signals of every family, and on recordings of runs to failure.
func trends(b *bench) ([]line, error) {
	const signals = 60 // of each family
	var out []line
	say := func(set string, m *trendtest.Measured) {
		out = append(out, line{"trend: " + set, "80 % interval", m.String(), ""})
	}
	var moving, still trendtest.Measured
	for i := range trendtest.Families {
		f := &trendtest.Families[i]
		m := f.Measure(signals)
		say(f.Name, &m)
		if f.Stationary {
			still.Add(m)
		} else {
			moving.Add(m)
		}
	}
	say("all that move", &moving)
	say("all that do not", &still)

	var wear trendtest.Measured
	for _, set := range []string{"FD001", "FD003"} {
		columns, err := numbers(filepath.Join(b.data, "cmapss", "train_"+set+".csv.gz"))
		if err != nil {
			return out, err
		}
		for _, sensor := range []string{"s2", "s3", "s4", "s7", "s9", "s11", "s12", "s14", "s15", "s17", "s20", "s21"} {
			wear.Add(trendtest.Wear(columns["unit"], columns[sensor], time.Hour))
		}
	}
	say("turbofan sensors, FD001 and FD003", &wear)

	var bearings trendtest.Measured
	files, err := filepath.Glob(filepath.Join(b.data, "femto-learning", "*.csv"))
	if err != nil || len(files) == 0 {
		return out, fmt.Errorf("bearings: %w", os.ErrNotExist)
	}
	for _, f := range files {
		columns, err := numbers(f)
		if err != nil {
			return out, err
		}
		for _, name := range []string{"h_rms", "v_rms"} {
			first := slices.Clone(columns[name][:100])
			slices.Sort(first)
			for _, times := range []float64{1.5, 2, 3} {
				s := trendtest.Recorded(10*time.Second, columns[name], times*first[50], false, 11)
				bearings.Add(trendtest.Ask(&s, 180))
			}
		}
	}
	say("bearings' rms to 1.5, 2 and 3 times the first", &bearings)
	return out, nil
}

// numbers reads the columns of a recording; what is no number is 0.
func numbers(path string) (map[string][]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	if filepath.Ext(path) == ".gz" {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, err
		}
		r = csv.NewReader(z)
	}
	rows, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	out := map[string][]float64{}
	for _, row := range rows[1:] {
		for i, v := range row {
			x, err := strconv.ParseFloat(v, 64)
			if err != nil {
				x = 0
			}
			out[rows[0][i]] = append(out[rows[0][i]], x)
		}
	}
	return out, nil
}
