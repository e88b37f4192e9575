package condition

import (
	"context"
	"slices"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/telemetry"
)

// Row takes in a row of a unit. A row without values, or one that repeats
// another, says only that the unit was heard of.
func (e *Evaluator) Row(ctx context.Context, r *telemetry.Row) error {
	u, err := e.unit(ctx, r.Unit, r.Received)
	if err != nil || u == nil {
		return err
	}
	e.desk.Clock.Now = max(e.desk.Clock.Now, r.Received)
	if u.product == nil {
		return nil
	}
	if !u.retired {
		e.contact(u, r.Received)
	}
	newest, begun := u.known.Newest()
	if begun && r.Event < newest {
		if u.known.Add(r.Event) {
			e.desk.Touch(&u.Unit)
			if !u.retired {
				e.lateRow(u, r)
			}
		}
		return nil
	}
	if fresh := !begun || r.Event > newest; fresh {
		u.known.Add(r.Event)
		if lag := r.Received - r.Event; !u.lagKnown || lag < u.Lag {
			u.Lag, u.lagKnown = lag, true
		}
		e.desk.Touch(&u.Unit)
	}
	if !e.take(u, r) || u.retired { // taken, so that it is known when it is sent again after enrolment
		return nil
	}
	e.desk.Touch(&u.Unit)
	e.desk.Turn++
	for i, w := range u.watches {
		if w == nil {
			continue
		}
		d := u.product.rules[i]
		if !d.Rows || r.Event+u.Lag < w.Since {
			continue // measured before the reset, delivered after it
		}
		holds, known := d.exposure.Eval(u.Values, r.Event, d.gap, e.desk.Turn)
		w.Exposure.Step(r.Event, holds && known, d.gap)
		if d.Rule.Row(&e.desk, w, r) {
			u.judged, w.Newest = r.Received, r.Event
		}
	}
	return nil
}

// take updates the unit's newest values and reports whether there were any
// that some rule reads. A signal has one value at a time: the first.
func (e *Evaluator) take(u *unit, r *telemetry.Row) bool {
	p := u.product
	if len(p.recent) < len(r.Values) {
		p.recent = append(p.recent, make([]column, len(r.Values)-len(p.recent))...)
	}
	news := false
	for i := range r.Values {
		v := &r.Values[i]
		c := &p.recent[i]
		if c.name != v.Signal {
			at, ok := p.index[v.Signal]
			if !ok {
				at = -1
			}
			*c = column{e.intern(v.Signal), at}
		}
		if c.index < 0 {
			continue
		}
		have := &u.Values[c.index]
		if have.At >= r.Event {
			continue
		}
		news = true
		have.At, have.Number = r.Event, v.Number
		if v.IsText {
			have.Text = e.intern(v.Text)
		}
	}
	return news
}

// lateRow takes a row that is older than the unit's newest through the rules.
// It is judged on its own values alone.
func (e *Evaluator) lateRow(u *unit, r *telemetry.Row) {
	values := slices.Grow(e.late[:0], len(u.product.signals))[:len(u.product.signals)]
	e.late = values
	for j := range values {
		values[j] = expression.Reading{At: expression.Never}
	}
	for j := range r.Values {
		if at, ok := u.product.index[r.Values[j].Signal]; ok {
			values[at] = expression.Reading{At: r.Event, Number: r.Values[j].Number, Text: r.Values[j].Text}
		}
	}
	for i, w := range u.watches {
		if w == nil {
			continue
		}
		if d := u.product.rules[i]; d.Rows && r.Event+u.Lag >= w.Since {
			d.Rule.Late(&e.desk, w, r, values)
		}
	}
}
