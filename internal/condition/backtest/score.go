package backtest

import (
	"cmp"
	"math"
	"slices"
	"time"

	"fettle.dev/fettle/internal/fleet"
)

// Failure is something that is known to have been wrong with a unit, or
// (Sound) to have been looked at and found in order.
type Failure struct {
	Unit      string    `json:"unit"`
	At        time.Time `json:"at"`
	Until     time.Time `json:"until,omitzero"` // zero: At
	Component string    `json:"component,omitempty"`
	Source    string    `json:"source,omitempty"` // file, assessment, replacement
	Sound     bool      `json:"sound,omitempty"`
}

// Match says which alarms belong to a failure: those that are open at some
// time from Horizon before it begins to Late after it ends.
type Match struct {
	Horizon fleet.Duration `json:"horizon" doc:"An alarm no longer than this before a failure foresaw it."`
	Late    fleet.Duration `json:"late" doc:"An alarm no longer than this after a failure still found it."`
}

// DefaultHorizon is the Horizon of a Match that has none.
const DefaultHorizon = 30 * 24 * time.Hour

func (m *Match) fill() {
	if m.Horizon <= 0 {
		m.Horizon = fleet.Duration(DefaultHorizon)
	}
	m.Late = max(0, m.Late)
}

// Cost is what an alarm without a failure and a failure without an alarm cost,
// in any one currency.
type Cost struct {
	False  float64 `json:"false" doc:"Of a false alarm."`
	Missed float64 `json:"missed" doc:"Of a failure that no alarm foresaw or found."`
}

// DefaultCost is the Cost when none is given: a missed failure is as bad as
// ten false alarms.
var DefaultCost = Cost{False: 1, Missed: 10}

func (c *Cost) fill() {
	if c.False == 0 && c.Missed == 0 {
		*c = DefaultCost
	}
}

// Verdict is what an alarm was.
type Verdict uint8

// The verdicts. An alarm is not judged while nobody has said what was found
// and not all failures are known.
const (
	Unjudged Verdict = iota
	True
	False
)

// Episode is one alarm of one unit: from Opened until Until (0: it stands at
// the end), Unix ms.
type Episode struct {
	Unit    int32 // among Result.Keys; -1: of no unit alone
	Onset   int64
	Opened  int64
	Until   int64
	Peak    float64
	Verdict Verdict
}

// Threshold is what one value of the setting would have given.
type Threshold struct {
	Value   float64  `json:"value"`
	Text    string   `json:"text" doc:"What the value means."`
	Units   int      `json:"units" doc:"Units flagged."`
	Alarms  int      `json:"alarms" doc:"Findings open at some time in the period."`
	Rate    float64  `json:"alarmsPerUnitMonth"`
	InAlarm float64  `json:"inAlarm" doc:"Share of the time watched for which an alarm stood."`
	True    int      `json:"true" doc:"Alarms that belong to a failure."`
	False   int      `json:"false" doc:"Alarms that belong to none."`
	Open    int      `json:"unjudged" doc:"Alarms of which nobody knows."`
	Found   int      `json:"found" doc:"Failures that some alarm foresaw or found."`
	Missed  int      `json:"missed"`
	Prec    *float64 `json:"precision,omitempty" doc:"True among the alarms judged; absent if none was."`
	Recall  *float64 `json:"recall,omitempty" doc:"Found among the known failures; absent if none is known."`
	LeadP50 *float64 `json:"leadTimeP50,omitempty" doc:"Seconds from the first alarm to the failure, at most the horizon, median over the failures found; negative: after it."`
	LeadP10 *float64 `json:"leadTimeP10,omitempty" doc:"Nine failures in ten that were found were found at least this long before."`
	Cost    *float64 `json:"cost,omitempty" doc:"False alarms and missed failures at their cost; absent if no failure is known."`

	Episodes []Episode `json:"-"`
	leads    []float64
	alarmed  int64
}

// span is when a unit was watched.
type span struct {
	first, last int64
	judged      bool
}

// event is a failure of a unit that was watched.
type event struct {
	from, to int64
	sound    bool
}

// record is what is known of all units.
type record struct {
	byUnit        map[int32][]event
	seen, outside int
}

// place looks up the failures' units. A failure counts if its unit was watched
// within the horizon before it.
func place(failures []Failure, byUnit map[string]int32, spans []span, m Match) record {
	out := record{byUnit: map[int32][]event{}}
	for _, f := range failures {
		v := event{from: f.At.UnixMilli(), to: f.At.UnixMilli(), sound: f.Sound}
		if !f.Until.IsZero() {
			v.to = max(v.from, f.Until.UnixMilli())
		}
		u, ok := byUnit[f.Unit]
		horizon, late := time.Duration(m.Horizon).Milliseconds(), time.Duration(m.Late).Milliseconds()
		if !ok || !spans[u].judged || spans[u].first > v.to+late || spans[u].last < v.from-horizon {
			if !f.Sound {
				out.outside++
			}
			continue
		}
		if !f.Sound {
			out.seen++
		}
		out.byUnit[u] = append(out.byUnit[u], v)
	}
	for _, all := range out.byUnit {
		slices.SortFunc(all, func(a, b event) int { return cmp.Compare(a.from, b.from) })
	}
	return out
}

// judge matches alarms with failures. The episodes get their verdicts.
func (k record) judge(episodes []Episode, spans []span, m Match, complete bool) Threshold {
	t := Threshold{Alarms: len(episodes), Episodes: episodes}
	slices.SortFunc(episodes, func(a, b Episode) int {
		if c := cmp.Compare(a.Unit, b.Unit); c != 0 {
			return c
		}
		return cmp.Compare(a.Opened, b.Opened)
	})
	horizon, late := time.Duration(m.Horizon).Milliseconds(), time.Duration(m.Late).Milliseconds()
	for i := 0; i < len(episodes); {
		u := episodes[i].Unit
		j := i
		for j < len(episodes) && episodes[j].Unit == u {
			j++
		}
		mine := episodes[i:j]
		i = j
		if u < 0 {
			t.Open += len(mine)
			continue
		}
		t.Units++
		reached := spans[u].first // alarms of one unit may overlap when one came late
		for n := range mine {
			ep := &mine[n]
			ended := ep.Until
			if ended == 0 {
				ended = max(spans[u].last, ep.Opened)
			}
			from, to := max(ep.Opened, reached), min(ended, spans[u].last)
			if to > from {
				t.alarmed += to - from
				reached = to
			}
			ep.Verdict = Unjudged
			if complete {
				ep.Verdict = False
			}
			for _, v := range k.byUnit[u] {
				switch {
				case v.sound && ep.Opened <= v.to && ended >= v.from && ep.Verdict != True:
					ep.Verdict = False
				case !v.sound && ep.Opened <= v.to+late && ended >= v.from-horizon:
					ep.Verdict = True
				}
			}
			switch ep.Verdict {
			case True:
				t.True++
			case False:
				t.False++
			default:
				t.Open++
			}
		}
		for _, v := range k.byUnit[u] {
			if v.sound {
				continue
			}
			lead, found := math.Inf(-1), false
			for n := range mine {
				ended := mine[n].Until
				if ended == 0 {
					ended = math.MaxInt64
				}
				if mine[n].Opened <= v.to+late && ended >= v.from-horizon {
					lead, found = max(lead, float64(min(v.from-mine[n].Opened, horizon))), true
				}
			}
			if found {
				t.Found++
				t.leads = append(t.leads, lead/1000)
			}
		}
	}
	return t
}

// finish works out the figures.
func (t *Threshold) finish(unitMonths float64, spent int64, known int, c Cost, any bool) {
	if unitMonths > 0 {
		t.Rate = float64(t.Alarms) / unitMonths
	}
	if spent > 0 {
		t.InAlarm = float64(t.alarmed) / float64(spent)
	}
	t.Missed = known - t.Found
	if n := t.True + t.False; n > 0 {
		t.Prec = new(float64(t.True) / float64(n))
	}
	if known > 0 {
		t.Recall = new(float64(t.Found) / float64(known))
	}
	if any {
		t.Cost = new(c.False*float64(t.False) + c.Missed*float64(t.Missed))
	}
	if len(t.leads) > 0 {
		slices.Sort(t.leads)
		t.LeadP50, t.LeadP10 = new(quantile(t.leads, 0.5)), new(quantile(t.leads, 0.1))
	}
}

// quantile interpolates between the order statistics (Hyndman and Fan 1996, type 7).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

//go:fix inline

// best is the place of the threshold that costs least, the nearest to the one
// declared; -1 if no costs are known.
func best(all []Threshold, declared int) int {
	out := -1
	away := func(i int) int { return max(i-declared, declared-i) }
	for i := range all {
		if all[i].Cost == nil {
			return -1
		}
		if out < 0 || *all[i].Cost < *all[out].Cost || (*all[i].Cost == *all[out].Cost && away(i) < away(out)) {
			out = i
		}
	}
	return out
}
