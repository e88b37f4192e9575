package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// published figures of C-MAPSS: RMSE and PHM08 score.
var published = map[string]string{
	"FD001": "MTSTAN 10.97/175, FFVE 12.3/280, LightGBM 12.52/239",
	"FD002": "FFVE 12.55/772",
	"FD003": "MTSTAN 10.90/188, FFVE 12.4/302, LightGBM 13.44/874",
	"FD004": "FFVE 14.1/1149",
}

// cmapss learns from engines that ran to failure and predicts the others.
func cmapss(b *bench) ([]line, error) {
	dir := filepath.Join(b.data, "cmapss")
	files, err := filepath.Glob(filepath.Join(dir, "train_*.csv.gz"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no recordings in %s: %w", dir, os.ErrNotExist)
	}
	var lines []line
	for _, train := range files {
		set := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(train), "train_"), ".csv.gz")
		model := filepath.Join(b.temp, set)
		predicted := func(options ...string) (map[string][]string, error) {
			fit := append([]string{"prognose", "fit", "--unit", "unit", "--time", "cycle", train, "-o", model}, options...)
			if _, err := b.output(fit...); err != nil {
				return nil, err
			}
			return b.table("prognose", "predict", "--model", model, filepath.Join(dir, "test_"+set+".csv.gz"))
		}
		got, err := predicted("--cap", "125")
		if err != nil {
			return nil, err
		}
		raw, err := os.ReadFile(filepath.Join(dir, "rul_"+set+".csv"))
		if err != nil {
			return nil, err
		}
		want, err := columns(strings.NewReader(string(raw)))
		if err != nil {
			return nil, err
		}
		seen, err := scoreLives(want, got, 125)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line{"C-MAPSS " + set, "RMSE / PHM08 score, truth capped at 125; 80 % intervals cover", seen, published[set]})
		if got, err = predicted(); err != nil {
			return nil, err
		}
		if seen, err = scoreLives(want, got, math.Inf(1)); err != nil {
			return nil, err
		}
		lines = append(lines, line{"C-MAPSS " + set, "the same without a cap", seen, "—"})
	}
	return lines, nil
}

// scoreLives compares remaining lives by unit (Saxena et al. 2008, "Damage
// propagation modeling for aircraft engine run-to-failure simulation").
func scoreLives(want, got map[string][]string, limit float64) (string, error) {
	truth := map[string]float64{}
	ruls, err := floats(want["rul"])
	if err != nil {
		return "", err
	}
	for i, unit := range want["unit"] {
		truth[unit] = ruls[i]
	}
	var of [3][]float64
	for i, name := range []string{"rul", "rul_low", "rul_high"} {
		if of[i], err = floats(got[name]); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	square, score, covered := 0., 0., 0
	for i, unit := range got["unit"] {
		t, ok := truth[unit]
		if !ok {
			return "", fmt.Errorf("unit %q is not among the truth's", unit)
		}
		t = min(t, limit)
		e := of[0][i] - t
		square += e * e
		if e < 0 {
			score += math.Expm1(-e / 13)
		} else {
			score += math.Expm1(e / 10)
		}
		if of[1][i] <= t && t <= of[2][i] {
			covered++
		}
	}
	n := float64(len(got["unit"]))
	if int(n) != len(truth) {
		return "", fmt.Errorf("%d predictions for %d units", int(n), len(truth))
	}
	return fmt.Sprintf("%.2f / %.0f; %.0f %%", math.Sqrt(square/n), score, 100*float64(covered)/n), nil
}
