package detect

// Cells is how many steps a Window and a Change move in: what they say is of
// their length, less at most one step.
const Cells = 32

// Window adds up what happened within the last so much time. The zero value is
// empty. What never happens takes no memory.
type Window struct {
	Held  []Cell // oldest first, none empty
	Time  int64  // sums of Held
	Count int64
}

// Cell is one step of a Window.
type Cell struct {
	Step        int64 // its number: time divided by the length of a step
	Time, Count int64
}

// Add moves the window, length milliseconds long, on to a time not before the
// previous one, and adds time and count there.
func (w *Window) Add(at, length, time, count int64) {
	step := at / max(length/Cells, 1)
	for len(w.Held) > 0 && w.Held[0].Step <= step-Cells {
		w.Time -= w.Held[0].Time
		w.Count -= w.Held[0].Count
		w.Held = append(w.Held[:0], w.Held[1:]...)
	}
	if time == 0 && count == 0 {
		return
	}
	w.Time += time
	w.Count += count
	if n := len(w.Held); n > 0 && w.Held[n-1].Step == step {
		w.Held[n-1].Time += time
		w.Held[n-1].Count += count
		return
	}
	w.Held = append(w.Held, Cell{step, time, count})
}

// Change follows by how much a signal changes within a time. The zero value
// knows nothing.
type Change struct{ Held []Point } // oldest first, at least a step apart

// Point is a value at a time.
type Point struct {
	At    int64
	Value float64
}

// Step takes a value at a time after the previous one's and says by how much
// the signal has changed within span milliseconds before it: against the newest
// value that is at least so old, in proportion where it is older. Known is
// false while there is none, or none younger than gap.
func (c *Change) Step(at int64, v float64, span, gap int64) (change float64, known bool) {
	old := -1
	for i := range c.Held {
		if at-c.Held[i].At >= span {
			old = i
		}
	}
	if old >= 0 {
		p := c.Held[old]
		c.Held = append(c.Held[:0], c.Held[old:]...) // those before are of no more use
		known = at-p.At <= max(gap, span+span/Cells)
		change = (v - p.Value) * float64(span) / float64(at-p.At)
	}
	if n := len(c.Held); n == 0 || at-c.Held[n-1].At >= max(span/Cells, 1) {
		c.Held = append(c.Held, Point{at, v})
	}
	return change, known
}
