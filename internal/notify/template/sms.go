package template

import "strings"

// The GSM 7 bit default alphabet (3GPP TS 23.038 clause 6.2.1), and those of
// its extension table, which take two places.
const (
	gsmBasic    = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtended = "^{}\\[~]|€\f"
)

// Segments is how an SMS is sent: how many parts of it are paid for.
type Segments struct {
	Encoding   string `json:"encoding" enum:"GSM-7,UCS-2" doc:"GSM-7: 160 characters a segment, 153 of several. UCS-2, as soon as one character is outside the GSM alphabet: 70, 67 of several."`
	Characters int    `json:"characters" doc:"Places taken: characters of GSM's extension table, as €, take two, and those beyond the Basic Multilingual Plane, as emoji."`
	Segments   int    `json:"segments"`
	Left       int    `json:"left" doc:"Places left in the last segment."`
	Odd        string `json:"odd,omitempty" doc:"The characters that made it UCS-2."`
}

// Count says how an SMS is sent.
func Count(text string) Segments {
	s := Segments{Encoding: "GSM-7"}
	one, many := 160, 153
	var odd strings.Builder
	for _, r := range text {
		switch {
		case strings.ContainsRune(gsmBasic, r):
			s.Characters++
		case strings.ContainsRune(gsmExtended, r):
			s.Characters += 2
		default:
			if !strings.ContainsRune(odd.String(), r) {
				odd.WriteRune(r)
			}
		}
	}
	if odd.Len() > 0 {
		s.Encoding, s.Odd, s.Characters, one, many = "UCS-2", odd.String(), 0, 70, 67
		for _, r := range text {
			s.Characters++
			if r > 0xffff {
				s.Characters++
			}
		}
	}
	switch {
	case s.Characters == 0:
		return s
	case s.Characters <= one:
		s.Segments, s.Left = 1, one-s.Characters
	default:
		s.Segments = (s.Characters + many - 1) / many
		s.Left = s.Segments*many - s.Characters
	}
	return s
}
