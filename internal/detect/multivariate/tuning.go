package multivariate

import "math"

// scales is how many lengths of time a channel is averaged over.
const scales = 3

// tuning holds the constants. docs/detection.md says what the figures become
// when each is moved; TestSensitivity prints it.
type tuning struct {
	// Lengths of the averages, as shares of the warm-up.
	Lengths [scales]float64
	// Clip is how many robust standard deviations a row may be from the short
	// average before it counts as no more than that.
	Clip float64
	// Prior is how many stretches' worth of trust the variance of a longer
	// average puts in what the shorter one would make of it.
	Prior float64
	// Freedom is the degrees of freedom of a signal that only wanders; one
	// of noise has that many more for each independent reading in the average.
	Freedom float64
	// Short is how many independent readings the shortest average is taken for.
	Short float64
	// Soft is how many standard deviations count as nothing.
	Soft float64
	// Still is the level above which references stand still.
	Still float64
	// Clear is the level below which an episode is over, once it has lasted for
	// Calm, a share of the warm-up.
	Clear, Calm float64
	// Back is the share of its furthest displacement within which a channel
	// counts as back.
	Back float64
	// Accept is after how many warm-ups a new level is the usual one.
	Accept float64
	// Memory is the longest time a reference is averaged over, in warm-ups.
	Memory float64
	// Motion is by how much more the second channel is discounted.
	Motion float64
	// Wary raises what counts as nothing for a channel that has alarmed.
	Wary float64
	// Anchor is how far a level may go for good without a word, in standard
	// deviations of a row.
	Anchor float64
	// Learn is what the warm-up is worth, in warm-ups, beside the rows that
	// follow it.
	Learn float64
	// Jump is the deviation, on the normal scale, of the first value that is not
	// like all before, and of a signal that is stuck: Stuck times as long at one
	// value as it ever was while learning.
	Jump, Stuck float64
	// Spike is the degrees of freedom of a single row.
	Spike float64
}

// standard is the one configuration.
var standard = tuning{
	Lengths: [scales]float64{0.0125, 0.05, 0.1},
	Clip:    5, Prior: 10, Freedom: 2.5, Short: 5,
	Soft: 2.25, Still: 0.7, Clear: 0.5, Calm: 0.025, Back: 0.25,
	Accept: 2, Memory: 1.5, Motion: 0.5, Wary: 0.3, Anchor: 0.3, Learn: 4, Spike: 3, Jump: 8, Stuck: 5,
}

// bar is the excess that is as rare as the budget allows: of so many episodes a
// row, each of which spans about the middle length, on any of
// the channels' averages.
func (t *tuning) bar(rate float64, warmup, signals int) float64 {
	p := rate * max(1, t.Lengths[1]*float64(warmup)) / float64(4*signals)
	z := math.Sqrt2 * math.Erfcinv(min(max(p, 1e-15), 0.01))
	return max(z-t.Soft, 0.25)
}
