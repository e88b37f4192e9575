package sequential

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// Event is a unit that fell ill for the first time: whether it was of those
// offered the update, and how many of each kind were still well right before.
type Event struct {
	Treated          bool
	AtRisk, AtRiskOf int // treated units at risk; all units at risk
}

// Hazard is what events say of two groups over the same time.
type Hazard struct {
	Events   int     `json:"events"`
	Treated  int     `json:"treated"`  // of them
	Expected float64 `json:"expected"` // treated ones, if the update did nothing
	Evidence float64 `json:"evidence"` // that treated units fall ill more often
}

// ratios are how many times more often treated units may fall ill; each weighs
// the same.
var ratios = []float64{1.25, 1.5, 2, 3, 5, 10, 30, 100}

// Compare weighs "treated units fall ill more often" against "just as often",
// event by event in the order of time: the exact anytime-valid logrank test of
// J. ter Schure, M. F. Pérez-Ortiz, A. Ly, P. Grünwald, The anytime-valid
// logrank test: error control under continuous monitoring with unlimited
// horizon, New England Journal of Statistics in Data Science 2 (2024). An event
// is of a treated unit with probability r·n1/(r·n1+n0), where n1 of n1+n0 at
// risk are treated and r is how many times more often they fall ill; if the
// update does nothing, r is 1.
//
// Treated is by the lot that a unit drew, not by what its owner chose: then,
// if the update does nothing, who falls ill is settled whatever the lots say,
// and each event is of a treated unit with exactly that probability. Units
// move from one group to the other when their wave opens.
func Compare(events []Event) Hazard {
	h := Hazard{Evidence: 1}
	logs := make([]float64, len(ratios))
	for _, e := range events {
		if e.AtRisk <= 0 || e.AtRisk >= e.AtRiskOf {
			continue // with one group alone there is nothing to compare
		}
		h.Events++
		n1, n0 := float64(e.AtRisk), float64(e.AtRiskOf-e.AtRisk)
		h.Expected += n1 / (n1 + n0)
		for i, r := range ratios {
			logs[i] += math.Log((n1 + n0) / (r*n1 + n0))
			if e.Treated {
				logs[i] += math.Log(r)
			}
		}
		if e.Treated {
			h.Treated++
		}
	}
	h.Evidence = math.Exp(math.Min(floats.LogSumExp(logs)-math.Log(float64(len(ratios))), maxLog))
	return h
}
