package condition

import (
	"context"
	"maps"
	"slices"

	"fettle.dev/fettle/internal/telemetry"
)

// Batch takes a batch in.
func (e *Evaluator) Batch(ctx context.Context, b *telemetry.Batch) error {
	if err := e.recallAll(ctx, b); err != nil {
		return err
	}
	for i := range b.Rows {
		if err := e.Row(ctx, &b.Rows[i]); err != nil {
			return err
		}
	}
	for i := range b.Marks {
		if err := e.Mark(ctx, &b.Marks[i]); err != nil {
			return err
		}
	}
	return nil
}

// Running are the detector versions that run.
func (e *Evaluator) Running() []Ref {
	var out []Ref
	for _, p := range e.products {
		for _, r := range p.rules {
			out = append(out, r.Ref())
		}
	}
	return out
}

// Met are the detector versions that the states were of which Load read.
func (e *Evaluator) Met() []Ref { return e.met }

// Products are the names of those that some detector watches.
func (e *Evaluator) Products() []string { return slices.Sorted(maps.Keys(e.products)) }

// Adopt takes up definitions as Redefine does, of which others have run some
// until now over the same stream: it goes on with their states. What they have
// open is told here as newly opened. The others are not to be used again.
func (e *Evaluator) Adopt(definitions []Definition, others []*Evaluator) error {
	if err := e.redefine(definitions, others); err != nil {
		return err
	}
	for _, o := range others {
		tell := func(f *Finding) {
			if f == nil || e.desk.Findings[f.ID] == f && slices.Contains(e.desk.Opened, f.ID) {
				return
			}
			e.desk.Findings[f.ID], e.desk.Opened = f, append(e.desk.Opened, f.ID)
			if f.State != Open && !f.Late && !slices.Contains(e.desk.Closed, f.ID) {
				e.desk.Closed = append(e.desk.Closed, f.ID)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(o.desk.Findings)) { // since the end of history
			tell(o.desk.Findings[id])
		}
		for _, key := range slices.Sorted(maps.Keys(o.units)) {
			u := o.units[key]
			for _, w := range u.watches {
				if w != nil {
					tell(w.Finding)
				}
			}
			if to := e.units[key]; to != nil {
				e.desk.Touch(&to.Unit)
				e.lag(to)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(o.products)) {
			for _, r := range o.products[name].rules {
				for _, place := range slices.Sorted(maps.Keys(r.Places)) {
					tell(r.Places[place])
				}
			}
		}
	}
	return nil
}

// add adds to what is saved of a unit what another evaluator has of it.
func (s *savedUnit) add(other *unit) {
	if other == nil || other.product == nil {
		return
	}
	if s.product == nil { // nothing has judged its rows here
		s.known, s.judged, s.Lag, s.lagKnown = other.known, other.judged, other.Lag, other.lagKnown
	}
	for i, name := range other.product.signals {
		if !slices.ContainsFunc(s.values, func(v savedReading) bool { return v.signal == name }) {
			s.values = append(s.values, savedReading{name, other.Values[i]})
		}
	}
	for i, w := range other.watches {
		if w != nil {
			s.watches = append(s.watches, savedWatch{ref: other.product.rules[i].Ref(), watch: w})
		}
	}
}
