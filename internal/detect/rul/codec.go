package rul

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"fettle.dev/fettle/internal/detect/boost"
)

const (
	magic      = "fettle-rul"
	version    = 1
	maxColumns = 4096
	maxText    = 1 << 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// MarshalBinary writes the model: a mark, a version, the content, its
// checksum. Equal models give equal bytes.
func (m *Model) MarshalBinary() ([]byte, error) {
	b := append([]byte(magic), version)
	b = binary.AppendUvarint(b, uint64(len(m.columns)))
	for _, name := range m.columns {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
	}
	b = binary.AppendUvarint(b, uint64(len(m.about)))
	b = append(b, m.about...)
	b = floats(b, m.limit, m.level, m.life, m.rmse)
	b = binary.AppendUvarint(b, uint64(m.units))
	b = binary.AppendUvarint(b, uint64(m.failed))
	b = binary.AppendUvarint(b, uint64(len(m.regimes.cuts)))
	for _, c := range m.regimes.cuts {
		b = binary.AppendUvarint(b, uint64(c.column))
		b = list(b, c.edges)
	}
	b = binary.AppendUvarint(b, uint64(len(m.regimes.known)))
	for _, code := range m.regimes.known {
		b = binary.AppendUvarint(b, uint64(code))
	}
	b = binary.AppendUvarint(b, uint64(len(m.signals)))
	for _, s := range m.signals {
		b = binary.AppendUvarint(b, uint64(s.column))
		b = floats(b, s.sign)
		for _, c := range s.scales {
			b = floats(b, c.mean, c.dev)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(m.mixtures)))
	for _, w := range m.mixtures {
		b = floats(b, w...)
	}
	b = list(b, m.errors.at)
	b = floats(b, m.errors.low...)
	b = floats(b, m.errors.high...)
	for _, trees := range []*boost.Model{m.course, m.point} {
		part, err := trees.MarshalBinary()
		if err != nil {
			return nil, err
		}
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

func floats(b []byte, values ...float64) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}

func list(b []byte, values []float64) []byte {
	return floats(binary.AppendUvarint(b, uint64(len(values))), values...)
}

// UnmarshalBinary reads what MarshalBinary wrote. ErrDamaged: it can't be
// read; ErrNewer: not by this version.
func (m *Model) UnmarshalBinary(b []byte) error {
	if !bytes.HasPrefix(b, []byte(magic)) || len(b) < len(magic)+5 {
		return fmt.Errorf("%w: it doesn't begin as one", ErrDamaged)
	}
	if v := b[len(magic)]; v > version {
		return fmt.Errorf("%w: format %d; this version reads up to %d", ErrNewer, v, version)
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return fmt.Errorf("%w: its checksum differs", ErrDamaged)
	}
	d := decoder{b: body[len(magic)+1:]}
	var out Model
	d.model(&out)
	out.course, out.point = d.trees(1+len(lags)), d.trees(1+(len(out.signals)+len(out.mixtures))*perSignal)
	if d.bad || len(d.b) > 0 {
		return ErrDamaged
	}
	*m = out
	return nil
}

func (d *decoder) model(out *Model) {
	for range d.count(maxColumns) {
		if d.bad {
			return
		}
		out.columns = append(out.columns, d.text())
	}
	out.about = d.text()
	out.limit, out.level, out.life, out.rmse = d.float(), d.float(), d.float(), d.float()
	out.units, out.failed = d.count(math.MaxInt32), d.count(math.MaxInt32)
	for range d.count(len(out.columns)) {
		c := cutColumn{column: d.index(len(out.columns)), edges: d.ascending(maxModes - 1)}
		out.regimes.cuts = append(out.regimes.cuts, c)
	}
	for range d.count(maxRegimes) {
		out.regimes.known = append(out.regimes.known, d.count(math.MaxInt))
	}
	for range d.count(len(out.columns)) {
		s := signal{column: d.index(len(out.columns)), sign: d.float()}
		for range out.regimes.count() {
			s.scales = append(s.scales, scale{d.float(), d.float()})
		}
		if d.bad {
			return
		}
		out.signals = append(out.signals, s)
	}
	for range d.count(mixtures) {
		out.mixtures = append(out.mixtures, d.floats(len(out.signals)))
	}
	out.errors.at = d.ascending(knots)
	out.errors.low = d.floats(len(out.errors.at))
	out.errors.high = d.floats(len(out.errors.at))
	d.bad = d.bad || len(out.signals) == 0 || len(out.errors.at) == 0 || !(out.life > 0) || !(out.limit >= 0)
}

// trees reads a model of so many features.
func (d *decoder) trees(features int) *boost.Model {
	m := new(boost.Model)
	n := d.count(len(d.b))
	if d.bad || n > len(d.b) || m.UnmarshalBinary(d.b[:n]) != nil || m.Features() != features {
		d.bad = true
		return nil
	}
	d.b = d.b[n:]
	return m
}

// decoder reads from b until it ends or makes no sense; then it is bad and
// reads zeros. All floats are finite.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) float() float64 {
	if d.bad || len(d.b) < 8 {
		d.bad = true
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(d.b))
	d.b = d.b[8:]
	if math.IsNaN(v) || math.IsInf(v, 0) {
		d.bad = true
		return 0
	}
	return v
}

func (d *decoder) floats(n int) []float64 {
	if d.bad || len(d.b) < 8*n {
		d.bad = true
		return nil
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = d.float()
	}
	return out
}

func (d *decoder) ascending(limit int) []float64 {
	out := d.floats(d.count(limit))
	for i := 1; i < len(out); i++ {
		d.bad = d.bad || out[i] <= out[i-1]
	}
	return out
}

func (d *decoder) text() string {
	n := d.count(maxText)
	if d.bad || n > len(d.b) {
		d.bad = true
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

// count reads a number of things, at most limit.
func (d *decoder) count(limit int) int {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 || v > uint64(limit) {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

// index reads a place among n.
func (d *decoder) index(n int) int { return d.count(max(0, n-1)) }
