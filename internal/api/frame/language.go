package frame

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/text/language"
)

type languageKey struct{}

// Listen keeps the languages that a request asks for.
func Listen(ctx huma.Context, next func(huma.Context)) {
	if asked := ctx.Header("Accept-Language"); asked != "" {
		ctx = huma.WithValue(ctx, languageKey{}, asked)
	}
	next(ctx)
}

// Language is the language (BCP 47) to answer in: the one that the request asks
// for first (Accept-Language, RFC 9110, section 12.5.4), otherwise the one given.
func Language(ctx context.Context, otherwise string) string {
	asked, _ := ctx.Value(languageKey{}).(string)
	if len(asked) > 200 { // nobody speaks that many
		return otherwise
	}
	tags, _, err := language.ParseAcceptLanguage(asked)
	if err != nil || len(tags) == 0 || tags[0] == language.Und {
		return otherwise
	}
	return tags[0].String()
}
