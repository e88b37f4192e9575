package wave

import (
	"fmt"
	"sync"

	"cel.dev/cel-go/cel"

	"fettle.dev/fettle/internal/fleet"
)

// What a condition may cost: it runs once for each member.
const (
	maxWhere     = 1000 // bytes
	maxWhereCost = 10_000
)

var environment = sync.OnceValues(func() (*cel.Env, error) {
	names := cel.MapType(cel.StringType, cel.StringType)
	return cel.NewEnv(
		cel.Variable("id", cel.StringType), cel.Variable("serial", cel.StringType),
		cel.Variable("hardware", cel.StringType), cel.Variable("batch", cel.StringType), cel.Variable("region", cel.StringType),
		cel.Variable("version", cel.StringType), cel.Variable("versions", names), cel.Variable("attributes", names),
	)
})

func compile(source string) (cel.Program, error) {
	if len(source) > maxWhere {
		return nil, fmt.Errorf("%d bytes, more than %d", len(source), maxWhere)
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(source)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	if ast.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("it gives %s, not a bool", ast.OutputType())
	}
	return env.Program(ast, cel.CostLimit(maxWhereCost))
}

// holds reports whether a condition holds of a unit; one that asks for an
// attribute that the unit lacks does not.
func holds(p cel.Program, u *fleet.Unit) bool {
	orNone := func(m map[string]string) map[string]string {
		if m == nil {
			return map[string]string{}
		}
		return m
	}
	v, _, err := p.Eval(map[string]any{
		"id": u.ID, "serial": u.Serial, "hardware": u.Hardware, "batch": u.Batch, "region": u.Region,
		"version": u.Versions[fleet.MainComponent], "versions": orNone(u.Versions), "attributes": orNone(u.Attributes),
	})
	if err != nil {
		return false
	}
	yes, _ := v.Value().(bool)
	return yes
}
