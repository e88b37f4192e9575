package condition

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/condition/kind/anomaly"
	"fettle.dev/fettle/internal/condition/kind/peers"
	"fettle.dev/fettle/internal/condition/kind/silence"
	"fettle.dev/fettle/internal/condition/kind/tolerance"
	"fettle.dev/fettle/internal/condition/kind/trend"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// kinds is the table of kinds. Prognosis is run by package prognosis.
var kinds = map[kind.Type]kind.Kind{
	kind.TypeTolerance: tolerance.Kind,
	kind.TypeSilence:   silence.Kind,
	kind.TypeAnomaly:   anomaly.Kind,
	kind.TypeTrend:     trend.Kind,
	kind.TypePeers:     peers.Kind,
	kind.TypePrognosis: {Compile: prognosis},
}

// Types are those of the kinds that there are.
func Types() []DetectorType { return slices.Sorted(maps.Keys(kinds)) }

// BasisOf is what d takes from p as p now stands.
func BasisOf(p *fleet.Product, d *Detector) Basis {
	b := Basis{Gap: fleet.Duration(p.Gap())}
	if k := kinds[d.Type]; k.Basis != nil {
		k.Basis(p, d, &b)
	}
	return b
}

// rule is a detector version ready to run.
type rule struct {
	Detector
	kind.Bound
	kind.Kind
	consent  bool // its purpose is the owner's to permit
	exposure *expression.Expression
	gap      int64 // longest time that one value stands for
}

// compile makes d ready to run on units of p; the mistakes are fields.
func compile(p *fleet.Product, d *Detector) (*rule, []fault.Field) {
	c := &kind.Checks{}
	r := &rule{Detector: *d, Kind: kinds[d.Type]}
	r.Bound.Detector, r.Bound.Product = &r.Detector, p.Name
	if d.Product != p.Name {
		c.Add("spec.product", "the product's name, "+p.Name, d.Product)
	}
	if !d.Severity.AtLeast(Warning) {
		c.Add("spec.severity", "warning, minor, major or critical", string(d.Severity))
	}
	if q, ok := p.Purpose(d.Purpose); !ok {
		c.Add("spec.purpose", "a purpose of product "+p.Name+kind.List(kind.Each(p.Purposes, func(q fleet.Purpose) string { return q.Name })), d.Purpose)
	} else {
		r.consent = q.Basis != fleet.BasisNecessary
	}
	if r.Compile == nil {
		c.Add("spec.type", kind.Types(), string(d.Type))
		return r, c.Fields
	}
	c.Absent(d)
	basis := BasisOf(p, d)
	if d.Basis != nil {
		basis = *d.Basis
	}
	r.gap = time.Duration(basis.Gap).Milliseconds()
	r.Rule = r.Compile(c, p, d, basis)
	if r.Rows {
		r.exposure = c.Expression(p, d, d.Exposure, "spec.exposure", "spec.exposure")
	}
	return r, c.Fields
}

// prognosis checks what package prognosis runs.
func prognosis(c *kind.Checks, p *fleet.Product, d *Detector, _ Basis) kind.Rule {
	if d.Prognosis == nil {
		c.Add("spec.prognosis", "what it foresees: signals and horizon", "nothing")
	} else {
		c.Fields = append(c.Fields, d.Prognosis.Validate(p, d.Purpose)...)
	}
	if d.Severity == Critical {
		c.Add("spec.severity", "warning, minor or major: what is foreseen has not failed", string(d.Severity))
	}
	return nil
}

// Validate lists everything that is wrong with a detector of product p, with
// paths as they stand in its file.
func Validate(p *fleet.Product, d *Detector) []fault.Field {
	_, fields := compile(p, d)
	return fields
}

// ValidateProduct lists what is wrong with a product's expressions and the
// names they refer to; fleet.ValidateProduct finds the rest.
func ValidateProduct(p *fleet.Product) []fault.Field {
	c := &kind.Checks{}
	for i, s := range p.Signals {
		if reserved[s.Name] {
			c.Add(fmt.Sprintf("spec.signals[%d].name", i), "a name that is no word of CEL: expressions refer to it", s.Name)
		}
	}
	if p.InUse != nil {
		if p.InUse.When == "" {
			c.Add("spec.inUse.when", "CEL over signals, as current >= 1.0", "")
		}
		_, mistakes := expression.Parse(p, p.InUse.When, "spec.inUse.when")
		c.Fields = append(c.Fields, mistakes...)
	}
	for i, t := range p.Tolerances {
		_, mistakes := expression.Parse(p, t.Breach, fmt.Sprintf("spec.tolerances[%d].breach", i))
		c.Fields = append(c.Fields, mistakes...)
		for j, b := range t.Bands {
			_, mistakes := expression.Parse(p, b.When, fmt.Sprintf("spec.tolerances[%d].bands[%d].when", i, j))
			c.Fields = append(c.Fields, mistakes...)
		}
	}
	return c.Fields
}

// reserved words of CEL (its specification, "Syntax").
var reserved = map[string]bool{
	"true": true, "false": true, "null": true, "in": true, "as": true, "break": true, "const": true,
	"continue": true, "else": true, "for": true, "function": true, "if": true, "import": true, "let": true,
	"loop": true, "package": true, "namespace": true, "return": true, "var": true, "void": true, "while": true,
	"bool": true, "bytes": true, "double": true, "duration": true, "dyn": true, "int": true, "list": true, "map": true,
	"null_type": true, "string": true, "timestamp": true, "type": true, "uint": true,
}
