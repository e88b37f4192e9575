package condition

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/telemetry"
)

// Row takes in a row of a unit. A row without values, or one that repeats
// another, says only that the unit was heard of.
func (e *Evaluator) Row(ctx context.Context, r *telemetry.Row) error {
	u, err := e.unit(ctx, r.Unit, r.Received)
	if err != nil || u == nil {
		return err
	}
	e.now = max(e.now, r.Received)
	if u.product == nil || u.retired {
		return nil
	}
	e.contact(u, r.Received)
	newest, begun := u.known.Newest()
	if begun && r.Event < newest {
		if u.known.Add(r.Event) {
			e.touch(u)
			e.lateRow(u, r)
		}
		return nil
	}
	if fresh := !begun || r.Event > newest; fresh {
		u.known.Add(r.Event)
		if lag := r.Received - r.Event; !u.lagKnown || lag < u.lag {
			u.lag, u.lagKnown = lag, true
		}
		e.touch(u)
	}
	if !e.take(u, r) {
		return nil
	}
	e.touch(u)
	e.turn++
	for i, w := range u.watches {
		if w == nil {
			continue
		}
		if d := u.product.rules[i]; d.Type == TypeTolerance {
			e.judge(u, w, d, r)
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
		have := &u.values[c.index]
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

// judge takes a row in order through one tolerance rule.
func (e *Evaluator) judge(u *unit, w *watch, d *rule, r *telemetry.Row) {
	if r.Event+u.lag < w.since {
		return // measured before the reset, delivered after it
	}
	holds, known := d.exposure.Eval(u.values, r.Event, d.episode.Gap, e.turn)
	w.exposure.Step(r.Event, holds && known, d.episode.Gap)
	v := &u.values[d.index]
	if v.At != r.Event || math.IsNaN(v.Number) || w.episode.Judged && w.episode.Prev == r.Event {
		return
	}
	limits, applies, known := d.band(u.values, r.Event, e.turn)
	if known {
		u.judged = r.Received
		w.newest = r.Event
	}
	if !applies {
		w.episode.Skip(r.Event)
		return
	}
	switch w.episode.Step(&d.episode, r.Event, v.Number, limits) {
	case detect.Opened:
		f := e.open(u, d, w.episode.Onset, r.Event, r.Received)
		f.Peak, f.LastAt = w.episode.Peak, moment(w.episode.Last)
		f.Why = d.why(&w.episode, limits)
		if b := d.when(u.values, r.Event, e.turn); b != "" {
			f.Why += " while " + b
		}
		w.finding = f
		e.raise(f)
	case detect.Continued:
		w.finding.LastAt, w.finding.Peak = moment(w.episode.Last), w.episode.Peak
		e.change(w.finding)
	case detect.Closed:
		e.close(u, w, r.Event, "inside for "+words.Span(time.Duration(d.Clear)))
	default:
	}
}

// band is the first one whose context holds. It is not known which applies
// when a context before it is unknown.
func (d *rule) band(values []expression.Reading, at int64, turn uint64) (l detect.Limits, applies, known bool) {
	for i := range d.bands {
		b := &d.bands[i]
		holds, known := b.when.Eval(values, at, d.episode.Gap, turn)
		if !known {
			return l, false, false
		}
		if holds {
			return b.limits, true, true
		}
	}
	return l, false, true
}

// when is the source of the context that applies.
func (d *rule) when(values []expression.Reading, at int64, turn uint64) string {
	for i := range d.bands {
		if holds, _ := d.bands[i].when.Eval(values, at, d.episode.Gap, turn); holds {
			if d.bands[i].when == nil {
				return ""
			}
			return d.bands[i].when.Source
		}
	}
	return ""
}

// why tells the evidence by the furthest value: the one that fulfils the hold
// may be inside already, within the hysteresis.
func (d *rule) why(ep *detect.Episode, l detect.Limits) string {
	peak, band := words.Measured(ep.Peak, d.measure), words.Limits(l, d.measure)
	if d.Hold == 0 {
		return fmt.Sprintf("%s %s, %s", d.signal, peak, band)
	}
	reach := "up to"
	if ep.Peak < l.Min {
		reach = "down to"
	}
	return fmt.Sprintf("%s %s %s, %s for %s", d.signal, reach, peak, band, words.Span(time.Duration(ep.Held)*time.Millisecond))
}

// lateRow takes a row that is older than the unit's newest through the rules.
// It is judged on its own values alone. It may open a finding marked late,
// closed at once because newer data is known; it never changes one.
func (e *Evaluator) lateRow(u *unit, r *telemetry.Row) {
	for i, w := range u.watches {
		if w == nil {
			continue
		}
		d := u.product.rules[i]
		if d.Type != TypeTolerance || r.Event+u.lag < w.since {
			continue
		}
		values := make([]expression.Reading, len(u.product.signals))
		for j := range values {
			values[j].At = expression.Never
		}
		for j := range r.Values {
			if at, ok := u.product.index[r.Values[j].Signal]; ok {
				values[at] = expression.Reading{At: r.Event, Number: r.Values[j].Number, Text: r.Values[j].Text}
			}
		}
		v := &values[d.index]
		if v.At == expression.Never || math.IsNaN(v.Number) {
			continue
		}
		if w.finding != nil && r.Event >= w.finding.Onset.UnixMilli() {
			continue // within what is open already
		}
		if w.late == nil || r.Event <= w.late.Prev {
			w.late = &detect.Episode{}
		}
		l, applies, _ := d.band(values, r.Event, 0)
		if !applies {
			w.late.Skip(r.Event)
			continue
		}
		if w.late.Step(&d.episode, r.Event, v.Number, l) != detect.Opened {
			continue
		}
		f := e.open(u, d, w.late.Onset, r.Event, r.Received)
		f.Late, f.State = true, Cleared
		f.Peak, f.LastAt, f.Cleared = w.late.Peak, moment(w.late.Last), moment(r.Event)
		f.Why = d.why(w.late, l)
		if b := d.when(values, r.Event, 0); b != "" {
			f.Why += " while " + b
		}
		f.ClearWhy = "past: newer data had arrived before it"
		e.raise(f)
	}
}

func moment(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// open makes a finding of a unit under a rule.
func (e *Evaluator) open(u *unit, d *rule, onset, opened, seen int64) *Finding {
	return &Finding{
		ID: FindingID(d.Ref(), u.key, onset), Detector: d.Ref(), Severity: d.Severity,
		UnitID: u.id, UnitKey: u.key, Product: u.of, State: Open,
		Onset: moment(onset), OpenedAt: moment(opened), SeenAt: moment(seen), LastAt: moment(opened),
	}
}

// close ends what a watch has open.
func (e *Evaluator) close(u *unit, w *watch, at int64, why string) {
	f := w.finding
	f.State, f.Cleared, f.ClearWhy = Cleared, moment(at), why
	w.finding = nil
	e.change(f)
	e.closed = append(e.closed, f.ID)
	e.touch(u)
}

func (e *Evaluator) change(f *Finding) { e.findings[f.ID] = f }

// raise takes in a finding that has just opened.
func (e *Evaluator) raise(f *Finding) {
	e.change(f)
	e.opened = append(e.opened, f.ID)
}

// FindingID is the id of the finding of a detector version on a unit with an
// onset: the same stream always gives the same.
func FindingID(d Ref, unit, onset int64) string {
	b := append([]byte(d.Name), 0)
	b = binary.BigEndian.AppendUint64(b, uint64(d.Version))
	b = binary.BigEndian.AppendUint64(b, uint64(unit))
	b = binary.BigEndian.AppendUint64(b, uint64(onset))
	sum := sha256.Sum256(b)
	return "f-" + hex.EncodeToString(sum[:12])
}
