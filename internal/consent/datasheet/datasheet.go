// Package datasheet writes what a buyer is told of a product's data before the
// contract (Regulation (EU) 2023/2854, Data Act, art. 3(2) and (3)), from the
// product's model alone: which data, in what type, format, volume and
// frequency, kept where and for how long, for which purposes, for whom, and how
// its owner gets at it, shares it, ends that and has it erased.
package datasheet

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet"
)

// Sheet is a data sheet in one language.
type Sheet struct {
	Product     string           `json:"product"`
	Title       string           `json:"title"`
	Description string           `json:"description,omitempty"`
	Language    string           `json:"language"`
	Version     string           `json:"noticeVersion" doc:"Of the notice that it comes from."`
	Controller  fleet.Controller `json:"controller" doc:"Who answers for the data: its holder."`
	Data        []Item           `json:"data"`
	PerDay      int64            `json:"bytesPerDay" doc:"Estimated volume of one unit, in bytes a day, as its messages are on the wire."`
	PerMonth    int64            `json:"bytesPerMonth"`
	Continuous  bool             `json:"continuous" doc:"Whether data is generated continuously and in real time."`
	Purposes    []Purpose        `json:"purposes"`
	Recipients  []Recipient      `json:"recipients" doc:"Third parties that receive data."`
	Complaint   string           `json:"complaint,omitempty"`
	Erasure     string           `json:"erasure,omitempty"`
	Rights      []Right          `json:"rights" doc:"How to get at the data, share it, end that, and have it erased."`
	Standards   []string         `json:"standards" doc:"The formats that data is given in."`
}

// Item is one kind of data.
type Item struct {
	Name        string         `json:"name"`
	Kind        string         `json:"kind" enum:"signal,feature,fault,log"`
	Title       string         `json:"title"`
	Description string         `json:"description,omitempty"`
	Type        string         `json:"type" doc:"number, boolean, text or event."`
	Format      string         `json:"format" doc:"As it is given: IEEE 754 double, true or false, UTF-8."`
	Unit        string         `json:"unit,omitempty" doc:"UCUM."`
	Every       fleet.Duration `json:"every,omitempty" doc:"How often it is generated; absent: when something happens."`
	PerDay      int64          `json:"bytesPerDay"`
	Retention   fleet.Duration `json:"retention"`
	Purposes    []string       `json:"purposes" doc:"Names."`
	Titles      []string       `json:"-"`
}

// Purpose is why data is collected.
type Purpose struct {
	Name         string      `json:"name"`
	Title        string      `json:"title"`
	Description  string      `json:"description"`
	Basis        fleet.Basis `json:"basis"`
	OnWithdrawal string      `json:"onWithdrawal,omitempty"`
	KeepReason   string      `json:"keepReason,omitempty"`
}

// Recipient is a third party.
type Recipient struct {
	Name     string   `json:"name"`
	What     string   `json:"what"`
	Country  string   `json:"country,omitempty"`
	Purposes []string `json:"purposes"`
}

// Right is one way to exercise a right.
type Right struct {
	Title string `json:"title"`
	How   string `json:"how"`
}

// Bytes that a sample takes: its name, a value and its share of a message with
// a time, as JSON over MQTT.
const (
	perMessage = 60
	perNumber  = 8
	perText    = 40
	eventsADay = 4 // of one kind, where nothing is declared
	perEvent   = 90
)

// Of makes the sheet of a product in the language of its notice that suits a
// reader best.
func Of(p *fleet.Product, locale string) Sheet {
	lang := p.Speak(locale)
	w := wordsIn(lang)
	s := Sheet{
		Product: p.Name, Title: p.Title, Description: p.Description, Language: lang, Version: consent.VersionOf(p),
		Data: []Item{}, Purposes: []Purpose{}, Recipients: []Recipient{}, Standards: []string{"CSV (RFC 4180)", "JSON (RFC 8259)", "Apache Parquet", "UCUM", "W3C CSVW", "ISO/IEC TS 27560:2023"},
	}
	titles := map[string]string{}
	for i := range p.Purposes {
		q := &p.Purposes[i]
		v := q.Words(lang)
		titles[q.Name] = v.Title
		on := q.OnWithdrawal
		if q.Basis == fleet.BasisConsent {
			on = cmp.Or(on, fleet.OnWithdrawalErase)
		}
		s.Purposes = append(s.Purposes, Purpose{q.Name, v.Title, v.Description, q.Basis, on, v.KeepReason})
	}
	name := func(purposes []string) (out []string) {
		for _, q := range purposes {
			out = append(out, titles[q])
		}
		return out
	}
	for i := range p.Signals {
		g := &p.Signals[i]
		v := g.Words(lang)
		it := Item{
			Name: g.Name, Kind: "signal", Title: v.Title, Description: v.Description, Type: string(g.Type), Unit: g.Unit, Every: g.Every,
			Retention: g.Retention, Purposes: g.Purposes, Titles: name(g.Purposes), Format: w.Formats[string(g.Type)],
		}
		size := int64(len(g.Name) + 4 + perNumber)
		if g.Type == fleet.Text {
			size = int64(len(g.Name) + 4 + perText)
		}
		if g.Every > 0 {
			times := int64(24*time.Hour) / int64(g.Every)
			it.PerDay = times * size
			s.Continuous = true
			s.PerDay += times * perMessage / int64(max(1, together(p, g.Every)))
		} else {
			it.PerDay = eventsADay * (size + perMessage)
		}
		s.PerDay += it.PerDay
		s.Data = append(s.Data, it)
	}
	event := func(kind, name_, title, about string, purposes []string, retention fleet.Duration) {
		it := Item{
			Name: name_, Kind: kind, Title: title, Description: about, Type: "event", Format: w.Formats["event"], PerDay: eventsADay * perEvent,
			Retention: retention, Purposes: purposes, Titles: name(purposes),
		}
		s.PerDay += it.PerDay
		s.Data = append(s.Data, it)
	}
	for _, f := range p.Features {
		if len(f.Purposes) > 0 {
			event("feature", f.Name, f.Title, f.Description, f.Purposes, f.Retention)
		}
	}
	for _, f := range p.Faults {
		event("fault", f.Code, f.Title, f.Description, f.Purposes, f.Retention)
	}
	if p.Log != nil {
		event("log", "log", w.Log, fmt.Sprintf(w.LogFrom, p.Log.Level), p.Log.Purposes, p.Log.Retention)
	}
	s.PerMonth = 30 * s.PerDay
	if n := p.Notice; n != nil {
		s.Controller, s.Complaint, s.Erasure = n.Controller, n.Complaint, n.Erasure
		for _, r := range n.Recipients {
			s.Recipients = append(s.Recipients, Recipient{r.Name, r.What, r.Country, name(r.Purposes)})
		}
	}
	for _, r := range w.Rights {
		s.Rights = append(s.Rights, Right{r[0], r[1]})
	}
	if s.Erasure != "" {
		s.Rights = append(s.Rights, Right{w.WithoutPortal, s.Erasure})
	}
	return s
}

// together is how many signals come as often as one, in the same messages.
func together(p *fleet.Product, every fleet.Duration) (n int) {
	for _, s := range p.Signals {
		if s.Every == every {
			n++
		}
	}
	return n
}

//go:embed sheet.html
var page string

var sheet = template.Must(template.New("sheet").Parse(page))

// Languages are those that a sheet's own words are written in.
func Languages() []string { return []string{"en", "de", "fr", "es", "sv"} }

// HTML writes a sheet as a page that prints on paper. others are the languages
// that the notice has beside, as links.
func HTML(s *Sheet, others []string) ([]byte, error) {
	w := wordsIn(s.Language)
	var b bytes.Buffer
	err := sheet.Execute(&b, map[string]any{
		"S": s, "W": w, "Others": slices.DeleteFunc(slices.Clone(others), func(l string) bool { return l == s.Language }),
		"RTL":    slices.Contains([]string{"ar", "he", "fa", "ur"}, strings.SplitN(s.Language, "-", 2)[0]),
		"Length": func(d fleet.Duration) string { return w.length(d) },
		"Size":   func(n int64) string { return w.size(n) },
		"Join":   strings.Join,
	})
	if err != nil {
		return nil, fmt.Errorf("data sheet: %w", err)
	}
	return b.Bytes(), nil
}

// Text writes a sheet for a terminal.
func Text(s *Sheet) string {
	w := wordsIn(s.Language)
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s: %s", w.Sheet, s.Title)
	if s.Controller.Name != "" {
		line("%s: %s, %s", w.Controller, s.Controller.Name, s.Controller.Contact)
	}
	line("%s: %s", w.Volume, fmt.Sprintf(w.PerMonth, w.size(s.PerMonth)))
	line("")
	for _, d := range s.Data {
		often := w.OnEvent
		if d.Every > 0 {
			often = fmt.Sprintf(w.Every, w.length(d.Every))
		}
		line("%s (%s)", d.Title, d.Name)
		line("  %s: %s", w.Type, strings.TrimSpace(d.Format+" "+d.Unit))
		line("  %s: %s; %s", w.Frequency, often, fmt.Sprintf(w.PerMonth, w.size(30*d.PerDay)))
		line("  %s: %s", w.Retention, w.length(d.Retention))
		line("  %s: %s", w.Purposes, strings.Join(d.Titles, ", "))
	}
	line("")
	for _, q := range s.Purposes {
		line("%s: %s", q.Title, q.Description)
		line("  %s", w.basis(&q))
	}
	line("")
	if len(s.Recipients) == 0 {
		line("%s: %s", w.Recipients, w.Nobody)
	}
	for _, r := range s.Recipients {
		line("%s: %s (%s) – %s", w.Recipients, r.Name, cmp.Or(r.Country, "–"), r.What)
	}
	line("")
	for _, r := range s.Rights {
		line("%s: %s", r.Title, r.How)
	}
	return b.String()
}
