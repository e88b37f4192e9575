package gateway

import "unicode/utf16"

// The GSM 7-bit default alphabet and its extension, each of whose letters
// takes two (3GPP TS 23.038 6.2.1).
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmMore  = "\f^{}\\[~]|€"
)

var gsm = func() map[rune]int {
	m := map[rune]int{}
	for _, r := range gsmBasic {
		m[r] = 1
	}
	for _, r := range gsmMore {
		m[r] = 2
	}
	return m
}()

// Segments is how many SMS a text takes, and whether it fits the 7-bit
// alphabet: 160 letters in one, 153 in each of several; else UCS-2, 70 and 67
// (3GPP TS 23.040 9.2.3.24.1). No letter is cut in two by the end of a segment.
func Segments(text string) (segments int, gsm7 bool) {
	sizes, whole, part := []int{}, 160, 153
	gsm7 = true
	for _, r := range text {
		n, ok := gsm[r]
		if !ok {
			gsm7 = false
			break
		}
		sizes = append(sizes, n)
	}
	if !gsm7 {
		sizes, whole, part = sizes[:0], 70, 67
		for _, r := range text {
			sizes = append(sizes, max(1, utf16.RuneLen(r)))
		}
	}
	total := 0
	for _, n := range sizes {
		total += n
	}
	if total <= whole {
		return 1, gsm7
	}
	segments, room := 1, part
	for _, n := range sizes {
		if n > room {
			segments, room = segments+1, part
		}
		room -= n
	}
	return segments, gsm7
}
