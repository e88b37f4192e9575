// Package template holds what people are told: texts by channel and language
// that are built in or declared in files of kind Template, with placeholders
// that are checked when they are declared, and values that are written in the
// owner's language, time zone and units of measure.
package template

import (
	"maps"
	"slices"

	"fettle.dev/fettle/internal/notify"
)

// Spec is a declared template: it replaces a built-in text, or is one of its own.
type Spec struct {
	Name string `json:"-"`

	Title    string               `json:"title,omitempty" doc:"For operators: what it is."`
	For      string               `json:"for,omitempty" doc:"Name of the text that it replaces, as updateOffer or recallNotice (default: the template's own name)."`
	Product  string               `json:"product,omitempty" doc:"Only for this product (default: all)."`
	Campaign string               `json:"campaign,omitempty" doc:"Only for this campaign (default: all)."`
	Kind     Kind                 `json:"kind,omitempty" enum:"recall,safety,security,service,feature,tip,account" doc:"What it is about. Recall and safety are linted as errors (default: that of the text it replaces, else service)."`
	Values   []Value              `json:"values,omitempty" doc:"Placeholders of its own, beside those of the text that it replaces."`
	Fallback string               `json:"fallback,omitempty" doc:"Language for owners whose own there is not: de-AT takes de-AT, de, this one, en, in this order (default en)."`
	Texts    map[string]LangTexts `json:"languages" doc:"The words by language (BCP 47 tag, as en or de-AT)."`
}

// Kind is what a text is about: a notification's kind, and recall apart.
type Kind string

// Recall is a safety notice that GPSR art. 36 rules in full; the others are notify's.
const (
	Recall   Kind = "recall"
	Safety   Kind = "safety"
	Security Kind = "security"
	Service  Kind = "service"
	Feature  Kind = "feature"
	Tip      Kind = "tip"
	Account  Kind = "account"
)

// Of is the kind of notification that a text of this kind is.
func (k Kind) Of() notify.Kind {
	if k == Recall {
		return notify.Safety
	}
	return notify.Kind(k)
}

// Protects reports whether the text warns of a danger.
func (k Kind) Protects() bool { return k == Recall || k == Safety }

// Value is a placeholder that a template declares.
type Value struct {
	Name   string `json:"name" doc:"As it stands in the text: PeakTemperature for {{.PeakTemperature}}."`
	Type   Type   `json:"type" enum:"text,number,quantity,time,date,bytes,minutes"`
	Unit   string `json:"unit,omitempty" doc:"UCUM code of a quantity, as Cel; owners read it in units they use."`
	Sample string `json:"sample" doc:"What the preview shows: a text, a number, or a time as 2026-03-01T12:00:00Z."`
}

// Type of a value decides how it is written.
type Type string

// The types. A date is a time's day, minutes are whole ones.
const (
	Text      Type = "text"
	Number    Type = "number"
	Measure   Type = "quantity"
	Time      Type = "time"
	Date      Type = "date"
	ByteCount Type = "bytes"
	Minutes   Type = "minutes"
)

// LangTexts is a template's words in one language, by channel. A channel
// without words takes another's: a letter and a call the mail's, a voice call
// the SMS's, a push the mail's subject with the SMS's text, an SMS the mail's
// subject with the link.
type LangTexts struct {
	Facts  *Facts  `json:"facts,omitempty" doc:"What a recall notice must say (GPSR art. 36(2)). Given, a channel without words of its own has the built-in ones of recallNotice."`
	Mail   *Mail   `json:"mail,omitempty"`
	SMS    *Plain  `json:"sms,omitempty"`
	Voice  *Plain  `json:"voice,omitempty" doc:"Read out by a machine."`
	Push   *Push   `json:"push,omitempty"`
	Letter *Letter `json:"letter,omitempty"`
	Call   *Script `json:"call,omitempty" doc:"What an agent says."`
}

// Mail is a mail's words.
type Mail struct {
	Subject string `json:"subject"`
	Text    string `json:"text"`
	HTML    string `json:"html,omitempty" doc:"The inside of the HTML part: p, br, h2, h3, ul, ol, li, a, strong, em, table (default: made from the text)."`
}

// Plain is words alone.
type Plain struct {
	Text string `json:"text"`
}

// Push is what a phone shows.
type Push struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}

// Letter is a printed letter's words.
type Letter struct {
	Subject string `json:"subject"`
	Text    string `json:"text" doc:"Paragraphs are parted by an empty line; a line that begins with - is a point of a list."`
}

// Script is what an agent says on the telephone.
type Script struct {
	Script string `json:"script"`
}

// Facts is what a recall notice must say (GPSR art. 36(2), art. 37).
type Facts struct {
	Headline       string   `json:"headline,omitempty" doc:"Default: the words of art. 36(2)(a) in the language, as Product safety recall."`
	Brand          string   `json:"brand" doc:"Art. 36(2)(b)(i)."`
	Name           string   `json:"name" doc:"The product's name, art. 36(2)(b)(i)."`
	Picture        string   `json:"picture,omitempty" doc:"https address of a picture of the product, art. 36(2)(b)(i)."`
	Identification string   `json:"identification" doc:"Batch or serial numbers and where they stand on the product, art. 36(2)(b)(ii)."`
	Sold           string   `json:"sold,omitempty" doc:"When, where and by whom it was sold, if that is known, art. 36(2)(b)(iii)."`
	Hazard         string   `json:"hazard" doc:"What can happen, without softening it, art. 36(2)(c)."`
	Action         string   `json:"action" doc:"What to do, and to stop using the product at once, art. 36(2)(d)."`
	Remedies       []string `json:"remedies" doc:"What the owner may choose between: at least two of repair, replacement and refund, art. 36(2)(e) and 37."`
	Phone          string   `json:"phone,omitempty" doc:"Free phone number, art. 36(2)(f)."`
	Online         string   `json:"online,omitempty" doc:"Interactive service online, art. 36(2)(f); phone or this."`
	Share          string   `json:"share,omitempty" doc:"That others who may have the product should be told, art. 36(2)(g) (default: built-in words)."`
}

// Replaces is the name of the text that the template stands for.
func (s *Spec) Replaces() string {
	if s.For != "" {
		return s.For
	}
	return s.Name
}

// About is Kind, or that of the text it replaces.
func (s *Spec) About() Kind {
	if s.Kind != "" {
		return s.Kind
	}
	if t, ok := texts[s.Replaces()]; ok {
		return t.Kind
	}
	return Service
}

// Default is Fallback, en, or the first language there is.
func (s *Spec) Default() string {
	if s.Fallback != "" {
		return s.Fallback
	}
	if _, ok := s.Texts["en"]; ok || len(s.Texts) == 0 {
		return "en"
	}
	return s.Languages()[0]
}

// Languages lists what the template has.
func (s *Spec) Languages() []string { return slices.Sorted(maps.Keys(s.Texts)) }

// in picks the words for an owner's language, and says by which steps: de-AT,
// de, the template's own fall-back, en, and then the first there is.
func (s *Spec) in(locale string) (words LangTexts, tag string, tried []string) {
	for _, tag := range append(chain(locale, s.Default()), s.Languages()...) {
		tried = append(tried, tag)
		if l, ok := s.Texts[tag]; ok {
			return l, tag, tried
		}
	}
	return LangTexts{}, "en", tried
}
