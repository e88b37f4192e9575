package detecttest

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Rows is a recording of several signals.
type Rows struct {
	Name    string
	Signals []string
	Times   []int64     // Unix milliseconds
	Values  [][]float64 // by row and signal; NaN is a gap
	Faulty  []bool      // by row; nil without labels
}

// ReadSKAB reads the runs of a pump rig (Katser and Kozitsin 2020, "Skoltech
// Anomaly Benchmark"): a row a second, the first 400 for training.
func ReadSKAB(dir string) ([]*Rows, error) {
	return readRows(dir, "datetime", "anomaly", []string{"changepoint"}, time.DateTime)
}

// ReadFEMTO reads bearings run to failure (Nectoux et al. 2012, "PRONOSTIA: An
// experimental platform for bearings accelerated degradation tests"): a row
// each ten seconds.
func ReadFEMTO(dir string) ([]*Rows, error) {
	return readRows(dir, "time", "", []string{"idx"}, "15:4:5")
}

func readRows(dir, timeCol, label string, ignore []string, layout string) ([]*Rows, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.csv"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no recordings in %s: %w", dir, os.ErrNotExist)
	}
	var out []*Rows
	for _, path := range files {
		r, err := readFile(path, timeCol, label, ignore, layout)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func readFile(path, timeCol, label string, ignore []string, layout string) (*Rows, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	table, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, err
	}
	r := &Rows{Name: filepath.Base(path)}
	var cols []int
	for i, name := range table[0] {
		if name != timeCol && name != label && !slices.Contains(ignore, name) {
			cols, r.Signals = append(cols, i), append(r.Signals, name)
		}
	}
	at := slices.Index(table[0], timeCol)
	labels := slices.Index(table[0], label)
	if at < 0 || label != "" && labels < 0 {
		return nil, fmt.Errorf("no column %s or %s", timeCol, label)
	}
	for _, row := range table[1:] {
		t, err := time.Parse(layout, row[at])
		if err != nil {
			return nil, err
		}
		values := make([]float64, len(cols))
		for j, c := range cols {
			if values[j], err = strconv.ParseFloat(row[c], 64); err != nil {
				values[j] = math.NaN()
			}
		}
		r.Times, r.Values = append(r.Times, t.UnixMilli()), append(r.Values, values)
		if label != "" {
			v, err := strconv.ParseFloat(row[labels], 64)
			if err != nil {
				return nil, err
			}
			r.Faulty = append(r.Faulty, v >= 0.5)
		}
	}
	return r, nil
}

// Alarms is what states of alarm are worth, pooled over recordings, in percent
// but for F1. Nothing is adjusted to segments.
type Alarms struct{ F1, False, Missed float64 }

func (a Alarms) String() string {
	return fmt.Sprintf("F1 %.3f at %.1f %% false, %.1f %% missed", a.F1, a.False, a.Missed)
}

// ScoreAlarms compares alarms with the recordings' faults; the first rows of
// each are training.
func ScoreAlarms(recs []*Rows, alarms [][]bool, training int) Alarms {
	var tp, fp, tn, fn float64
	for k, r := range recs {
		for i := training; i < len(r.Faulty); i++ {
			switch {
			case r.Faulty[i] && alarms[k][i]:
				tp++
			case r.Faulty[i]:
				fn++
			case alarms[k][i]:
				fp++
			default:
				tn++
			}
		}
	}
	return Alarms{2 * tp / (2*tp + fp + fn), 100 * fp / (fp + tn), 100 * fn / (tp + fn)}
}

// Lives is what alarms tell of units that ran to failure.
type Lives struct {
	Units  int
	Warned int // in alarm at least so long before the end
	Early  int // in alarm within the first half of life
}

// ScoreLives counts the lives with a warning lead milliseconds before the end.
func ScoreLives(recs []*Rows, alarms [][]bool, lead int64) Lives {
	res := Lives{Units: len(recs)}
	for k, r := range recs {
		end, warned := r.Times[len(r.Times)-1], false
		for i, on := range alarms[k] {
			warned = warned || on && r.Times[i] <= end-lead
		}
		if warned {
			res.Warned++
		}
		if slices.Contains(alarms[k][:len(alarms[k])/2], true) {
			res.Early++
		}
	}
	return res
}
