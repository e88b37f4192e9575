package notify

import (
	"embed"
	"fmt"
	"path"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
)

//go:embed catalogue/*.yaml
var catalogue embed.FS

// Template names a text of the catalogue.
type Template string

// The texts. Each has a subject and a body in every language.
const (
	OwnerSignIn    Template = "ownerSignIn"
	OperatorSignIn Template = "operatorSignIn"
	OperatorInvite Template = "operatorInvite"
	FindingsDigest Template = "findings"
)

// Words is the catalogue of sign-in links and of what operators are told, by
// language. Owners are told by internal/notify/template.
type Words struct{ bundle *i18n.Bundle }

// NewWords reads the catalogue that the program carries.
func NewWords() (*Words, error) {
	w := &Words{i18n.NewBundle(language.English)}
	w.bundle.RegisterUnmarshalFunc("yaml", func(b []byte, v any) error { return yaml.Unmarshal(b, v) })
	files, err := catalogue.ReadDir("catalogue")
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	for _, f := range files {
		b, err := catalogue.ReadFile(path.Join("catalogue", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("catalogue: %w", err)
		}
		if _, err := w.bundle.ParseMessageFileBytes(b, f.Name()); err != nil {
			return nil, fmt.Errorf("catalogue %s: %w", f.Name(), err)
		}
	}
	return w, nil
}

// Languages lists what the catalogue has.
func (w *Words) Languages() []language.Tag { return w.bundle.LanguageTags() }

// text fills one text in the language nearest to locale; count picks the plural
// of a text that has one, and is nil else.
func (w *Words) text(locale, id string, count, data any) (string, error) {
	s, err := i18n.NewLocalizer(w.bundle, locale, "en").Localize(&i18n.LocalizeConfig{MessageID: id, TemplateData: data, PluralCount: count})
	if err != nil {
		return "", fmt.Errorf("text %s in %q: %w", id, locale, err)
	}
	return s, nil
}

// Compose fills a template in the language nearest to locale; count picks the
// plural of a subject that has one, and is nil else.
func (w *Words) Compose(locale string, t Template, count, data any) (subject, body string, err error) {
	if subject, err = w.text(locale, string(t)+".subject", count, data); err != nil {
		return "", "", err
	}
	if body, err = w.text(locale, string(t)+".body", nil, data); err != nil {
		return "", "", err
	}
	// A subject is one line, whatever was declared.
	return strings.Join(strings.Fields(subject), " "), strings.TrimSpace(body) + "\n", nil
}
