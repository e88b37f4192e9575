// Package expression compiles and runs the conditions of detectors: CEL over
// the signals of a product (https://cel.dev). What nearly all of them are made
// of, comparisons and arithmetic of numbers, and, or and not, runs as Go
// functions; the rest is run by CEL.
package expression

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// What an expression may cost: it runs on every row of every unit.
const (
	maxExpression     = 1000 // bytes
	maxExpressionCost = 10_000
	maxTextCost       = 4096 // bytes assumed of a text signal when its cost is estimated
)

// Reading is a signal's newest value.
type Reading struct {
	At     int64 // event time, Never if there is none
	Number float64
	Text   string
}

// Never is the event time of a signal that has no value.
const Never = math.MinInt64

// Expression is a compiled condition over signals; nil always holds. It keeps
// scratch of its own: one goroutine at a time.
type Expression struct {
	Source  string
	program cel.Program
	quick   condition // nil: CEL runs it
	refs    []reference
	values  []Reading // of the unit, during Eval

	comparisons []Comparison

	turn         uint64 // the row that holds and known are of
	holds, known bool
}

type reference struct {
	name  string
	index int // into the product's watched signals
	kind  fleet.ValueType
	unit  string // of measure
}

// Parse compiles source over the product's signals; the mistakes are fields at
// path. An empty source gives nil: it always holds.
func Parse(p *fleet.Product, source, path string) (*Expression, []fault.Field) {
	if strings.TrimSpace(source) == "" {
		return nil, nil
	}
	options := []cel.EnvOption{cel.ClearMacros(), cel.CrossTypeNumericComparisons(true)}
	for _, s := range p.Signals {
		kind := cel.DoubleType
		switch s.Type {
		case fleet.Boolean:
			kind = cel.BoolType
		case fleet.Text:
			kind = cel.StringType
		default:
		}
		options = append(options, cel.Variable(s.Name, kind))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, []fault.Field{{Path: path, Expected: "signals whose names CEL can read: " + err.Error()}}
	}
	ast, wrong := Compile(env, source, path, func() string {
		return fmt.Sprintf("a signal of product %s (%s)", p.Name, strings.Join(signals(p), ", "))
	})
	if len(wrong) > 0 {
		return nil, wrong
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, []fault.Field{{Path: path, Expected: "an expression that can be run: " + err.Error(), Got: source}}
	}
	x := &Expression{Source: strings.TrimSpace(source), program: program}
	for _, ref := range ast.NativeRep().ReferenceMap() {
		s, ok := p.Signal(ref.Name)
		if !ok || slices.ContainsFunc(x.refs, func(r reference) bool { return r.name == s.Name }) {
			continue
		}
		x.refs = append(x.refs, reference{name: s.Name, kind: s.Type, unit: s.Unit})
	}
	slices.SortFunc(x.refs, func(a, b reference) int { return strings.Compare(a.name, b.name) })
	if quick, ok := x.condition(ast.NativeRep().Expr()); ok {
		x.quick = quick
	}
	x.comparisons = x.compared(ast.NativeRep().Expr())
	return x, nil
}

// Compile checks a condition against an environment: its length, its names, its
// type and what it may cost. Known says what a name may be, for one that is
// not; the mistakes are fields at path.
func Compile(env *cel.Env, source, path string, known func() string) (*cel.Ast, []fault.Field) {
	if len(source) > maxExpression {
		return nil, []fault.Field{{Path: path, Expected: fmt.Sprintf("at most %d bytes", maxExpression), Got: fmt.Sprintf("%d bytes", len(source))}}
	}
	ast, issues := env.Compile(source)
	if issues.Err() != nil {
		// CEL's 2 is an integer and signals are doubles: try with 2.0.
		if decimal, ok := compileDecimal(env, source); ok {
			ast, issues = decimal, nil
		}
	}
	if issues.Err() != nil {
		return nil, mistakes(known, issues, source, path)
	}
	if ast.OutputType() != cel.BoolType {
		return nil, []fault.Field{{Path: path, Expected: "an expression that is true or false", Got: fmt.Sprintf("%q, which is of type %s", source, ast.OutputType())}}
	}
	if cost, err := env.EstimateCost(ast, estimator{}); err != nil || cost.Max > maxExpressionCost {
		return nil, []fault.Field{{Path: path, Expected: fmt.Sprintf("an expression that costs at most %d (this one may cost %d)", maxExpressionCost, cost.Max), Got: source}}
	}
	return ast, nil
}

// compileDecimal compiles source with its whole numbers read as decimal ones.
func compileDecimal(env *cel.Env, source string) (*cel.Ast, bool) {
	parsed, issues := env.Parse(source)
	if issues.Err() != nil {
		return nil, false
	}
	factory := celast.NewExprFactory()
	celast.PostOrderVisit(parsed.NativeRep().Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		if e.Kind() != celast.LiteralKind {
			return
		}
		if whole, ok := e.AsLiteral().(types.Int); ok {
			e.SetKindCase(factory.NewLiteral(e.ID(), types.Double(whole)))
		}
	}))
	checked, issues := env.Check(parsed)
	return checked, issues.Err() == nil
}

// mistakes says in our words what CEL found wrong, one field a mistake.
func mistakes(known func() string, issues *cel.Issues, source, path string) []fault.Field {
	var out []fault.Field
	for _, e := range issues.Errors() {
		where := fmt.Sprintf("line %d, column %d", e.Location.Line(), e.Location.Column()+1)
		f := fault.Field{Path: path, Got: fmt.Sprintf("%q", source)}
		if rest, ok := strings.CutPrefix(e.Message, "undeclared reference to '"); ok {
			name, _, _ := strings.Cut(rest, "'")
			f.Expected = fmt.Sprintf("%s at %s", known(), where)
			f.Got = fmt.Sprintf("%q in %q", name, source)
		} else if strings.Contains(e.Message, "no matching overload") && strings.Contains(e.Message, "double") && strings.Contains(e.Message, "int") {
			f.Expected = fmt.Sprintf("numbers of one type, as 2.0 rather than 2, at %s: %s", where, e.Message)
		} else {
			f.Expected = fmt.Sprintf("an expression that is true or false; at %s: %s", where, e.Message)
		}
		out = append(out, f)
	}
	return out
}

func signals(p *fleet.Product) []string {
	names := make([]string, len(p.Signals))
	for i := range names {
		names[i] = p.Signals[i].Name
	}
	return names
}

type estimator struct{}

func (estimator) EstimateSize(n checker.AstNode) *checker.SizeEstimate {
	if n.Type() == types.StringType {
		return &checker.SizeEstimate{Min: 0, Max: maxTextCost}
	}
	return nil
}

func (estimator) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// Bind looks up where the signals referred to stand.
func (x *Expression) Bind(index func(name string) int) {
	if x == nil {
		return
	}
	for i := range x.refs {
		x.refs[i].index = index(x.refs[i].name)
	}
}

// Eval runs the expression at an event time. Known is false when a signal it
// needs has no value younger than gap, or when the expression fails (division
// by zero): then nothing is known of the context. Within one turn, unless it
// is 0, values, at and gap must be the same.
func (x *Expression) Eval(values []Reading, at, gap int64, turn uint64) (holds, known bool) {
	if x == nil {
		return true, true
	}
	if x.turn != turn || turn == 0 {
		x.holds, x.known = x.run(values, at, gap)
		x.turn = turn
	}
	return x.holds, x.known
}

func (x *Expression) run(values []Reading, at, gap int64) (holds, known bool) {
	for i := range x.refs {
		v := &values[x.refs[i].index]
		if v.At == Never || at-v.At > gap {
			return false, false
		}
	}
	if x.quick != nil {
		return x.quick(values), true
	}
	x.values = values
	out, _, err := x.program.Eval(x)
	if err != nil {
		return false, false
	}
	b, ok := out.(types.Bool)
	return bool(b), ok
}

// ResolveName gives CEL a signal's value.
func (x *Expression) ResolveName(name string) (any, bool) {
	for i := range x.refs {
		r := &x.refs[i]
		if r.name != name {
			continue
		}
		v := &x.values[r.index]
		switch r.kind {
		case fleet.Boolean:
			return types.Bool(v.Number != 0), true
		case fleet.Text:
			return types.String(v.Text), true
		default:
			return types.Double(v.Number), true
		}
	}
	return nil, false
}

// Parent is CEL's: there is no outer scope.
func (x *Expression) Parent() cel.Activation { return nil }

// Signals are the names of the signals that the expression reads.
func (x *Expression) Signals() []string {
	if x == nil {
		return nil
	}
	names := make([]string, len(x.refs))
	for i := range names {
		names[i] = x.refs[i].name
	}
	return names
}

// News reports whether one of the signals has a value of this very time.
func (x *Expression) News(values []Reading, at int64) bool {
	for i := range x.refs {
		if values[x.refs[i].index].At == at {
			return true
		}
	}
	return false
}

// Tell says the values of the signals, as evidence: " (current 16, mode eco)".
func (x *Expression) Tell(values []Reading) string {
	var out []string
	for i := range x.refs {
		v := &values[x.refs[i].index]
		text := v.Text
		switch x.refs[i].kind {
		case fleet.Boolean:
			text = fmt.Sprint(v.Number != 0)
		case fleet.Text:
		default:
			text = words.Measured(v.Number, x.refs[i].unit)
		}
		out = append(out, x.refs[i].name+" "+text)
	}
	return " (" + strings.Join(out, ", ") + ")"
}
