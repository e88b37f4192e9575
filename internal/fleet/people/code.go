package people

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// A claim code is 19 random symbols and a check symbol of Crockford's base 32
// (https://www.crockford.com/base32.html): digits and letters without I, L, O
// and U, in four groups of five. The records keep its SHA-256: of 95 random
// bits nobody finds one by trying, not even one of a million codes in a copy of
// the records, so there is no key that could be lost while labels are out.
//
// Crockford's own check symbol counts modulo 37, with five signs that are hard
// to find on a telephone. This one is of the alphabet itself: a Reed-Solomon
// symbol over GF(32), which notices each single mistyped symbol and each two
// symbols that were swapped.
const (
	alphabet   = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	codeLength = 20 // with the check symbol
	group      = 5
)

// CodeKind says who gave a code out.
type CodeKind string

// The kinds. A printed one comes with the unit and works once for each change
// of owner: where the unit has an owner, it asks them. One for handing over is
// made by the owner for the next one, works once and lives days.
const (
	Printed  CodeKind = "printed"
	Handing  CodeKind = "handover"
	handLife          = 7 * 24 * time.Hour
)

// Code lets somebody claim a unit.
type Code struct {
	ID        string    `json:"id"`
	Hash      string    `json:"-"`
	UnitID    string    `json:"unitId"`
	Kind      CodeKind  `json:"kind" enum:"printed,handover"`
	CreatedAt time.Time `json:"createdAt"`
	MadeBy    string    `json:"madeBy"` // operator's mail address, "owner:<id>"
	ExpiresAt time.Time `json:"expiresAt,omitzero" doc:"Absent: never."`
	UsedAt    time.Time `json:"usedAt,omitzero"`
	RevokedAt time.Time `json:"revokedAt,omitzero"`
}

// times is the product of two elements of GF(32), modulo x^5 + x^2 + 1.
func times(a, b byte) byte {
	var p byte
	for ; b > 0; b >>= 1 {
		if b&1 == 1 {
			p ^= a
		}
		if a <<= 1; a&32 != 0 {
			a ^= 0b100101
		}
	}
	return p
}

// check is 0 of a code with the right check symbol: the sum of each symbol
// times the power of x that belongs to its place. No two of 20 powers are the
// same, as x has order 31, so neither a changed symbol nor a swap gives 0.
func check(symbols []byte) byte {
	var sum, power byte = 0, 1
	for _, v := range slices.Backward(symbols) { // the check symbol's power is 1
		sum ^= times(v, power)
		power = times(power, 2)
	}
	return sum
}

// NewCode makes a code, as it is printed.
func NewCode() string {
	var random, symbols [codeLength]byte
	_, _ = rand.Read(random[:]) // never fails since Go 1.24
	for i := range codeLength - 1 {
		symbols[i] = random[i] % 32
	}
	symbols[codeLength-1] = check(symbols[:])
	return write(symbols[:])
}

func write(symbols []byte) string {
	var b strings.Builder
	for i, v := range symbols {
		if i > 0 && i%group == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(alphabet[v])
	}
	return b.String()
}

// ParseCode reads a code as people type it: in small letters, without or with
// other gaps, O for 0, I and L for 1. The answer is as it is printed.
func ParseCode(typed string) (string, error) {
	wrong := func(why string) (string, error) {
		return "", fault.Fields("claim", []fault.Field{{Path: "code", Expected: why}})
	}
	if len(typed) > 100 {
		return wrong("a code of 20 letters and digits, as XXXXX-XXXXX-XXXXX-XXXXX")
	}
	symbols := make([]byte, 0, codeLength)
	for _, r := range strings.ToUpper(typed) {
		switch r {
		case '-', ' ', '\t', '\u00a0', '\u2010', '\u2011', '\u2013', '.', '_', '\n', '\r':
			continue
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		i := strings.IndexRune(alphabet, r)
		if i < 0 {
			return wrong(fmt.Sprintf("letters and digits only, and %q is in no code", r))
		}
		symbols = append(symbols, byte(i))
	}
	if len(symbols) != codeLength {
		return wrong(fmt.Sprintf("a code of 20 letters and digits, as XXXXX-XXXXX-XXXXX-XXXXX; these are %d", len(symbols)))
	}
	if check(symbols) != 0 {
		return wrong("another code: a letter or digit of this one is mistyped")
	}
	return write(symbols), nil
}

// hash is what the records keep of a code as it is printed.
func hash(code string) string { return fleet.SecretHash(code) }
