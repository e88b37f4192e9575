// Package detecttest scores detectors on public recordings by the rules of
// their benchmarks, for tests and for bench/detect.
package detecttest

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// A Recording is a file of the Numenta Anomaly Benchmark (Lavin and Ahmad
// 2015, "Evaluating Real-time Anomaly Detection Algorithms").
type Recording struct {
	Name    string
	Times   []int64 // Unix milliseconds
	Values  []float64
	Windows [][2]int // labelled, as rows from and to
	Learned int      // rows that aren't scored; 0: as many as the benchmark says
}

// Warmup is how many rows aren't scored. The benchmark's number is 750 at most:
// of a recording with half of its rows that is twice as long a time, which may
// hold a window. Who resamples sets Learned, so that the same time is scored.
func (r *Recording) Warmup() int {
	if r.Learned > 0 {
		return r.Learned
	}
	return min(len(r.Values)*15/100, 750)
}

// A Profile says what a find, a miss and a false alarm are worth.
type Profile struct {
	Name               string
	Found, Missed, Bad float64
}

// Profiles are the benchmark's three.
var Profiles = [3]Profile{{"standard", 1, 1, .11}, {"low FP", 1, 1, .22}, {"low FN", 1, 2, .11}}

// ReadNAB reads windows.json and the recordings under data/ of a folder.
func ReadNAB(dir string) ([]*Recording, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "windows.json"))
	if err != nil {
		return nil, err
	}
	var windows map[string][][2]string
	if err := json.Unmarshal(raw, &windows); err != nil {
		return nil, fmt.Errorf("windows.json: %w", err)
	}
	var out []*Recording
	for _, name := range slices.Sorted(maps.Keys(windows)) {
		r, err := readRecording(filepath.Join(dir, "data", filepath.FromSlash(name)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		r.Name = name
		for _, w := range windows[name] {
			var rows [2]int
			for i := range w {
				at, err := nabTime(w[i])
				if err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				if rows[i] = slices.Index(r.Times, at); rows[i] < 0 {
					return nil, fmt.Errorf("%s: window %s is not among its rows", name, w[i])
				}
			}
			r.Windows = append(r.Windows, rows)
		}
		out = append(out, r)
	}
	return out, nil
}

func readRecording(path string) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := csv.NewReader(f)
	in.ReuseRecord = true
	r := new(Recording)
	for line := 0; ; line++ {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return nil, err
		}
		if line == 0 {
			continue
		}
		at, err := nabTime(row[0])
		if err != nil {
			return nil, err
		}
		v, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			return nil, err
		}
		r.Times, r.Values = append(r.Times, at), append(r.Values, v)
	}
}

func nabTime(s string) (int64, error) {
	t, err := time.Parse("2006-01-02 15:04:05", s) // reads a fraction, too
	return t.UnixMilli(), err
}

// NAB is what scores are worth under a profile: 100 is perfect, 0 is silence.
type NAB struct {
	Score, Threshold float64
	Windows, Found   int
	False            int // rows
}

// ScoreNAB values scores, one for each row of each recording. At a threshold
// that is NaN the best one is taken, as the benchmark does.
func ScoreNAB(recs []*Recording, scores [][]float64, p Profile, threshold float64) NAB {
	type point struct {
		score, worth float64
		window       int
	}
	var points []point
	var found []float64
	for k, r := range recs {
		base := len(found)
		for range r.Windows {
			found = append(found, -p.Missed)
		}
		next, lastEnd, lastWidth := 0, -1, 0.
		for i, s := range scores[k] {
			for next < len(r.Windows) && i > r.Windows[next][1] {
				w := r.Windows[next]
				next, lastEnd, lastWidth = next+1, w[1], float64(w[1]-w[0]+1)
			}
			pt := point{s, -p.Bad, -1}
			if next < len(r.Windows) && i >= r.Windows[next][0] {
				w := r.Windows[next]
				pt.worth = sigmoid(-float64(w[1]-i+1)/float64(w[1]-w[0]+1)) * p.Found / sigmoid(-1)
				pt.window = base + next
			} else if lastEnd >= 0 {
				pt.worth = sigmoid(float64(i-lastEnd)/(lastWidth-1)) * p.Bad
			}
			if i >= r.Warmup() {
				points = append(points, pt)
			}
		}
	}
	slices.SortStableFunc(points, func(a, b point) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
	silent := -p.Missed * float64(len(found))
	perfect := p.Found * float64(len(found))
	total, hits, bad := silent, 0, 0
	res := NAB{Threshold: math.Inf(1), Windows: len(found)}
	best := math.Inf(-1)
	if math.IsNaN(threshold) {
		best = silent
	}
	for i, q := range points {
		if !math.IsNaN(threshold) && q.score < threshold {
			break
		}
		switch {
		case q.window < 0:
			total += q.worth
			bad++
		case q.worth > found[q.window]:
			if found[q.window] == -p.Missed {
				hits++
			}
			total += q.worth - found[q.window]
			found[q.window] = q.worth
		}
		last := i+1 == len(points) || points[i+1].score != q.score
		if last && (total > best || !math.IsNaN(threshold)) {
			best, res.Threshold, res.Found, res.False = total, q.score, hits, bad
		}
	}
	if !math.IsNaN(threshold) {
		res.Threshold = threshold
		best = max(best, math.Inf(-1))
		if math.IsInf(best, -1) {
			best = silent
		}
	}
	res.Score = 100 * (best - silent) / (perfect - silent)
	return res
}

func sigmoid(x float64) float64 {
	if x > 3 {
		return -1
	}
	return 2/(1+math.Exp(5*x)) - 1
}
