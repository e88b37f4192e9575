// Package seal keeps secrets that this service must be able to read again, so
// that the records alone do not tell them: AES-256-GCM under a key that stands
// beside the records, bound to what the secret is of.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"fettle.dev/fettle/internal/fault"
)

// Sealer seals and opens.
type Sealer struct{ aead cipher.AEAD }

// New makes a sealer for one use of a key (RFC 5869: the use is the info).
func New(key []byte, use string) (*Sealer, error) {
	derived, err := hkdf.Key(sha256.New, key, nil, use, 32)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", use, err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", use, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &Sealer{aead}, err
}

// Seal gives text that only the key opens, for the same name.
func (s *Sealer) Seal(name string, plain []byte) string {
	return base64.StdEncoding.EncodeToString(s.aead.Seal(nil, nil, plain, []byte(name))) //nolint:gosec // no nonce is given: it draws one
}

// Open gives back what was sealed; fault.Unavailable: under another key, or
// changed since.
func (s *Sealer) Open(name, sealed string) ([]byte, error) {
	box, err := base64.StdEncoding.DecodeString(sealed)
	if err == nil {
		box, err = s.aead.Open(nil, nil, box, []byte(name))
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "the secret of %s cannot be opened: messages-key of this data directory is not the key that it was sealed with", name)
	}
	return box, nil
}
