package prognosis

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"fettle.dev/fettle/internal/detect/rul"
)

// Trees learns with boosted trees on drift, see package rul.
type Trees struct {
	Count int // of trees; 0: rul's default. Fewer are for tests
}

// Learn makes a model of lives.
func (t Trees) Learn(columns []string, lives []Series) (Foresight, error) {
	units := make([]rul.Unit, len(lives))
	for i := range lives {
		units[i] = lives[i].unit(fmt.Sprint(i), len(lives[i].Ages))
	}
	m, err := rul.Fit(units, rul.Config{Columns: columns, Trees: t.Count})
	if err != nil {
		return nil, err
	}
	f := &trees{m, make([]float64, len(columns))}
	return f, f.healthy(lives)
}

// Open reads what MarshalBinary gave.
func (t Trees) Open(data []byte) (Foresight, error) {
	if len(data) < 3 || data[0] != version {
		return nil, errModel
	}
	n := int(binary.BigEndian.Uint16(data[1:]))
	data = data[3:]
	if len(data) < 8*n {
		return nil, errModel
	}
	f := &trees{&rul.Model{}, make([]float64, n)}
	for i := range f.spread {
		f.spread[i] = math.Float64frombits(binary.BigEndian.Uint64(data[8*i:]))
	}
	if err := f.model.UnmarshalBinary(data[8*n:]); err != nil {
		return nil, err
	}
	if len(f.model.Columns()) != n {
		return nil, errModel
	}
	return f, nil
}

const version = 1

var errModel = errors.New("not a model that this version of Fettle reads")

// unit is the first n readings of a life as rul takes them.
func (s *Series) unit(id string, n int) rul.Unit {
	start := 0.0
	u := rul.Unit{ID: id, Time: s.Ages[:n], Values: make([][]float64, len(s.Values)), Failed: s.Failed, End: s.End, Start: &start}
	for c := range s.Values {
		u.Values[c] = s.Values[c][:n]
	}
	return u
}

// so is the first n readings of a life of which the end is not known.
func (s *Series) so(n int) rul.Unit {
	u := s.unit("", n)
	u.Failed, u.End = false, 0
	return u
}

// trees is a model, and how much each column drifts on units that are well.
type trees struct {
	model  *rul.Model
	spread []float64
}

// MarshalBinary gives: version, number of columns, their spreads, the model.
func (f *trees) MarshalBinary() ([]byte, error) {
	model, err := f.model.MarshalBinary()
	if err != nil {
		return nil, err
	}
	out := binary.BigEndian.AppendUint16([]byte{version}, uint16(len(f.spread)))
	for _, v := range f.spread {
		out = binary.BigEndian.AppendUint64(out, math.Float64bits(v))
	}
	return append(out, model...), nil
}

// Predict tells the remaining life after the first n readings.
func (f *trees) Predict(s *Series, n int) (Interval, error) {
	e, err := f.model.PredictLast(s.so(n))
	return Interval{e.Low, e.RUL, e.High}, err
}

// Drift tells how far each column has drifted from the life's own first
// readings, in the standard deviations of such drift on units that are well.
func (f *trees) Drift(s *Series, n int) ([]float64, error) {
	drift, err := f.model.Drift(s.so(n))
	for c := range drift {
		if f.spread[c] > 0 {
			drift[c] /= f.spread[c]
		} else {
			drift[c] = math.NaN()
		}
	}
	return drift, err
}

// healthy finds how much columns drift in the first quarter of lives.
func (f *trees) healthy(lives []Series) error {
	counts := make([]float64, len(f.spread))
	for i := range lives {
		s := &lives[i]
		drift, err := f.model.Drift(s.so(max(min(2*atLeast, len(s.Ages)), len(s.Ages)/4)))
		if err != nil {
			return err
		}
		for c, d := range drift {
			if !math.IsNaN(d) {
				f.spread[c], counts[c] = f.spread[c]+d*d, counts[c]+1
			}
		}
	}
	for c, n := range counts {
		if n > 0 {
			f.spread[c] = math.Sqrt(f.spread[c] / n)
		}
	}
	return nil
}
