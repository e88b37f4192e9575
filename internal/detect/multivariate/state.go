package multivariate

// phase is what a row means to the references.
type phase uint8

const (
	calm     phase = iota // follow
	waiting               // stand still
	back                  // an episode is over: what moved is back
	accepted              // an episode has lasted: this is how it is now
)

// state is the alarm's.
type state struct {
	open  bool
	quiet int // rows below the clearing level
	stood int // rows that the references have stood still for
}

// step takes a row's level.
func (s *state) step(t *tuning, warmup int, level float64) phase {
	w := float64(warmup)
	if !s.open && level < t.Still {
		s.stood = max(0, s.stood-1)
		return calm
	}
	s.stood++
	if level >= 1 {
		s.open = true
	}
	if level >= t.Clear {
		s.quiet = 0
	} else {
		s.quiet++
	}
	switch {
	case float64(s.stood) > t.Accept*w:
		*s = state{}
		return accepted
	case s.open && float64(s.quiet) >= t.Calm*w:
		*s = state{}
		return back
	}
	return waiting
}
