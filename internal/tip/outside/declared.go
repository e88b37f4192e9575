package outside

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

var identifier = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// namespaces are words before the dot that conditions have already.
var namespaces = []string{"feature", "unit", "local"}

type mistakes []fault.Field

func (m *mistakes) add(path, expected, got string) {
	*m = append(*m, fault.Field{Path: path, Expected: expected, Got: got})
}

// FeatureName is a feature as conditions write it.
func FeatureName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// Names are the names in braces in a text.
func Names(text string) []string {
	var out []string
	for {
		_, rest, ok := strings.Cut(text, "{")
		if !ok {
			return out
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return append(out, rest)
		}
		out, text = append(out, name), after
	}
}

// Validate finds every mistake in a product's feeds.
func Validate(p *fleet.Product) []fault.Field {
	var m mistakes
	seen := map[string]bool{}
	features := map[string]string{}
	for i, f := range p.Features {
		name := FeatureName(f.Name)
		if other, twice := features[name]; twice && other != f.Name {
			m.add(fmt.Sprintf("spec.features[%d].name", i), fmt.Sprintf("a name that conditions tell from %s: they write - as _", other), f.Name)
		}
		features[name] = f.Name
	}
	for i := range p.Feeds {
		f := &p.Feeds[i]
		at := fmt.Sprintf("spec.feeds[%d]", i)
		switch {
		case !identifier.MatchString(f.Name) || slices.Contains(namespaces, f.Name):
			m.add(at+".name", "a name of a-z, 0-9 and _ that begins with a letter, other than "+strings.Join(namespaces, ", "), strconv.Quote(f.Name))
		case seen[f.Name]:
			m.add(at+".name", "a name used once in this list", f.Name)
		}
		seen[f.Name] = true
		if strings.TrimSpace(f.Title) == "" {
			m.add(at+".title", "a text: owners are told where values come from", "nothing")
		}
		m.where(at, p, f)
		m.sources(at, f)
		if !fleet.HasPointer(f.Time) {
			m.add(at+".time", "a JSON Pointer, as /current/time", strconv.Quote(f.Time))
		}
		m.feedVariables(at, f)
	}
	return m
}

func (m *mistakes) feedVariables(at string, f *fleet.Feed) {
	if len(f.Variables) == 0 {
		m.add(at+".variables", "at least one variable", "none")
	}
	seen := map[string]bool{}
	for j, v := range f.Variables {
		path := fmt.Sprintf("%s.variables[%d]", at, j)
		if !identifier.MatchString(v.Name) {
			m.add(path+".name", "a name of a-z, 0-9 and _ that begins with a letter", strconv.Quote(v.Name))
		} else if seen[v.Name] {
			m.add(path+".name", "a name used once in this feed", v.Name)
		}
		seen[v.Name] = true
		if v.Path == "" || !fleet.HasPointer(v.Path) {
			m.add(path+".path", "a JSON Pointer, as /current/relative_humidity_2m", strconv.Quote(v.Path))
		}
		if v.Type != fleet.Number && v.Type != fleet.Boolean && v.Type != fleet.Text {
			m.add(path+".type", "number, boolean or text", strconv.Quote(string(v.Type)))
		}
		if v.Age < fleet.Duration(time.Minute) || v.Age > fleet.Duration(30*24*time.Hour) {
			m.add(path+".age", "from 1m to 30d", v.Age.String())
		}
		for name, code := range map[string]string{"unit": v.Unit, "sent": v.Sent} {
			if code == "" {
				continue
			}
			if v.Type != fleet.Number {
				m.add(path+"."+name, "no unit for type "+string(v.Type), strconv.Quote(code))
			} else if err := fleet.CheckUnit(code); err != nil {
				m.add(path+"."+name, "a UCUM unit, as % or Cel: "+err.Error(), strconv.Quote(code))
			}
		}
		if v.Sent != "" && v.Unit == "" {
			m.add(path+".unit", "the unit that "+v.Sent+" is converted to", "nothing")
		} else if _, ok := Convert(1, v.Sent, v.Unit); !ok {
			m.add(path+".sent", "a unit of the same kind as "+v.Unit, strconv.Quote(v.Sent))
		}
	}
}

// where checks what a feed's values are for.
func (m *mistakes) where(at string, p *fleet.Product, f *fleet.Feed) {
	if f.By != ByProduct && f.By != ByRegion && f.By != ByPlace {
		m.add(at+".by", "product, region or place", strconv.Quote(f.By))
	}
	if f.By != ByRegion && len(f.Regions) > 0 {
		m.add(at+".regions", "regions with by: region alone", "by: "+f.By)
	}
	for name, point := range f.Regions {
		if !(point.Latitude >= -90 && point.Latitude <= 90 && point.Longitude >= -180 && point.Longitude <= 180) {
			m.add(at+".regions."+name, "a latitude from -90 to 90 and a longitude from -180 to 180", fmt.Sprint(point))
		}
	}
	switch {
	case f.By != ByPlace && f.Place != nil:
		m.add(at+".place", "place with by: place alone", "by: "+f.By)
	case f.By == ByPlace && f.Place == nil:
		m.add(at+".place", "the signals that tell the place, and its cells", "nothing")
	case f.Place != nil:
		m.place(at+".place", p, f.Place)
	}
}

func (m *mistakes) place(at string, p *fleet.Product, place *fleet.FeedPlace) {
	if len(place.Cells) == 0 {
		m.add(at+".cells", "at least one cell", "none")
	}
	for name, signal := range map[string]string{"latitude": place.Latitude, "longitude": place.Longitude} {
		s, ok := p.Signal(signal)
		if !ok || s.Type != fleet.Number {
			m.add(at+"."+name, "one of the product's signals of type number", strconv.Quote(signal))
			continue
		}
		for i, c := range place.Cells {
			if _, declared := p.Purpose(c.Purpose); declared && !slices.Contains(s.Purposes, c.Purpose) {
				m.add(fmt.Sprintf("%s.cells[%d].purpose", at, i), "a purpose that signal "+signal+" names", strconv.Quote(c.Purpose))
			}
		}
	}
	for i, c := range place.Cells {
		path := fmt.Sprintf("%s.cells[%d]", at, i)
		if _, ok := p.Purpose(c.Purpose); !ok {
			m.add(path+".purpose", "one of the product's purposes", strconv.Quote(c.Purpose))
		}
		if !(c.Size >= 0.01 && c.Size <= 45) {
			m.add(path+".size", "degrees from 0.01 to 45", strconv.FormatFloat(c.Size, 'g', -1, 64))
		} else if i > 0 && c.Size <= place.Cells[i-1].Size {
			m.add(path+".size", "more than the cell before it: the finest stands first", strconv.FormatFloat(c.Size, 'g', -1, 64))
		}
	}
}

// sources checks where a feed comes from.
func (m *mistakes) sources(at string, f *fleet.Feed) {
	switch {
	case (f.HTTP == nil) == (f.MQTT == nil):
		m.add(at, "either http or mqtt", map[bool]string{true: "neither", false: "both"}[f.HTTP == nil])
	case f.HTTP != nil:
		u, err := url.Parse(strings.NewReplacer("{", "", "}", "").Replace(f.HTTP.URL))
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
			m.add(at+".http.url", "an https address without user and password; {secret:NAME} stands for what is secret", strconv.Quote(f.HTTP.URL))
		} else if host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(f.HTTP.URL, "https://"), "http://"), "/"); strings.ContainsAny(host, "{}") {
			m.add(at+".http.url", "nothing in braces in the host", strconv.Quote(host))
		}
		m.template(at+".http.url", f, f.HTTP.URL)
		for name, v := range f.HTTP.Headers {
			if !regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`).MatchString(name) || strings.ContainsAny(v, "\r\n") {
				m.add(at+".http.headers."+name, "a header of letters, digits and -, and one line", strconv.Quote(name))
			}
			m.template(at+".http.headers."+name, f, v)
		}
		if f.HTTP.Every < fleet.Duration(time.Minute) || f.HTTP.Every > fleet.Duration(24*time.Hour) {
			m.add(at+".http.every", "from 1m to 1d", f.HTTP.Every.String())
		}
	default:
		u, err := url.Parse(f.MQTT.Address)
		if err != nil || u.Scheme != "mqtts" && u.Scheme != "mqtt" || u.Hostname() == "" || u.User != nil {
			m.add(at+".mqtt.address", "mqtts://host:8883, without user and password", strconv.Quote(f.MQTT.Address))
		}
		if f.MQTT.Topic == "" || strings.ContainsAny(f.MQTT.Topic, "+#\x00") || len(f.MQTT.Topic) > 200 {
			m.add(at+".mqtt.topic", "a topic of at most 200 characters without wildcards", strconv.Quote(f.MQTT.Topic))
		}
		m.template(at+".mqtt.topic", f, f.MQTT.Topic)
		if f.MQTT.Password != "" && !regexp.MustCompile(`^\{secret:[A-Za-z0-9._-]+\}$`).MatchString(f.MQTT.Password) {
			m.add(at+".mqtt.password", "{secret:NAME}, the name of a file in the directory feed-secrets", "something else")
		}
	}
}

// template checks what stands in braces.
func (m *mistakes) template(path string, f *fleet.Feed, text string) {
	points := f.By == ByPlace || f.By == ByRegion && len(f.Regions) > 0
	for _, name := range Names(text) {
		secret, isSecret := strings.CutPrefix(name, "secret:")
		switch {
		case isSecret && regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`).MatchString(secret) && !strings.HasSuffix(path, ".topic"):
		case name == "region" && f.By == ByRegion, (name == "latitude" || name == "longitude") && points:
		default:
			m.add(path, "in braces {secret:NAME}; with by: region {region}; with regions' or units' places {latitude} and {longitude}", strconv.Quote("{"+name+"}"))
		}
	}
}
