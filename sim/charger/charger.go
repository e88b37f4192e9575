// Package charger is the physics of the simulated fleet: a wall charger whose
// adapter warms with the square of the current and with its contact
// resistance, an owner who plugs in on most evenings, and a defect that makes
// the resistance grow. It knows no protocol and no server; what it knows of a
// unit's defect is the ground truth that the server never sees.
package charger

import (
	"math"
	"math/rand/v2"
	"time"
)

// The constants of the model.
const (
	Volts = 230.0
	// ThermalResistance turns the heat of the contact into a rise of the
	// plug's temperature, K/W.
	ThermalResistance = 88.0
	// ThermalLag is the time constant of that rise.
	ThermalLag = 15 * time.Minute
	// AgeingHours is how many hours of charging after onset bring the
	// resistance 63 % of the way to its final value.
	AgeingHours = 1.2
	// Limit is the plug temperature that the product's tolerance allows while
	// charging; the model keeps healthy units far below and defective far above.
	Limit = 80.0
	// MinCurrent is the least that can be called charging.
	MinCurrent = 6.0

	holdAt     = 72.0 // Cel at which the remedy holds the plug
	actAbove   = 75.0 // Cel from which the remedy lowers the current
	lowerTo    = 0.75 // of the current: the remedy's first step
	noiseTemp  = 0.3  // K, standard deviation of the sensors
	noiseAmp   = 0.08 // A
	whileOn    = 20 * time.Minute
	whileOff   = 3 * time.Hour
	reportSkew = 0.15 // share by which a reporting interval varies
	substep    = 10 * time.Minute
)

// Firmware is the software a unit runs.
type Firmware struct {
	Version string
	// Protects says that it measures the temperature and lowers the current.
	Protects bool
}

// Reading is what the sensors of one unit show at one time.
type Reading struct {
	At       time.Time
	Current  float64 // A
	Plug     float64 // Cel
	Ambient  float64 // Cel
	Energy   float64 // kW.h since manufacture
	Charging bool
}

// Charger is one unit's physical state, moved on by Advance. It is not safe
// for concurrent use.
type Charger struct {
	unit  *Unit
	rng   *rand.Rand
	start time.Time // of the simulation: onsets count from it

	Firmware Firmware

	now      time.Time
	plug     float64
	energy   float64
	charging bool
	hot      bool    // this session shows the defect
	todo     float64 // kW.h left of this session
	amps     float64
	next     time.Time // start of the next session
	aged     float64   // hours of charging since onset
	load     float64   // hours of charging since the start
	loadAged float64   // hours of charging since onset, whether or not hot
	paused   bool      // nothing charges while software is installed
	report   time.Time
	last     time.Time
}

// New puts a unit into the world at start.
func New(u *Unit, start time.Time) *Charger {
	c := &Charger{
		unit:     u,
		rng:      rand.New(rand.NewPCG(u.seed, 0x9e3779b97f4a7c15)),
		start:    start,
		Firmware: Firmware{Version: "1.0.0"},
		now:      start,
		energy:   100 + u.seedFraction()*3000,
	}
	c.plug = u.Climate.Ambient(start)
	c.plan(start.Add(-24 * time.Hour))
	for c.next.Before(start) {
		c.plan(c.next)
	}
	c.report = start.Add(time.Duration(c.rng.Float64() * float64(whileOff)))
	if c.next.Before(c.report) {
		c.report = c.next
	}
	return c
}

// Due is when the unit reports next.
func (c *Charger) Due() time.Time { return c.report }

// Charging says whether the unit is charging.
func (c *Charger) Charging() bool { return c.charging }

// Load is the hours of charging so far, and those since onset.
func (c *Charger) Load() (all, sinceOnset float64) { return c.load, c.loadAged }

// Resistance is the contact resistance now, in ohm.
func (c *Charger) Resistance() float64 {
	r := c.unit.Resistance
	if !c.unit.Defective || c.aged == 0 || !c.hot {
		return r
	}
	return r + (c.unit.AgedResistance-r)*(1-math.Exp(-c.aged/AgeingHours))
}

// plan finds the first session that starts after t.
func (c *Charger) plan(t time.Time) {
	loc := c.unit.Location
	local := t.In(loc)
	for day := 0; ; day++ {
		if c.rng.Float64() > c.unit.Habit.Daily {
			continue
		}
		midnight := time.Date(local.Year(), local.Month(), local.Day()+day, 0, 0, 0, 0, loc)
		at := midnight.Add(time.Duration((c.unit.Habit.Hour + c.rng.NormFloat64()*0.5) * float64(time.Hour)))
		if at.After(t.Add(time.Hour)) {
			c.next = at
			return
		}
	}
}

// begin starts the session planned.
func (c *Charger) begin() {
	c.charging = true
	h := c.unit.Habit
	c.todo = h.Energy * (0.9 + 0.2*c.rng.Float64())
	c.amps = h.Current
	c.hot = c.rng.Float64() < c.unit.Shows
}

// Pause stops charging while software is installed; Resume goes on with it.
func (c *Charger) Pause() { c.paused = true }

// Resume ends Pause; the unit reports its state at once.
func (c *Charger) Resume(at time.Time) {
	c.Advance(at)
	c.paused = false
	c.report = at
}

// Advance moves the unit on to t: the only way that its time moves.
func (c *Charger) Advance(t time.Time) {
	for c.now.Before(t) {
		to := t
		if c.charging && !c.paused {
			if s := c.now.Add(substep); s.Before(to) {
				to = s
			}
		} else if !c.charging && c.next.Before(to) {
			to = c.next
			if to.Before(c.now) {
				to = c.now
			}
		}
		c.step(to)
		if !c.charging && !c.now.Before(c.next) {
			c.begin()
		}
	}
}

// step moves on to t, which is in the same phase of a session.
func (c *Charger) step(t time.Time) {
	dt := t.Sub(c.now)
	if dt <= 0 {
		return
	}
	ambient := c.unit.Climate.Ambient(c.now)
	target, amps := ambient, 0.0
	if c.charging && !c.paused {
		amps = c.current(ambient)
		kw := amps * Volts / 1000
		if need := time.Duration(c.todo / kw * float64(time.Hour)); need <= dt {
			dt = max(need, time.Second)
			t = c.now.Add(dt)
		}
		hours := dt.Hours()
		target = ambient + ThermalResistance*amps*amps*c.Resistance()
		c.energy += kw * hours
		c.todo -= kw * hours
		c.load += hours
		if c.unit.Defective && !c.now.Before(c.start.Add(c.unit.Onset)) {
			c.aged += hours
			c.loadAged += hours
		}
	}
	c.plug = target + (c.plug-target)*math.Exp(-dt.Seconds()/ThermalLag.Seconds())
	c.amps = amps
	c.now = t
	if c.charging && c.todo <= 1e-6 {
		c.charging = false
		c.plan(t)
	}
}

// current is what the firmware lets flow.
func (c *Charger) current(ambient float64) float64 {
	amps := c.unit.Habit.Current
	if !c.Firmware.Protects {
		return amps
	}
	heat := ThermalResistance * c.Resistance()
	if ambient+heat*amps*amps > actAbove {
		amps *= lowerTo
	}
	if ambient+heat*amps*amps > holdAt {
		amps = math.Sqrt((holdAt - ambient) / heat)
	}
	return max(amps, MinCurrent)
}

// Report moves the unit on to its next report (or to a start or end of a
// session before it), reads the sensors, and plans the one after.
func (c *Charger) Report() Reading {
	t := c.report
	c.Advance(t)
	at := c.now
	if !at.After(c.last) {
		at = c.last.Add(time.Second)
	}
	c.last = at
	r := Reading{
		At:       at,
		Charging: c.charging && !c.paused,
		Ambient:  c.unit.Climate.Ambient(at) + c.rng.NormFloat64()*noiseTemp,
		Plug:     c.plug + c.rng.NormFloat64()*noiseTemp,
		Energy:   c.energy,
	}
	if r.Charging {
		r.Current = max(c.current(c.unit.Climate.Ambient(at))+c.rng.NormFloat64()*noiseAmp, 0)
	}
	every := whileOff
	if r.Charging {
		every = whileOn
	}
	every = time.Duration(float64(every) * (1 + reportSkew*(2*c.rng.Float64()-1)))
	c.report = at.Add(every)
	switch {
	case r.Charging:
		if end := c.ends(); end.Before(c.report) {
			c.report = end
		}
	case !c.charging && c.next.Before(c.report):
		c.report = c.next.Add(time.Second)
	}
	if !c.report.After(at) {
		c.report = at.Add(time.Second)
	}
	return r
}

// ends is about when the session will be over.
func (c *Charger) ends() time.Time {
	kw := c.current(c.unit.Climate.Ambient(c.now)) * Volts / 1000
	return c.now.Add(time.Duration(c.todo/kw*float64(time.Hour)) + 2*time.Second)
}
