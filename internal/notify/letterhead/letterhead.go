// Package letterhead puts a message into the frame that every mail has: text
// and HTML that say the same, the button that leads on, the question whether it
// was read, and how to get fewer of its kind. The HTML is one responsive table
// with its styles inline, in light and dark, without images: nothing is loaded
// from anywhere, so nobody learns who opened it.
package letterhead

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"regexp"
	"strings"

	"golang.org/x/text/language"

	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/ticket"
)

//go:embed mail.html
var source string

var page = template.Must(template.New("mail").Parse(source))

// Letterhead writes mails of one sender.
type Letterhead struct {
	Sender string // as people know it
	Links  ticket.Links
}

// words of the frame; %s is the sender, and the address that it is about.
type words struct {
	Open, SignIn, Ack, Read, Why, Fewer, Safety string
}

// frames are the languages that the frame is written in; a message in another
// gets the nearest, at last English.
var frames = map[string]words{
	"en": {
		Open: "Open", SignIn: "Sign in", Ack: "Please tell us that you have read this message.", Read: "I have read it",
		Why:    "You get this message from %s because you own or use a product that we look after.",
		Fewer:  "No more messages like this one",
		Safety: "This is a safety notice. You get it whatever other messages you have switched off.",
	},
	"de": {
		Open: "Öffnen", SignIn: "Anmelden", Ack: "Bitte bestätigen Sie, dass Sie diese Nachricht gelesen haben.", Read: "Ich habe sie gelesen",
		Why:    "Sie erhalten diese Nachricht von %s, weil Sie ein Produkt besitzen oder benutzen, um das wir uns kümmern.",
		Fewer:  "Keine solchen Nachrichten mehr",
		Safety: "Dies ist ein Sicherheitshinweis. Sie erhalten ihn unabhängig davon, welche anderen Nachrichten Sie abgestellt haben.",
	},
	"fr": {
		Open: "Ouvrir", SignIn: "Se connecter", Ack: "Merci de nous confirmer que vous avez lu ce message.", Read: "Je l’ai lu",
		Why:    "Vous recevez ce message de %s parce que vous possédez ou utilisez un produit que nous suivons.",
		Fewer:  "Ne plus recevoir ce type de message",
		Safety: "Ceci est un avis de sécurité. Vous le recevez quels que soient les messages que vous avez désactivés.",
	},
	"es": {
		Open: "Abrir", SignIn: "Iniciar sesión", Ack: "Confírmenos, por favor, que ha leído este mensaje.", Read: "Lo he leído",
		Why:    "Recibe este mensaje de %s porque tiene o usa un producto del que nos ocupamos.",
		Fewer:  "No recibir más mensajes como este",
		Safety: "Este es un aviso de seguridad. Lo recibe aunque haya desactivado otros mensajes.",
	},
	"sv": {
		Open: "Öppna", SignIn: "Logga in", Ack: "Bekräfta att du har läst det här meddelandet.", Read: "Jag har läst det",
		Why:    "Du får det här meddelandet från %s eftersom du äger eller använder en produkt som vi tar hand om.",
		Fewer:  "Inga fler sådana meddelanden",
		Safety: "Det här är ett säkerhetsmeddelande. Du får det oavsett vilka andra meddelanden du har stängt av.",
	},
}

var (
	matched = []language.Tag{language.English, language.German, language.French, language.Spanish, language.Swedish}
	matcher = language.NewMatcher(matched)
)

// inLanguage gives the frame's words nearest to a language.
func inLanguage(tag string) (w words, lang string) {
	_, i := language.MatchStrings(matcher, tag)
	lang = matched[i].String()
	return frames[lang], lang
}

// Read is what acknowledging is called in the language nearest to a tag.
func Read(tag string) string {
	w, _ := inLanguage(tag)
	return w.Read
}

// Direction is how a language is written: ltr or rtl.
func Direction(tag string) string {
	t, err := language.Parse(tag)
	if err != nil {
		return "ltr"
	}
	script, _ := t.Script()
	switch script.String() {
	case "Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm", "Rohg":
		return "rtl"
	default:
		return "ltr"
	}
}

type data struct {
	Lang, Dir, FrameLang, FrameDir string
	Sender, Subject                string
	Body                           template.HTML
	Button, Link                   string // the button stands below the body
	W                              words
	Why                            string
	Read, Fewer                    string // links
	Safety                         bool
}

// Write gives a message's text and HTML.
func (l Letterhead) Write(m notify.Message) (text, html string, err error) {
	w, lang := inLanguage(m.Language)
	d := data{
		Lang: m.Language, Dir: Direction(m.Language), FrameLang: lang, FrameDir: "ltr", Sender: l.Sender, Subject: m.Subject, W: w,
		Safety: m.Kind == notify.Safety,
	}
	if d.Lang == "" {
		d.Lang = "en"
	}
	if m.OwnerID != "" && m.Kind != notify.Account {
		d.Why = fmt.Sprintf(w.Why, l.Sender)
		if m.Kind.Optional() {
			d.Fewer = l.Links.Unsubscribe(m.ID)
		}
	}
	if m.Acknowledge {
		d.Read = l.Links.Read(m.ID)
	}
	button := w.Open
	if m.Kind == notify.Account {
		button = w.SignIn
	}
	if m.HTML != "" {
		d.Body = template.HTML(m.HTML) //nolint:gosec // made by this house's own templates, which escape what is put in
		d.Button, d.Link = button, m.Link
	} else {
		placed := false
		if d.Body, placed = paragraphs(m.Body, m.Link, button); !placed {
			d.Button, d.Link = button, m.Link
		}
	}
	if !web(d.Link) {
		d.Link = ""
	}
	var b bytes.Buffer
	b.Grow(len(source) + len(d.Body) + len(m.Subject) + 2048)
	if err := page.Execute(&b, d); err != nil {
		return "", "", fmt.Errorf("write mail: %w", err)
	}
	return d.text(m), b.String(), nil
}

// text is the plain part. "-- " begins what is of the frame (RFC 3676 4.3).
func (d data) text(m notify.Message) string {
	var b strings.Builder
	b.WriteString(strings.TrimRight(m.Body, "\n") + "\n")
	if m.Link != "" && web(m.Link) && !strings.Contains(m.Body, m.Link) {
		b.WriteString("\n" + m.Link + "\n")
	}
	if d.Read != "" {
		b.WriteString("\n" + d.W.Ack + "\n\n" + d.Read + "\n")
	}
	if d.Why == "" {
		return b.String()
	}
	b.WriteString("\n-- \n" + d.Why + "\n")
	if d.Safety {
		b.WriteString(d.W.Safety + "\n")
	}
	if d.Fewer != "" {
		b.WriteString(d.W.Fewer + ": " + d.Fewer + "\n")
	}
	return b.String()
}

func web(address string) bool {
	return strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://")
}

var address = regexp.MustCompile(`https?://[^\s<>"]+[^\s<>".,;:!?)\]]`)

const (
	styleParagraph = "margin:0 0 16px"
	styleList      = "margin:0 0 16px;padding-inline-start:22px"
)

// paragraphs makes HTML of plain text: blank lines part paragraphs, lines that
// begin with - are a list, an address alone on its line that is link becomes
// the button.
func paragraphs(text, link, button string) (html template.HTML, placed bool) {
	var b strings.Builder
	for block := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		block = strings.Trim(block, "\n")
		if strings.TrimSpace(block) == "" {
			continue
		}
		if !placed && link != "" && web(link) && strings.TrimSpace(block) == link {
			b.WriteString(Button(link, button))
			placed = true
			continue
		}
		list := false
		var lines []string
		flush := func() {
			if len(lines) > 0 {
				b.WriteString(`<p style="` + styleParagraph + `">` + strings.Join(lines, "<br>") + "</p>")
			}
			lines = nil
		}
		for line := range strings.SplitSeq(block, "\n") {
			item, isItem := strings.CutPrefix(line, "- ")
			switch {
			case isItem && !list:
				flush()
				b.WriteString(`<ul style="` + styleList + `"><li>` + linked(item))
				list = true
			case isItem:
				b.WriteString("</li><li>" + linked(item))
			case list && strings.HasPrefix(line, "  "):
				b.WriteString(" " + linked(strings.TrimSpace(line)))
			default:
				if list {
					b.WriteString("</li></ul>")
					list = false
				}
				lines = append(lines, linked(line))
			}
		}
		if list {
			b.WriteString("</li></ul>")
		}
		flush()
	}
	return template.HTML(b.String()), placed //nolint:gosec // all of it was escaped
}

// linked escapes a line and makes links of its addresses.
func linked(line string) string {
	var b strings.Builder
	for {
		at := address.FindStringIndex(line)
		if at == nil {
			return b.String() + template.HTMLEscapeString(line)
		}
		a := template.HTMLEscapeString(line[at[0]:at[1]])
		b.WriteString(template.HTMLEscapeString(line[:at[0]]) + `<a class="link" style="color:#0b5394;word-break:break-all" href="` + a + `">` + a + `</a>`)
		line = line[at[1]:]
	}
}

// Button is a link that looks like one, for the inside of a mail: mail programs
// know no buttons.
func Button(link, text string) string {
	return `<p style="margin:8px 0 24px"><a class="button" style="display:inline-block;padding:13px 22px;border-radius:8px;background:#0b5394;color:#ffffff;font-weight:600;text-decoration:none" href="` +
		template.HTMLEscapeString(link) + `">` + template.HTMLEscapeString(text) + `</a></p>`
}
