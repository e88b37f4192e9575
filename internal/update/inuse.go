package update

import (
	"context"
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

// uses keeps the compiled conditions by which products are in use.
type uses struct {
	mu sync.Mutex
	of map[string]*use // by product
}

type use struct {
	declared fleet.InUse
	signals  []fleet.Signal
	expr     *expression.Expression // keeps scratch of its own; nil: it cannot be read
}

func (s *Service) use(p *fleet.Product) *use {
	u := s.uses.of[p.Name]
	if u != nil && u.declared == *p.InUse && reflect.DeepEqual(u.signals, p.Signals) {
		return u
	}
	u = &use{declared: *p.InUse, signals: p.Signals}
	if x, mistakes := expression.Parse(p, p.InUse.When, "spec.inUse.when"); len(mistakes) == 0 {
		names := x.Signals()
		x.Bind(func(name string) int { return slices.Index(names, name) })
		u.expr = x
	}
	if s.uses.of == nil || len(s.uses.of) >= mostGuards {
		s.uses.of = map[string]*use{}
	}
	s.uses.of[p.Name] = u
	return u
}

// InUse says that a unit is in use at this moment, or that it is not known; nil
// if it is idle, or its product does not say what use is.
func (s *Service) InUse(ctx context.Context, p *fleet.Product, u *fleet.Unit) (*Refusal, error) {
	if p.InUse == nil {
		return nil, nil //nolint:nilnil // no refusal
	}
	s.uses.mu.Lock()
	defer s.uses.mu.Unlock()
	x := s.use(p).expr
	if x == nil {
		return &Refusal{Code: CodeUnknownState, Name: "inUse", Why: "it is not known whether the unit is in use: " + p.InUse.When + " does not fit the product any more"}, nil
	}
	names, latest := x.Signals(), map[string]telemetry.Sample{}
	if s.state != nil {
		var err error
		if latest, err = s.state.Latest(ctx, u.Product, u.Key, names...); err != nil {
			return nil, err
		}
	}
	now := s.clock.Now()
	values := make([]expression.Reading, len(names))
	for i, name := range names {
		v, ok := latest[name]
		if age := now.Sub(v.At); !ok || age > p.InUse.Stale() {
			no := &Refusal{Code: CodeUnknownState, Name: "inUse", Signal: name, Title: title(p, name), At: v.At}
			if no.Why = "it is not known whether it is in use: " + no.Title + " has not been sent"; ok {
				no.Why = "it is not known whether it is in use: the last value of " + no.Title + " is " + words.Span(age) + " old"
			}
			return no, nil
		}
		values[i] = expression.Reading{At: v.At.UnixMilli(), Number: v.Number, Text: v.Text}
	}
	switch holds, known := x.Eval(values, now.UnixMilli(), math.MaxInt64, 0); {
	case !known:
		return &Refusal{Code: CodeUnknownState, Name: "inUse", Why: "it is not known whether it is in use" + x.Tell(values)}, nil
	case !holds:
		return nil, nil //nolint:nilnil // idle
	}
	no := &Refusal{Code: CodeInUse, Name: "inUse", Why: "it is in use: the update starts when it is idle"}
	for i, name := range names {
		if v := values[i].At; no.At.IsZero() || time.UnixMilli(v).Before(no.At) {
			no.At, no.Signal, no.Title = time.UnixMilli(v).UTC(), name, title(p, name)
		}
	}
	return no, nil
}

func title(p *fleet.Product, signal string) string {
	if s, ok := p.Signal(signal); ok && s.Title != "" {
		return s.Title
	}
	return signal
}
