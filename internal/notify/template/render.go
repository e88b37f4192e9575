package template

import (
	"fmt"
	htmltemplate "html/template"
	"io"
	"regexp"
	"strings"
	texttemplate "text/template"

	"fettle.dev/fettle/internal/notify"
)

// Rendered is what one person is told, on every channel.
type Rendered struct {
	Template string   `json:"template"`
	Source   string   `json:"source" doc:"Where the words come from: the name of the declared template, or built-in."`
	Kind     Kind     `json:"kind"`
	Language string   `json:"language" doc:"Of the words."`
	Tried    []string `json:"tried" doc:"Languages that were looked for, in order; the last was taken."`
	RTL      bool     `json:"rtl,omitempty" doc:"Written from right to left."`
	Mail     Mail     `json:"mail"`
	SMS      SMS      `json:"sms"`
	Voice    Plain    `json:"voice"`
	Push     Push     `json:"push"`
	Letter   Letter   `json:"letter"`
	Call     Script   `json:"call"`
	Link     string   `json:"link,omitempty"`
}

// SMS is an SMS with what it costs.
type SMS struct {
	Text     string   `json:"text"`
	Segments Segments `json:"segments"`
}

// Words are the subject and the body on a channel.
func (r *Rendered) Words(ch notify.Channel) (subject, body string) {
	switch ch {
	case notify.SMS:
		return "", r.SMS.Text
	case notify.Voice:
		return "", r.Voice.Text
	case notify.Push:
		return r.Push.Title, r.Push.Text
	case notify.Letter:
		return r.Letter.Subject, r.Letter.Text
	case notify.Call:
		return r.Mail.Subject, r.Call.Script
	default:
		return r.Mail.Subject, r.Mail.Text
	}
}

// Render writes a template's words for a reader.
func (s *Spec) Render(r Reader, values Values) (*Rendered, error) {
	words, tag, tried := s.in(r.Locale)
	out := &Rendered{Template: s.Replaces(), Source: s.Name, Kind: s.About(), Language: tag, Tried: tried, RTL: RTL(tag)}
	w := newWriter(tag, r)
	data := map[string]any{}
	for _, v := range s.placeholders() {
		data[v.Name] = "" // what is not known is left out, never "<no value>"
	}
	var facts Values
	if words.Facts != nil {
		facts = words.Facts.values(tag)
	}
	for k, v := range facts {
		data[k] = w.write(v)
	}
	for k, v := range values {
		if _, declared := facts[k]; declared {
			continue // what is declared of the recall goes before what a caller says
		}
		data[k] = w.write(v)
	}
	if l, ok := values["Link"].(string); ok {
		out.Link = clean(l)
		data["Link"] = out.Link // an address is no running text: it is not isolated
	}
	if words.Facts != nil {
		if err := lendWords(&words, tag); err != nil {
			return nil, err
		}
	}
	for k, v := range data {
		if text, ok := v.(string); ok && (k == "Picture" || k == "Online" || k == "Phone") {
			data[k] = clean(strings.Trim(text, "\u2068\u2069"))
		}
	}
	if err := out.fill(&words, w, data); err != nil {
		return nil, fmt.Errorf("template %s in %s: %w", s.Name, tag, err)
	}
	return out, nil
}

// lendWords gives the words of the built-in recall notice where only facts were declared.
func lendWords(l *LangTexts, tag string) error {
	all, err := Builtin()
	if err != nil {
		return err
	}
	lent, _, _ := all[RecallNotice].in(tag)
	if l.Mail == nil {
		l.Mail = lent.Mail
	}
	if l.SMS == nil {
		l.SMS = lent.SMS
	}
	if l.Call == nil {
		l.Call = lent.Call
	}
	return nil
}

func (r *Rendered) fill(l *LangTexts, w *writer, data map[string]any) (err error) {
	f := &filler{w: w, data: data}
	if m := l.Mail; m != nil {
		r.Mail = Mail{Subject: oneLine(f.text("mail.subject", m.Subject)), Text: tidy(f.text("mail.text", m.Text)), HTML: f.html("mail.html", m.HTML)}
	}
	if l.SMS != nil {
		r.SMS.Text = oneLine(f.text("sms.text", l.SMS.Text))
	}
	if l.Voice != nil {
		r.Voice.Text = oneLine(f.text("voice.text", l.Voice.Text))
	}
	if l.Push != nil {
		r.Push = Push{oneLine(f.text("push.title", l.Push.Title)), oneLine(f.text("push.text", l.Push.Text))}
	}
	if l.Letter != nil {
		r.Letter = Letter{oneLine(f.text("letter.subject", l.Letter.Subject)), tidy(f.text("letter.text", l.Letter.Text))}
	}
	if l.Call != nil {
		r.Call.Script = tidy(f.text("call.script", l.Call.Script))
	}
	if f.err != nil {
		return f.err
	}
	r.lend()
	r.SMS.Segments = Count(r.SMS.Text)
	return nil
}

// lend gives channels without words those of another.
func (r *Rendered) lend() {
	if r.Mail.Text == "" {
		switch {
		case r.Letter.Text != "":
			r.Mail = Mail{Subject: r.Letter.Subject, Text: r.Letter.Text}
		case r.SMS.Text != "":
			r.Mail = Mail{Subject: firstWords(r.SMS.Text, 60), Text: r.SMS.Text + "\n"}
		case r.Push.Text != "":
			r.Mail = Mail{Subject: r.Push.Title, Text: r.Push.Text + "\n"}
		case r.Voice.Text != "":
			r.Mail = Mail{Subject: firstWords(r.Voice.Text, 60), Text: r.Voice.Text + "\n"}
		case r.Call.Script != "":
			r.Mail = Mail{Subject: firstWords(r.Call.Script, 60), Text: r.Call.Script}
		}
	}
	if r.SMS.Text == "" {
		r.SMS.Text = strings.TrimSpace(r.Mail.Subject + " " + r.Link)
	}
	if r.Voice.Text == "" {
		r.Voice.Text = strings.TrimSpace(strings.ReplaceAll(r.SMS.Text, r.Link, ""))
	}
	if r.Push.Title == "" {
		r.Push = Push{r.Mail.Subject, strings.TrimSpace(strings.ReplaceAll(r.SMS.Text, r.Link, ""))}
	}
	if r.Letter.Text == "" {
		r.Letter = Letter{r.Mail.Subject, r.Mail.Text}
	}
	if r.Call.Script == "" {
		r.Call.Script = r.Mail.Text
	}
}

func firstWords(s string, most int) string {
	if r := []rune(s); len(r) > most {
		s = string(r[:most])
		if i := strings.LastIndexByte(s, ' '); i > 0 {
			s = s[:i]
		}
		s += "…"
	}
	return s
}

// tidy takes away what is left of lines whose placeholders were empty.
func tidy(s string) string {
	var out []string
	empty := 0
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" {
			if empty++; empty > 1 {
				continue
			}
		} else {
			empty = 0
		}
		out = append(out, line)
	}
	return strings.TrimSpace(strings.Join(out, "\n")) + "\n"
}

type filler struct {
	w    *writer
	data map[string]any
	err  error
}

func (f *filler) functions() map[string]any {
	return map[string]any{
		"plural": f.w.plural,
		"join": func(sep string, list any) string {
			return strings.Join(listOf(list), sep)
		},
		"list": func(v any) string {
			var b strings.Builder
			for _, s := range listOf(v) {
				b.WriteString("- " + s + "\n")
			}
			return strings.TrimSuffix(b.String(), "\n")
		},
	}
}

func listOf(v any) []string {
	switch x := v.(type) {
	case []string:
		return x
	case string:
		if x != "" {
			return []string{x}
		}
	}
	return nil
}

func (f *filler) text(path, text string) string {
	if text == "" || f.err != nil {
		return ""
	}
	t, err := texttemplate.New(path).Funcs(f.functions()).Parse(text)
	return f.filled(t, err)
}

func (f *filler) html(path, text string) string {
	if text == "" || f.err != nil {
		return ""
	}
	t, err := htmltemplate.New(path).Funcs(f.functions()).Parse(text)
	return f.filled(t, err)
}

type executor interface {
	Execute(w io.Writer, data any) error
}

func (f *filler) filled(t executor, err error) string {
	var b limited
	if err == nil {
		err = t.Execute(&b, f.data)
	}
	if f.err = err; err != nil {
		return ""
	}
	return b.String()
}

// limited ends a text that grows without bounds.
type limited struct{ strings.Builder }

func (b *limited) Write(p []byte) (int, error) {
	if b.Len()+len(p) > 4*maxText {
		return 0, fmt.Errorf("the text grows beyond %d KiB", 4*maxText>>10)
	}
	return b.Builder.Write(p)
}

var address = regexp.MustCompile(`https?://[^\s<>"]+[^\s<>".,;:!?)]`)

// Paragraphs is a mail's text as HTML: paragraphs, lists and links, and nothing
// else, whatever the text is.
func Paragraphs(text string) string {
	var b strings.Builder
	for p := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		lines := strings.Split(p, "\n")
		list := true
		for _, l := range lines {
			list = list && strings.HasPrefix(l, "- ")
		}
		for i, l := range lines {
			safe := address.ReplaceAllStringFunc(htmltemplate.HTMLEscapeString(l), func(u string) string { return `<a href="` + u + `">` + u + `</a>` })
			lines[i] = safe
		}
		if list {
			b.WriteString("<ul>")
			for _, l := range lines {
				b.WriteString("<li>" + strings.TrimPrefix(l, "- ") + "</li>")
			}
			b.WriteString("</ul>\n")
			continue
		}
		b.WriteString("<p>" + strings.Join(lines, "<br>\n") + "</p>\n")
	}
	return b.String()
}
