package tip

import (
	"fmt"
	"net/url"
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
		{"spec.within", t.Within, time.Minute, 30 * 24 * time.Hour},
		{"spec.wait", t.Wait, time.Second, 24 * time.Hour},
		{"spec.valid", t.Valid, time.Minute, 24 * time.Hour},
		{"spec.age", t.Age, time.Second, 30 * 24 * time.Hour},
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
		if a.Link != "" && !safeLink(a.Link) {
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

// safeLink reports whether a button may lead there: to an https address, or to
// a path of the portal.
func safeLink(link string) bool {
	u, err := url.Parse(link)
	if err != nil {
		return false
	}
	if u.Scheme == "https" {
		return u.Host != ""
	}
	return u.Scheme == "" && u.Host == "" && strings.HasPrefix(u.Path, "/") && !strings.HasPrefix(link, `/\`)
}
