package tolerance

import (
	"fmt"
	"math"
	"time"

	"fettle.dev/fettle/internal/detect/code"

	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/detect"
)

// window is what a rule looks at in place of what is so now: for how much of a
// time before each reading it was outside, or in how many readings.
type window struct {
	length int64   // ms; 0: none
	share  float64 // percentage of length outside; 0: count
	count  int
	whole  detect.Rule // of the percentage or the number
}

// recent is what is kept of it.
type recent struct {
	side detect.Episode // inside or outside, by hysteresis; never opens
	past detect.Window
}

func (x *window) declared(c *kind.Checks, d *kind.Detector) {
	x.length, x.share, x.count = time.Duration(d.Window).Milliseconds(), d.Share, d.Count
	x.whole = detect.Rule{Hold: time.Duration(d.Hold).Milliseconds(), Clear: time.Duration(d.Clear).Milliseconds(), Gap: math.MaxInt64}
	if d.Share != 0 {
		c.Number("spec.share", d.Share, math.SmallestNonzeroFloat64, 100)
	}
	switch {
	case d.Count < 0:
		c.Add("spec.count", "a number of readings, 1 or more", fmt.Sprint(d.Count))
	case d.Window == 0 && (d.Share != 0 || d.Count != 0):
		c.Add("spec.window", "the time that share or count look at, as 24h", "nothing")
	case d.Window != 0 && d.Window < 32*1e6: // of time.Duration: 32 ms
		c.Add("spec.window", "a duration, as 24h", d.Window.String())
	case d.Window != 0 && (d.Share != 0) == (d.Count != 0):
		c.Add("spec.window", "either share or count beside it", fmt.Sprintf("share %v and count %d", d.Share, d.Count))
	}
}

// look takes a reading and gives what is to be judged of the window, and its
// band.
func (x *window) look(s *recent, at int64, v float64, l detect.Limits, inner *detect.Rule) (float64, detect.Limits) {
	never := detect.Rule{Hold: math.MaxInt64, Gap: inner.Gap, Hysteresis: inner.Hysteresis}
	before := s.side.Held
	s.side.Step(&never, at, v, l)
	time, count := int64(0), int64(0)
	if s.side.Outside {
		count = 1
		time = max(s.side.Held-before, 0)
	}
	s.past.Add(at, x.length, time, count)
	if x.share > 0 {
		return 100 * float64(s.past.Time) / float64(x.length), detect.Limits{Min: math.Inf(-1), Max: math.Nextafter(x.share, 0)}
	}
	return float64(s.past.Count), detect.Limits{Min: math.Inf(-1), Max: float64(x.count) - 0.5}
}

// threshold says how much is too much.
func (x *window) threshold() string {
	if x.share > 0 {
		return fmt.Sprintf("%s %% of %s", words.Number(x.share), span(x.length))
	}
	return fmt.Sprintf("%d readings within %s", x.count, span(x.length))
}

// said says how much it was.
func (x *window) said(peak float64) string {
	if x.share > 0 {
		return fmt.Sprintf("for %s %% of %s (at most %s %%)", words.Number(math.Round(10*peak)/10), span(x.length), words.Number(x.share))
	}
	return fmt.Sprintf("in %.0f readings within %s", peak, span(x.length))
}

func (s *recent) encode(b []byte) []byte {
	b = encode(b, &s.side)
	b = code.AppendCount(b, len(s.past.Held))
	for _, c := range s.past.Held {
		b = code.AppendInt(b, c.Step, c.Time, c.Count)
	}
	return b
}

func decodeRecent(in *code.Reader) *recent {
	s := &recent{side: decode(in)}
	for range in.Count(3, detect.Cells+1) {
		c := detect.Cell{Step: in.Int(), Time: in.Int(), Count: in.Int()}
		s.past.Held = append(s.past.Held, c)
		s.past.Time += c.Time
		s.past.Count += c.Count
	}
	return s
}
