package spec

import (
	"fmt"
	"strings"

	"fettle.dev/fettle/internal/fault"
)

// Again gives a release that Back has made its name (default: that of the
// release whose content it has and its counter), version, kind and words. of
// are the releases whose content it is; notes are for owners (default: that it
// goes back), why is for engineers.
func Again(out, bad *Release, of []Release, name, why string, notes map[string]string) {
	base, words, old := "before-"+bad.Name, "the product's defaults", "what was before it"
	if len(of) == 1 {
		base, words, old = of[0].Name, fmt.Sprintf("release %s (counter %d)", of[0].Name, of[0].Counter), "version "+of[0].Version
	} else if len(of) > 1 {
		var each []string
		for _, r := range of {
			each = append(each, fmt.Sprintf("%s (counter %d)", r.Name, r.Counter))
		}
		words = "releases " + strings.Join(each, ", ")
	}
	out.Name, out.Withdrawn, out.Kind = name, nil, bad.Kind
	if len(of) != 1 {
		out.Version = Clip(base)
	}
	if name == "" {
		out.Name = fmt.Sprintf("%s-again-%d", base, out.Counter)
	}
	out.Notes = map[string]string{"en": fmt.Sprintf("Goes back to %s, because version %s has a fault.", old, bad.Version)}
	if len(of) == 1 {
		out.Notes["de"] = fmt.Sprintf("Kehrt zu Version %s zurück, weil Version %s einen Fehler hat.", of[0].Version, bad.Version)
	}
	if len(notes) > 0 {
		out.Notes = notes
	}
	out.EngineerNotes = strings.TrimSpace(fmt.Sprintf("The content of %s again, to bring units back from release %s (counter %d). %s", words, bad.Name, bad.Counter, why))
	if len(of) == 1 {
		out.EngineerNotes = strings.TrimSpace(out.EngineerNotes + "\n\n" + of[0].EngineerNotes)
	}
}

// Passed adds to an error of Back, if there is one, which releases it was not
// shown, and why.
func Passed(err error, passed []string) error {
	if err == nil || len(passed) == 0 {
		return err
	}
	return fault.Wrap(fault.KindOf(err), strings.Join(passed, " ")+" Name a release to go back to it all the same", err)
}

// maxWords is how much is kept of words that a client or a person said.
const maxWords = 500

// Clip cuts words that are too long, never inside a character.
func Clip(s string) string {
	if len(s) <= maxWords {
		return s
	}
	cut := maxWords
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}
