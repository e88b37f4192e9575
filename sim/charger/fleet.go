package charger

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Share of the fleet, by what is true of it.
const (
	InBadBatches   = 0.11
	DefectiveShare = 0.08
	ConsentShare   = 0.92
	LeavesShare    = 0.02
	OnsetWithin    = 60 * time.Hour // defects begin in the first days
)

// BadBatches are the production weeks that hold every defective adapter.
var BadBatches = []string{"2013-W46", "2013-W47", "2013-W48"}

// Climate is the air around the unit.
type Climate struct {
	Mean, Season, Daily float64 // Cel, and half the swing over a year and a day
	Phase               float64 // of the weather
	Zone                float64 // hours east of Greenwich
}

// Ambient is the temperature in the garage at t.
func (c *Climate) Ambient(t time.Time) float64 {
	hours := float64(t.Unix())/3600 + c.Zone
	year := math.Mod(hours/24, 365.25) / 365.25
	day := math.Mod(hours, 24)
	weather := 1.6*math.Sin(hours/37+c.Phase) + 0.9*math.Sin(hours/11+2*c.Phase)
	out := c.Mean - c.Season*math.Cos(2*math.Pi*(year-0.05)) + c.Daily*math.Cos(2*math.Pi*(day-15)/24) + weather
	return min(max(out, 4), 24)
}

// Habit is how an owner charges.
type Habit struct {
	Current float64 // A
	Hour    float64 // local hour of plugging in
	Daily   float64 // probability of charging on a day
	Energy  float64 // kW.h a session
}

// Mood is what an owner does when told of an update.
type Mood string

// The moods.
const (
	StartsNow  Mood = "starts now"
	Tonight    Mood = "tonight"
	Schedules  Mood = "schedules"
	Postpones  Mood = "postpones, then accepts"
	Declines   Mood = "declines"
	NeverReact Mood = "never reacts"
)

// Accepts says whether the owner will let the update run in the end.
func (m Mood) Accepts() bool { return m != Declines && m != NeverReact }

// Unit is one unit of the fleet and its owner: what is declared, and the
// ground truth.
type Unit struct {
	Index    int
	ID       string
	Serial   string
	Hardware string
	Batch    string
	Region   string
	Place    string // time zone, IANA
	Email    string
	Name     string
	Locale   string
	Consents bool // to the purpose "care"
	Obeys    bool // its software collects only what it was told to

	Habit    Habit
	Climate  Climate
	Location *time.Location

	Defective      bool
	Onset          time.Duration // since the start of the simulation
	Resistance     float64       // ohm
	AgedResistance float64       // ohm, at the end of ageing
	Shows          float64       // probability that an aged defect shows in a session
	Leaves         time.Duration // leaves the network then; 0: never
	Mood           Mood
	Delay          time.Duration // between the mail and the owner's reaction

	seed uint64
}

func (u *Unit) seedFraction() float64 { return float64(u.seed>>40) / (1 << 24) }

type region struct {
	name, zone, locale  string
	east                float64
	mean, season, daily float64
	weight              float64
}

var regions = []region{
	{"US-CA", "America/Los_Angeles", "en", -8, 17, 4, 3, 0.34},
	{"US-WA", "America/Los_Angeles", "en", -8, 13, 5, 2, 0.10},
	{"US-NY", "America/New_York", "en", -5, 14, 7, 2, 0.14},
	{"US-TX", "America/Chicago", "en", -6, 19, 6, 3, 0.10},
	{"NO", "Europe/Oslo", "en", 1, 10, 5, 1, 0.14},
	{"NL", "Europe/Amsterdam", "en", 1, 12, 5, 2, 0.09},
	{"DE", "Europe/Berlin", "de", 1, 12, 6, 2, 0.09},
}

// Options shape a fleet.
type Options struct {
	Units int
	Seed  uint64
	// Intermittent is the probability that an aged defect shows in a session;
	// 0 means 1: in every session.
	Intermittent float64
}

// Fleet draws a fleet. The same options give the same fleet.
func Fleet(o Options) ([]*Unit, error) {
	rng := rand.New(rand.NewPCG(o.Seed, 0x2014))
	n := o.Units
	bad := int(math.Round(InBadBatches * float64(n)))
	defective := int(math.Round(DefectiveShare * float64(n)))
	order := rng.Perm(n)
	rank := make([]int, n) // a unit's place in the drawn order: first the defective, then the rest of the bad batches
	for place, i := range order {
		rank[i] = place
	}
	places := make(map[string]*time.Location)
	phases := make([]float64, len(regions))
	for i, r := range regions {
		l, err := time.LoadLocation(r.zone)
		if err != nil {
			return nil, fmt.Errorf("time zone of region %s: %w", r.name, err)
		}
		places[r.zone] = l
		phases[i] = rng.Float64() * 2 * math.Pi
	}
	units := make([]*Unit, n)
	for i := range units {
		u := draw(rng, i, places, phases)
		if rank[i] < bad {
			u.Batch = BadBatches[rng.IntN(len(BadBatches))]
		} else {
			u.Batch = goodBatch(rng)
		}
		if rank[i] < defective {
			u.Defective = true
			u.Onset = time.Duration(rng.Float64() * float64(OnsetWithin))
			rise := 90 + 25*rng.Float64() // K at the owner's current
			u.AgedResistance = rise / (ThermalResistance * u.Habit.Current * u.Habit.Current)
			u.Shows = 1
			if o.Intermittent > 0 {
				u.Shows = o.Intermittent
			}
		}
		units[i] = u
	}
	return units, nil
}

func goodBatch(rng *rand.Rand) string {
	w := 22 + rng.IntN(27) // 2013-W22 to W51 without the three
	if w >= 46 {
		w += 3
	}
	return fmt.Sprintf("2013-W%02d", w)
}

func draw(rng *rand.Rand, i int, places map[string]*time.Location, phases []float64) *Unit {
	k, pick := 0, rng.Float64()
	for k < len(regions)-1 && pick > regions[k].weight {
		pick -= regions[k].weight
		k++
	}
	r := regions[k]
	u := &Unit{
		Index:    i,
		ID:       fmt.Sprintf("WC-%06d", i+1),
		Serial:   fmt.Sprintf("SN%02d%07d", 13, 1000003*(i+1)%9999991),
		Hardware: [...]string{"B", "C"}[rng.IntN(2)],
		Region:   r.name,
		Place:    r.zone,
		Location: places[r.zone],
		Locale:   r.locale,
		Email:    fmt.Sprintf("owner-%06d@example.org", i+1),
		Name:     fmt.Sprintf("Owner %d", i+1),
		Consents: rng.Float64() < ConsentShare,
		Obeys:    rng.Float64() < 0.75,
		Climate:  Climate{Mean: r.mean + rng.NormFloat64(), Season: r.season, Daily: r.daily, Phase: phases[k], Zone: r.east},
		seed:     rng.Uint64(),
	}
	amps := [...]float64{16, 20, 24, 28, 32}[rng.IntN(5)]
	hours := 2.75 + 1.5*rng.Float64()
	u.Habit = Habit{
		Current: amps + 0.5, // a little above the nominal, as chargers allow
		Hour:    18 + 4*rng.Float64(),
		Daily:   0.8 + 0.18*rng.Float64(),
		Energy:  hours * (amps + 0.5) * Volts / 1000,
	}
	u.Resistance = min(max(0.2e-3*math.Exp(0.18*rng.NormFloat64()), 0.12e-3), 0.32e-3)
	if rng.Float64() < LeavesShare {
		u.Leaves = time.Duration((12 + 60*rng.Float64()) * float64(time.Hour))
	}
	u.Mood = mood(rng.Float64())
	u.Delay = time.Duration(min(1+5*math.Exp(0.8*rng.NormFloat64()), 24) * float64(time.Hour))
	return u
}

func mood(p float64) Mood {
	for _, m := range []struct {
		share float64
		mood  Mood
	}{{0.03, Declines}, {0.03, NeverReact}, {0.12, Postpones}, {0.14, Schedules}, {0.24, Tonight}} {
		if p < m.share {
			return m.mood
		}
		p -= m.share
	}
	return StartsNow
}
