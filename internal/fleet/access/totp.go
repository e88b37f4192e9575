package access

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"fettle.dev/fettle/internal/fleet"
)

// A time-based one-time password as every authenticator app makes it: RFC 6238
// with HMAC-SHA-1, six digits, 30 seconds. One step to either side is taken, for
// clocks that are off and people who type (section 5.2).
const (
	totpPeriod = 30
	totpSkew   = 1
)

var base32NoPad = base32.StdEncoding.WithPadding(base32.NoPadding)

// newTOTP makes a key of 160 bits (RFC 4226 section 4, R6).
func newTOTP() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return base32NoPad.EncodeToString(b[:])
}

// totpURL is what authenticator apps read from a QR code.
func totpURL(issuer, account, key string) string {
	label := strings.ReplaceAll(issuer+":"+account, " ", "%20")
	return fmt.Sprintf("otpauth://totp/%s?secret=%s&issuer=%s&algorithm=SHA1&digits=6&period=%d", label, key, issuer, totpPeriod)
}

// totpStep finds the time step that a code is of; ok is false when it is of none near now.
func totpStep(key, code string, now time.Time) (step int64, ok bool) {
	at := now.Unix() / totpPeriod
	for _, step := range []int64{at, at - totpSkew, at + totpSkew} {
		good, err := hotp.ValidateCustom(code, uint64(step), key, hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err == nil && good {
			return step, true
		}
	}
	return 0, false
}

// recoveryCodes are for the day the authenticator is lost: ten, each good once,
// 80 bits.
func recoveryCodes() (codes, hashes []string) {
	for range 10 {
		var b [10]byte
		_, _ = rand.Read(b[:])
		text := strings.ToLower(base32NoPad.EncodeToString(b[:]))
		codes = append(codes, text[:4]+"-"+text[4:8]+"-"+text[8:12]+"-"+text[12:])
		hashes = append(hashes, recoveryHash(text))
	}
	return codes, hashes
}

// recoveryHash is what the records keep of a recovery code, however it was typed.
func recoveryHash(code string) string {
	code = strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(code))
	return fleet.SecretHash(code)
}

// sealer encrypts what has to be read again: AES-256-GCM, with whose it is as
// additional data.
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, fmt.Errorf("key of operators' second factors: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	return sealer{aead}, err
}

func (s sealer) seal(text, of string) string {
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce)
	return base64.RawStdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, []byte(text), []byte(of)))
}

func (s sealer) open(sealed, of string) (string, error) {
	raw, err := base64.RawStdEncoding.DecodeString(sealed)
	if err != nil || len(raw) < s.aead.NonceSize() {
		return "", fmt.Errorf("second factor of %s in the records cannot be read", of)
	}
	text, err := s.aead.Open(nil, raw[:s.aead.NonceSize()], raw[s.aead.NonceSize():], []byte(of))
	if err != nil {
		return "", fmt.Errorf("second factor of %s in the records: %w (was the key file operators-key replaced?)", of, err)
	}
	return string(text), nil
}
