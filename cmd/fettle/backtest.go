package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/cmd/fettle/remote/trial"
	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// backtestFile runs a trial on a file instead of a service's history. Owners
// are not asked: who holds the file decides.
func backtestFile(ctx context.Context, stdin io.Reader, t *trial.Trial, look func(float64, int)) (out *trial.Backtested, err error) {
	p, d, doc, err := declared(t.Docs)
	if err != nil {
		return nil, err
	}
	table, file, err := openTable(t.Data, stdin)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r, err := newRecorded(table, t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if p == nil {
		p = r.product(d)
	}
	if err := r.columnsOf(p, d, t.Columns); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Data, err)
	}
	if mistakes := condition.Validate(p, d); len(mistakes) > 0 {
		return nil, doc.Locate(mistakes)
	}
	if err := r.read(ctx, table); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Data, err)
	}
	q := &t.Request
	failures, err := r.failures(q.Failures, t)
	if err != nil {
		return nil, err
	}
	result, err := backtest.Run(ctx, r, backtest.Plan{
		Product: *p, Detector: *d, Units: r.fleet(p.Name), From: q.From, To: q.To, UpTo: r.rows, Fresh: true, Sweep: q.Sweep,
		Failures: failures, Complete: len(failures) > 0 && !q.Partial, Match: backtest.Match{Horizon: q.Horizon, Late: q.Late},
		Cost: backtest.Cost{False: q.CostFalse, Missed: q.CostMissed}, MostFindings: q.Limit, Progress: look,
	})
	if err != nil {
		return nil, err
	}
	out = &trial.Backtested{Result: result}
	if len(failures) > 0 {
		out.Sources = map[string]int{"given": len(failures)}
	}
	for _, f := range result.Findings {
		out.Findings = append(out.Findings, wire.Finding{Finding: f, Title: d.Title})
	}
	return out, nil
}

// declared is the detector of the files, and its product, which is nil if it is
// not among them.
func declared(docs []declare.Located) (p *fleet.Product, d *condition.Detector, doc *declare.Located, err error) {
	for i := range docs {
		spec, _ := docs[i].Check() // looked at already
		switch v := spec.(type) {
		case *condition.Detector:
			d, doc = v, &docs[i]
			d.Name, d.Version = docs[i].Metadata.Name, 1
		case *fleet.Product:
			v.Name = docs[i].Metadata.Name
			if p != nil && p.Name != v.Name && d != nil && d.Product != v.Name {
				continue
			}
			p = v
		}
	}
	for i := range docs { // the product that the detector is of, wherever it stands
		if spec, _ := docs[i].Check(); docs[i].Kind == declare.Product && docs[i].Metadata.Name == d.Product {
			p = spec.(*fleet.Product)
			p.Name = d.Product
		}
	}
	if p != nil && p.Name != d.Product {
		return nil, nil, nil, doc.Locate([]fault.Field{{Path: "spec.product", Expected: "the product of the files, " + p.Name, Got: d.Product}})
	}
	if p == nil && d.Tolerance != "" {
		return nil, nil, nil, fault.New(fault.Invalid, "the detector's tolerance %q stands in the file of product %s: give that, too, as -f product.yaml", d.Tolerance, d.Product)
	}
	return p, d, doc, nil
}

// recorded is a file as history: parsed once into a temporary file of rows,
// which is read in the order of arrival as often as the run needs.
type recorded struct {
	name             string
	timeCol, unitCol int // unitCol -1: one unit
	arrivedCol       int // -1: as timed
	step             time.Duration
	signals          []signalColumn
	units            []string
	index            map[string]int32
	rows             uint64
	times, arrivals  timeReader
	spool            *os.File
	order            []place // nil: as they stand
	header           []string
	ignored          []int
}

type signalColumn struct {
	col    int
	signal string
	text   bool
}

func newRecorded(t *table, asked *trial.Trial) (*recorded, error) {
	r := &recorded{name: asked.Data, unitCol: -1, arrivedCol: -1, index: map[string]int32{}, header: t.Header}
	var err error
	if asked.Time != "" {
		if r.timeCol, err = t.column("--time", asked.Time); err != nil {
			return nil, err
		}
	}
	if asked.Unit != "" {
		if r.unitCol, err = t.column("--unit", asked.Unit); err != nil {
			return nil, err
		}
	}
	if asked.Received != "" {
		if r.arrivedCol, err = t.column("--received", asked.Received); err != nil {
			return nil, err
		}
	}
	for _, name := range asked.Ignore {
		i, err := t.column("--ignore", name)
		if err != nil {
			return nil, err
		}
		r.ignored = append(r.ignored, i)
	}
	r.ignored = append(r.ignored, r.timeCol, r.unitCol, r.arrivedCol)
	if asked.Step != "" {
		d, err := fleet.ParseDuration(asked.Step)
		if err != nil || d <= 0 {
			return nil, fault.New(fault.Invalid, "--step %s: expected a duration, as 1h", asked.Step)
		}
		r.step = time.Duration(d)
	}
	r.spool, err = os.CreateTemp("", "fettle-backtest-*")
	if err == nil {
		err = os.Remove(r.spool.Name()) // it goes with the process
	}
	return r, err
}

// Close forgets the rows.
func (r *recorded) Close() error { return r.spool.Close() }

// product is one of which every column that is not ignored is a signal.
func (r *recorded) product(d *condition.Detector) *fleet.Product {
	p := &fleet.Product{Name: d.Product, Purposes: []fleet.Purpose{{Name: d.Purpose, Basis: fleet.BasisNecessary}}}
	for i, name := range r.header {
		if _, twice := p.Signal(name); name == "" || twice || slices.Contains(r.ignored, i) {
			continue
		}
		p.Signals = append(p.Signals, fleet.Signal{Name: name, Type: fleet.Number, Unit: "1", Purposes: []string{d.Purpose}})
	}
	return p
}

// columnsOf finds the product's signals among the columns.
func (r *recorded) columnsOf(p *fleet.Product, d *condition.Detector, pairs []string) error {
	if len(pairs) > 0 {
		for _, pair := range pairs {
			column, signal, ok := strings.Cut(pair, "=")
			if !ok {
				signal = column
			}
			i := slices.Index(r.header, strings.TrimSpace(column))
			if i < 0 {
				return fault.New(fault.Invalid, "--map %s: there is no column %q; there are %s", pair, column, strings.Join(r.header, ", "))
			}
			s, ok := p.Signal(strings.TrimSpace(signal))
			if !ok {
				return fault.New(fault.Invalid, "--map %s: product %s has no signal %q", pair, p.Name, signal)
			}
			r.signals = append(r.signals, signalColumn{i, s.Name, s.Type == fleet.Text})
		}
		return nil
	}
	for i, name := range r.header {
		if s, ok := p.Signal(name); ok && !slices.Contains(r.ignored, i) {
			r.signals = append(r.signals, signalColumn{i, s.Name, s.Type == fleet.Text})
		}
	}
	if len(r.signals) == 0 && d.Type != condition.TypeSilence {
		return fault.New(fault.Invalid, "no column is named as a signal of product %s: name them with --map column=signal; there are %s", p.Name, strings.Join(r.header, ", "))
	}
	return nil
}

func (r *recorded) fleet(product string) (out []fleet.Unit) {
	for i, id := range r.units {
		out = append(out, fleet.Unit{ID: id, Key: int64(i + 1), Product: product})
	}
	return out
}

// failures have their units checked, and counts made times.
func (r *recorded) failures(given []wire.BacktestFailure, t *trial.Trial) (out []backtest.Failure, err error) {
	for _, f := range given {
		if _, ok := r.index[f.Unit]; !ok {
			return nil, fault.New(fault.Invalid, "--failures: there is no unit %q in %s, which has %s", f.Unit, r.name, some(r.units))
		}
		if c := t.Request.Component; c != "" && f.Component != "" && f.Component != c {
			continue
		}
		if r.step > 0 {
			f.At = r.counted(float64(f.At.UnixMilli()) / 1000)
			if !f.Until.IsZero() {
				f.Until = r.counted(float64(f.Until.UnixMilli()) / 1000)
			}
		}
		out = append(out, backtest.Failure{Unit: f.Unit, At: f.At, Until: f.Until, Component: f.Component, Source: "given"})
	}
	return out, nil
}

func (r *recorded) counted(n float64) time.Time {
	return time.UnixMilli(int64(n * float64(r.step.Milliseconds()))).UTC()
}

func some(names []string) string {
	if len(names) > 8 {
		return strings.Join(names[:8], ", ") + fmt.Sprintf(" and %d more", len(names)-8)
	}
	return strings.Join(names, ", ")
}
