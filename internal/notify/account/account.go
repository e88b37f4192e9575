// Package account words what people are told about their account and the units
// that they own or use: claims, invitations, handing over, new ways in. Such
// mails are asked for by somebody, or tell of a change that the person may not
// have made; they cannot be switched off.
package account

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"path"
	"strings"
	"text/template"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/text/language"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/notify"
)

//go:embed words/*.yaml
var files embed.FS

// text is what one mail says in one language. Each is a text/template of Mail.
type text struct{ subject, body *template.Template }

// Writer writes such mails.
type Writer struct {
	store   notify.Store
	clock   clock.Clock
	ids     clock.IDs
	url     string
	words   map[language.Tag]map[people.Words]text
	tags    []language.Tag
	matcher language.Matcher
}

var _ people.Mailer = (*Writer)(nil)

// all is every mail there is; each language has each of them.
var all = []people.Words{
	people.MailClaim, people.MailRequest, people.MailDrive, people.MailOwn, people.MailAccepted, people.MailHandedOver, people.MailRemoved,
	people.MailDeclined, people.MailEmail, people.MailEmailGone, people.MailLinked, people.MailPasskey,
	people.MailAsked, people.MailExtended, people.MailAnswered,
}

// NewWriter reads the words that the program carries. url is where people reach us.
func NewWriter(store notify.Store, c clock.Clock, ids clock.IDs, url string) (*Writer, error) {
	w := &Writer{store: store, clock: c, ids: ids, url: url, words: map[language.Tag]map[people.Words]text{}}
	for _, code := range []string{"en", "de", "fr", "es", "sv"} { // English first: for whoever speaks none of them
		raw, err := files.ReadFile(path.Join("words", code+".yaml"))
		if err != nil {
			return nil, fmt.Errorf("words of mails: %w", err)
		}
		var said map[people.Words]struct{ Subject, Body string }
		if err := yaml.UnmarshalWithOptions(raw, &said, yaml.Strict()); err != nil {
			return nil, fmt.Errorf("words of mails in %s: %w", code, err)
		}
		tag := language.MustParse(code)
		w.words[tag], w.tags = map[people.Words]text{}, append(w.tags, tag)
		for _, name := range all {
			one, ok := said[name]
			if !ok || one.Subject == "" || one.Body == "" {
				return nil, fmt.Errorf("words of mails in %s: %s is missing", code, name)
			}
			var t text
			if t.subject, err = template.New("subject").Option("missingkey=error").Parse(one.Subject); err == nil {
				t.body, err = template.New("body").Option("missingkey=error").Parse(one.Body)
			}
			if err != nil {
				return nil, fmt.Errorf("words of mails in %s: %s: %w", code, name, err)
			}
			w.words[tag][name] = t
		}
		if len(said) != len(all) {
			return nil, fmt.Errorf("words of mails in %s: %d, not %d", code, len(said), len(all))
		}
	}
	w.matcher = language.NewMatcher(w.tags)
	return w, nil
}

// Mail keeps a mail to be sent, once for its key, in the caller's transaction.
func (w *Writer) Mail(ctx context.Context, m people.Mail) error {
	wanted, _ := language.Parse(m.Locale) // English for what is no tag
	_, i, _ := w.matcher.Match(wanted)
	tag := w.tags[i]
	t, ok := w.words[tag][m.Words]
	if !ok {
		return fmt.Errorf("no words for a mail of kind %q", m.Words)
	}
	values := map[string]any{"Product": m.Product, "Serial": m.Serial, "By": oneLine(m.By), "Until": until(m.Until), "Link": w.url + m.Path}
	subject, err := fill(t.subject, values)
	if err != nil {
		return fmt.Errorf("mail %s: %w", m.Words, err)
	}
	body, err := fill(t.body, values)
	if err != nil {
		return fmt.Errorf("mail %s: %w", m.Words, err)
	}
	out := notify.Message{
		ID: w.ids.ID(), Key: "account:" + m.Key, Channel: notify.Mail, To: m.To, OwnerID: m.PersonID, Kind: notify.Account, Language: tag.String(),
		Subject: oneLine(subject), Body: body, Link: w.url + m.Path, CreatedAt: w.clock.Now(), Secret: m.Secret,
	}
	if m.Secret {
		out.ExpiresAt = m.Until
	}
	if _, err := w.store.Enqueue(ctx, out); err != nil {
		return fmt.Errorf("keep message: %w", err)
	}
	return nil
}

func fill(t *template.Template, values map[string]any) (string, error) {
	var b bytes.Buffer
	err := t.Execute(&b, values)
	return b.String(), err
}

// until is a time that everybody reads the same way, in whatever language.
func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

// oneLine keeps what a person called themselves from making lines of its own,
// or addresses that a mail program turns into links.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.NewReplacer("://", ": //", "www.", "www ").Replace(s)
}
