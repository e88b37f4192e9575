package multivariate

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

const (
	mostRelated = 256  // signals between which relations are looked for
	related     = 0.5  // least share of a signal's variance that the others explain
	shrink      = 0.05 // of the covariances is given up, so that it can be inverted
)

// relations learns how the signals move together, and gives what of each
// signal's movement the others do not explain: the residual of its regression
// on all others, read off the inverse of the covariance matrix, by the standard
// deviation that it had (Lauritzen 1996, "Graphical Models", section 5.1;
// Hawkins 1991, "Multivariate Quality Control Based on Regression-Adjusted
// Variables"). A movement is the distance of a reading from the signal's middle
// average, so that what drifts together is not held for related. It learns on
// calm rows that follow the warm-up.
type relations struct {
	members []int     // signals known when it began
	rows    int       // learned from
	sums    []float64 // of products, by pairs of members, while learning
	weights []float64 // then: those by which movements become residuals
	own     []bool    // by member: the others explain enough of it
	moved   []float64 // scratch: movements of the newest row
}

// begin starts to learn with the signals that are known.
func (r *relations) begin(signals []signal) {
	*r = relations{}
	for i := range signals {
		if signals[i].level.known {
			r.members = append(r.members, i)
		}
	}
	n := len(r.members)
	if n < 2 || n > mostRelated {
		r.members = nil
		return
	}
	r.sums, r.moved = make([]float64, n*n), make([]float64, n)
}

// learn takes the newest row's movements into account.
func (r *relations) learn(warmup int) {
	n := len(r.members)
	for i, a := range r.moved {
		for j, b := range r.moved[:i+1] {
			r.sums[i*n+j] += a * b
		}
	}
	if r.rows++; r.rows < warmup {
		return
	}
	cov := mat.NewSymDense(n, nil)
	for i := range n {
		for j := range i + 1 {
			c := r.sums[i*n+j] / float64(r.rows)
			if i != j {
				c *= 1 - shrink
			}
			cov.SetSym(i, j, c)
		}
	}
	var chol mat.Cholesky
	var inverse mat.SymDense
	r.sums, r.weights, r.own = nil, make([]float64, n*n), make([]bool, n)
	if !chol.Factorize(cov) || chol.InverseTo(&inverse) != nil {
		r.members = nil
		return
	}
	for i := range n {
		p := inverse.At(i, i)
		r.own[i] = 1-1/(p*cov.At(i, i)) >= related
		for j := range n {
			if w := inverse.At(i, j) / math.Sqrt(p); r.own[i] {
				r.weights[i*n+j] = w
			}
		}
	}
	if !slices.Contains(r.own, true) {
		r.members = nil
	}
}

// residual is what the others don't explain of a member's newest movement.
func (r *relations) residual(member int) float64 {
	n, sum := len(r.members), 0.0
	for j, w := range r.weights[member*n : (member+1)*n] {
		sum += w * r.moved[j]
	}
	return sum
}
