// Package proportion compares two proportions: numbers in, numbers out.
package proportion

import "math"

// Difference is k1/n1 less k2/n2, with a 95 % interval (Newcombe, Statistics in
// Medicine 1998;17:873-890, method 10). Neither n may be 0.
func Difference(k1, n1, k2, n2 int) (difference, low, high float64) {
	p1, p2 := float64(k1)/float64(n1), float64(k2)/float64(n2)
	low1, high1 := wilson(k1, n1)
	low2, high2 := wilson(k2, n2)
	difference = p1 - p2
	return difference, difference - math.Hypot(p1-low1, high2-p2), difference + math.Hypot(high1-p1, p2-low2)
}

// wilson is Wilson's score interval of a proportion, 95 %.
func wilson(k, n int) (low, high float64) {
	const z = 1.959963984540054
	p, N := float64(k)/float64(n), float64(n)
	middle := (p + z*z/(2*N)) / (1 + z*z/N)
	half := z / (1 + z*z/N) * math.Sqrt(p*(1-p)/N+z*z/(4*N*N))
	return max(0, middle-half), min(1, middle+half)
}
