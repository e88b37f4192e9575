package kind

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Checks gathers what is wrong with a declaration.
type Checks struct{ Fields []fault.Field }

// Add notes a mistake at a path, as spec.hold.
func (c *Checks) Add(path, expected, got string) {
	c.Fields = append(c.Fields, fault.Field{Path: path, Expected: expected, Got: got})
}

// Number checks that v is a number from least to most.
func (c *Checks) Number(path string, v, least, most float64) {
	if v >= least && v <= most && !math.IsInf(v, 0) {
		return
	}
	expected := fmt.Sprintf("a number from %v to %v", least, most)
	switch {
	case math.IsInf(most, 1) && math.IsInf(least, -1):
		expected = "a number"
	case math.IsInf(most, 1):
		expected = fmt.Sprintf("a number, %v or more", least)
	}
	c.Add(path, expected, fmt.Sprint(v))
}

// Expression compiles source, which may be empty: nil, which always holds. The
// signals it reads must be collected for the detector's purpose; mistakes in
// the source stand at path, mistakes of purpose at used.
func (c *Checks) Expression(p *fleet.Product, d *Detector, source, path, used string) *expression.Expression {
	x, mistakes := expression.Parse(p, source, path)
	c.Fields = append(c.Fields, mistakes...)
	for _, name := range x.Signals() {
		s, _ := p.Signal(name)
		c.Purpose(p, d, &s, used, "signals that are collected for purpose "+fmt.Sprintf("%q", d.Purpose), fmt.Sprintf("%s, collected for %s", s.Name, strings.Join(s.Purposes, ", ")))
	}
	return x
}

// Purpose checks that a signal is collected for the detector's purpose, if
// that is a purpose of the product.
func (c *Checks) Purpose(p *fleet.Product, d *Detector, s *fleet.Signal, path, expected, got string) {
	if _, ok := p.Purpose(d.Purpose); ok && !slices.Contains(s.Purposes, d.Purpose) {
		c.Add(path, expected, got)
	}
}

// Signals checks that names are numeric signals of the product that are
// collected for the detector's purpose, each once.
func (c *Checks) Signals(p *fleet.Product, d *Detector, names []string, path string) {
	for i, name := range names {
		at := fmt.Sprintf("%s[%d]", path, i)
		s, ok := p.Signal(name)
		if !ok || s.Type != fleet.Number {
			c.Add(at, "a numeric signal of product "+p.Name+List(Numeric(p, d.Purpose)), name)
			continue
		}
		if slices.Contains(names[:i], name) {
			c.Add(at, "each signal once", name)
		}
		c.Purpose(p, d, &s, at, fmt.Sprintf("a signal that is collected for purpose %q", d.Purpose), fmt.Sprintf("%s, collected for %s", name, strings.Join(s.Purposes, ", ")))
	}
}

// Numeric names the numeric signals of p that are collected for a purpose.
func Numeric(p *fleet.Product, purpose string) []string {
	var out []string
	for _, s := range p.Signals {
		if s.Type == fleet.Number && slices.Contains(s.Purposes, purpose) {
			out = append(out, s.Name)
		}
	}
	return out
}

// List names what there is to choose from.
func List(names []string) string {
	if len(names) == 0 {
		return " (it has none)"
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// Each is the names of all.
func Each[T any](all []T, name func(T) string) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = name(v)
	}
	return out
}
