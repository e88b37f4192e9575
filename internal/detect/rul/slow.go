package rul

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

const mixtures = 4

// slow finds the mixtures of signals that change least from one reading to the
// next for how much they vary in all: what wear moves stays, what noise moves
// averages out (min/max autocorrelation factors, Switzer and Green 1984; slow
// feature analysis, Wiskott and Sejnowski 2002). They don't depend on the
// signals' scales. It returns up to mixtures rows of weights, one a signal.
func slow(z [][][]float64) [][]float64 {
	k := len(z[0])
	cov, noise := mat.NewSymDense(k, nil), mat.NewSymDense(k, nil)
	var n, nd float64
	for _, unit := range z {
		prev := make([]float64, k)
		row := make([]float64, k)
		for i := range unit[0] {
			for s := range row {
				if v := unit[s][i]; !math.IsNaN(v) {
					row[s] = v
				}
			}
			cov.SymRankOne(cov, 1, mat.NewVecDense(k, row))
			n++
			if i > 0 {
				for s := range prev {
					prev[s] = row[s] - prev[s]
				}
				noise.SymRankOne(noise, 0.5, mat.NewVecDense(k, prev))
				nd++
			}
			copy(prev, row)
		}
	}
	if nd == 0 {
		return nil
	}
	cov.ScaleSym(1/n, cov)
	noise.ScaleSym(1/nd, noise)
	trace := mat.Trace(noise) / float64(k)
	for s := range k {
		noise.SetSym(s, s, noise.At(s, s)+1e-3*trace+1e-9)
	}
	var chol mat.Cholesky
	if !chol.Factorize(noise) {
		return nil
	}
	var l, inv mat.TriDense
	chol.LTo(&l)
	if inv.InverseTri(&l) != nil {
		return nil
	}
	var half, white mat.Dense
	half.Mul(&inv, cov)
	white.Mul(&half, inv.T())
	sym := mat.NewSymDense(k, nil)
	for i := range k {
		for j := i; j < k; j++ {
			sym.SetSym(i, j, (white.At(i, j)+white.At(j, i))/2)
		}
	}
	var eig mat.EigenSym
	if !eig.Factorize(sym, true) {
		return nil
	}
	var vec, w mat.Dense
	eig.VectorsTo(&vec)
	w.Mul(inv.T(), &vec) // columns: mixtures whose noise has variance 1
	var out [][]float64
	for c := k - 1; c >= max(0, k-mixtures); c-- {
		col := mat.Col(nil, c, &w)
		sum := 0.0 // the sign that goes with the signals' own
		for _, v := range col {
			sum += v
		}
		if sum < 0 {
			for i := range col {
				col[i] = -col[i]
			}
		}
		out = append(out, col)
	}
	return out
}

// mix adds the slow mixtures to a unit's signals.
func (m *Model) mix(z [][]float64) [][]float64 {
	n := len(z[0])
	last := make([]float64, len(z))
	out := z
	from := len(out)
	for range m.mixtures {
		out = append(out, make([]float64, n))
	}
	for i := range n {
		for s := range last {
			if v := z[s][i]; !math.IsNaN(v) {
				last[s] = v
			}
		}
		for k, w := range m.mixtures {
			sum := 0.0
			for s, v := range last {
				sum += w[s] * v
			}
			out[from+k][i] = sum
		}
	}
	return out
}
