package rul

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"fettle.dev/fettle/internal/detect/boost"
	"fettle.dev/fettle/internal/detect/code"
)

const (
	magic      = "fettle-rul"
	version    = 1
	maxColumns = 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// MarshalBinary writes the model: a mark, a version, the content, its
// checksum. Equal models give equal bytes.
func (m *Model) MarshalBinary() ([]byte, error) {
	b := append([]byte(magic), version)
	b = code.AppendCount(b, len(m.columns))
	for _, name := range m.columns {
		b = code.AppendString(b, name)
	}
	b = code.AppendString(b, m.about)
	b = code.AppendFloat(b, m.limit, m.level, m.life, m.rmse)
	b = code.AppendCount(b, m.units)
	b = code.AppendCount(b, m.failed)
	b = code.AppendCount(b, len(m.regimes.cuts))
	for _, c := range m.regimes.cuts {
		b = code.AppendCount(b, c.column)
		b = list(b, c.edges)
	}
	b = code.AppendCount(b, len(m.regimes.known))
	for _, regime := range m.regimes.known {
		b = code.AppendCount(b, regime)
	}
	b = code.AppendCount(b, len(m.signals))
	for _, s := range m.signals {
		b = code.AppendCount(b, s.column)
		b = code.AppendFloat(b, s.sign)
		for _, c := range s.scales {
			b = code.AppendFloat(b, c.mean, c.dev)
		}
	}
	b = code.AppendCount(b, len(m.mixtures))
	for _, w := range m.mixtures {
		b = code.AppendFloat(b, w...)
	}
	b = list(b, m.errors.at)
	b = code.AppendFloat(b, m.errors.low...)
	b = code.AppendFloat(b, m.errors.high...)
	for _, trees := range []*boost.Model{m.course, m.point} {
		part, err := trees.MarshalBinary()
		if err != nil {
			return nil, err
		}
		b = append(code.AppendCount(b, len(part)), part...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

func list(b []byte, values []float64) []byte {
	return code.AppendFloat(code.AppendCount(b, len(values)), values...)
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
	d := decoder{code.NewReader(body[len(magic)+1:])}
	var out Model
	d.model(&out)
	out.course, out.point = d.trees(1+len(lags)), d.trees(1+(len(out.signals)+len(out.mixtures))*perSignal)
	if !d.Whole() {
		return ErrDamaged
	}
	*m = out
	return nil
}

func (d decoder) model(out *Model) {
	for range d.Count(0, maxColumns) {
		if d.Bad() {
			return
		}
		out.columns = append(out.columns, d.String())
	}
	out.about = d.String()
	out.limit, out.level, out.life, out.rmse = d.Finite(), d.Finite(), d.Finite(), d.Finite()
	out.units, out.failed = d.Count(0, math.MaxInt32), d.Count(0, math.MaxInt32)
	for range d.Count(0, len(out.columns)) {
		c := cutColumn{column: d.index(len(out.columns)), edges: d.ascending(maxModes - 1)}
		out.regimes.cuts = append(out.regimes.cuts, c)
	}
	for range d.Count(0, maxRegimes) {
		out.regimes.known = append(out.regimes.known, d.Count(0, math.MaxInt))
	}
	for range d.Count(0, len(out.columns)) {
		s := signal{column: d.index(len(out.columns)), sign: d.Finite()}
		for range out.regimes.count() {
			s.scales = append(s.scales, scale{d.Finite(), d.Finite()})
		}
		if d.Bad() {
			return
		}
		out.signals = append(out.signals, s)
	}
	for range d.Count(0, mixtures) {
		out.mixtures = append(out.mixtures, d.FiniteList(len(out.signals)))
	}
	out.errors.at = d.ascending(knots)
	out.errors.low = d.FiniteList(len(out.errors.at))
	out.errors.high = d.FiniteList(len(out.errors.at))
	if len(out.signals) == 0 || len(out.errors.at) == 0 || !(out.life > 0) || !(out.limit >= 0) {
		d.Fail()
	}
}

// trees reads a model of so many features.
func (d decoder) trees(features int) *boost.Model {
	m := new(boost.Model)
	if m.UnmarshalBinary(d.Take(d.Count(1, math.MaxInt))) != nil || m.Features() != features {
		d.Fail()
		return nil
	}
	return m
}

// decoder reads a model's parts; all floats are finite.
type decoder struct{ *code.Reader }

func (d decoder) ascending(limit int) []float64 {
	out := d.FiniteList(d.Count(8, limit))
	for i := 1; i < len(out); i++ {
		if out[i] <= out[i-1] {
			d.Fail()
		}
	}
	return out
}

// index reads a place among n.
func (d decoder) index(n int) int { return d.Count(0, max(0, n-1)) }
