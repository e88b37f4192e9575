// Package link makes and checks the addresses that artifacts are fetched at.
// An address is signed (HMAC-SHA256, RFC 2104), names what it is good for, and
// ends by itself; whether the assignment it names may still be fetched is asked
// anew at every request, so that a withdrawal ends it at once.
//
//	/artifacts/{sha256}/{filename}?a={assignment}&e={expiry, Unix seconds}&s={signature}
//
// Update clients send no credential with a download (Mender), or only some of
// them do: the address is the credential, for one file of one assignment.
package link

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
)

// Prefix is the path that every address begins with.
const Prefix = "/artifacts/"

// KeySize is how many random bytes a key has.
const KeySize = 32

// Life is how long an address of an assignment is good for, if nobody
// withdraws it before: a day's download over a slow line. A client that takes
// longer gets a new one at its next poll and goes on where it was.
const Life = 24 * time.Hour

// EdgeLife is how long, at most, an address for a cache is good for. They all
// end at the same moments, so that a cache sees one address a file in each half
// of it.
const EdgeLife = 10 * time.Minute

// Code names why an address is refused.
type Code string

// The reasons.
const (
	Forged    Code = "link-forged"    // not signed by this service, or changed
	Expired   Code = "link-expired"   // its time is over
	Withdrawn Code = "link-withdrawn" // the assignment may not be fetched any more
)

// RefusedError is an address that is not honoured. It never holds the
// signature.
type RefusedError struct {
	Code   Code
	Claims Claims // as the address has them; of a forged one they prove nothing
	Err    error  // why, of a withdrawn one
}

func (e *RefusedError) Error() string {
	switch e.Code {
	case Expired:
		return "the address expired at " + e.Claims.Expires.UTC().Format(time.RFC3339) + ": poll again for a new one"
	case Withdrawn:
		return fmt.Sprintf("the update may not be fetched any more: %v", e.Err)
	default:
		return "the address was not made by this service"
	}
}

// Unwrap gives what stands behind the refusal: fault.Denied, or of what was withdrawn why.
func (e *RefusedError) Unwrap() error {
	if e.Err != nil {
		return e.Err
	}
	return fault.New(fault.Denied, "%s", e.Code)
}

// Claims are what an address is good for.
type Claims struct {
	Assignment int64  // whose it is; 0: nobody's, for a cache in front of this service
	SHA256     string // of the bytes, in lower-case hexadecimal digits
	Filename   string
	Ahead      bool // may be fetched before the owner's time: the client installs at it
	Expires    time.Time
}

// Signer makes addresses and checks them. It is safe for concurrent use.
type Signer struct {
	key   []byte
	clock clock.Clock
}

// New makes a signer with a key of KeySize random bytes. Another key makes
// every address given before a forged one.
func New(key []byte, c clock.Clock) (*Signer, error) {
	if len(key) != KeySize {
		return nil, fault.New(fault.Invalid, "the key of addresses has %d bytes, not %d", len(key), KeySize)
	}
	return &Signer{key: key, clock: c}, nil
}

// Path is the address of a file of an assignment, from the path on. An expiry
// that is not set is Life from now.
func (s *Signer) Path(c Claims) string {
	if c.Expires.IsZero() {
		c.Expires = s.clock.Now().Add(Life)
	}
	q := url.Values{}
	if c.Assignment != 0 {
		q.Set("a", strconv.FormatInt(c.Assignment, 10))
	}
	if c.Ahead {
		q.Set("d", "1")
	}
	q.Set("e", strconv.FormatInt(c.Expires.Unix(), 10))
	q.Set("s", base64.RawURLEncoding.EncodeToString(s.sign(c)))
	return Prefix + c.SHA256 + "/" + url.PathEscape(c.Filename) + "?" + q.Encode()
}

// Edge is the address of a file for a cache: the same for all who ask in half
// of EdgeLife, good for that half and all of the next.
func (s *Signer) Edge(sha256, filename string) string {
	const half = EdgeLife / 2
	return s.Path(Claims{SHA256: sha256, Filename: filename, Expires: s.clock.Now().Truncate(half).Add(EdgeLife)})
}

// sign covers every claim. No field can hold a line break: the hash is
// hexadecimal digits, and what Check is given is compared with what is signed.
func (s *Signer) sign(c Claims) []byte {
	h := hmac.New(sha256.New, s.key)
	fmt.Fprintf(h, "fettle artifact 1\n%d\n%t\n%d\n%s\n%s", c.Assignment, c.Ahead, c.Expires.Unix(), c.SHA256, c.Filename)
	return h.Sum(nil)
}

// Check gives the claims of an address from its path's last two segments and
// its query, or a RefusedError.
func (s *Signer) Check(sha256, filename string, q url.Values) (Claims, error) {
	c, signature, ok := read(sha256, filename, q)
	if !ok || !hmac.Equal(signature, s.sign(c)) {
		return c, &RefusedError{Code: Forged, Claims: c}
	}
	if !s.clock.Now().Before(c.Expires) {
		return c, &RefusedError{Code: Expired, Claims: c}
	}
	return c, nil
}

// longest bounds a number of the query.
const longest = 20

func read(sha256, filename string, q url.Values) (c Claims, signature []byte, ok bool) {
	c = Claims{SHA256: sha256, Filename: filename}
	for name, values := range q {
		if len(values) != 1 || !strings.Contains("a d e s", name) || len(name) != 1 {
			return c, nil, false
		}
	}
	var err error
	if a := q.Get("a"); a != "" {
		if c.Assignment, err = strconv.ParseInt(a, 10, 64); err != nil || c.Assignment < 1 || len(a) > longest {
			return c, nil, false
		}
	}
	seconds, err := strconv.ParseInt(q.Get("e"), 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return c, nil, false
	}
	c.Expires = time.Unix(seconds, 0)
	if d := q.Get("d"); d != "" {
		if d != "1" {
			return c, nil, false
		}
		c.Ahead = true
	}
	signature, err = base64.RawURLEncoding.Strict().DecodeString(q.Get("s"))
	return c, signature, err == nil
}
