package sequential

import "math"

// Interval is a confidence sequence for a share of which x of n are known: at
// each moment an interval, and with probability 1-alpha every one of them holds
// the share, however often one looks.
//
// It is Robbins' mixture martingale turned into an interval, with the prior
// Beta(1/2, 1/2): the shares p for which B(x+1/2, n-x+1/2)/B(1/2, 1/2) is less
// than p^x (1-p)^(n-x)/alpha (Howard, Ramdas, McAuliffe and Sekhon 2021,
// section 3.2; Robbins 1970). It is wider than an interval for one look by
// about what the looks are worth: 53 of 53 show 90 % at alpha 0.05, where 29
// of 29 do for one look (Clopper and Pearson 1934, one-sided).
func Interval(x, n int, alpha float64) (low, high float64) {
	if n <= 0 {
		return 0, 1
	}
	x = min(max(0, x), n)
	xf, yf := float64(x), float64(n-x)
	least := logBeta(xf+0.5, yf+0.5) - logBeta(0.5, 0.5) + math.Log(alpha)
	outside := func(p float64) bool { return xlogy(xf, p)+xlogy(yf, 1-p) < least }
	best := xf / float64(n)
	low, high = 0, 1
	if outside(0) {
		low = bisect(0, best, outside)
	}
	if outside(1) {
		high = bisect(1, best, outside)
	}
	return low, high
}

// AllNeeded is how many units must all be well for the lower end of Interval
// to reach share, or 0 where no number is enough.
func AllNeeded(share, alpha float64) int {
	if share <= 0 {
		return 1
	}
	if share >= 1 {
		return 0
	}
	lo, hi := 1, 2
	reached := func(n int) bool { low, _ := Interval(n, n, alpha); return low >= share }
	for !reached(hi) {
		if lo, hi = hi, 2*hi; hi > 1<<30 {
			return 0
		}
	}
	for lo < hi {
		if mid := (lo + hi) / 2; reached(mid) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// bisect finds where outside ends, between an end that is and one that is not.
// What it returns is the side that is inside or on the edge: never too narrow.
func bisect(out, in float64, outside func(float64) bool) float64 {
	for range 60 {
		if mid := (out + in) / 2; outside(mid) {
			out = mid
		} else {
			in = mid
		}
	}
	return out
}

func logBeta(a, b float64) float64 {
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	return la + lb - lab
}

func xlogy(x, y float64) float64 {
	if x == 0 {
		return 0
	}
	return x * math.Log(y)
}
