// Package ticket makes the signed names that messages carry out of the house:
// in a link that says "I have read it", in one that ends a kind of message, in
// the Message-ID and in the address that bounces come back to. A ticket names
// one message and one use, and nobody can make one without the key. It is made
// of a-z and 2-7, so that it survives mail servers that fold case, and it ends
// with the message it names.
package ticket

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Use is what a ticket is good for.
type Use string

// The uses.
const (
	Read        Use = "read"        // acknowledge a message
	Unsubscribe Use = "unsubscribe" // no more of its kind
	Mail        Use = "mail"        // its Message-ID
	Bounce      Use = "bounce"      // where its bounces go
	Receipt     Use = "receipt"     // a gateway's reports of delivery
)

// KeySize is how many random bytes a key has.
const KeySize = 32

// macSize is how much of HMAC-SHA256 stands in a ticket: 80 bits, to be guessed
// over the network.
const macSize = 10

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Signer makes tickets and checks them.
type Signer struct{ key []byte }

// New makes a signer; key has KeySize random bytes.
func New(key []byte) *Signer { return &Signer{key} }

// Make is the ticket of a message for a use.
func (s *Signer) Make(use Use, id string) string {
	body := append([]byte{0}, id...) // any text
	if len(body) == len(uuid.UUID{}) {
		body = append([]byte{0}, body...)
	}
	if u, err := uuid.Parse(id); err == nil && u.String() == id {
		body = u[:] // 16 bytes for 36
	}
	return encoding.EncodeToString(append(slices.Clip(body), s.mac(use, id)...))
}

// Check is the id of the message that a ticket names, if it is good for a use.
func (s *Signer) Check(use Use, ticket string) (id string, ok bool) {
	if len(ticket) > 200 {
		return "", false
	}
	raw, err := encoding.DecodeString(strings.ToLower(ticket))
	if err != nil || len(raw) <= macSize+1 {
		return "", false
	}
	body := raw[:len(raw)-macSize]
	if len(body) == len(uuid.UUID{}) {
		id = uuid.UUID(body).String()
	} else {
		id = strings.TrimLeft(string(body), "\x00")
	}
	return id, subtle.ConstantTimeCompare([]byte(s.Make(use, id)), []byte(strings.ToLower(ticket))) == 1
}

func (s *Signer) mac(use Use, id string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(string(use) + "\n" + id))
	return h.Sum(nil)[:macSize]
}

// Links makes the addresses that people are sent.
type Links struct {
	*Signer
	URL string // where people reach us, without a slash at its end
}

// Path is where the pages behind links are.
const Path = "/n/"

// Read is where somebody says that a message was read.
func (l Links) Read(id string) string { return l.URL + Path + "read/" + l.Make(Read, id) }

// Unsubscribe is where somebody ends a kind of message (RFC 8058).
func (l Links) Unsubscribe(id string) string {
	return l.URL + Path + "unsubscribe/" + l.Make(Unsubscribe, id)
}
