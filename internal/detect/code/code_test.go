package code_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/detect/code"
)

func Example() {
	b := code.AppendCount(nil, 2)
	b = code.AppendFloat(b, 20.5, 21)
	b = code.AppendString(b, "degrees")

	r := code.NewReader(b)
	fmt.Println(r.FiniteList(r.Count(8, 100)), r.String(), r.Whole())
	r = code.NewReader(b[:len(b)-1]) // cut off
	fmt.Println(r.FiniteList(r.Count(8, 100)), r.String(), r.Whole())
	// Output:
	// [20.5 21] degrees true
	// [20.5 21]  false
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, i := rapid.IntMin(0).Draw(t, "n"), rapid.Int64().Draw(t, "i")
		f, g := rapid.Float64().Draw(t, "f"), rapid.Float32().Draw(t, "g")
		s, p := rapid.String().Draw(t, "s"), rapid.SliceOf(rapid.Byte()).Draw(t, "p")
		x, y := rapid.Bool().Draw(t, "x"), rapid.Bool().Draw(t, "y")
		b := code.AppendFloat32(code.AppendFloat(code.AppendInt(code.AppendCount(nil, n), i), f), g)
		b = code.AppendBytes(code.AppendString(b, s), func(b []byte) []byte { return append(b, p...) })
		b = append(b, code.Bits(x), code.Bits(x, y))

		r := code.NewReader(b)
		require.Equal(t, n, r.Count(0, math.MaxInt))
		require.Equal(t, i, r.Int())
		require.Equal(t, math.Float64bits(f), math.Float64bits(r.Finite()))
		require.Equal(t, math.Float32bits(g), math.Float32bits(r.Float32()))
		require.Equal(t, s, r.String())
		require.Equal(t, string(p), string(r.Bytes()))
		require.Equal(t, x, r.Flag())
		require.Equal(t, code.Bits(x, y), r.Byte())
		require.True(t, r.Whole())
	})
}

// Whatever is read from whatever bytes, nothing is made up and nothing panics.
func FuzzReader(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte("cfsbtlk"))
	f.Fuzz(func(t *testing.T, data, ops []byte) {
		r := code.NewReader(data)
		for _, op := range ops {
			before := r.Len()
			switch op {
			case 'c':
				require.LessOrEqual(t, r.Count(4, 1000), r.Len()/4)
			case 'f':
				v := r.Finite()
				require.False(t, math.IsNaN(v) || math.IsInf(v, 0))
			case 's':
				require.LessOrEqual(t, len(r.String()), before)
			case 'b':
				require.LessOrEqual(t, len(r.Bytes()), before)
			case 't':
				require.LessOrEqual(t, len(r.Take(int(op))), before)
			case 'l':
				require.LessOrEqual(t, 8*len(r.FiniteList(len(ops))), before)
			case 'k':
				r.Int()
				r.Flag()
				r.Float32()
			}
			require.LessOrEqual(t, r.Len(), before)
			if r.Bad() {
				require.Zero(t, r.Len(), "after an error everything is zero")
			}
		}
	})
}
