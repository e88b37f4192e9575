// Package sim is a simulated fleet that knows a Fettle server only by its
// public doors. It imports nothing of the server: package charger is the
// physics, mqttc and client speak the protocols, mailbox stands for the
// owners' mail, drive brings a fleet to life, check holds what a
// server stored against what units saw acknowledged, story tells the demo, and
// recording plays measured data.
package sim

import "time"

// Clock is the scaled clock that the simulation and the server agree on: at
// the real instant Origin it shows Start, and it runs Speed times as fast.
type Clock struct {
	Origin time.Time
	Start  time.Time
	Speed  float64
}

// Now is the simulated time.
func (c Clock) Now() time.Time {
	return c.Start.Add(time.Duration(float64(time.Since(c.Origin)) * c.Speed)).UTC()
}

// Real is how long the machine's clock takes for a simulated duration.
func (c Clock) Real(d time.Duration) time.Duration {
	return time.Duration(float64(d) / c.Speed)
}

// Simulated is how far the simulated clock moves in a real duration.
func (c Clock) Simulated(d time.Duration) time.Duration {
	return time.Duration(float64(d) * c.Speed)
}
