package boost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
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
	b = binary.AppendUvarint(b, uint64(len(m.edges)))
	for _, edges := range m.edges {
		b = append(b, uint8(len(edges)))
		for _, e := range edges {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(e))
		}
	}
	return m.appendTrees(b), nil
}

// appendTrees writes what is not shared with other models of the table.
func (m *Model) appendTrees(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(m.base))
	b = binary.AppendUvarint(b, uint64(len(m.trees)))
	for _, t := range m.trees {
		b = binary.AppendUvarint(b, uint64(len(t.nodes)))
		for _, n := range t.nodes {
			b = binary.AppendUvarint(b, uint64(n.feature))
			b = append(b, n.bin)
			b = binary.AppendVarint(b, int64(n.left))
			b = binary.AppendVarint(b, int64(n.right))
		}
		for _, v := range t.leaves {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	return b
}

// UnmarshalBinary reads what MarshalBinary wrote; ErrDamaged where it can't.
func (m *Model) UnmarshalBinary(b []byte) error {
	d := decoder{b: b}
	out := Model{}
	if v := d.byte(); v != version {
		return fmt.Errorf("%w: version %d, want %d", ErrDamaged, v, version)
	}
	n := d.count(math.MaxUint16)
	for range n {
		if d.bad {
			break
		}
		edges := make([]float64, 0, maxBins)
		for range min(int(d.byte()), maxBins) {
			e := d.float()
			if math.IsNaN(e) || (len(edges) > 0 && e <= edges[len(edges)-1]) {
				d.bad = true
			}
			edges = append(edges, e)
		}
		d.bad = d.bad || len(edges) > maxBins-2
		out.edges = append(out.edges, edges)
	}
	out.base = d.float()
	d.trees(&out)
	if d.bad || len(d.b) != 0 || n == 0 || math.IsNaN(out.base) || math.IsInf(out.base, 0) {
		return ErrDamaged
	}
	*m = out
	return nil
}

func (d *decoder) trees(out *Model) {
	for range d.count(maxTrees) {
		if d.bad {
			return
		}
		var t tree
		nodes := d.count(maxLeaves - 1)
		// Each node but the root, and each leaf, has one parent, which comes before it.
		seen := make([]bool, 2*nodes+1)
		child := func(at int, v int64) int16 {
			place := int(v)
			switch {
			case v > int64(at) && v < int64(nodes):
			case v < 0 && v >= -int64(nodes)-1:
				place = nodes + int(^v)
			default:
				d.bad = true
				return 0
			}
			d.bad = d.bad || seen[place]
			seen[place] = true
			return int16(v)
		}
		for i := range nodes {
			x := node{feature: uint16(d.count(math.MaxUint16)), bin: d.byte()}
			x.left, x.right = child(i, d.varint()), child(i, d.varint())
			if d.bad || int(x.feature) >= len(out.edges) {
				d.bad = true
				return
			}
			t.nodes = append(t.nodes, x)
		}
		for range nodes + 1 {
			v := math.Float32frombits(uint32(d.fixed(4)))
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				d.bad = true
			}
			t.leaves = append(t.leaves, v)
		}
		out.trees = append(out.trees, t)
	}
}

// decoder reads from b until it ends or makes no sense; then it is bad and
// reads zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fixed(n int) uint64 {
	if d.bad || len(d.b) < n {
		d.bad = true
		return 0
	}
	var v uint64
	for i := range n {
		v |= uint64(d.b[i]) << (8 * i)
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() uint8    { return uint8(d.fixed(1)) }
func (d *decoder) float() float64 { return math.Float64frombits(d.fixed(8)) }

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads a number of things, at most limit; each takes a byte or more.
func (d *decoder) count(limit int) int {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 || v > uint64(limit) {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}
