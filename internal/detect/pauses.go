package detect

import (
	"math"
	"math/bits"
	"slices"
)

// Pauses learns for how long a source usually stays away, from the pauses
// between its contacts, and how long a pause must be to say that it is dead.
//
// It keeps how many pauses there were, and how long, by octaves of their
// length, and forgets over about two months. The usual pause is the one that an
// instant picked at random lies in (the median by time, not by number: contacts
// come in bursts, and the short times within a burst say nothing of the pauses).
// The tail beyond is taken to be exponential, as it is where reports are lost
// by chance and where habits vary: through the number of pauses N and the number
// C that were at least so much longer, the length is extrapolated that no more
// than False pauses in a month are expected to exceed (peaks over threshold;
// Pickands 1975, Balkema and de Haan 1974, with shape 0). Few pauses say little
// of how often a report is lost, so C of N is not taken at its word: what counts
// is the expectation over all the rates that may have given it (a predictive
// distribution, Geisser 1993, chapter 2), which asks for more while N is small
// and for the same in the end. Every octave gives such a line, and the longest
// counts: a night's pause is not drowned by the minutes of the day. What was
// never seen is not impossible: a part of a lost report is always added. And a
// source that was watched for no longer than a burst lasts is not known at all.
type Pauses struct {
	Held    []Octave // shortest first
	Pending int64    // time not yet counted as past for forgetting, ms
	Count   int      // pauses learned from since the beginning

	Usual int64 // the usual pause, ms; 0: not known yet
	Tail  int64 // pause that hardly ever is exceeded, ms
	Clean bool  // no pause was so long that a report must have been lost
}

// Octave is the pauses from 2^(Bits-1) to 2^Bits ms.
type Octave struct {
	Bits        uint8
	Count, Time float32 // how many, and ms in all; both fade
}

const (
	// False is how many pauses of a living source may be taken for its death in
	// a month.
	False = 0.0005

	month     = 30 * 24 * 3600 * 1000.0
	memory    = 2 * month
	day       = month / 30
	unseen    = 0.15      // lost reports assumed
	fewest    = 5         // pauses before anything is said,
	holds     = 6         // and holds to have watched for (a day will do)
	longest   = 1000      // usual pauses that may be allowed
	leastBits = 10        // pauses under a second are of one octave
	steps     = 64        // of forgetting in a memory
	faded     = 1.0 / 128 // an octave of less is dropped
)

// Known reports whether enough is known to say when a pause is too long: a few
// pauses, and more than one burst of them. What a burst is goes by hold, for
// how long a source must be missed beside.
func (p *Pauses) Known(hold int64) bool {
	if p.Count < fewest || p.Usual == 0 {
		return false
	}
	watched := 0.0
	for _, o := range p.Held {
		watched += float64(o.Time)
	}
	return watched >= min(holds*float64(hold), day)
}

// Learn takes a pause of which it was thought at most to be expected (0: nothing
// was). One that was longer is learned in full if it is no longer than a day, for
// it may become a habit, else as a quarter or twice what was expected, so that
// one holiday doesn't make a source unwatchable.
func (p *Pauses) Learn(pause, expected int64) {
	if pause < 0 {
		return
	}
	v := float64(pause)
	if expected > 0 && pause > expected {
		v = min(v, max(day, v/4, 2*float64(expected)))
	}
	p.Count++
	at := uint8(max(bits.Len64(uint64(v)), leastBits))
	i := 0
	for i < len(p.Held) && p.Held[i].Bits < at {
		i++
	}
	usual := p.Count > 4*fewest && v <= 2*float64(p.Usual)
	if i == len(p.Held) || p.Held[i].Bits != at {
		p.Held = append(p.Held, Octave{})
		copy(p.Held[i+1:], p.Held[i:])
		p.Held[i] = Octave{Bits: at}
	}
	p.Held[i].Count++
	p.Held[i].Time += float32(v)
	if p.Pending += pause; p.Pending >= memory/steps {
		p.fade()
	} else if usual && p.Count%64 != 0 {
		return // it says what was known
	}
	p.fit()
}

// fade forgets by the time that has passed.
func (p *Pauses) fade() {
	f := float32(math.Exp(-min(float64(p.Pending), memory) / memory))
	p.Pending = 0
	kept := p.Held[:0]
	for _, o := range p.Held {
		o.Count *= f
		o.Time *= f
		if o.Count >= faded {
			kept = append(kept, o)
		}
	}
	p.Held = kept
}

func (p *Pauses) fit() {
	var time float64
	for _, o := range p.Held {
		time += float64(o.Time)
	}
	usual, sum := 0.0, 0.0
	for _, o := range p.Held {
		if sum += float64(o.Time); 2*sum >= time {
			usual = float64(o.Time / o.Count)
			break
		}
	}
	if usual < 1 {
		return
	}
	number := 0.0
	for _, o := range p.Held {
		if float64(o.Time) >= usual/4*float64(o.Count) {
			number += float64(o.Count)
		}
	}
	number = max(number, 1)
	far := math.Log(number / (False * time / month)) // how rare the tail is to be
	tail, beyond, lost := usual, 0.0, unseen
	for _, o := range slices.Backward(p.Held) {
		length := float64(o.Time / o.Count)
		if length <= usual {
			break
		}
		beyond += float64(o.Count)
		if length >= 1.75*usual {
			lost += float64(o.Count)
		}
		tail = max(tail, usual+(length-usual)*inARow(beyond, number, far))
	}
	tail = max(tail, usual+usual*inARow(lost, number, far))
	p.Usual, p.Tail, p.Clean = int64(usual), int64(min(tail, 1e15)), lost <= unseen
}

// inARow is how many times in a row, m, a thing must happen so that the
// probability of it is e^-far, where it happened c of n times. Its rate p is not
// known better than that: over p as c of n leave it, Beta(c, n+1-c), the mean of
// p^m is Γ(c+m) Γ(n+1) / (Γ(c) Γ(n+1+m)), and m is where that has come down to
// e^-far. With p = c/n it would be far / ln(n/c), where Newton's steps begin: the
// function is convex and falls, so that they come from the left. At longest it
// ends.
func inARow(c, n, far float64) float64 {
	total := n + 1
	ln := func(m float64) float64 {
		a, _ := math.Lgamma(c + m)
		b, _ := math.Lgamma(total + m)
		return a - b
	}
	zero, m := ln(0), far/max(math.Log(n/c), 0.5)
	for range 8 {
		step := (ln(m) - zero + far) / math.Log((total+m)/(c+m))
		if m += step; !(m < longest) {
			return longest
		}
		if math.Abs(step) < 0.01 {
			break
		}
	}
	return max(m, 0)
}

// Allowed is for how long the source may stay away: factor times its learned
// interval, and hold. The learned interval (see Interval) is such that with a
// factor of 2 it is long enough for False.
func (p *Pauses) Allowed(factor float64, hold int64) int64 {
	return int64(min(factor*float64(p.Interval(hold)), 1e15)) + hold
}

// Interval is within what the source is heard of, lost reports included: its
// usual pause where twice that and hold are long enough to tell, else more.
func (p *Pauses) Interval(hold int64) int64 {
	if p.Usual == 0 {
		return 0
	}
	if p.Clean && p.Tail < 3*p.Usual {
		return p.Usual
	}
	return max(p.Usual, (p.Tail-hold)/2)
}
