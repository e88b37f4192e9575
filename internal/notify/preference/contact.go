package preference

import (
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
)

// Contact is how an owner can be reached beside the mail address that they sign
// in with.
type Contact struct {
	Phone      string   `json:"phone,omitempty" doc:"E.164, as +4712345678; for texts and calls."`
	Address    *Address `json:"address,omitempty" doc:"Where letters go."`
	SafetyOnly []string `json:"safetyOnly,omitempty" doc:"What was given for safety notices alone (GPSR art. 35(2)) and is used for nothing else: email, phone, address."`
}

// Address is a postal address.
type Address struct {
	Name       string   `json:"name,omitempty" doc:"Whom letters are addressed to (default: the owner's name)."`
	Lines      []string `json:"lines" doc:"Street and number, or a post box; at most three lines."`
	PostalCode string   `json:"postalCode,omitempty"`
	City       string   `json:"city"`
	Region     string   `json:"region,omitempty" doc:"State or province, where addresses have one."`
	Country    string   `json:"country" doc:"ISO 3166-1 code, as SE."`
}

// Given for safety alone.
const (
	OfEmail   = "email"
	OfPhone   = "phone"
	OfAddress = "address"
)

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// Validate finds every mistake of contact data.
func (c *Contact) Validate() error {
	var fields []fault.Field
	add := func(path, expected, got string) {
		fields = append(fields, fault.Field{Path: path, Expected: expected, Got: fmt.Sprintf("%q", got)})
	}
	if c.Phone != "" && !e164.MatchString(c.Phone) {
		add("phone", "a number with its country code, as +4712345678", c.Phone)
	}
	if a := c.Address; a != nil {
		line := func(path, s string, must bool) {
			if len(s) > 100 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) || must && strings.TrimSpace(s) == "" {
				add("address."+path, "1 to 100 characters on one line", s)
			}
		}
		line("name", a.Name, false)
		if len(a.Lines) < 1 || len(a.Lines) > 3 {
			add("address.lines", "one to three lines, as Storgatan 1", fmt.Sprint(len(a.Lines)))
		}
		for i, l := range a.Lines {
			line(fmt.Sprintf("lines[%d]", i), l, true)
		}
		line("postalCode", a.PostalCode, false)
		line("city", a.City, true)
		line("region", a.Region, false)
		if r, err := language.ParseRegion(a.Country); err != nil || !r.IsCountry() || r.String() != a.Country {
			add("address.country", "a country's code (ISO 3166-1), as SE", a.Country)
		}
	}
	for i, s := range c.SafetyOnly {
		if !slices.Contains([]string{OfEmail, OfPhone, OfAddress}, s) {
			add(fmt.Sprintf("safetyOnly[%d]", i), "email, phone or address", s)
		}
	}
	return fault.Fields("contact", fields)
}

// restricted reports whether what a channel uses was given for safety alone.
func (c *Contact) restricted(ch notify.Channel) bool {
	switch ch {
	case notify.Mail:
		return slices.Contains(c.SafetyOnly, OfEmail)
	case notify.SMS, notify.Voice, notify.Call:
		return slices.Contains(c.SafetyOnly, OfPhone)
	case notify.Letter:
		return slices.Contains(c.SafetyOnly, OfAddress)
	default:
		return false
	}
}

// validMail reports whether an address may be written to.
func validMail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s
}
