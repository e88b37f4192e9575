package expression

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fleet"
)

func TestComparisons(t *testing.T) {
	t.Parallel()
	number := func(signal, op string, n float64) Comparison {
		return Comparison{Signal: signal, Op: op, Kind: fleet.Number, Number: n}
	}
	for source, want := range map[string][]Comparison{
		"a >= 30":                     {number("a", ">=", 30)},
		"30 <= a":                     {number("a", ">=", 30)},
		"a > -2.5 && -4 > b":          {number("a", ">", -2.5), number("b", "<", -4)},
		"on && !on":                   {{Signal: "on", Op: "==", Kind: fleet.Boolean, Bool: true}, {Signal: "on", Op: "==", Kind: fleet.Boolean}},
		`mode == "idle" && a < 5.0`:   {{Signal: "mode", Op: "==", Kind: fleet.Text, Text: "idle"}, number("a", "<", 5)},
		"on == false":                 {{Signal: "on", Op: "==", Kind: fleet.Boolean}},
		"a > 5 || on":                 nil,
		"a + b > 5.0 && on":           {{Signal: "on", Op: "==", Kind: fleet.Boolean, Bool: true}},
		"!(a > 5.0) && (b < 1 || on)": nil,
		"a > b":                       nil,
	} {
		require.Equal(t, want, compiled(t, source).Comparisons(), source)
	}
	require.Nil(t, (*Expression)(nil).Comparisons())
}

// A comparison holds exactly when the expression that it is does.
func TestComparisonHoldsAsCEL(t *testing.T) {
	t.Parallel()
	for _, source := range []string{
		"a < 1.0", "a <= 1.0", "a > 1.0", "a >= 1.0", "a == 1.0", "a != 1.0", "1.0 < a", "1.0 >= a", "on", "!on", "on == false", "on != false", "on < true",
		`mode == "b"`, `mode != "b"`, `mode < "b"`, `mode >= "b"`,
	} {
		x := compiled(t, source)
		require.Len(t, x.Comparisons(), 1, source)
		c := x.Comparisons()[0]
		for _, values := range [][]Reading{
			{{Number: 0}, {}, {Number: 0}, {Text: "a"}}, {{Number: 1}, {}, {Number: 1}, {Text: "b"}}, {{Number: 2}, {}, {Number: 1}, {Text: "c"}},
		} {
			want, known := x.Eval(values, 0, 0, 0)
			require.True(t, known)
			at := map[string]int{"a": 0, "on": 2, "mode": 3}[c.Signal]
			require.Equal(t, want, c.Holds(values[at]), "%s of %v", source, values)
		}
	}
}
