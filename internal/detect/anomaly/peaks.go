package anomaly

import "math"

// peaks learns how surprising the most surprising row of a usual day is: its
// mean over days (block maxima: Gumbel 1958; Coles 2001, "An Introduction to
// Statistical Modeling of Extreme Values", chapters 3 and 5). Probabilities of
// rows say nothing about how often a day has an episode: rows twice as often
// are not twice as many occasions, and neither are those of a signal that
// moves slowly. Surprise has an exponential tail of scale 1, whatever the
// signal, so the highest of a day is Gumbel distributed, and what it exceeds
// once in so many days is their logarithm above its mode; above its mean, which
// is half a nat more, here.
type peaks struct {
	Mean mean
	Most float64 // of the present day
	Rows float64 // of the present day
}

const (
	peakRows   = 12  // a day's rows at least: a day is longer where rows are few
	peakMemory = 60  // days
	peakPrior  = 15  // days that the expectation before is worth: that of
	peakApart  = 120 // independent rows a day, or of all where they are fewer
	peakMost   = 1.7 // usual peaks that one day counts for at most
)

// span is how many rows a day has.
func (p *peaks) span(c *clock) float64 { return max(peakRows, day/c.interval()) }

// expect is how high the highest of so many rows usually is.
func (p *peaks) expect(rows float64) float64 {
	if rows = min(rows, peakApart); p.Mean.N == 0 {
		return math.Log(rows)
	}
	return (p.Mean.M*p.Mean.N + peakPrior*math.Log(rows)) / (p.Mean.N + peakPrior)
}

// level measures a surprise by what the budget, in episodes a year, allows,
// and learns it.
func (p *peaks) level(surprise, budget float64, c *clock) float64 {
	rows := p.span(c)
	usual := p.expect(rows)
	level := surprise / (usual - math.Log(min(budget*rows*c.interval()/year, 0.5)))

	p.Most = max(p.Most, surprise)
	if p.Rows++; p.Rows >= rows {
		p.Mean.add(min(p.Most, peakMost*usual), peakMemory)
		p.Most, p.Rows = 0, 0
	}
	return level
}
