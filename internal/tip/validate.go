package tip

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/language"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Longest texts, in characters: what a small display shows.
const (
	maxTitle = 60
	maxText  = 240
	maxLabel = 30
)

var identifier = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// namespaces are words before the dot that conditions have already.
var namespaces = []string{"feature", "unit", "local"}

type mistakes []fault.Field

func (m *mistakes) add(path, expected, got string) {
	*m = append(*m, fault.Field{Path: path, Expected: expected, Got: got})
}

// Validate finds every mistake in a tip's declaration.
func Validate(p *fleet.Product, t *Tip) []fault.Field {
	var m mistakes
	if _, ok := p.Purpose(t.Purpose); !ok {
		var names []string
		for _, q := range p.Purposes {
			names = append(names, q.Name)
		}
		m.add("spec.purpose", "one of the product's purposes ("+strings.Join(names, ", ")+")", strconv.Quote(t.Purpose))
	} else if _, wrong := compile(p, t); len(wrong) > 0 {
		m = append(m, wrong...)
	}
	m.words("spec.title", t.Title, maxTitle)
	m.words("spec.text", t.Text, maxText)
	for l := range t.Title {
		if _, ok := t.Text[l]; !ok {
			m.add("spec.text."+l, "a text in each language that the title has", "nothing")
		}
	}
	if t.Feature != "" && !p.HasFeature(t.Feature) {
		m.add("spec.feature", "one of the product's features", strconv.Quote(t.Feature))
	}
	for i, c := range t.Channels {
		path := fmt.Sprintf("spec.channels[%d]", i)
		if c != Display && c != Portal && c != Push {
			m.add(path, "display, portal or push", strconv.Quote(string(c)))
		} else if slices.Contains(t.Channels[:i], c) {
			m.add(path, "each channel once", string(c))
		}
	}
	for _, d := range []struct {
		path      string
		d         fleet.Duration
		low, high time.Duration
	}{
		{"spec.within", t.Within, time.Minute, 30 * 24 * time.Hour}, {"spec.wait", t.Wait, time.Second, 24 * time.Hour},
		{"spec.valid", t.Valid, time.Minute, 24 * time.Hour}, {"spec.age", t.Age, time.Second, 30 * 24 * time.Hour},
		{"spec.every", t.Every, time.Minute, 366 * 24 * time.Hour},
	} {
		if d.d != 0 && (time.Duration(d.d) < d.low || time.Duration(d.d) > d.high) {
			m.add(d.path, fmt.Sprintf("from %s to %s", fleet.Duration(d.low), fleet.Duration(d.high)), d.d.String())
		}
	}
	for path, n := range map[string]int{"spec.most": t.Most, "spec.perHour": t.PerHour} {
		if n < 0 {
			m.add(path, "0 (any) or more", strconv.Itoa(n))
		}
	}
	if t.Holdout != nil {
		if *t.Holdout < 0 || *t.Holdout > 50 {
			m.add("spec.holdout", "a percentage from 0 to 50", strconv.FormatFloat(*t.Holdout, 'g', -1, 64))
		} else if *t.Holdout > 0 && t.Feature == "" {
			m.add("spec.feature", "the feature that tells units shown the tip from those held back: without it nobody is to be held back", "nothing")
		}
	}
	if a := t.Action; a != nil {
		m.words("spec.action.label", a.Label, maxLabel)
		if a.Link == "" && a.Command == "" {
			m.add("spec.action", "a link, a command or both", "neither")
		}
		if u, err := url.Parse(a.Link); a.Link != "" && (err != nil || !(u.Scheme == "https" && u.Host != "" || u.Scheme == "" && u.Host == "" && strings.HasPrefix(u.Path, "/") && !strings.HasPrefix(a.Link, `/\`))) {
			m.add("spec.action.link", "an https address, or a path of the portal that begins with /", strconv.Quote(a.Link))
		}
		if len(a.Command) > 200 || strings.ContainsFunc(a.Command, func(r rune) bool { return r < ' ' || r > '~' }) {
			m.add("spec.action.command", "at most 200 printable ASCII characters", strconv.Quote(a.Command))
		}
	}
	return m
}

// words checks texts by language.
func (m *mistakes) words(path string, words map[string]string, most int) {
	if strings.TrimSpace(words["en"]) == "" {
		m.add(path+".en", "a text in English: it is shown where there is none in the owner's language", "nothing")
	}
	for l, text := range words {
		at := path + "." + l
		if tag, err := language.Parse(l); err != nil || tag.String() != l {
			m.add(at, "a language as BCP 47 has it, as de or pt-BR", strconv.Quote(l))
		}
		if n := utf8.RuneCountInString(text); n > most || strings.TrimSpace(text) == "" && l != "en" {
			m.add(at, fmt.Sprintf("1 to %d characters", most), strconv.Itoa(n))
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			m.add(at, "one line of text", strconv.Quote(text))
		}
	}
}

// ValidateProduct finds every mistake in a product's feeds.
func ValidateProduct(p *fleet.Product) []fault.Field {
	var m mistakes
	seen := map[string]bool{}
	features := map[string]string{}
	for i, f := range p.Features {
		name := featureName(f.Name)
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
	for _, name := range placeholders(text) {
		secret, isSecret := strings.CutPrefix(name, "secret:")
		switch {
		case isSecret && regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`).MatchString(secret) && !strings.HasSuffix(path, ".topic"):
		case name == "region" && f.By == ByRegion, (name == "latitude" || name == "longitude") && points:
		default:
			m.add(path, "in braces {secret:NAME}; with by: region {region}; with regions' or units' places {latitude} and {longitude}", strconv.Quote("{"+name+"}"))
		}
	}
}
