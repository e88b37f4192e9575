package access

import (
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"fettle.dev/fettle/internal/fault"
)

// Lengths of a password in characters. NIST SP 800-63B-4, 3.1.1.2, asks for 8
// where a second factor is always shown, and for at least 64 to be taken; it
// advises against rules of composition and against changes at set times.
const (
	ShortestPassword = 10
	LongestPassword  = 256
)

// common are passwords that guessers try first, long enough to pass otherwise:
// one a line, in lower case.
//
//go:embed common.txt
var commonList string

var common = func() map[string]bool {
	m := map[string]bool{}
	for line := range strings.Lines(commonList) {
		m[strings.TrimSpace(line)] = true
	}
	return m
}()

// checkPassword refuses what guessers try first. Anything that is long enough
// and not of that is good: blanks, any script, no rule about kinds of characters.
func checkPassword(password, email string) error {
	expected := ""
	name, _, _ := strings.Cut(email, "@")
	low, kinds := strings.ToLower(password), map[rune]bool{}
	for _, r := range low {
		kinds[r] = true
	}
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password) || strings.ContainsRune(password, 0):
		expected = "text"
	case n < ShortestPassword:
		expected = fmt.Sprintf("at least %d characters (four words that have nothing to do with one another are easy to remember)", ShortestPassword)
	case n > LongestPassword:
		expected = fmt.Sprintf("at most %d characters", LongestPassword)
	case common[low] || common[strings.TrimRight(low, "0123456789!.?")] || len(kinds) < 4:
		expected = "something else: it is among the passwords that are guessed first"
	case low == email || len(name) >= 4 && strings.TrimRight(strings.ReplaceAll(low, name, ""), "0123456789!.?") == "":
		expected = "something else than your address"
	}
	if expected == "" {
		return nil
	}
	return fault.Fields("password", []fault.Field{{Path: "password", Expected: expected}})
}

// argon are the parameters of Argon2id (RFC 9106) as OWASP's cheat sheet on
// password storage gives them for servers: 19 MiB, two passes, one lane.
type argon struct {
	memory, passes uint32
	lanes          uint8
}

var usual = argon{19 << 10, 2, 1}

// hashing bounds how many passwords are hashed at once, and so the memory.
var hashing = make(chan struct{}, 4)

func (p argon) key(password string, salt []byte) []byte {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	return argon2.IDKey([]byte(norm.NFKC.String(password)), salt, p.passes, p.memory, p.lanes, 32)
}

// hashPassword writes a password's hash in the PHC string format.
func hashPassword(password string) string {
	var salt [16]byte
	_, _ = rand.Read(salt[:]) // never fails since Go 1.24
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, usual.memory, usual.passes, usual.lanes,
		b64.EncodeToString(salt[:]), b64.EncodeToString(usual.key(password, salt[:])))
}

// nobody is what a password is compared with where there is no account or no
// password, so that it takes as long.
var nobody = hashPassword("")

// samePassword compares a password with a hash; false for a hash that cannot be read.
func samePassword(hash, password string) bool {
	known := hash != ""
	if !known {
		hash = nobody
	}
	part := strings.Split(hash, "$")
	if len(part) != 6 || part[1] != "argon2id" {
		return false
	}
	var p argon
	var version int
	if _, err := fmt.Sscanf(part[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false
	}
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.lanes); err != nil || p.memory > 1<<20 || p.passes == 0 || p.passes > 16 || p.lanes == 0 {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(part[4])
	want, err2 := base64.RawStdEncoding.DecodeString(part[5])
	if err != nil || err2 != nil || len(want) != 32 {
		return false
	}
	if utf8.RuneCountInString(password) > LongestPassword {
		password = ""
	}
	return subtle.ConstantTimeCompare(p.key(password, salt), want) == 1 && known
}
