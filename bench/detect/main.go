// Command detect runs the built fettle over every public benchmark of detection
// and prognosis that is present, one default configuration for all of them,
// and prints what it scored beside what is published.
//
//	go run ./bench/detect -fettle bin/fettle [-data DIR] [-only nab,skab,femto,cmapss,trend,same,silence,cost]
//
// Each set is a function in a file of its own: it runs the commands that users
// run, and scores what they wrote by the benchmark's own rule.
package main

import (
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A line of the table.
type line struct{ set, measure, seen, published string }

// bench is what the sets share.
type bench struct {
	fettle string
	data   string // folder of recordings
	temp   string
}

// sets are the benchmarks. One whose recordings are absent returns an error
// that wraps os.ErrNotExist, and is left out with a word.
var sets = []struct {
	name string
	run  func(*bench) ([]line, error)
}{
	{"nab", nab}, {"skab", skab}, {"femto", femto}, {"cmapss", cmapss}, {"trend", trends}, {"same", same}, {"silence", silence}, {"cost", cost},
}

func main() {
	fettle := flag.String("fettle", "bin/fettle", "the built program")
	data := flag.String("data", os.Getenv("FETTLE_DATA"), "folder of recordings (default FETTLE_DATA, then ../shared/data)")
	only := flag.String("only", "", "sets to run, separated by commas")
	flag.Parse()
	if *data == "" {
		*data = filepath.Join("..", "shared", "data")
	}
	if err := run(*fettle, *data, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench-detect:", err)
		os.Exit(1)
	}
}

func run(fettle, data, only string) (err error) {
	b := &bench{data: data}
	if b.fettle, err = filepath.Abs(fettle); err != nil {
		return err
	}
	if b.temp, err = os.MkdirTemp("", "bench-detect"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.temp)) }()
	version, err := exec.Command(b.fettle, "--version").Output() //nolint:gosec,noctx // the program under test
	if err != nil {
		return err
	}
	fmt.Printf("%s, %s\n\n| set | measure | seen | published |\n| --- | --- | --- | --- |\n", strings.TrimSpace(string(version)), time.Now().UTC().Format(time.DateOnly))
	ran := 0
	for _, s := range sets {
		if only != "" && !slices.Contains(strings.Split(only, ","), s.name) {
			continue
		}
		lines, err := s.run(b)
		if errors.Is(err, os.ErrNotExist) {
			fmt.Fprintf(os.Stderr, "bench-detect: %s: recordings are absent: %v\n", s.name, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		ran++
		for _, l := range lines {
			fmt.Printf("| %s | %s | %s | %s |\n", l.set, l.measure, l.seen, l.published)
		}
	}
	if ran == 0 {
		return fmt.Errorf("nothing to run in %s", data)
	}
	return nil
}

// output runs fettle and returns what it wrote.
func (b *bench) output(args ...string) (string, error) {
	cmd := exec.Command(b.fettle, args...) //nolint:gosec,noctx // the program under test
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("fettle %s: %w: %s", strings.Join(args, " "), err, complaint.String())
	}
	return string(out), nil
}

// table is output as CSV, by column.
func (b *bench) table(args ...string) (map[string][]string, error) {
	out, err := b.output(args...)
	if err != nil {
		return nil, err
	}
	return columns(strings.NewReader(out))
}

func columns(r *strings.Reader) (map[string][]string, error) {
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for i, name := range rows[0] {
		for _, row := range rows[1:] {
			out[name] = append(out[name], row[i])
		}
	}
	return out, nil
}
