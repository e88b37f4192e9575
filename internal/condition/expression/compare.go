package expression

import (
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"fettle.dev/fettle/internal/fleet"
)

// Comparison is a part of a condition that must hold for the whole to hold and
// that compares one signal with a constant: of "battery >= 30 && parked" there
// are two, battery >= 30 and parked == true. It says what a condition that does
// not hold would need.
type Comparison struct {
	Signal string
	Op     string // <, <=, >, >=, == or !=; the signal stands on its left
	Kind   fleet.ValueType
	Unit   string // of measure of the signal, a UCUM code
	Number float64
	Bool   bool
	Text   string
}

// Comparisons are the parts, joined by and, that are comparisons of a signal
// with a constant; other parts are left out.
func (x *Expression) Comparisons() []Comparison {
	if x == nil {
		return nil
	}
	return x.comparisons
}

func (x *Expression) compared(e celast.Expr) []Comparison {
	switch e.Kind() {
	case celast.IdentKind:
		if r := x.reference(e.AsIdent(), fleet.Boolean); r != nil {
			return []Comparison{{Signal: r.name, Op: "==", Kind: r.kind, Unit: r.unit, Bool: true}}
		}
		return nil
	case celast.CallKind:
	default:
		return nil
	}
	call := e.AsCall()
	args := call.Args()
	switch f := call.FunctionName(); f {
	case operators.LogicalAnd:
		return append(x.compared(args[0]), x.compared(args[1])...)
	case operators.LogicalNot:
		inner := x.compared(args[0])
		if args[0].Kind() != celast.IdentKind || len(inner) != 1 {
			return nil
		}
		inner[0].Bool = false
		return inner
	default:
		op, ok := symbols[f]
		if !ok {
			return nil
		}
		if c, ok := x.comparison(args[0], op, args[1]); ok {
			return []Comparison{c}
		}
		if c, ok := x.comparison(args[1], turned[op], args[0]); ok {
			return []Comparison{c}
		}
		return nil
	}
}

var symbols = map[string]string{
	operators.Less: "<", operators.LessEquals: "<=", operators.Greater: ">", operators.GreaterEquals: ">=", operators.Equals: "==", operators.NotEquals: "!=",
}

// turned is what an operator becomes when its sides change places.
var turned = map[string]string{"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}

func (x *Expression) comparison(signal celast.Expr, op string, constant celast.Expr) (Comparison, bool) {
	if signal.Kind() != celast.IdentKind {
		return Comparison{}, false
	}
	value, ok := literal(constant)
	if !ok {
		return Comparison{}, false
	}
	for i := range x.refs {
		r := &x.refs[i]
		if r.name != signal.AsIdent() {
			continue
		}
		c := Comparison{Signal: r.name, Op: op, Kind: r.kind, Unit: r.unit}
		switch v := value.(type) {
		case types.Double:
			c.Number = float64(v)
		case types.Int:
			c.Number = float64(v)
		case types.Bool:
			c.Bool = bool(v)
		case types.String:
			c.Text = string(v)
		default:
			return c, false
		}
		return c, true
	}
	return Comparison{}, false
}

// literal is the constant that e is, a negative number too.
func literal(e celast.Expr) (ref.Val, bool) {
	switch e.Kind() {
	case celast.LiteralKind:
		return e.AsLiteral(), true
	case celast.CallKind:
		call := e.AsCall()
		if call.FunctionName() != operators.Negate || call.Args()[0].Kind() != celast.LiteralKind {
			return nil, false
		}
		n, ok := call.Args()[0].AsLiteral().(interface{ Negate() ref.Val })
		if !ok {
			return nil, false
		}
		return n.Negate(), true
	default:
		return nil, false
	}
}

// Holds reports whether the comparison holds of a value of its signal.
func (c *Comparison) Holds(r Reading) bool {
	switch c.Kind {
	case fleet.Text:
		return compare(c.Op, r.Text < c.Text, r.Text == c.Text, r.Text > c.Text)
	case fleet.Boolean:
		return compare(c.Op, r.Number == 0 && c.Bool, (r.Number != 0) == c.Bool, r.Number != 0 && !c.Bool)
	default:
		return compare(c.Op, r.Number < c.Number, r.Number == c.Number, r.Number > c.Number)
	}
}

func compare(op string, less, equal, more bool) bool {
	switch op {
	case "<":
		return less
	case "<=":
		return less || equal
	case ">":
		return more
	case ">=":
		return more || equal
	case "==":
		return equal
	default:
		return !equal
	}
}
