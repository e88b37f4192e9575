package unitkit

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"
)

// VersionReport is what a unit says of the software it runs, signed by a key
// that it made itself and that never leaves it (Uptane's vehicle version
// manifest, section 5.4.2.1). Sequence grows with each report, also over
// restarts: the server takes none twice, nor an older one after a newer.
type VersionReport struct {
	Unit     string            `json:"unit"`
	Sequence uint64            `json:"sequence"`
	Time     time.Time         `json:"time"`
	Versions map[string]string `json:"versions"`           // by component
	Hardware map[string]string `json:"hardware,omitempty"` // by component
	Counters map[string]uint64 `json:"counters,omitempty"` // confirmed, by component
	Action   int64             `json:"action,omitempty"`   // the update that brought them
}

// SignedReport is a report on the wire. Signed holds the exact bytes that were
// signed, so that nobody has to agree on how JSON is written.
type SignedReport struct {
	Signed    []byte `json:"signed"`    // a VersionReport in JSON, base64
	Key       []byte `json:"key"`       // Ed25519 public key, base64
	Signature []byte `json:"signature"` // of reportContext and Signed, base64
}

// reportContext stands before what is signed, so that a signature on a report
// is no signature on anything else.
const reportContext = "fettle version report 1\n"

const keyFile = "report.key"

// SignReport signs a report.
func SignReport(r VersionReport, key ed25519.PrivateKey) (SignedReport, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return SignedReport{}, err
	}
	pub, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return SignedReport{}, errors.New("not an Ed25519 key")
	}
	return SignedReport{Signed: b, Key: pub, Signature: ed25519.Sign(key, append([]byte(reportContext), b...))}, nil
}

// ErrReportSignature says that a report is not signed by the key it names.
var ErrReportSignature = errors.New("the version report's signature is wrong")

// Open verifies a report's signature by the key it names. Whose key that is
// the caller must know.
func (s SignedReport) Open() (VersionReport, error) {
	if len(s.Key) != ed25519.PublicKeySize || !ed25519.Verify(s.Key, append([]byte(reportContext), s.Signed...), s.Signature) {
		return VersionReport{}, ErrReportSignature
	}
	var r VersionReport
	if err := json.Unmarshal(s.Signed, &r); err != nil {
		return VersionReport{}, fmt.Errorf("version report: %w", err)
	}
	return r, nil
}

// key is the unit's reporting key, made at the first report.
func (c *Client) key() (ed25519.PrivateKey, error) {
	seed, err := c.store.Load(keyFile)
	if err == nil && len(seed) == ed25519.SeedSize {
		return ed25519.NewKeyFromSeed(seed), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reporting key: %w", err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return key, c.store.Save(keyFile, key.Seed())
}

// ReportVersions tells the server what the unit runs now. Call it when the
// unit has started.
func (c *Client) ReportVersions(ctx context.Context) error { return c.report(ctx, 0) }

// Confirm says that an update is installed and healthy: it raises the release
// counters of its components, from when on nothing older is accepted, and
// reports the versions that run. Call it after the health check, never before:
// until then the unit may go back to what it had.
func (c *Client) Confirm(ctx context.Context, u *Update) error {
	raised := false
	components := c.config.Components()
	for _, t := range u.Targets {
		if v := components[t.Component].Version; v != t.Version {
			return fmt.Errorf("confirm action %d: %s runs version %q, not %q", u.Action, t.Component, v, t.Version)
		}
		if t.Counter > c.state.Counters[t.Component] {
			c.state.Counters[t.Component], raised = t.Counter, true
		}
	}
	if raised {
		if err := c.save(); err != nil {
			return err
		}
	}
	return c.report(ctx, u.Action)
}

func (c *Client) report(ctx context.Context, action int64) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	c.state.Sequence++ // kept before it is sent: never the same twice
	if err := c.save(); err != nil {
		return err
	}
	r := VersionReport{Unit: c.config.UnitID, Sequence: c.state.Sequence, Time: c.Now().UTC(), Versions: map[string]string{}, Hardware: map[string]string{}, Counters: c.Counters(), Action: action}
	for name, part := range c.config.Components() {
		r.Versions[name] = part.Version
		if part.Hardware != "" {
			r.Hardware[name] = part.Hardware
		}
	}
	s, err := SignReport(r, key)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodPost, "/tuf/director/report", s)
}
