package template_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/notify/template"
)

var at = time.Date(2014, 1, 6, 13, 5, 0, 0, time.UTC)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return loc
}

func TestBuiltinWordsAreWholeInFiveLanguages(t *testing.T) {
	t.Parallel()
	all, err := template.Builtin()
	require.NoError(t, err)
	require.Len(t, all, len(template.Texts()))
	for name, s := range all {
		require.Equal(t, []string{"de", "en", "es", "fr", "sv"}, s.Languages(), name)
		require.Empty(t, s.Validate(), name)
		for _, lang := range s.Languages() {
			r, err := s.Render(template.Reader{Locale: lang}, s.Sample())
			require.NoError(t, err, "%s %s", name, lang)
			for _, text := range []string{r.Mail.Subject, r.Mail.Text, r.SMS.Text, r.Voice.Text, r.Push.Title, r.Push.Text, r.Letter.Subject, r.Letter.Text, r.Call.Script} {
				require.NotEmpty(t, strings.TrimSpace(text), "%s %s", name, lang)
				require.NotContains(t, text, "no value", "%s %s", name, lang)
				require.NotContains(t, text, "{{", "%s %s", name, lang)
			}
			require.Equal(t, []string{lang}, r.Tried)
		}
	}
}

func TestValuesAreWrittenForWhoeverReadsThem(t *testing.T) {
	t.Parallel()
	s := &template.Spec{
		Name: "heat", Values: []template.Value{
			{Name: "Peak", Type: template.Measure, Unit: "Cel", Sample: "71.3"},
			{Name: "Way", Type: template.Measure, Unit: "km", Sample: "1234.5"},
			{Name: "Times", Type: template.Number, Sample: "1"},
			{Name: "At", Type: template.Time, Sample: "2014-01-06T13:05:00Z"},
		},
		Texts: map[string]template.LangTexts{},
	}
	for _, l := range []string{"en", "de", "fr", "es", "sv"} {
		s.Texts[l] = template.LangTexts{Mail: &template.Mail{Subject: "{{.Peak}}", Text: "{{.Peak}} | {{.Way}} | {{.At}} | {{plural .Times \"one\" \"# x\" \"other\" \"# xs\"}}"}}
	}
	require.Empty(t, s.Validate())
	values := template.Values{"Peak": template.Quantity{Value: 71.3, Unit: "Cel"}, "Way": template.Quantity{Value: 1234.5, Unit: "km"}, "At": at, "Times": 1}
	for _, c := range []struct {
		reader template.Reader
		want   string
	}{
		{template.Reader{Locale: "en"}, "71.3°C | 1,234.5 km | 6 January 2014, 13:05 (UTC) | 1 x"},
		{template.Reader{Locale: "en-US", Zone: zone(t, "America/New_York")}, "160°F | 767 mi | January 6, 2014, 8:05 am (EST) | 1 x"},
		{template.Reader{Locale: "en-GB", Zone: zone(t, "Europe/London")}, "71.3°C | 767 mi | 6 January 2014, 13:05 (GMT) | 1 x"},
		{template.Reader{Locale: "en-US", Units: template.Metric}, "71.3°C | 1,234.5 km | January 6, 2014, 1:05 pm (UTC) | 1 x"},
		{template.Reader{Locale: "de-AT", Zone: zone(t, "Europe/Vienna")}, "71,3 °C | 1 234,5 km | 6. Jänner 2014, 14:05 Uhr (CET) | 1 x"},
		{template.Reader{Locale: "de", Units: template.US}, "160 °F | 767 mi | 6. Januar 2014, 13:05 Uhr (UTC) | 1 x"},
		{template.Reader{Locale: "fr"}, "71,3 °C | 1 234,5 km | 6 janvier 2014, 13:05 (UTC) | 1 x"},
		{template.Reader{Locale: "es"}, "71,3 °C | 1.234,5 km | 6 de enero de 2014, 13:05 (UTC) | 1 x"},
		{template.Reader{Locale: "sv-SE", Zone: zone(t, "Europe/Stockholm")}, "71,3 °C | 1 234,5 km | 6 januari 2014, 14:05 (CET) | 1 x"},
		{template.Reader{Locale: "sv", Zone: zone(t, "Asia/Kathmandu")}, "71,3 °C | 1 234,5 km | 6 januari 2014, 18:50 (UTC+05:45) | 1 x"},
	} {
		r, err := s.Render(c.reader, values)
		require.NoError(t, err)
		plain := strings.NewReplacer("\u00a0", " ", "\u202f", " ").Replace(strings.TrimSpace(r.Mail.Text))
		require.Equal(t, c.want, plain, c.reader.Locale)
	}
}

func TestLanguageFallsBackInStatedSteps(t *testing.T) {
	t.Parallel()
	mail := func(s string) template.LangTexts {
		return template.LangTexts{Mail: &template.Mail{Subject: s, Text: s}}
	}
	for _, c := range []struct {
		fallback, locale, want string
		has, tried             []string
	}{
		{"", "de-AT", "de-AT", []string{"de-AT", "de", "en"}, []string{"de-AT"}},
		{"", "de-AT", "de", []string{"de", "en"}, []string{"de-AT", "de"}},
		{"sv", "de-AT", "sv", []string{"sv", "en"}, []string{"de-AT", "de", "sv"}},
		{"", "fi", "en", []string{"sv", "en"}, []string{"fi", "en"}},
		{"", "fi", "sv", []string{"sv"}, []string{"fi", "sv"}},
		{"", "", "en", []string{"sv", "en"}, []string{"en"}},
		{"", "no such thing", "en", []string{"en"}, []string{"en"}},
	} {
		s := &template.Spec{Name: "x", Fallback: c.fallback, Texts: map[string]template.LangTexts{}}
		for _, l := range c.has {
			s.Texts[l] = mail(l)
		}
		r, err := s.Render(template.Reader{Locale: c.locale}, nil)
		require.NoError(t, err)
		require.Equal(t, c.want, r.Mail.Subject)
		require.Equal(t, c.want, r.Language)
		require.Equal(t, c.tried, r.Tried, "%+v", c)
	}
}

func TestMistakesAreFoundWhenDeclared(t *testing.T) {
	t.Parallel()
	text := func(s string) *template.Spec {
		return &template.Spec{Name: "mine", For: "updateOffer", Texts: map[string]template.LangTexts{"en": {Mail: &template.Mail{Subject: "a", Text: s}}}}
	}
	for bad, want := range map[string]string{
		"Hello\n{{.Prodct}}":           "did you mean {{.Product}}?",
		"{{.Product.Name}}":            "one of the placeholders",
		"{{.}}":                        "a placeholder, as {{.Product}}",
		"{{range .Nope}}{{.}}{{end}}":  "one of the placeholders",
		"{{range 1000000000}}x{{end}}": "range over a placeholder",
		"{{define \"a\"}}x{{end}}":     "no {{define}}",
		"{{template \"a\"}}":           "placeholders, if, with and range alone",
		"{{printf \"%s\" .Product}}":   "one of the functions",
		"{{$x := .Product}}{{$x}}":     "no variables",
		"{{.Product":                   "whose {{ and }} are right",
		"{{call .Product}}":            "one of the functions",
		"   ":                          "words",
	} {
		got := text(bad).Validate()
		require.NotEmpty(t, got, bad)
		require.Equal(t, "spec.languages.en.mail.text", got[0].Path)
		require.Contains(t, got[0].Expected+" "+got[0].Got, want, bad)
	}
	require.Contains(t, text("Hello\n{{.Prodct}}").Validate()[0].Expected, "line 2 of the text")
	require.Empty(t, text("{{with .Why}}{{.}}{{end}}{{if .Size}}{{.Size}}{{end}}").Validate())

	for bad, want := range map[string]string{
		"<script>x</script>":               "elements of a mail",
		"<p onclick='x'>":                  "no attribute onclick",
		"<a href='javascript:x'>":          "an https address",
		"<img src='http://x/y'>":           "an https address",
		"<!-- x -->":                       "no comments",
		"<p style='position:fixed'>":       "no attribute style",
		"<form action='https://x'></form>": "elements of a mail",
	} {
		s := text("x")
		s.Texts["en"].Mail.HTML = bad
		got := s.Validate()
		require.NotEmpty(t, got, bad)
		require.Equal(t, "spec.languages.en.mail.html", got[0].Path)
		require.Contains(t, got[0].Expected, want)
	}

	s := &template.Spec{Name: "x", Fallback: "fi", Values: []template.Value{
		{Name: "small", Type: template.Text}, {Name: "Product", Type: template.Text, Sample: "x"}, {Name: "Heat", Type: template.Measure, Unit: "celsius", Sample: "x"}, {Name: "Plain", Type: template.Text, Unit: "m"},
	}, Texts: map[string]template.LangTexts{"de_AT": {}, "??": {SMS: &template.Plain{Text: "x"}}}}
	paths := map[string]bool{}
	for _, f := range s.Validate() {
		paths[f.Path] = true
	}
	for _, p := range []string{"spec.fallback", "spec.values[0].name", "spec.values[1].name", "spec.values[2].unit", "spec.values[2].sample", "spec.values[3].unit", "spec.languages.de_AT", "spec.languages.??"} {
		require.True(t, paths[p], "%s in %v", p, paths)
	}
}

func TestWrittenFromRightToLeft(t *testing.T) {
	t.Parallel()
	s := &template.Spec{Name: "x", Texts: map[string]template.LangTexts{"ar": {Mail: &template.Mail{Subject: "تحديث {{.Product}}", Text: "{{.Product}} {{.Link}}"}}}}
	r, err := s.Render(template.Reader{Locale: "ar-EG"}, template.Values{"Product": "Wall \u202echarger", "Link": "https://x.example/"})
	require.NoError(t, err)
	require.True(t, r.RTL)
	require.Equal(t, "تحديث \u2068Wall charger\u2069", r.Mail.Subject, "a value keeps its direction to itself, and turns nothing else")
	require.Contains(t, r.Mail.Text, " https://x.example/\n", "a link stays one")
	require.True(t, template.RTL("he"))
	require.False(t, template.RTL("en"))
	require.True(t, template.RTL("az-Arab"))
}

func TestRecallNoticeFromItsFacts(t *testing.T) {
	t.Parallel()
	s := &template.Spec{Name: "plug-recall", Kind: template.Recall, Texts: map[string]template.LangTexts{"de": {Facts: &template.Facts{
		Brand: "Nordlys", Name: "Wallbox 11", Identification: "WC-000001 bis WC-004999", Hazard: "Der Stecker kann einen Brand auslösen.",
		Action: "Benutzen Sie die Wallbox sofort nicht mehr.", Remedies: []string{"Reparatur", "Ersatz", "Geld zurück"}, Phone: "0800 1234567",
	}}}}
	require.Empty(t, s.Validate())
	r, err := s.Render(template.Reader{Locale: "de"}, template.Values{"Name": "Kim", "Unit": "WC-000001", "Hazard": "nothing at all", "Link": "https://x.example/a"})
	require.NoError(t, err)
	require.Equal(t, "Produktsicherheitsrückruf: Nordlys Wallbox 11", r.Mail.Subject)
	for _, want := range []string{"Der Stecker kann einen Brand", "- Reparatur\n- Ersatz\n- Geld zurück", "0800 1234567", "an alle weiter"} {
		require.Contains(t, r.Letter.Text, want)
	}
	require.NotContains(t, r.Mail.Text, "nothing at all", "what was declared goes before what a caller says")
	require.Contains(t, r.Call.Script, "spreche ich mit Kim?")
}

func TestSegments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text     string
		encoding string
		n, chars int
	}{
		{"", "GSM-7", 0, 0},
		{strings.Repeat("a", 160), "GSM-7", 1, 160},
		{strings.Repeat("a", 161), "GSM-7", 2, 161},
		{strings.Repeat("a", 306), "GSM-7", 2, 306},
		{strings.Repeat("a", 307), "GSM-7", 3, 307},
		{strings.Repeat("€", 80), "GSM-7", 1, 160},
		{"Säkerhet: å ä ö", "GSM-7", 1, 15},
		{strings.Repeat("ą", 70), "UCS-2", 1, 70},
		{strings.Repeat("ą", 71), "UCS-2", 2, 71},
		{"🔥", "UCS-2", 1, 2},
	} {
		got := template.Count(c.text)
		require.Equal(t, []any{c.encoding, c.n, c.chars}, []any{got.Encoding, got.Segments, got.Characters}, c.text)
	}
	require.Equal(t, "ç", template.Count("reçu").Odd)
}

func TestConvert(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   template.Quantity
		to   template.System
		want template.Quantity
	}{
		{template.Quantity{Value: 100, Unit: "Cel"}, template.US, template.Quantity{Value: 212, Unit: "[degF]"}},
		{template.Quantity{Value: 212, Unit: "[degF]"}, template.Metric, template.Quantity{Value: 100, Unit: "Cel"}},
		{template.Quantity{Value: 1.609344, Unit: "km"}, template.UK, template.Quantity{Value: 1, Unit: "[mi_i]"}},
		{template.Quantity{Value: 5, Unit: "[mi_i]"}, template.UK, template.Quantity{Value: 5, Unit: "[mi_i]"}},
		{template.Quantity{Value: 300, Unit: "K"}, template.US, template.Quantity{Value: 80.33, Unit: "[degF]"}},
		{template.Quantity{Value: 16, Unit: "A"}, template.US, template.Quantity{Value: 16, Unit: "A"}},
	} {
		got := template.Convert(c.in, c.to)
		require.Equal(t, c.want.Unit, got.Unit)
		require.InDelta(t, c.want.Value, got.Value, 1e-9, c.in)
	}
}

func TestValuesKeepTheirTypes(t *testing.T) {
	t.Parallel()
	in := template.Values{"a": "x", "b": 3.5, "c": template.Quantity{Value: 1, Unit: "V"}, "d": at, "e": template.Day(at), "f": template.Bytes(9), "g": []string{"p", "q"}}
	raw, err := in.MarshalJSON()
	require.NoError(t, err)
	var out template.Values
	require.NoError(t, out.UnmarshalJSON(raw))
	require.Equal(t, in, out)
}

// FuzzValuesCannotInject: whatever a value is, it adds no element, no
// attribute, no header and no second line of a subject.
func FuzzValuesCannotInject(f *testing.F) {
	for _, s := range []string{"x", "<script>alert(1)</script>", "\" onmouseover=\"x", "a\r\nBcc: x@y", "javascript:alert(1)", "{{.Name}}", "\u202egpj.exe", "</a><a href='https://evil'>", "\x00\x1b[31m", "&lt;", "'><img src=x onerror=y>"} {
		f.Add(s)
	}
	s := &template.Spec{Name: "x", Texts: map[string]template.LangTexts{"en": {
		Mail: &template.Mail{Subject: "For {{.Name}}", Text: "Dear {{.Name}}", HTML: `<p lang="en">Dear {{.Name}}</p><a href="{{.Link}}">{{.Unit}}</a><img src="https://x.example/y" alt="{{.Product}}">`},
		SMS:  &template.Plain{Text: "{{.Name}}"},
	}}}
	if len(s.Validate()) > 0 {
		f.Fatal(s.Validate())
	}
	clean, err := s.Render(template.Reader{}, template.Values{"Name": "x", "Unit": "x", "Product": "x", "Link": "https://x.example/"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, v string) {
		r, err := s.Render(template.Reader{}, template.Values{"Name": v, "Unit": v, "Product": v, "Link": v})
		require.NoError(t, err)
		require.Equal(t, strings.Count(clean.Mail.HTML, "<"), strings.Count(r.Mail.HTML, "<"), "no element: %s", r.Mail.HTML)
		require.Equal(t, strings.Count(clean.Mail.HTML, `"`), strings.Count(r.Mail.HTML, `"`), "no attribute: %s", r.Mail.HTML)
		require.NotContains(t, strings.ToLower(r.Mail.HTML), `href="javascript:`)
		for _, line := range []string{r.Mail.Subject, r.SMS.Text, r.Push.Title, r.Letter.Subject} {
			require.NotContains(t, line, "\n")
			require.NotContains(t, line, "\r")
			require.False(t, strings.ContainsAny(line, "\x00\x1b\u202e\u2066"), "%q", line)
		}
	})
}
