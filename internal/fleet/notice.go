package fleet

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/language"
)

// What becomes of what was collected for a purpose when its owner withdraws.
const (
	OnWithdrawalErase = "erase" // it is erased, at once
	OnWithdrawalKeep  = "keep"  // a law requires it: it stays until its retention ends, and nobody reads it but the owner
)

// Keeps reports whether what was collected stays when consent is withdrawn.
func (q *Purpose) Keeps() bool { return q.OnWithdrawal == OnWithdrawalKeep }

// PurposeWords are a purpose's words in another language than the
// declaration's own.
type PurposeWords struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	KeepReason  string `json:"keepReason,omitempty" doc:"Needed where the purpose has one."`
}

// SignalWords are a signal's words in another language.
type SignalWords struct {
	Title       string `json:"title,omitempty"`
	Description string `json:"description"`
}

// Notice is the text that owners read beside the switches (ISO/IEC 29184).
// Once an owner has seen a version, its words, and what it says of purposes
// and signals, stay as they are: another text is another version.
type Notice struct {
	Version    string                 `json:"version" doc:"As 2026-11 or 3.1: another one whenever a word, a purpose, a signal or a recipient changes."`
	Language   string                 `json:"language,omitempty" doc:"Of the declaration's own titles and descriptions, as en (BCP 47; default en)."`
	Controller Controller             `json:"controller" doc:"Who answers for the data (GDPR art. 13(1)(a))."`
	Texts      map[string]NoticeWords `json:"texts" doc:"By language (BCP 47), at least in that of the declaration."`
	Widens     []string               `json:"widens,omitempty" doc:"Purposes that this version uses data for in more ways than the one before: their owners are asked again. New signals, longer retention and new recipients are noticed without."`
	Recipients []Recipient            `json:"recipients,omitempty" doc:"Third parties that receive data."`
	Complaint  string                 `json:"complaint,omitempty" doc:"The authority that owners may complain to."`
	Erasure    string                 `json:"erasure,omitempty" doc:"Where owners ask for erasure without the portal, as an address or a telephone number."`
}

// NoticeWords are a notice's words in one language.
type NoticeWords struct {
	Title string `json:"title"`
	Text  string `json:"text" doc:"Plain text; a blank line begins a paragraph."`
}

// Controller is who answers for the data.
type Controller struct {
	Name    string `json:"name"`
	Contact string `json:"contact" doc:"An email address or URL that owners can write to."`
	Address string `json:"address,omitempty" doc:"By post."`
}

// Recipient is a third party that receives data of a product's units.
type Recipient struct {
	Name     string   `json:"name"`
	Purposes []string `json:"purposes" doc:"Names of the purposes it receives data for."`
	What     string   `json:"what" doc:"What it does with the data, in plain words."`
	Country  string   `json:"country,omitempty" doc:"ISO 3166-1 alpha-2 code of where, as SE."`
}

var (
	versionPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$`)
	countryPattern = regexp.MustCompile(`^[A-Z]{2}$`)
)

// Tongue is the language of the product's own words.
func (p *Product) Tongue() string {
	if p.Notice != nil && p.Notice.Language != "" {
		return p.Notice.Language
	}
	return "en"
}

// Languages are those that the notice is written in, the product's own first.
func (p *Product) Languages() []string {
	own := p.Tongue()
	out := []string{own}
	if p.Notice != nil {
		for _, l := range slices.Sorted(maps.Keys(p.Notice.Texts)) {
			if l != own {
				out = append(out, l)
			}
		}
	}
	return out
}

// Speak picks the language of a notice that suits a reader's: the same tag,
// the same base language, the product's own.
func (p *Product) Speak(locale string) string {
	all := p.Languages()
	base, _, _ := strings.Cut(locale, "-")
	for _, want := range []string{locale, base} {
		for _, l := range all {
			if strings.EqualFold(l, want) {
				return l
			}
		}
	}
	for _, l := range all {
		if b, _, _ := strings.Cut(l, "-"); strings.EqualFold(b, base) {
			return l
		}
	}
	return all[0]
}

// Words are a purpose's words in a language of the notice, its own otherwise.
func (q *Purpose) Words(lang string) PurposeWords {
	if w, ok := q.Texts[lang]; ok {
		if w.KeepReason == "" {
			w.KeepReason = q.KeepReason
		}
		return w
	}
	return PurposeWords{q.Title, q.Description, q.KeepReason}
}

// Words are a signal's words in a language of the notice, its own otherwise.
func (s *Signal) Words(lang string) SignalWords {
	w, ok := s.Texts[lang]
	if !ok {
		w = SignalWords{s.Title, s.Description}
	}
	if w.Title == "" {
		if w.Title = s.Title; w.Title == "" {
			w.Title = s.Name
		}
	}
	return w
}

func (m *mistakes) tag(path, tag string) {
	if _, err := language.Parse(tag); err != nil {
		m.add(path, "a BCP 47 language tag, as en or de-AT", tag)
	}
}

// withdrawal checks what a purpose says of withdrawal.
func (m *mistakes) withdrawal(at string, q *Purpose) {
	switch q.OnWithdrawal {
	case "", OnWithdrawalErase, OnWithdrawalKeep:
	default:
		m.add(at+".onWithdrawal", "erase (the default) or keep", q.OnWithdrawal)
	}
	switch {
	case q.OnWithdrawal != "" && q.Basis == BasisNecessary:
		m.add(at+".onWithdrawal", "nothing: a necessary purpose has no consent to withdraw", q.OnWithdrawal)
	case q.Keeps() && strings.TrimSpace(q.KeepReason) == "":
		m.add(at+".keepReason", "the law that requires it to be kept, in words that owners understand", q.KeepReason)
	case !q.Keeps() && q.KeepReason != "":
		m.add(at+".keepReason", "nothing without onWithdrawal: keep", q.KeepReason)
	}
	for _, l := range slices.Sorted(maps.Keys(q.Texts)) {
		w, path := q.Texts[l], at+".texts."+l
		m.tag(path, l)
		m.text(path+".title", w.Title)
		m.text(path+".description", w.Description)
		if q.Keeps() && strings.TrimSpace(w.KeepReason) == "" {
			m.add(path+".keepReason", "the reason in this language, too", w.KeepReason)
		}
	}
}

// notice checks the text that owners read.
func (m *mistakes) notice(p *Product) {
	n := p.Notice
	if n == nil {
		return
	}
	const at = "spec.notice"
	if !versionPattern.MatchString(n.Version) {
		m.add(at+".version", "a version of letters, digits, ., _ and -, as 2026-11", n.Version)
	}
	if n.Language != "" {
		m.tag(at+".language", n.Language)
	}
	m.text(at+".controller.name", n.Controller.Name)
	m.text(at+".controller.contact", n.Controller.Contact)
	if _, ok := n.Texts[p.Tongue()]; !ok {
		m.add(at+".texts", "a text in "+p.Tongue()+", the declaration's own language", nil)
	}
	for _, l := range slices.Sorted(maps.Keys(n.Texts)) {
		m.tag(at+".texts."+l, l)
		m.text(at+".texts."+l+".title", n.Texts[l].Title)
		m.text(at+".texts."+l+".text", n.Texts[l].Text)
		if l == p.Tongue() {
			continue
		}
		for i := range p.Purposes { // half a translation would leave owners with switches they cannot read
			if _, ok := p.Purposes[i].Texts[l]; !ok {
				m.add(fmt.Sprintf("spec.purposes[%d].texts.%s", i, l), "words in "+l+", as the notice has", nil)
			}
		}
	}
	purposes := func(path string, names []string) {
		for i, name := range names {
			if _, ok := p.Purpose(name); !ok {
				m.add(fmt.Sprintf("%s[%d]", path, i), "one of the product's purposes"+listed(p.Purposes, func(q Purpose) string { return q.Name }), name)
			}
		}
	}
	purposes(at+".widens", n.Widens)
	for i, r := range n.Recipients {
		path := fmt.Sprintf("%s.recipients[%d]", at, i)
		m.text(path+".name", r.Name)
		m.text(path+".what", r.What)
		if len(r.Purposes) == 0 {
			m.add(path+".purposes", "at least one purpose", nil)
		}
		purposes(path+".purposes", r.Purposes)
		if r.Country != "" && !countryPattern.MatchString(r.Country) {
			m.add(path+".country", "a code of ISO 3166-1, as SE", r.Country)
		}
	}
}
