package spec

import (
	"math"
	"reflect"
	"slices"
	"sync"
	"time"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Use tells when units of a product are in use, compiled of what it declares.
type Use struct {
	declared fleet.InUse
	signals  []fleet.Signal

	mu   sync.Mutex             // the expression keeps scratch of its own
	expr *expression.Expression // nil: it cannot be read
}

// NewUse compiles when units of a product that says so are in use.
func NewUse(p *fleet.Product) *Use {
	u := &Use{declared: *p.InUse, signals: p.Signals}
	if x, mistakes := expression.Parse(p, p.InUse.When, "spec.inUse.when"); len(mistakes) == 0 {
		names := x.Signals()
		x.Bind(func(name string) int { return slices.Index(names, name) })
		u.expr = x
	}
	return u
}

// For reports whether it was compiled of what the product declares now.
func (u *Use) For(p *fleet.Product) bool {
	return u.declared == *p.InUse && reflect.DeepEqual(u.signals, p.Signals)
}

// Signals are those that are read.
func (u *Use) Signals() []string { return u.expr.Signals() }

// Refuse says of a unit's newest values that it is in use, or that it is not
// known; nil if it is idle.
func (u *Use) Refuse(p *fleet.Product, latest map[string]telemetry.Sample, now time.Time) *Refusal {
	x := u.expr
	if x == nil {
		return &Refusal{Code: CodeUnknownState, Name: "inUse", Why: "it is not known whether the unit is in use: " + p.InUse.When + " does not fit the product any more"}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	names := x.Signals()
	values := make([]expression.Reading, len(names))
	for i, name := range names {
		v, ok := latest[name]
		if age := now.Sub(v.At); !ok || age > p.InUse.Stale() {
			no := &Refusal{Code: CodeUnknownState, Name: "inUse", Signal: name, Title: title(p, name), At: v.At}
			if no.Why = "it is not known whether it is in use: " + no.Title + " has not been sent"; ok {
				no.Why = "it is not known whether it is in use: the last value of " + no.Title + " is " + words.Span(age) + " old"
			}
			return no
		}
		values[i] = expression.Reading{At: v.At.UnixMilli(), Number: v.Number, Text: v.Text}
	}
	switch holds, known := x.Eval(values, now.UnixMilli(), math.MaxInt64, 0); {
	case !known:
		return &Refusal{Code: CodeUnknownState, Name: "inUse", Why: "it is not known whether it is in use" + x.Tell(values)}
	case !holds:
		return nil
	}
	no := &Refusal{Code: CodeInUse, Name: "inUse", Why: "it is in use: the update starts when it is idle"}
	for i, name := range names {
		if v := values[i].At; no.At.IsZero() || time.UnixMilli(v).Before(no.At) {
			no.At, no.Signal, no.Title = time.UnixMilli(v).UTC(), name, title(p, name)
		}
	}
	return no
}

func title(p *fleet.Product, signal string) string {
	if s, ok := p.Signal(signal); ok && s.Title != "" {
		return s.Title
	}
	return signal
}
