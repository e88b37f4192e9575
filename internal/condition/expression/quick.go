package expression

import (
	"math"
	"slices"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"fettle.dev/fettle/internal/fleet"
)

// condition and number are parts of an expression as Go functions of the
// values of a unit, all of which are there. They cannot fail, so that order and
// short cuts do not matter.
type (
	condition func(values []Reading) bool
	number    func(values []Reading) float64
)

// condition compiles what is true or false; ok is false for what only CEL runs.
func (x *Expression) condition(e celast.Expr) (f condition, ok bool) {
	switch e.Kind() {
	case celast.LiteralKind:
		b, ok := e.AsLiteral().(types.Bool)
		return func([]Reading) bool { return bool(b) }, ok
	case celast.IdentKind:
		r := x.reference(e.AsIdent(), fleet.Boolean)
		return func(v []Reading) bool { return v[r.index].Number != 0 }, r != nil
	case celast.CallKind:
	default:
		return nil, false
	}
	call := e.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case operators.LogicalNot:
		a, ok := x.condition(args[0])
		return func(v []Reading) bool { return !a(v) }, ok
	case operators.LogicalAnd, operators.LogicalOr:
		a, okA := x.condition(args[0])
		b, okB := x.condition(args[1])
		if call.FunctionName() == operators.LogicalAnd {
			return func(v []Reading) bool { return a(v) && b(v) }, okA && okB
		}
		return func(v []Reading) bool { return a(v) || b(v) }, okA && okB
	}
	compare := comparisons[call.FunctionName()]
	if compare == nil || len(args) != 2 {
		return nil, false
	}
	a, okA := x.number(args[0])
	b, okB := x.number(args[1])
	return compare(a, b), okA && okB
}

// comparisons of doubles, as CEL has them: what is not a number is equal to
// nothing, and neither less nor more.
var comparisons = map[string]func(a, b number) condition{
	operators.Less:          func(a, b number) condition { return func(v []Reading) bool { return a(v) < b(v) } },
	operators.LessEquals:    func(a, b number) condition { return func(v []Reading) bool { return a(v) <= b(v) } },
	operators.Greater:       func(a, b number) condition { return func(v []Reading) bool { return a(v) > b(v) } },
	operators.GreaterEquals: func(a, b number) condition { return func(v []Reading) bool { return a(v) >= b(v) } },
	operators.Equals:        func(a, b number) condition { return func(v []Reading) bool { return a(v) == b(v) } },
	operators.NotEquals:     func(a, b number) condition { return func(v []Reading) bool { return a(v) != b(v) } },
}

// number compiles what is a double.
func (x *Expression) number(e celast.Expr) (f number, ok bool) {
	switch e.Kind() {
	case celast.LiteralKind:
		switch l := e.AsLiteral().(type) {
		case types.Double:
			return func([]Reading) float64 { return float64(l) }, true
		case types.Int: // beside a double, which it is compared with
			return func([]Reading) float64 { return float64(l) }, math.Abs(float64(l)) < 1<<53
		}
	case celast.IdentKind:
		r := x.reference(e.AsIdent(), fleet.Number)
		return func(v []Reading) float64 { return v[r.index].Number }, r != nil
	default:
	}
	return nil, false
}

// reference finds a signal of a type among those that the expression reads.
func (x *Expression) reference(name string, kind fleet.ValueType) *reference {
	i := slices.IndexFunc(x.refs, func(r reference) bool { return r.name == name && r.kind == kind })
	if i < 0 {
		return nil
	}
	return &x.refs[i]
}
