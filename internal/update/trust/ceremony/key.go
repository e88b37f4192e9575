// Package ceremony holds what is done with offline keys: making them, making
// and rotating the roots of trust, signing. It works on what stands in files,
// so that a machine without a network can do all of it: a Bundle is exported
// from the service, carried over, signed by one holder of a key after another,
// and carried back.
package ceremony

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"regexp"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"fettle.dev/fettle/internal/fault"
)

// KeyFormat begins a key file.
const KeyFormat = "fettle-key/1"

// KeyFile is a key as it stands in a file: name.key with the encrypted private
// part, name.pub without.
type KeyFile struct {
	Format  string          `json:"format"`
	Name    string          `json:"name"`  // of its holder, in lower case, as alice
	Roles   []string        `json:"roles"` // what it was made for: root, targets
	Public  *metadata.Key   `json:"public"`
	Private json.RawMessage `json:"private,omitempty"` // Ed25519 seed, by NaCl secretbox under scrypt (N 2^17, r 8, p 1) of the passphrase
}

// shortestPassphrase is how many characters a passphrase has at least.
const shortestPassphrase = 12

var keyName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// OfflineRoles are the roles that offline keys sign.
var OfflineRoles = []string{metadata.ROOT, metadata.TARGETS}

// Generate makes a key for a holder.
func Generate(name string, roles []string, passphrase []byte) (KeyFile, error) {
	var fields []fault.Field
	if !keyName.MatchString(name) {
		fields = append(fields, fault.Field{Path: "name", Expected: "who holds the key: 1 to 63 lower-case letters, digits, dots, dashes", Got: name})
	}
	if len(passphrase) < shortestPassphrase {
		fields = append(fields, fault.Field{Path: "passphrase", Expected: "at least 12 characters: several words"})
	}
	for _, r := range roles {
		if r != metadata.ROOT && r != metadata.TARGETS {
			fields = append(fields, fault.Field{Path: "role", Expected: "root or targets: the server makes the keys of the other roles itself", Got: r})
		}
	}
	if len(roles) == 0 {
		fields = append(fields, fault.Field{Path: "role", Expected: "root, targets, or both"})
	}
	if err := fault.Fields("key "+name, fields); err != nil {
		return KeyFile{}, err
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return KeyFile{}, err
	}
	key, err := metadata.KeyFromPublicKey(pub)
	if err != nil {
		return KeyFile{}, err
	}
	sealed, err := encrypted.EncryptWithCustomKDFParameters(priv.Seed(), passphrase, encrypted.OWASP)
	if err != nil {
		return KeyFile{}, err
	}
	return KeyFile{Format: KeyFormat, Name: name, Roles: roles, Public: key, Private: sealed}, nil
}

// PublicPart is the key without its private part.
func (k KeyFile) PublicPart() KeyFile {
	k.Private = nil
	return k
}

// ID names the key in metadata.
func (k KeyFile) ID() string {
	id, err := k.Public.ID()
	if err != nil { // of a key that ReadKey took: cannot be
		return ""
	}
	return id
}

// ReadKey reads a key file, with its private part or without.
func ReadKey(b []byte) (KeyFile, error) {
	var k KeyFile
	if err := json.Unmarshal(b, &k); err != nil || k.Format != KeyFormat {
		return KeyFile{}, fault.New(fault.Invalid, "this is no key file of fettle keys generate")
	}
	if k.Public == nil || k.Public.Type != metadata.KeyTypeEd25519 || !keyName.MatchString(k.Name) {
		return KeyFile{}, fault.New(fault.Invalid, "the key file is damaged: it has no Ed25519 public key and holder's name")
	}
	if pub, err := k.Public.ToPublicKey(); err != nil {
		return KeyFile{}, fault.Wrap(fault.Invalid, "the key file is damaged", err)
	} else if p, ok := pub.(ed25519.PublicKey); !ok || len(p) != ed25519.PublicKeySize {
		return KeyFile{}, fault.New(fault.Invalid, "the key file is damaged: its public key has the wrong length")
	}
	return k, nil
}

// Signer opens a key's private part.
func (k KeyFile) Signer(passphrase []byte) (Signer, error) {
	if len(k.Private) == 0 {
		return Signer{}, fault.New(fault.Invalid, "%s.pub is the public part: sign with %s.key", k.Name, k.Name)
	}
	seed, err := encrypted.Decrypt(k.Private, passphrase)
	if err != nil || len(seed) != ed25519.SeedSize {
		return Signer{}, fault.New(fault.Denied, "the passphrase of key %s is wrong, or its file is damaged", k.Name)
	}
	s, err := NewSigner(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return Signer{}, err
	}
	if s.ID != k.ID() {
		return Signer{}, fault.New(fault.Invalid, "the key file of %s is damaged: private and public part do not belong together", k.Name)
	}
	s.Name = k.Name
	return s, nil
}

// Signer signs metadata with one key.
type Signer struct {
	Name   string
	ID     string
	Public *metadata.Key
	signer signature.Signer
}

// NewSigner makes a signer of a private key.
func NewSigner(private ed25519.PrivateKey) (Signer, error) {
	s, err := signature.LoadSigner(private, crypto.Hash(0))
	if err != nil {
		return Signer{}, err
	}
	key, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		return Signer{}, err
	}
	id, err := key.ID()
	return Signer{ID: id, Public: key, signer: s}, err
}

// SignOver puts the signer's signature on metadata, in place of an earlier one of his.
func SignOver[T metadata.Roles](s Signer, m *metadata.Metadata[T]) error {
	kept := m.Signatures[:0:0]
	for _, old := range m.Signatures {
		if old.KeyID != s.ID {
			kept = append(kept, old)
		}
	}
	m.Signatures = kept
	_, err := m.Sign(s.signer)
	return err
}
