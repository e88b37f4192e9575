package fleet

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHelpIsReachableAndInWholeLanguages(t *testing.T) {
	t.Parallel()
	wrong := func(h Help) []string {
		var m mistakes
		m.help(&h)
		var paths []string
		for _, f := range m {
			paths = append(paths, f.Path)
		}
		return paths
	}
	good := Help{
		Contact: Contact{Name: "Maker", Mail: "help@maker.example", Phone: "+47 22 00 00 00", URL: "https://maker.example/help", Hours: map[string]string{"en": "Monday to Friday"}},
		Manual:  "https://maker.example/manual.pdf",
		Questions: []Question{{
			Question: map[string]string{"en": "Why is it warm?", "de": "Warum ist es warm?"},
			Answer:   map[string]string{"en": "It is at work.", "de": "Es arbeitet."},
		}},
	}
	require.Empty(t, wrong(good))
	require.Equal(t, []string{"spec.help.contact"}, wrong(Help{Contact: Contact{Name: "Maker"}}))
	for path, change := range map[string]func(h *Help){
		"spec.help.contact.mail":           func(h *Help) { h.Contact.Mail = "a@b?subject=x" },
		"spec.help.contact.phone":          func(h *Help) { h.Contact.Phone = "22 00" },
		"spec.help.contact.url":            func(h *Help) { h.Contact.URL = "javascript:alert(1)" },
		"spec.help.manual":                 func(h *Help) { h.Manual = "manual.pdf" },
		"spec.help.questions[0].answer.de": func(h *Help) { h.Questions[0].Answer = map[string]string{"en": "It is at work."} },
	} {
		h := good
		h.Questions = []Question{good.Questions[0]}
		change(&h)
		require.Equal(t, []string{path}, wrong(h))
	}
}
