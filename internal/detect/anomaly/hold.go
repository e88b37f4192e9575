package anomaly

import "math"

// hold makes onsets and a state of levels.
type hold struct {
	Floor float64 // what a level must outdo to be an onset
	Hours float64 // since the floor was raised,
	Since int32   // and rows
	Calm  int32   // rows below the clearing level
	Open  bool
}

const (
	outdo      = 1.1   // how many times the floor an onset is
	climb      = 1.0   // more right after an onset, which may be on its way up; it fades
	climbHours = 0.15  // within such a time
	holdHours  = 5     // for which the floor stays,
	holdRows   = 60    // rows at least
	holdFade   = 0.035 // then it falls by this share an hour
	clearBelow = 0.5   // an episode is over when the level has been below this
	clearRows  = 12    // for so many rows
)

// mark returns the level if it is an onset at that level, else 0.
func (h *hold) mark(level float64, c *clock) float64 {
	hours := c.interval() / hour
	h.Hours += hours
	h.Since = min(h.Since+1, holdRows+1)
	if level > outdo*h.Floor && level > (outdo+climb*math.Exp(-h.Hours/climbHours))*h.Floor {
		h.Floor, h.Hours, h.Since = level, 0, 0
		return level
	}
	if h.Since > holdRows && h.Hours > holdHours {
		h.Floor *= math.Exp(-holdFade * hours)
	}
	return 0
}

// judge follows the state, and says whether an episode begins: at a mark that
// reaches the budget.
func (h *hold) judge(mark, level float64) (onset bool) {
	switch {
	case mark >= 1:
		onset, h.Open, h.Calm = !h.Open, true, 0
	case level >= clearBelow:
		h.Calm = 0
	case h.Open:
		if h.Calm++; h.Calm >= clearRows {
			h.Open, h.Calm = false, 0
		}
	}
	return onset
}
