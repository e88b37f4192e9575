package outside

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

var start = time.Date(2026, 6, 1, 6, 0, 0, 0, time.UTC)

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
				Name: "weather", Title: "Weather", By: ByPlace, HTTP: &fleet.HTTPFeed{URL: "https://api.example/{latitude}/{longitude}", Every: fleet.Duration(time.Hour)},
				Place:     &fleet.FeedPlace{Latitude: "lat", Longitude: "long", Cells: []fleet.FeedCell{{Purpose: "near", Size: 0.1}, {Purpose: "tips", Size: 1}}},
				Variables: []fleet.FeedVariable{{Name: "humidity", Type: fleet.Number, Path: "/h", Unit: "%", Age: fleet.Duration(2 * time.Hour)}},
			},
			{
				Name: "power", Title: "Power", By: ByRegion, MQTT: &fleet.MQTTFeed{Address: "mqtts://broker.example:8883", Topic: "power/{region}"},
				Variables: []fleet.FeedVariable{{Name: "cheap", Type: fleet.Boolean, Path: "/cheap", Age: fleet.Duration(time.Hour)}},
			},
		},
	}
}

func TestMistakesOfAFeed(t *testing.T) {
	t.Parallel()
	p := dryer()
	require.Empty(t, Validate(&p))
	for name, c := range map[string]struct {
		change func(p *fleet.Product)
		want   string
	}{
		"a name that is taken":  {func(p *fleet.Product) { p.Feeds[0].Name = "local" }, `spec.feeds[0].name: expected a name of a-z`},
		"twice":                 {func(p *fleet.Product) { p.Feeds[1].Name = "weather" }, `spec.feeds[1].name: expected a name used once`},
		"both":                  {func(p *fleet.Product) { p.Feeds[0].MQTT = p.Feeds[1].MQTT }, `spec.feeds[0]: expected either http or mqtt, got both`},
		"no source":             {func(p *fleet.Product) { p.Feeds[0].HTTP = nil }, `spec.feeds[0]: expected either http or mqtt, got neither`},
		"a file":                {func(p *fleet.Product) { p.Feeds[0].HTTP.URL = "file:///etc/passwd" }, `spec.feeds[0].http.url: expected an https address`},
		"a password":            {func(p *fleet.Product) { p.Feeds[0].HTTP.URL = "https://me:secret@api.example/" }, `spec.feeds[0].http.url: expected an https address without user and password`},
		"a host of braces":      {func(p *fleet.Product) { p.Feeds[0].HTTP.URL = "https://a.{latitude}/" }, `spec.feeds[0].http.url: expected nothing in braces in the host`},
		"an unknown hole":       {func(p *fleet.Product) { p.Feeds[0].HTTP.URL = "https://api.example/{unit}" }, `spec.feeds[0].http.url: expected in braces {secret:NAME}`},
		"a way out of the room": {func(p *fleet.Product) { p.Feeds[0].HTTP.URL = "https://api.example/{secret:../x}" }, `spec.feeds[0].http.url: expected in braces {secret:NAME}`},
		"too often":             {func(p *fleet.Product) { p.Feeds[0].HTTP.Every = fleet.Duration(time.Second) }, `spec.feeds[0].http.every: expected from 1m to 1d`},
		"a wildcard":            {func(p *fleet.Product) { p.Feeds[1].MQTT.Topic = "power/#" }, `spec.feeds[1].mqtt.topic: expected a topic`},
		"a plain password":      {func(p *fleet.Product) { p.Feeds[1].MQTT.Password = "hunter2" }, `spec.feeds[1].mqtt.password: expected {secret:NAME}`},
		"no pointer":            {func(p *fleet.Product) { p.Feeds[0].Variables[0].Path = "humidity" }, `spec.feeds[0].variables[0].path: expected a JSON Pointer`},
		"no unit":               {func(p *fleet.Product) { p.Feeds[0].Variables[0].Unit = "percent" }, `spec.feeds[0].variables[0].unit: expected a UCUM unit`},
		"another kind":          {func(p *fleet.Product) { p.Feeds[0].Variables[0].Sent = "K" }, `spec.feeds[0].variables[0].sent: expected a unit of the same kind as %`},
		"no age":                {func(p *fleet.Product) { p.Feeds[0].Variables[0].Age = 0 }, `spec.feeds[0].variables[0].age: expected from 1m to 30d`},
		"no place":              {func(p *fleet.Product) { p.Feeds[0].Place = nil }, `spec.feeds[0].place: expected the signals`},
		"the finest last":       {func(p *fleet.Product) { p.Feeds[0].Place.Cells[1].Size = 0.05 }, `spec.feeds[0].place.cells[1].size: expected more than the cell before it`},
		"a purpose not named":   {func(p *fleet.Product) { p.Feeds[0].Place.Cells[0].Purpose = "care" }, `spec.feeds[0].place.cells[0].purpose: expected a purpose that signal`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := dryer()
			c.change(&p)
			require.ErrorContains(t, fault.Fields("", Validate(&p)), c.want)
		})
	}
}

// metNo and openMeteo are documents in the shapes that the services document:
// https://api.met.no/weatherapi/locationforecast/2.0/documentation and
// https://open-meteo.com/en/docs.
const (
	metNo = `{"type":"Feature","geometry":{"type":"Point","coordinates":[10.75,59.95,25]},"properties":{"meta":{"updated_at":"2026-06-01T05:31:27Z",
"units":{"air_temperature":"celsius","relative_humidity":"%","wind_speed":"m/s"}},"timeseries":[{"time":"2026-06-01T06:00:00Z","data":{"instant":{"details":
{"air_pressure_at_sea_level":1010.3,"air_temperature":12.4,"cloud_area_fraction":98.4,"relative_humidity":86.1,"wind_from_direction":154.2,"wind_speed":4.1}},
"next_1_hours":{"summary":{"symbol_code":"lightrain"},"details":{"precipitation_amount":0.3}}}}]}}`
	openMeteo = `{"latitude":52.52,"longitude":13.419998,"generationtime_ms":0.04,"utc_offset_seconds":0,"timezone":"GMT","timezone_abbreviation":"GMT","elevation":38.0,
"current_units":{"time":"iso8601","interval":"seconds","temperature_2m":"°F","relative_humidity_2m":"%","is_day":""},
"current":{"time":"2026-06-01T05:45","interval":900,"temperature_2m":68.0,"relative_humidity_2m":81,"is_day":1}}`
)

func TestReadDocuments(t *testing.T) {
	t.Parallel()
	variable := func(name, path string, kind fleet.ValueType, sent, unit string) fleet.FeedVariable {
		return fleet.FeedVariable{Name: name, Path: path, Type: kind, Sent: sent, Unit: unit, Age: fleet.Duration(time.Hour)}
	}
	for name, c := range map[string]struct {
		feed fleet.Feed
		body string
		want map[string]any
		at   time.Time
		fail string
	}{
		"met.no": {
			fleet.Feed{Time: "/properties/timeseries/0/time", Variables: []fleet.FeedVariable{
				variable("humidity", "/properties/timeseries/0/data/instant/details/relative_humidity", fleet.Number, "", "%"),
				variable("wind", "/properties/timeseries/0/data/instant/details/wind_speed", fleet.Number, "m/s", "km/h"),
				variable("sky", "/properties/timeseries/0/data/next_1_hours/summary/symbol_code", fleet.Text, "", ""),
				variable("pollen", "/properties/timeseries/0/data/instant/details/pollen", fleet.Number, "", ""),
			}}, metNo, map[string]any{"humidity": 86.1, "wind": 14.76, "sky": "lightrain"}, start, "",
		},
		"Open-Meteo": {
			fleet.Feed{Time: "/current/time", Variables: []fleet.FeedVariable{
				variable("humidity", "/current/relative_humidity_2m", fleet.Number, "%", "%"),
				variable("warmth", "/current/temperature_2m", fleet.Number, "[degF]", "Cel"),
				variable("day", "/current/is_day", fleet.Boolean, "", ""),
			}}, openMeteo, map[string]any{"humidity": 81.0, "warmth": 20.0}, start.Add(-15 * time.Minute), "", // is_day is a number
		},
		"not yet":        {fleet.Feed{Time: "/t", Variables: []fleet.FeedVariable{variable("x", "/x", fleet.Number, "", "")}}, `{"t":"2026-06-01T07:00:00Z","x":1}`, nil, time.Time{}, "has not come yet"},
		"without a time": {fleet.Feed{Time: "/t", Variables: []fleet.FeedVariable{variable("x", "/x", fleet.Number, "", "")}}, `{"x":1}`, nil, time.Time{}, "no time at /t"},
		"nothing of it":  {fleet.Feed{Variables: []fleet.FeedVariable{variable("x", "/x", fleet.Number, "", "")}}, `{"y":1}`, nil, time.Time{}, "none of the variables"},
		"no JSON":        {fleet.Feed{}, `<html>`, nil, time.Time{}, "not JSON"},
		"escaped":        {fleet.Feed{Variables: []fleet.FeedVariable{variable("x", "/a~1b/m~0n/0", fleet.Boolean, "", "")}}, `{"a/b":{"m~n":[true]}}`, map[string]any{"x": true}, start, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values, at, err := Read(&c.feed, []byte(c.body), start)
			if c.fail != "" {
				require.ErrorContains(t, err, c.fail)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, values)
			require.Equal(t, c.at, at)
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(metNo), "/properties/timeseries/0/data/instant/details/relative_humidity", "/properties/timeseries/0/time")
	f.Add([]byte(openMeteo), "/current/relative_humidity_2m", "")
	f.Fuzz(func(t *testing.T, body []byte, path, at string) {
		feed := fleet.Feed{Time: at, Variables: []fleet.FeedVariable{{Name: "x", Path: path, Type: fleet.Number}, {Name: "y", Path: path, Type: fleet.Text}}}
		values, _, err := Read(&feed, body, start)
		if err != nil {
			return
		}
		if _, err := json.Marshal(values); err != nil { // it goes into the stream
			t.Fatal(err)
		}
	})
}
