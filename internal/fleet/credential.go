package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"
)

// Secrets that Fettle gives out begin with a prefix, so that people and secret
// scanners know what they have found.
const (
	UnitTokenPrefix  = "fut_" // a unit's token: MQTT password, HTTP basic password, DDI target token
	ClaimTokenPrefix = "fct_" // a product's claim token, for self-enrolment
)

// NewSecret makes a secret of 256 random bits behind a prefix.
func NewSecret(prefix string) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// SecretHash is what the records keep of a secret: hex SHA-256. A secret has
// 256 random bits, so nothing slower is needed.
func SecretHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// CertificateFingerprint is the hex SHA-256 of a certificate's DER bytes.
func CertificateFingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// KeyFingerprint is the hex SHA-256 of a public key's DER bytes
// (SubjectPublicKeyInfo, RFC 5280).
func KeyFingerprint(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:])
}

// ParseFingerprint reads a SHA-256 fingerprint as openssl (AA:BB:…) or sha256sum write it.
func ParseFingerprint(s string) (string, bool) {
	clean := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
	b, err := hex.DecodeString(clean)
	return clean, err == nil && len(b) == sha256.Size
}

// Credentials is what a unit may prove itself by. A unit has at most one
// token; issuing another replaces it.
type Credentials struct {
	TokenHash    string    `json:"-"`
	TokenAt      time.Time `json:"tokenAt,omitzero"`
	Fingerprints []string  `json:"fingerprints,omitempty"` // of client certificates, and of public keys that clients sign with (Mender)
}

// Any reports whether the unit has a credential at all.
func (c Credentials) Any() bool { return c.TokenHash != "" || len(c.Fingerprints) > 0 }

// IssuedToken is a unit's new token, shown once.
type IssuedToken struct {
	UnitID string `json:"unitId"`
	Token  string `json:"token"`
}

// CredentialStore keeps what units prove themselves by.
type CredentialStore interface {
	// PutTokenHashes sets the token hash of each unit, replacing what it had.
	PutTokenHashes(ctx context.Context, hashByUnit map[string]string, at time.Time) error
	// BindFingerprint binds a client certificate to a unit; fault.Conflict if another unit has it.
	BindFingerprint(ctx context.Context, unitID, fingerprint string, at time.Time) error
	// UnbindFingerprint removes a client certificate from a unit.
	UnbindFingerprint(ctx context.Context, unitID, fingerprint string) error
	// Credentials of a unit; empty without any.
	Credentials(ctx context.Context, unitID string) (Credentials, error)
	// UnitIDByTokenHash finds the unit whose token has a hash; fault.NotFound without.
	UnitIDByTokenHash(ctx context.Context, hash string) (string, error)
	// UnitIDByFingerprint finds the unit a client certificate is bound to; fault.NotFound without.
	UnitIDByFingerprint(ctx context.Context, fingerprint string) (string, error)
	// UnitIDBySerial finds the unit of a product with a serial number; fault.NotFound without.
	UnitIDBySerial(ctx context.Context, product, serial string) (string, error)
	// Uncredentialed lists the units of a product that have no credential yet, by id.
	Uncredentialed(ctx context.Context, product string) ([]string, error)
}

// UnitWatcher is told after the records changed what others must act on at
// once: the gateway disconnects, forgets what it cached, and marks the stream.
type UnitWatcher interface {
	// UnitStateChanged is called after a unit was activated, restored, revoked or retired.
	UnitStateChanged(ctx context.Context, unitID string) error
	// CredentialChanged is called after a unit's credential was replaced or removed.
	CredentialChanged(unitID string)
}
