// Package spec is what a detector of type prognosis declares: what is
// expected to fail, what it is foreseen from, and how far ahead.
package spec

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Prognosis learns from units that failed how long the living will last.
type Prognosis struct {
	Part     string         `json:"part,omitempty" doc:"The part whose failures count, as maintenance records name it; absent: failures of the unit as a whole."`
	Signals  []string       `json:"signals" doc:"Numeric signals it learns from."`
	Horizon  fleet.Duration `json:"horizon" doc:"A finding opens when the part is expected to fail within this time."`
	Step     fleet.Duration `json:"step,omitempty" doc:"Length of one reading: signals are averaged over it (default 1d, at least 1m)."`
	Every    fleet.Duration `json:"every,omitempty" doc:"How often units are judged (default: step)."`
	Retrain  fleet.Duration `json:"retrain,omitempty" doc:"How often a new model is learned, if something has failed since (default 7d)."`
	Failures int            `json:"failures,omitempty" minimum:"8" doc:"Failures needed before anything is said (default 12); one unit in four is held out for testing."`
}

// Defaults of what is not declared.
const (
	DefaultStep     = 24 * time.Hour
	DefaultRetrain  = 7 * 24 * time.Hour
	DefaultFailures = 12
	LeastFailures   = 8
)

// Width is Step or its default.
func (p *Prognosis) Width() time.Duration { return or(p.Step, DefaultStep) }

// Period is Every or its default.
func (p *Prognosis) Period() time.Duration { return or(p.Every, p.Width()) }

// Retraining is Retrain or its default.
func (p *Prognosis) Retraining() time.Duration { return or(p.Retrain, DefaultRetrain) }

// Needed is Failures or its default.
func (p *Prognosis) Needed() int {
	if p.Failures == 0 {
		return DefaultFailures
	}
	return p.Failures
}

func or(d fleet.Duration, other time.Duration) time.Duration {
	if d > 0 {
		return time.Duration(d)
	}
	return other
}

// Learns is what a model depends on; a change of anything else keeps the model.
func (p *Prognosis) Learns() string {
	return fmt.Sprintf("part=%s signals=%s step=%s", p.Part, strings.Join(p.Signals, ","), p.Width())
}

// Validate lists what is wrong with a prognosis on product for purpose, with
// paths as they stand in a detector's file.
func (p *Prognosis) Validate(product *fleet.Product, purpose string) (mistakes []fault.Field) {
	add := func(path, expected, got string) {
		mistakes = append(mistakes, fault.Field{Path: "spec.prognosis." + path, Expected: expected, Got: got})
	}
	if len(p.Signals) == 0 {
		add("signals", "at least one numeric signal of product "+product.Name, "none")
	}
	for i, name := range p.Signals {
		s, ok := product.Signal(name)
		at := fmt.Sprintf("signals[%d]", i)
		switch {
		case !ok || s.Type != fleet.Number:
			add(at, "a numeric signal of product "+product.Name, name)
		case !slices.Contains(s.Purposes, purpose):
			add(at, fmt.Sprintf("a signal that is collected for purpose %q", purpose), fmt.Sprintf("%s, collected for %s", name, strings.Join(s.Purposes, ", ")))
		case slices.Contains(p.Signals[:i], name):
			add(at, "each signal once", name)
		}
	}
	if p.Horizon <= 0 {
		add("horizon", "a length of time, as 14d", p.Horizon.String())
	}
	if w := p.Width(); w < time.Minute || w%time.Minute != 0 {
		add("step", "whole minutes, 1m or more", p.Step.String())
	}
	if p.Period() < p.Width() {
		add("every", "no less than a step, "+fleet.Duration(p.Width()).String(), p.Every.String())
	}
	if p.Retrain < 0 || p.Retraining() < p.Period() {
		add("retrain", "no less than the time between two judgements, "+fleet.Duration(p.Period()).String(), p.Retrain.String())
	}
	if p.Failures != 0 && p.Failures < LeastFailures {
		add("failures", fmt.Sprintf("%d or more", LeastFailures), fmt.Sprint(p.Failures))
	}
	return mistakes
}
