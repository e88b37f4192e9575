package tip

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/tip/outside"
)

var start = time.Date(2026, 6, 1, 6, 0, 0, 0, time.UTC) // a Monday, 8 o'clock in Berlin

func berlin(tb testing.TB) *time.Location {
	tb.Helper()
	l, err := time.LoadLocation("Europe/Berlin")
	require.NoError(tb, err)
	return l
}

// dryer is a product with a feed of weather by cell and one of power by region.
func dryer() fleet.Product {
	day := fleet.Duration(24 * time.Hour)
	return fleet.Product{
		Name: "dryer", Title: "Dryer",
		Purposes: []fleet.Purpose{
			{Name: "tips", Title: "Tips", Description: "d", Basis: fleet.BasisConsent},
			{Name: "near", Title: "Place", Description: "d", Basis: fleet.BasisConsent},
			{Name: "care", Title: "Care", Description: "d", Basis: fleet.BasisNecessary},
		},
		Signals: []fleet.Signal{
			{Name: "load", Type: fleet.Number, Unit: "kg", Purposes: []string{"tips"}, Retention: day, Description: "d"},
			{Name: "running", Type: fleet.Boolean, Purposes: []string{"tips"}, Retention: day, Description: "d"},
			{Name: "programme", Type: fleet.Text, Purposes: []string{"tips"}, Retention: day, Description: "d"},
			{Name: "secret", Type: fleet.Number, Purposes: []string{"care"}, Retention: day, Description: "d"},
			{Name: "lat", Type: fleet.Number, Unit: "deg", Purposes: []string{"tips", "near"}, Retention: day, Description: "d"},
			{Name: "long", Type: fleet.Number, Unit: "deg", Purposes: []string{"tips", "near"}, Retention: day, Description: "d"},
		},
		Features: []fleet.Feature{{Name: "strong", Title: "Strong", Purposes: []string{"tips"}, Retention: day}, {Name: "eco-mode", Title: "Eco"}},
		Feeds: []fleet.Feed{
			{
				Name: "weather", Title: "Weather", By: outside.ByPlace, HTTP: &fleet.HTTPFeed{URL: "https://api.example/{latitude}/{longitude}", Every: fleet.Duration(time.Hour)},
				Place:     &fleet.FeedPlace{Latitude: "lat", Longitude: "long", Cells: []fleet.FeedCell{{Purpose: "near", Size: 0.1}, {Purpose: "tips", Size: 1}}},
				Variables: []fleet.FeedVariable{{Name: "humidity", Type: fleet.Number, Path: "/h", Unit: "%", Age: fleet.Duration(2 * time.Hour)}},
			},
			{
				Name: "power", Title: "Power", By: outside.ByRegion, MQTT: &fleet.MQTTFeed{Address: "mqtts://broker.example:8883", Topic: "power/{region}"},
				Variables: []fleet.FeedVariable{{Name: "cheap", Type: fleet.Boolean, Path: "/cheap", Age: fleet.Duration(time.Hour)}},
			},
		},
	}
}

func zero() *float64 { v := 0.0; return &v }

func humid() Tip {
	return Tip{
		Name: "humid", Version: 1, Product: "dryer", Purpose: "tips", When: "weather.humidity > 75", Feature: "strong", Holdout: zero(),
		Title: map[string]string{"en": "Humid today: {weather.humidity} %", "de": "Heute feucht: {weather.humidity} %"},
		Text:  map[string]string{"en": "Use the stronger programme.", "de": "Nimm das stärkere Programm."},
	}
}

// bench drives an evaluator by hand and grants every wish.
type bench struct {
	t     testing.TB
	e     *Evaluator
	facts map[int64]Facts
	now   time.Time
	got   []string // what was wished for: "humid u1 10:00"
}

func newBench(tb testing.TB, p fleet.Product, tips ...Tip) *bench {
	tb.Helper()
	b := &bench{t: tb, now: start, facts: map[int64]Facts{}}
	for k := int64(1); k <= 3; k++ {
		b.facts[k] = Facts{ID: fmt.Sprint("u", k), Product: "dryer", OwnerID: fmt.Sprint("o", k), Region: "north", Zone: berlin(tb), Given: []string{"tips"}, Active: true, Version: "1.0"}
	}
	for i := range tips {
		require.Empty(tb, Validate(&p, &tips[i]))
	}
	var err error
	b.e, err = NewEvaluator(func(_ context.Context, key int64) (Facts, bool, error) { f, ok := b.facts[key]; return f, ok, nil }, []Definition{{p, tips}})
	require.NoError(tb, err)
	b.e.Seeded("dryer")
	return b
}

func (b *bench) settle() {
	for _, w := range b.e.asked {
		b.got = append(b.got, fmt.Sprintf("%s%s u%d", []string{"", "end ", "used ", "forget "}[w.kind], nameOf(w), w.unit.key))
		if w.kind == give {
			b.e.given(w, Held(w.rule.Tip, w.unit.key))
		}
	}
	b.e.asked = nil
}

func nameOf(w *Wish) string {
	if w.rule == nil {
		return fmt.Sprint(w.names)
	}
	return w.rule.Name
}

func (b *bench) row(key int64, values ...telemetry.Value) {
	b.t.Helper()
	require.NoError(b.t, b.e.Row(b.t.Context(), 0, "dryer", &telemetry.Row{Unit: key, Event: b.now.UnixMilli(), Received: b.now.UnixMilli(), Values: values}))
	b.settle()
}

func (b *bench) mark(m telemetry.Mark) {
	b.t.Helper()
	m.At = b.now.UnixMilli()
	require.NoError(b.t, b.e.Mark(b.t.Context(), 0, &m))
	b.settle()
}

func (b *bench) said(feed, place string, values map[string]any) {
	b.t.Helper()
	text, err := json.Marshal(Observation{Product: "dryer", Feed: feed, Place: place, At: b.now.UnixMilli(), Values: values})
	require.NoError(b.t, err)
	b.mark(telemetry.Mark{Kind: telemetry.MarkContext, Text: string(text)})
}

func (b *bench) use(key int64, feature string) {
	b.t.Helper()
	require.NoError(b.t, b.e.Event(b.t.Context(), 0, "dryer", &telemetry.Event{Unit: key, Event: b.now.UnixMilli(), Received: b.now.UnixMilli(), Kind: telemetry.EventFeature, Name: feature}))
	b.settle()
}

func (b *bench) tick(d time.Duration) {
	b.t.Helper()
	b.now = b.now.Add(d)
	b.mark(telemetry.Mark{Kind: telemetry.MarkTick, Text: "30000"})
}

func (b *bench) expect(want ...string) {
	b.t.Helper()
	require.Equal(b.t, want, b.got)
	b.got = nil
}

func at(lat, long float64) []telemetry.Value {
	return []telemetry.Value{{Signal: "lat", Number: lat}, {Signal: "long", Number: long}}
}

func TestHumidToday(t *testing.T) {
	t.Parallel()
	b := newBench(t, dryer(), humid())
	b.said("weather", "52.5,13.5", map[string]any{"humidity": 80.0})
	b.expect()
	b.row(1, at(52.52, 13.4)...) // the cell of one degree, since "near" is not permitted
	b.expect("humid u1")
	b.row(2, at(48.1, 11.6)...)
	b.expect() // nobody knows how humid it is in Munich
	b.said("weather", "52.5,13.5", map[string]any{"humidity": 82.0})
	b.expect() // not again within a week
	b.use(1, "strong")
	b.expect("used humid u1")
	b.now = b.now.Add(30 * time.Minute)
	b.said("weather", "52.5,13.5", map[string]any{"humidity": 60.0})
	b.expect("end humid u1")
	b.now = b.now.Add(8 * 24 * time.Hour)
	b.said("weather", "52.5,13.5", map[string]any{"humidity": 90.0})
	b.expect("humid u1")
	require.Equal(t, []fleet.Place{{Key: "48.5,11.5", Point: &fleet.Point{Latitude: 48.5, Longitude: 11.5}}, {Key: "52.5,13.5", Point: &fleet.Point{Latitude: 52.5, Longitude: 13.5}}}, b.e.Places("dryer", "weather"))
}

func TestAFeedThatIsDownGivesNoTip(t *testing.T) {
	t.Parallel()
	b := newBench(t, dryer(), humid())
	b.row(1, at(52.52, 13.4)...)
	b.expect()
	b.said("weather", "52.5,13.5", map[string]any{"humidity": 80.0})
	b.expect("humid u1")
	b.tick(119 * time.Minute)
	b.expect()
	// Its last value is older than 2h: what was said holds no more, and a unit that comes gets nothing.
	b.e.units[1].tips[0].Until += time.Hour.Milliseconds()
	b.tick(2 * time.Minute)
	b.expect("end humid u1")
	b.row(2, at(52.52, 13.4)...)
	b.expect()
}

func TestPlaceIsAsFineAsIsPermitted(t *testing.T) {
	t.Parallel()
	b := newBench(t, dryer(), humid())
	f := b.facts[1]
	f.Given = []string{"near", "tips"}
	b.facts[1] = f
	b.row(1, at(52.52, 13.44)...)
	b.row(2, at(52.52, 13.44)...)
	require.Equal(t, "52.55,13.45", b.e.units[1].places[0])
	require.Equal(t, "52.5,13.5", b.e.units[2].places[0])
	b.mark(telemetry.Mark{Kind: telemetry.MarkConsent, Unit: 1, Text: "tips"})
	require.Equal(t, "52.5,13.5", b.e.units[1].places[0])
	b.mark(telemetry.Mark{Kind: telemetry.MarkConsent, Unit: 1, Text: ""})
	require.Empty(t, b.e.units[1].places[0])
	require.Zero(t, b.e.units[1].values[0].At)
	require.Equal(t, []fleet.Place{{Key: "52.5,13.5", Point: &fleet.Point{Latitude: 52.5, Longitude: 13.5}}}, b.e.Places("dryer", "weather")) // for u2
}

func TestConditions(t *testing.T) {
	t.Parallel()
	number := func(name string, v float64) telemetry.Value { return telemetry.Value{Signal: name, Number: v} }
	for name, c := range map[string]struct {
		when string
		do   func(b *bench)
		want []string
	}{
		"a number": {"load > 5", func(b *bench) { b.row(1, number("load", 6)) }, []string{"tip u1"}},
		"a boolean and a text": {"running && programme == 'eco'", func(b *bench) {
			b.row(1, number("running", 1), telemetry.Value{Signal: "programme", Text: "eco", IsText: true})
		}, []string{"tip u1"}},
		"one value is missing":         {"load > 5 && running", func(b *bench) { b.row(1, number("load", 6)) }, nil},
		"missing, but it decides":      {"load > 5 || running", func(b *bench) { b.row(1, number("load", 6)) }, []string{"tip u1"}},
		"not is not known either":      {"load > 5 && !running", func(b *bench) { b.row(1, number("load", 6)) }, nil},
		"never used":                   {"feature.strong.never && load > 1", func(b *bench) { b.row(1, number("load", 6)); b.use(2, "strong"); b.row(2, number("load", 6)) }, []string{"tip u1"}},
		"used twice":                   {"feature.strong.count >= 2", func(b *bench) { b.use(1, "strong"); b.use(1, "strong") }, []string{"tip u1"}},
		"long ago":                     {"feature.strong.days > 14", func(b *bench) { b.use(1, "strong"); b.tick(15 * 24 * time.Hour) }, []string{"tip u1"}},
		"never, so long ago is no day": {"feature.strong.days > 14", func(b *bench) { b.row(1, number("load", 6)); b.tick(15 * 24 * time.Hour) }, nil},
		"the hour where the owner is":  {"local.hour >= 9 && load > 1", func(b *bench) { b.row(1, number("load", 6)); b.tick(59 * time.Minute); b.tick(time.Minute) }, []string{"tip u1"}},
		"weekday and month":            {"local.weekday in [1, 2] && local.month == 6 && load > 1", func(b *bench) { b.row(1, number("load", 6)) }, []string{"tip u1"}},
		"another day":                  {"local.weekday in [6, 7] && load > 1", func(b *bench) { b.row(1, number("load", 6)) }, nil},
		"region and version":           {"unit.region == 'north' && unit.version == '1.0' && load > 1", func(b *bench) { b.row(1, number("load", 6)) }, []string{"tip u1"}},
		"a condition nobody knows":     {"unit.condition == 'normal' && load > 1", func(b *bench) { b.row(1, number("load", 6)) }, nil},
		"by region": {"power.cheap", func(b *bench) {
			b.row(1, number("load", 6))
			b.said("power", "south", map[string]any{"cheap": true})
			b.said("power", "north", map[string]any{"cheap": true})
		}, []string{"tip u1"}},
		"by region, and the unit says": {"power.cheap && load > 1", func(b *bench) { b.row(1, number("load", 6)); b.said("power", "north", map[string]any{"cheap": true}) }, []string{"tip u1"}},
		"of another type":              {"power.cheap && load > 1", func(b *bench) { b.row(1, number("load", 6)); b.said("power", "north", map[string]any{"cheap": "yes"}) }, nil},
		"too old": {"load > 5 && power.cheap", func(b *bench) {
			b.row(1, number("load", 6))
			b.now = b.now.Add(2 * time.Hour)
			b.said("power", "north", map[string]any{"cheap": true})
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tip := humid()
			tip.Name, tip.When = "tip", c.when
			tip.Title = map[string]string{"en": "x"}
			tip.Text = map[string]string{"en": "x"}
			b := newBench(t, dryer(), tip)
			c.do(b)
			require.Equal(t, c.want, b.got)
		})
	}
}

func TestStateOutlivesARestart(t *testing.T) {
	t.Parallel()
	b := newBench(t, dryer(), humid())
	b.said("weather", "52.5,13.5", map[string]any{"humidity": 80.0})
	b.row(1, at(52.52, 13.4)...)
	b.expect("humid u1")
	data, err := json.Marshal(b.e.units[1].save())
	require.NoError(t, err)
	again := newBench(t, dryer(), humid())
	again.now = b.now
	require.NoError(t, again.e.Load(t.Context(), []State{{Key: 1, Seq: 7, Data: data}}, []Observation{b.e.feeds[spot{"dryer", "weather", "52.5,13.5"}]}))
	require.Equal(t, b.e.units[1].save(), again.e.units[1].save())
	again.said("weather", "52.5,13.5", map[string]any{"humidity": 85.0})
	again.expect() // it has it
	again.said("weather", "52.5,13.5", map[string]any{"humidity": 20.0})
	again.expect("end humid u1")
	// What the state holds already is passed over when the stream tells it again.
	require.NoError(t, again.e.Row(t.Context(), 7, "dryer", &telemetry.Row{Unit: 1, Event: again.now.UnixMilli() + 1, Received: again.now.UnixMilli(), Values: at(48, 11)}))
	require.Equal(t, "52.5,13.5", again.e.units[1].places[0])
}

func TestLimitsAndLot(t *testing.T) {
	t.Parallel()
	tip := humid()
	tip.When, tip.Most, tip.Every = "load > 1", 2, fleet.Duration(time.Hour)
	tip.Title = map[string]string{"en": "x"}
	tip.Text = map[string]string{"en": "x"}
	b := newBench(t, dryer(), tip)
	for range 5 {
		b.row(1, telemetry.Value{Signal: "load", Number: 2})
		b.row(1, telemetry.Value{Signal: "load", Number: 0})
		b.now = b.now.Add(time.Hour)
	}
	b.expect("humid u1", "end humid u1", "humid u1", "end humid u1")

	half := 50.0
	tip.Holdout = &half
	n := 0
	for key := range int64(10_000) {
		if Held(&tip, key) {
			n++
		}
	}
	require.InDelta(t, 5000, n, 200)
	tip.Holdout = nil
	n = 0
	for key := range int64(10_000) {
		if Held(&tip, key) {
			n++
		}
	}
	require.InDelta(t, 1000, n, 120)
}

func TestEffect(t *testing.T) {
	t.Parallel()
	tip := humid()
	require.Equal(t, "no comparison", effectOf(&tip, Count{Units: 100, Used: 50}, Count{Units: 9, Used: 9}).Verdict)
	require.Zero(t, effectOf(&tip, Count{Units: 9}, Count{Units: 9}).Given.Units)
	// Newcombe 1998, table II: 56/70 and 48/80 differ by 0.2, method 10 gives 0.0524 to 0.3339.
	e := effectOf(&tip, Count{Units: 70, Used: 56}, Count{Units: 80, Used: 48})
	require.Equal(t, "more", e.Verdict)
	require.InDelta(t, 20.0, *e.Difference, 0.05)
	require.InDelta(t, 5.24, *e.Low, 0.06)
	require.InDelta(t, 33.39, *e.High, 0.06)
	require.Equal(t, "not demonstrated", effectOf(&tip, Count{Units: 40, Used: 12}, Count{Units: 40, Used: 10}).Verdict)
	require.Equal(t, "less", effectOf(&tip, Count{Units: 400, Used: 12}, Count{Units: 400, Used: 100}).Verdict)
}

// The same stream gives the same tips, however it is cut by restarts.
func TestSameStreamSameTips(t *testing.T) {
	t.Parallel()
	run := func(cut int) []string {
		r := rand.New(rand.NewPCG(1, 2))
		tip := humid()
		tip.Every, tip.When = fleet.Duration(time.Hour), "weather.humidity > 75 && load > 3 && local.hour > 5"
		b := newBench(t, dryer(), tip)
		for i := range 600 {
			b.now = b.now.Add(time.Duration(r.IntN(600)) * time.Second)
			key := int64(1 + r.IntN(3))
			switch r.IntN(4) {
			case 0:
				b.said("weather", "52.5,13.5", map[string]any{"humidity": float64(60 + r.IntN(30))})
			case 1:
				b.row(key, at(52.1+r.Float64()*0.8, 13.4)...)
			case 2:
				b.row(key, telemetry.Value{Signal: "load", Number: float64(r.IntN(8))})
			default:
				b.tick(0)
			}
			if cut > 0 && i%cut == 0 {
				var states []State
				for key, u := range b.e.units {
					data, err := json.Marshal(u.save())
					require.NoError(t, err)
					states = append(states, State{Key: key, Data: data})
				}
				var observed []Observation
				for _, o := range b.e.feeds {
					observed = append(observed, o)
				}
				now, quarter := b.e.now, b.e.quarter
				fresh := newBench(t, dryer(), tip)
				fresh.now, fresh.got = b.now, b.got
				require.NoError(t, fresh.e.Load(t.Context(), states, observed))
				fresh.e.now, fresh.e.quarter = now, quarter
				b = fresh
			}
		}
		return b.got
	}
	whole := run(0)
	require.Greater(t, len(whole), 20)
	require.Equal(t, whole, run(7))
	require.Equal(t, whole, run(50))
}

func BenchmarkRow(b *testing.B) {
	tip := humid()
	tip.When = "weather.humidity > 75 && load > 3 && local.hour > 5 && feature.strong.never"
	bench := newBench(b, dryer(), tip)
	const units = 100_000
	for k := int64(1); k <= units; k++ {
		bench.facts[k] = Facts{ID: fmt.Sprint("u", k), Product: "dryer", OwnerID: "o", Zone: berlin(b), Given: []string{"tips"}, Active: true}
		bench.row(k, at(float64(k%90), float64(k%180))...)
	}
	bench.said("weather", "0.5,0.5", map[string]any{"humidity": 50.0})
	row := telemetry.Row{Unit: 1, Event: bench.now.UnixMilli(), Received: bench.now.UnixMilli(), Values: []telemetry.Value{{Signal: "load", Number: 4}}}
	i := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		i++
		row.Unit = 1 + i%units
		if err := bench.e.Row(b.Context(), 0, "dryer", &row); err != nil {
			b.Fatal(err)
		}
	}
}
