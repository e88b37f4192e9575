package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

var begin = time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)

const step = 10 * time.Second

// fleet is trucks that report: readings of where they are and diagnostics of
// how they are.
type fleet struct {
	hours  int
	trucks []truck
	r      *rand.Rand
}

type truck struct {
	name, fleet, model string
	key                int64
	capacity           float64 // kg of load

	latitude, longitude, velocity float64
	fuel, load, status            float64
}

// What a message of each kind holds, in this order.
var (
	readings    = []string{"latitude", "longitude", "elevation", "velocity", "heading", "grade", "fuel_consumption"}
	diagnostics = []string{"fuel_state", "current_load", "status"}
)

func newFleet(units, hours int) *fleet {
	f := &fleet{hours: hours, r: rand.New(rand.NewPCG(7, 8))}
	models := []struct {
		name     string
		capacity float64
	}{{"F-150", 2000}, {"G-2000", 5000}, {"H-2", 1500}}
	for i := range units {
		m := models[f.r.IntN(len(models))]
		f.trucks = append(f.trucks, truck{
			name: fmt.Sprintf("truck_%d", i), key: f.r.Int64N(math.MaxInt64), model: m.name, capacity: m.capacity,
			fleet:    []string{"East", "West", "North", "South"}[f.r.IntN(4)],
			latitude: f.round(90, 5), longitude: f.round(180, 5), fuel: f.round(1, 4),
		})
	}
	return f
}

func (f *fleet) rounds() int { return f.hours * int(time.Hour/step) }

func (f *fleet) end() time.Time { return begin.Add(time.Duration(f.rounds()) * step) }

// round is a random number below most with so many decimals.
func (f *fleet) round(most float64, decimals int) float64 {
	p := math.Pow10(decimals)
	return math.Round(f.r.Float64()*most*p) / p
}

// each calls fn for every round's messages of every truck, in order of time:
// the values of readings and of diagnostics.
func (f *fleet) each(fn func(at int64, t *truck, readings, diagnostics []float64) error) error {
	trucks := append([]truck(nil), f.trucks...)
	f.r = rand.New(rand.NewPCG(9, 10))
	reading, diagnostic := make([]float64, len(readings)), make([]float64, len(diagnostics))
	for round := range f.rounds() {
		at := begin.Add(time.Duration(round) * step).UnixMilli()
		for i := range trucks {
			t := &trucks[i]
			if f.r.IntN(200) == 0 { // it stops, or goes on
				t.velocity = float64(f.r.IntN(2)) * f.round(100, 0)
			}
			if f.r.IntN(300) == 0 {
				t.status = float64(f.r.IntN(6)) * float64(f.r.IntN(2)) // 0: it stands broken
			}
			if f.r.IntN(500) == 0 {
				t.load = f.round(t.capacity, 0)
			}
			t.latitude = math.Round((t.latitude+t.velocity*1e-5)*1e5) / 1e5
			t.fuel = math.Max(0, math.Round((t.fuel-f.r.Float64()*0.0005)*1e4)/1e4)
			if t.fuel < 0.02 {
				t.fuel = 1
			}
			copy(reading, []float64{t.latitude, t.longitude, f.round(500, 0), t.velocity, f.round(360, 0), f.round(100, 0), f.round(50, 1)})
			copy(diagnostic, []float64{t.fuel, t.load, t.status})
			if err := fn(at, t, reading, diagnostic); err != nil {
				return err
			}
		}
	}
	return nil
}
