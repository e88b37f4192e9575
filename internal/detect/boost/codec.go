package boost

import (
	"errors"
	"fmt"
	"math"

	"fettle.dev/fettle/internal/detect/code"
)

const (
	version   = 1
	maxTrees  = 100_000
	maxLeaves = 1024
)

// ErrDamaged is a model's encoding that can't be read.
var ErrDamaged = errors.New("boost: not a model, or a damaged one")

// MarshalBinary writes the model: a version, then edges and trees. Equal
// models give equal bytes.
func (m *Model) MarshalBinary() ([]byte, error) { return m.AppendBinary(nil) }

// AppendBinary is MarshalBinary at the end of b.
func (m *Model) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, version)
	b = code.AppendCount(b, len(m.edges))
	for _, edges := range m.edges {
		b = code.AppendFloat(append(b, uint8(len(edges))), edges...)
	}
	return m.appendTrees(b), nil
}

// appendTrees writes what is not shared with other models of the table.
func (m *Model) appendTrees(b []byte) []byte {
	b = code.AppendFloat(b, m.base)
	b = code.AppendCount(b, len(m.trees))
	for _, t := range m.trees {
		b = code.AppendCount(b, len(t.nodes))
		for _, n := range t.nodes {
			b = append(code.AppendCount(b, int(n.feature)), n.bin)
			b = code.AppendInt(b, int64(n.left), int64(n.right))
		}
		b = code.AppendFloat32(b, t.leaves...)
	}
	return b
}

// UnmarshalBinary reads what MarshalBinary wrote; ErrDamaged where it can't.
func (m *Model) UnmarshalBinary(b []byte) error {
	d := code.NewReader(b)
	out := Model{}
	if v := d.Byte(); v != version {
		return fmt.Errorf("%w: version %d, want %d", ErrDamaged, v, version)
	}
	n := d.Count(1, math.MaxUint16)
	for range n {
		if d.Bad() {
			break
		}
		edges := make([]float64, 0, maxBins)
		for range min(int(d.Byte()), maxBins) {
			e := d.Float()
			if math.IsNaN(e) || (len(edges) > 0 && e <= edges[len(edges)-1]) {
				d.Fail()
			}
			edges = append(edges, e)
		}
		if len(edges) > maxBins-2 {
			d.Fail()
		}
		out.edges = append(out.edges, edges)
	}
	out.base = d.Finite()
	readTrees(d, &out)
	if !d.Whole() || n == 0 {
		return ErrDamaged
	}
	*m = out
	return nil
}

func readTrees(d *code.Reader, out *Model) {
	for range d.Count(1, maxTrees) {
		if d.Bad() {
			return
		}
		var t tree
		nodes := d.Count(1, maxLeaves-1)
		// Each node but the root, and each leaf, has one parent, which comes before it.
		seen := make([]bool, 2*nodes+1)
		child := func(at int, v int64) int16 {
			place := int(v)
			switch {
			case v > int64(at) && v < int64(nodes):
			case v < 0 && v >= -int64(nodes)-1:
				place = nodes + int(^v)
			default:
				d.Fail()
				return 0
			}
			if seen[place] {
				d.Fail()
			}
			seen[place] = true
			return int16(v)
		}
		for i := range nodes {
			x := node{feature: uint16(d.Count(0, math.MaxUint16)), bin: d.Byte()}
			x.left, x.right = child(i, d.Int()), child(i, d.Int())
			if d.Bad() || int(x.feature) >= len(out.edges) {
				d.Fail()
				return
			}
			t.nodes = append(t.nodes, x)
		}
		for range nodes + 1 {
			v := d.Float32()
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				d.Fail()
			}
			t.leaves = append(t.leaves, v)
		}
		out.trees = append(out.trees, t)
	}
}
