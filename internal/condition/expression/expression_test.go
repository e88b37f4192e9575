package expression

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/fleet"
)

var product = fleet.Product{Name: "p", Signals: []fleet.Signal{
	{Name: "a", Type: fleet.Number}, {Name: "b", Type: fleet.Number}, {Name: "on", Type: fleet.Boolean}, {Name: "mode", Type: fleet.Text},
}}

func compiled(tb testing.TB, source string) *Expression {
	tb.Helper()
	x, mistakes := Parse(&product, source, "")
	require.Empty(tb, mistakes, source)
	x.Bind(func(name string) int {
		for i, s := range product.Signals {
			if s.Name == name {
				return i
			}
		}
		return -1
	})
	return x
}

func TestWhatRunsAsGo(t *testing.T) {
	t.Parallel()
	for source, quick := range map[string]bool{
		"a > 5": true, "a >= 5.0 && b < 3.5": true, "!(on || a == b)": true, "on": true, "5.0 < a": true,
		"true": true, "a != -1.5": true, "on && !on": true,
		`mode == "x"`: false, "a > 5.0 ? on : !on": false, `a > 5.0 && mode == "x"`: false, "a + b > 5.0": false,
		"a in [1.0, 2.0]": false, "on == true": false,
	} {
		require.Equal(t, quick, compiled(t, source).quick != nil, source)
	}
}

// What runs as Go gives what CEL gives.
func TestAsCEL(t *testing.T) {
	t.Parallel()
	condition := rapid.Custom(func(t *rapid.T) string {
		number := rapid.SampledFrom([]string{"a", "b", "0.0", "1.0", "-2.5", "1e300"})
		var of func(depth int) string
		of = func(depth int) string {
			switch n := rapid.IntRange(0, 5).Draw(t, "kind"); {
			case n == 0:
				return rapid.SampledFrom([]string{"on", "true", "false"}).Draw(t, "leaf")
			case n == 1 && depth > 0:
				return "!(" + of(depth-1) + ")"
			case n <= 3 && depth > 0:
				return "(" + of(depth-1) + rapid.SampledFrom([]string{" && ", " || "}).Draw(t, "op") + of(depth-1) + ")"
			default:
				return number.Draw(t, "left") + rapid.SampledFrom([]string{" < ", " <= ", " > ", " >= ", " == ", " != "}).Draw(t, "compare") + number.Draw(t, "right")
			}
		}
		return of(3)
	})
	value := rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, -2.5, 1e300, math.Inf(1), math.NaN()})
	rapid.Check(t, func(rt *rapid.T) {
		x := compiled(t, condition.Draw(rt, "source"))
		require.NotNil(t, x.quick, x.Source)
		values := []Reading{{Number: value.Draw(rt, "a")}, {Number: value.Draw(rt, "b")}, {Number: float64(rapid.IntRange(0, 1).Draw(rt, "on"))}, {}}
		got, known := x.Eval(values, 0, 0, 0)
		x.quick = nil
		want, knownToo := x.Eval(values, 0, 0, 0)
		if got != want || known != knownToo {
			rt.Fatalf("%s of %v: %t, CEL says %t", x.Source, values, got, want)
		}
	})
}

func BenchmarkEval(b *testing.B) {
	values := []Reading{{Number: 16.5}, {Number: 3}, {Number: 1}, {}}
	x := compiled(b, "on && a >= 6.0")
	b.Run("go", func(b *testing.B) {
		for b.Loop() {
			x.Eval(values, 0, 0, 0)
		}
	})
	b.Run("cel", func(b *testing.B) {
		y := compiled(b, "on && a >= 6.0")
		y.quick = nil
		for b.Loop() {
			y.Eval(values, 0, 0, 0)
		}
	})
}
