package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"fettle.dev/fettle/bench/child"
	"fettle.dev/fettle/bench/load"
)

// target is what the load goes to.
type target struct {
	address string
	units   []load.Unit
}

// measure starts a system and sends it both loads.
func (o *options) measure(s system, dir string, connections int) ([]row, error) {
	if err := s.start(dir, connections); err != nil {
		return nil, err
	}
	to := s.target()
	fleet, err := load.Connect(context.Background(), to.address, to.units, 64)
	if err != nil {
		return nil, err
	}
	defer fleet.Close()
	if _, err := fleet.Burst(max(20*connections, o.fill), 4); err != nil { // what is new costs once
		return nil, err
	}
	if err := quiet(s); err != nil {
		return nil, err
	}
	var rows []row
	if f, ok := s.(*fettle); ok && o.profile != "" {
		defer f.record()()
	}
	if o.paced > 0 {
		r, err := measure(s, func() (load.Result, error) { return fleet.Pace(o.rate, o.paced) })
		if err != nil {
			return nil, err
		}
		r.load = "paced"
		rows = append(rows, r)
	}
	if o.burst > 0 {
		r, err := measure(s, func() (load.Result, error) { return fleet.Burst(o.burst, o.inFlight) })
		if err != nil {
			return nil, err
		}
		r.load = "burst"
		rows = append(rows, r)
	}
	for i := range rows {
		rows[i].system, rows[i].connections = s.name(), connections
		fmt.Fprintf(os.Stderr, "%s, %d connections, %s: %d acknowledged in %s, stored in %s, %d lost, %.1f us of CPU each\n", rows[i].system, connections, rows[i].load,
			rows[i].acked, rows[i].ackTook.Round(time.Millisecond), rows[i].storing.Round(time.Millisecond), rows[i].lost, rows[i].cpuAcked)
	}
	return rows, nil
}

// quiet waits until a system does nothing more.
func quiet(s system) error {
	_, _, err := follow(s, time.Now(), 0, 0)
	return err
}

// measure sends a load and follows the messages until they are all stored and
// evaluated, or are not coming any more.
func measure(s system, send func() (load.Result, error)) (r row, err error) {
	stored0, evaluated0, err := s.progress()
	if err != nil {
		return r, err
	}
	exact0, err := s.exact()
	if err != nil {
		return r, err
	}
	cpu0, err := processor(s.processes())
	if err != nil {
		return r, err
	}
	begin := time.Now()
	sent, err := send()
	if err != nil {
		return r, err
	}
	if sent.Acked < sent.Sent {
		fmt.Fprintf(os.Stderr, "%s: %d of %d messages were never acknowledged\n", s.name(), sent.Sent-sent.Acked, sent.Sent)
	}
	stored, evaluated, err := follow(s, begin, stored0+sent.Acked, evaluated0+sent.Acked)
	if err != nil {
		return r, err
	}
	cpu1, err := processor(s.processes())
	if err != nil {
		return r, err
	}
	exact1, err := s.exact()
	if err != nil {
		return r, err
	}
	cpu := float64((cpu1 - cpu0).Microseconds())
	r = row{
		acked: sent.Acked, ackTook: sent.Took, ackRate: float64(sent.Acked) / sent.Took.Seconds(),
		cpuAcked: cpu / float64(sent.Acked),
	}
	if kept := exact1 - exact0; stored.n > 0 {
		r.stores, r.storing = true, stored.at
		r.lost = sent.Acked - kept
		r.storeRate = float64(kept) / stored.at.Seconds()
		r.cpuStored = cpu / float64(kept)
	}
	if evaluated.n > 0 {
		r.evaluateRate = float64(evaluated.n-evaluated0) / evaluated.at.Seconds()
	}
	for _, p := range s.processes() {
		_, peak, err := p.Memory()
		if err != nil {
			return r, err
		}
		r.peak += peak
	}
	return r, nil
}

// reached is a count, and when it was first seen.
type reached struct {
	n  int
	at time.Duration
}

// follow watches the counts until they are what is wanted, or stand still.
func follow(s system, begin time.Time, wantStored, wantEvaluated int) (stored, evaluated reached, err error) {
	last := time.Now()
	for {
		a, b, err := s.progress()
		if err != nil {
			return stored, evaluated, err
		}
		now := time.Now()
		if a != stored.n {
			stored, last = reached{a, now.Sub(begin)}, now
		}
		if b != evaluated.n {
			evaluated, last = reached{b, now.Sub(begin)}, now
		}
		all := wantStored > 0 && a >= wantStored && b >= wantEvaluated
		if all || now.Sub(last) > s.settle() {
			return stored, evaluated, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func processor(all []*child.Process) (sum time.Duration, err error) {
	for _, p := range all {
		cpu, err := p.CPU()
		if err != nil {
			return 0, err
		}
		sum += cpu
	}
	return sum, nil
}
