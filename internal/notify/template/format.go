package template

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-playground/locales"
	"github.com/go-playground/locales/da"
	"github.com/go-playground/locales/de"
	"github.com/go-playground/locales/de_AT"
	"github.com/go-playground/locales/de_CH"
	"github.com/go-playground/locales/en"
	"github.com/go-playground/locales/en_GB"
	"github.com/go-playground/locales/es"
	"github.com/go-playground/locales/fi"
	"github.com/go-playground/locales/fr"
	"github.com/go-playground/locales/fr_CA"
	"github.com/go-playground/locales/it"
	"github.com/go-playground/locales/nb"
	"github.com/go-playground/locales/nl"
	"github.com/go-playground/locales/pl"
	"github.com/go-playground/locales/pt"
	"github.com/go-playground/locales/sv"
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"
)

// dates are the languages whose months and patterns (CLDR) are compiled in, the
// first being that of all others: English with a 24 h clock, as 6 January 2014.
var dates = []locales.Translator{
	en_GB.New(), en.New(), de.New(), de_AT.New(), de_CH.New(), fr.New(), fr_CA.New(), es.New(), sv.New(), it.New(), nl.New(), pt.New(), da.New(), nb.New(), fi.New(), pl.New(),
}

var dateMatcher = func() language.Matcher {
	tags := []language.Tag{language.BritishEnglish, language.AmericanEnglish}
	for _, d := range dates[2:] {
		tags = append(tags, language.Make(strings.ReplaceAll(d.Locale(), "_", "-")))
	}
	return language.NewMatcher(tags)
}()

// Reader is whom a text is written for.
type Reader struct {
	Locale string         // BCP 47; "": en
	Zone   *time.Location // nil: UTC
	Units  System         // "": by the locale's region
}

// writer writes values for one reader, in the language that was chosen for them.
type writer struct {
	language language.Tag // of the words
	print    *message.Printer
	dates    locales.Translator
	zone     *time.Location
	units    System
	rtl      bool
}

// newWriter writes in a language (the template's) for a reader. The reader's
// region decides between forms of one language, as of en-US and en-GB.
func newWriter(words string, r Reader) *writer {
	tag := language.Make(words)
	if own := language.Make(r.Locale); sameBase(tag, own) {
		tag = own
	}
	_, i, confidence := dateMatcher.Match(tag)
	if confidence == language.No || tag == language.English {
		i = 0
	}
	w := &writer{language: tag, print: message.NewPrinter(tag), dates: dates[i], zone: r.Zone, units: r.Units.Or(r.Locale), rtl: RTL(words)}
	if w.zone == nil {
		w.zone = time.UTC
	}
	return w
}

func sameBase(a, b language.Tag) bool {
	x, _ := a.Base()
	y, c := b.Base()
	return x == y && c != language.No
}

// RTL reports whether a language is written from right to left.
func RTL(tag string) bool {
	t, err := language.Parse(tag)
	if err != nil {
		return false
	}
	script, _ := t.Script()
	switch script.String() {
	case "Arab", "Hebr", "Syrc", "Thaa", "Nkoo", "Adlm", "Rohg":
		return true
	}
	return false
}

// isolate keeps a value's direction of writing to itself (Unicode UAX 9:
// FIRST STRONG ISOLATE), where the words around it run from right to left.
func (w *writer) isolate(s string) string {
	if !w.rtl || s == "" {
		return s
	}
	return "\u2068" + s + "\u2069"
}

// number writes a number with at most so many decimals.
func (w *writer) number(x float64, decimals int) string {
	return w.print.Sprint(number.Decimal(x, number.MaxFractionDigits(decimals)))
}

// time is a day and a time of day in the reader's zone, with the zone's name as
// it is called in short.
func (w *writer) time(t time.Time) string {
	local := t.In(w.zone)
	zone := local.Format("MST")
	if strings.HasPrefix(zone, "+") || strings.HasPrefix(zone, "-") {
		zone = "UTC" + local.Format("-07:00")
	}
	out := w.date(t) + ", " + w.dates.FmtTimeShort(local)
	if base, _ := w.language.Base(); base.String() == "de" {
		out += " Uhr"
	}
	return out + " (" + zone + ")"
}

func (w *writer) date(t time.Time) string { return w.dates.FmtDateLong(t.In(w.zone)) }

// bytes writes a size as shops do: in thousands.
func (w *writer) bytes(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	x, i := float64(n), 0
	for x >= 1000 && i < len(units)-1 {
		x, i = x/1000, i+1
	}
	decimals := 0
	if x < 100 && i > 1 {
		decimals = 1
	}
	return w.number(x, decimals) + "\u00a0" + units[i]
}

// plural picks the form of a count by CLDR's rules: pairs of category (zero,
// one, two, few, many, other) and words, in which # stands for the count.
func (w *writer) plural(v any, forms ...string) string {
	s, ok := v.(shown)
	if !ok {
		return ""
	}
	form := plural.Cardinal.MatchPlural(w.language, int(math.Abs(math.Trunc(s.number))), visible(s.number), visible(s.number), fraction(s.number), fraction(s.number))
	name := map[plural.Form]string{plural.Zero: "zero", plural.One: "one", plural.Two: "two", plural.Few: "few", plural.Many: "many", plural.Other: "other"}[form]
	other := ""
	for i := 0; i+1 < len(forms); i += 2 {
		if forms[i] == name {
			return strings.ReplaceAll(forms[i+1], "#", s.text)
		}
		if forms[i] == "other" {
			other = forms[i+1]
		}
	}
	return strings.ReplaceAll(other, "#", s.text)
}

// visible is how many decimals of a number are seen, fraction what they are.
func visible(x float64) int {
	_, after, _ := strings.Cut(strconv.FormatFloat(math.Abs(x), 'f', -1, 64), ".")
	return min(len(after), 3)
}

func fraction(x float64) int {
	n := visible(x)
	return int(math.Round((math.Abs(x) - math.Trunc(math.Abs(x))) * math.Pow10(n)))
}

// chain is the languages to be tried for a reader, nearest first: de-AT, de,
// the fall-back, en.
func chain(locale, fallback string) []string {
	var out []string
	add := func(tag string) {
		for _, t := range out {
			if strings.EqualFold(t, tag) {
				return
			}
		}
		if tag != "" {
			out = append(out, tag)
		}
	}
	for tag := strings.ReplaceAll(locale, "_", "-"); tag != ""; {
		if t, err := language.Parse(tag); err == nil {
			add(t.String())
		}
		i := strings.LastIndexByte(tag, '-')
		tag = tag[:max(i, 0)]
	}
	add(fallback)
	add("en")
	return out
}
