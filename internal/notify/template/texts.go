package template

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml"
)

// Known is a text that the service itself sends: what it is about and what it
// can say. A declared template of the same name, or for it, takes its place.
type Known struct {
	Name   string  `json:"name"`
	Title  string  `json:"title"`
	Kind   Kind    `json:"kind"`
	Values []Value `json:"values"`
}

// The texts that the service sends to owners.
const (
	UpdateOffer      = "updateOffer"
	UpdateReminder   = "updateReminder"
	UpdateEscalation = "updateEscalation"
	UpdateCountdown  = "updateCountdown"
	UpdateDone       = "updateDone"
	UpdateFailed     = "updateFailed"
	DriverNotice     = "driverNotice"
	RecallNotice     = "recallNotice"
	TipText          = "tip"
	Several          = "several"
)

// everywhere are the placeholders that every text has.
var everywhere = []Value{
	{"Name", Text, "", "Kim Berg"},
	{"Product", Text, "", "Wall charger"},
	{"Unit", Text, "", "WC-000123"},
	{"Link", Text, "", "https://fettle.example/my/"},
}

var aboutUpdate = []Value{
	{"Title", Text, "", "Cooler plug"},
	{"Reason", Text, "", "The plug can get too hot while charging at full power."},
	{"WhatChanges", Text, "", "The charger lowers its current when the plug warms up."},
	{"Unavailable", Text, "", "Charging"},
	{"Minutes", Minutes, "", "12"},
	{"Size", ByteCount, "", "5400000"},
	{"Deadline", Time, "", "2026-03-15T20:00:00Z"},
	{"StartsAt", Time, "", "2026-03-12T02:00:00Z"},
	{"Why", Text, "", "the unit lost its connection"},
}

// aboutFacts are those that stand in a recall notice.
var aboutFacts = []Value{
	{"Headline", Text, "", "Product safety recall"},
	{"Brand", Text, "", "Nordlys"},
	{"ProductName", Text, "", "Wall charger WC-11"},
	{"Picture", Text, "", "https://fettle.example/pictures/wc-11.jpg"},
	{"Identification", Text, "", "Serial numbers WC-000001 to WC-004999, on the label beneath the cover"},
	{"Sold", Text, "", "Sold from May to November 2013 in shops and online in Norway, Sweden and Germany"},
	{"Hazard", Text, "", "The plug can overheat and cause a fire."},
	{"Action", Text, "", "Stop using the charger immediately and unplug it."},
	{"Remedies", Text, "", "Free repair, a replacement of the same value, or your money back"},
	{"Phone", Text, "", "0800 000 0000"},
	{"Online", Text, "", "https://fettle.example/recall"},
	{"Share", Text, "", "Please tell others who may have this product."},
}

var texts = map[string]Known{
	UpdateOffer:      {UpdateOffer, "An update is ready", Service, aboutUpdate},
	UpdateReminder:   {UpdateReminder, "An update still waits", Service, aboutUpdate},
	UpdateEscalation: {UpdateEscalation, "A safety update is overdue", Safety, aboutUpdate},
	UpdateCountdown:  {UpdateCountdown, "A security update starts by itself", Security, aboutUpdate},
	UpdateDone:       {UpdateDone, "An update worked", Service, aboutUpdate},
	UpdateFailed:     {UpdateFailed, "An update failed", Service, aboutUpdate},
	DriverNotice: {
		DriverNotice, "A safety notice to whoever uses a unit that another owns", Safety,
		append(slices.Clone(aboutUpdate), Value{"MayUpdate", Text, "", "yes"}), // set where the driver may start updates
	},
	RecallNotice: {RecallNotice, "A product safety recall", Recall, slices.Concat(aboutUpdate, aboutFacts)},
	TipText: {TipText, "A tip at the right moment", Tip, []Value{
		{"Title", Text, "", "Humid today"}, {"Text", Text, "", "Use the stronger programme."}, {"Why", Text, "", "The air holds 84 % humidity."},
	}},
	Several: {Several, "Several messages that waited for the morning", Service, []Value{
		{"Count", Number, "", "2"}, {"Titles", Text, "", "Humid today"},
	}},
}

// Texts lists the texts that the service sends, by name.
func Texts() []Known {
	out := make([]Known, 0, len(texts))
	for _, t := range texts {
		t.Values = slices.Concat(everywhere, t.Values)
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b Known) int { return strings.Compare(a.Name, b.Name) })
	return out
}

//go:embed builtin/*.yaml
var builtin embed.FS

// Builtin are the words that the program carries, by text.
var Builtin = sync.OnceValues(func() (map[string]*Spec, error) {
	files, err := builtin.ReadDir("builtin")
	if err != nil {
		return nil, err
	}
	out := map[string]*Spec{}
	for _, f := range files {
		raw, err := builtin.ReadFile("builtin/" + f.Name())
		if err != nil {
			return nil, err
		}
		lang := strings.TrimSuffix(f.Name(), ".yaml")
		var words map[string]LangTexts
		if err := yaml.Unmarshal(raw, &words); err != nil {
			return nil, fmt.Errorf("built-in words %s: %w", f.Name(), err)
		}
		for name, w := range words {
			known, ok := texts[name]
			if !ok {
				return nil, fmt.Errorf("built-in words %s: no text %q", f.Name(), name)
			}
			if out[name] == nil {
				out[name] = &Spec{Name: name, Title: known.Title, Kind: known.Kind, Fallback: "en", Texts: map[string]LangTexts{}}
			}
			out[name].Texts[lang] = w
		}
	}
	return out, nil
})

// placeholders are those that a template's words may use.
func (s *Spec) placeholders() []Value {
	return slices.Concat(everywhere, texts[s.Replaces()].Values, s.Values)
}

// Sample fills every placeholder with what stands for it in a preview.
func (s *Spec) Sample() Values {
	out := Values{}
	for _, v := range s.placeholders() {
		if x, err := v.parse(); err == nil {
			out[v.Name] = x
		}
	}
	return out
}

// parse reads a sample by the value's type.
func (v *Value) parse() (any, error) {
	var n float64
	if v.Type == Number || v.Type == Measure || v.Type == ByteCount || v.Type == Minutes {
		if _, err := fmt.Sscanf(v.Sample, "%g", &n); err != nil {
			return nil, fmt.Errorf("a number")
		}
	}
	switch v.Type {
	case Measure:
		return Quantity{n, v.Unit}, nil
	case ByteCount:
		return Bytes(n), nil
	case Number, Minutes:
		return n, nil
	case Time, Date:
		t, err := time.Parse(time.RFC3339, v.Sample)
		if err != nil {
			return nil, fmt.Errorf("a time, as 2026-03-01T12:00:00Z")
		}
		if v.Type == Date {
			return Day(t), nil
		}
		return t, nil
	default:
		return v.Sample, nil
	}
}

// plainFacts are what a notice must say in words of the language, where a
// template leaves them out.
//

var headlines = map[string]string{
	"en": "Product safety recall", "de": "Produktsicherheitsrückruf", "fr": "Rappel de produit pour des raisons de sécurité",
	"es": "Recuperación de un producto por motivos de seguridad", "sv": "Säkerhetsåterkallelse av produkt",
}

// Headline is what GPSR art. 36(2)(a) wants to stand above a recall notice.
func Headline(language string) string {
	for _, tag := range chain(language, "en") {
		if h, ok := headlines[tag]; ok {
			return h
		}
	}
	return headlines["en"]
}

var sharing = map[string]string{
	"en": "Please share this information with anyone who may have this product.",
	"de": "Bitte geben Sie diese Information an alle weiter, die dieses Produkt haben könnten.",
	"fr": "Merci de transmettre cette information à toute personne susceptible de posséder ce produit.",
	"es": "Comparta esta información con cualquier persona que pueda tener este producto.",
	"sv": "Sprid gärna den här informationen till andra som kan ha produkten.",
}

// Sharing is the encouragement of GPSR art. 36(2)(g).
func Sharing(language string) string {
	for _, tag := range chain(language, "en") {
		if s, ok := sharing[tag]; ok {
			return s
		}
	}
	return sharing["en"]
}

// values are a notice's facts as placeholders.
func (f *Facts) values(language string) Values {
	v := Values{
		"Headline": f.Headline, "Brand": f.Brand, "ProductName": f.Name, "Picture": f.Picture, "Identification": f.Identification, "Sold": f.Sold,
		"Hazard": f.Hazard, "Action": f.Action, "Remedies": f.Remedies, "Phone": f.Phone, "Online": f.Online, "Share": f.Share,
	}
	if f.Headline == "" {
		v["Headline"] = Headline(language)
	}
	if f.Share == "" {
		v["Share"] = Sharing(language)
	}
	return v
}

// Placeholders are those that a template's words may use.
func (s *Spec) Placeholders() []Value { return s.placeholders() }
