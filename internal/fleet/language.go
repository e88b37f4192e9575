package fleet

import (
	"maps"
	"slices"
	"strings"
)

// InLanguage picks a text declared by language (BCP 47 tag): that of locale,
// of its base language, English, or the first there is.
func InLanguage(words map[string]string, locale string) string {
	base, _, _ := strings.Cut(locale, "-")
	for _, l := range []string{locale, base, "en"} {
		if w, ok := words[l]; ok {
			return w
		}
	}
	for _, l := range slices.Sorted(maps.Keys(words)) {
		return words[l]
	}
	return ""
}
