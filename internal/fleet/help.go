package fleet

import (
	"fmt"
	"maps"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Help is how owners reach the maker, and answers to what they ask most.
type Help struct {
	Contact   Contact    `json:"contact" doc:"At least one way to reach a person."`
	Manual    string     `json:"manual,omitempty" doc:"Address of the manual (http or https)."`
	Questions []Question `json:"questions,omitempty"`
}

// Contact is how the maker is reached.
type Contact struct {
	Name  string            `json:"name" doc:"Of the maker or its service."`
	Mail  string            `json:"mail,omitempty"`
	Phone string            `json:"phone,omitempty" doc:"With the country's code, as +47 22 00 00 00."`
	URL   string            `json:"url,omitempty" doc:"http or https."`
	Hours map[string]string `json:"hours,omitempty" doc:"When somebody answers, by language (BCP 47)."`
}

// Question is a question with its answer, by language (BCP 47).
type Question struct {
	Question map[string]string `json:"question"`
	Answer   map[string]string `json:"answer" doc:"Plain text; in the languages of the question."`
}

var phonePattern = regexp.MustCompile(`^\+[0-9][0-9 ()/-]{5,24}$`)

// help checks what owners are told of the maker: what stands here is made into
// links that they follow.
func (m *mistakes) help(h *Help) {
	if h == nil {
		return
	}
	const at = "spec.help"
	m.text(at+".contact.name", h.Contact.Name)
	c := h.Contact
	if c.Mail == "" && c.Phone == "" && c.URL == "" {
		m.add(at+".contact", "a mail address, a telephone number or a URL", nil)
	}
	if _, err := mail.ParseAddress(c.Mail); c.Mail != "" && (err != nil || strings.ContainsAny(c.Mail, "<> ?&")) {
		m.add(at+".contact.mail", "a mail address, as help@maker.example", c.Mail)
	}
	if c.Phone != "" && !phonePattern.MatchString(c.Phone) {
		m.add(at+".contact.phone", "a number with the country's code, as +47 22 00 00 00", c.Phone)
	}
	for path, address := range map[string]string{"contact.url": c.URL, "manual": h.Manual} {
		if u, err := url.Parse(address); address != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
			m.add(at+"."+path, "an address that begins with https://", address)
		}
	}
	words := func(path string, texts map[string]string) {
		for _, l := range slices.Sorted(maps.Keys(texts)) {
			m.tag(path+"."+l, l)
			m.text(path+"."+l, texts[l])
		}
	}
	words(at+".contact.hours", c.Hours)
	for i, q := range h.Questions {
		path := fmt.Sprintf("%s.questions[%d]", at, i)
		if len(q.Question) == 0 {
			m.add(path+".question", "the question in at least one language", nil)
		}
		words(path+".question", q.Question)
		words(path+".answer", q.Answer)
		for _, l := range slices.Sorted(maps.Keys(q.Question)) {
			if _, ok := q.Answer[l]; !ok {
				m.add(path+".answer."+l, "the answer in this language, too", nil)
			}
		}
	}
}
