package ceremony

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"fettle.dev/fettle/internal/fault"
)

// Format begins a bundle.
const Format = "fettle-trust/1"

// LargestBundle is how many bytes of a bundle are read.
const LargestBundle = 32 << 20

// The repositories.
const (
	Image    = "image"
	Director = "director"
)

// The online keys, as a root names them: the server makes, keeps and renews
// them; the roots only say which they are.
const (
	OnlineSnapshot  = "snapshot"
	OnlineTimestamp = "timestamp"
	OnlineDirector  = "director"
)

// OnlineKeys are their names.
var OnlineKeys = []string{OnlineSnapshot, OnlineTimestamp, OnlineDirector}

// Bundle is the file that travels between the service and the holders of
// offline keys.
type Bundle struct {
	Format string    `json:"format"`
	Server string    `json:"server,omitempty"` // where it was exported
	Made   time.Time `json:"made"`

	// Online are the public parts of the server's keys that new roots shall name.
	Online map[string]*metadata.Key `json:"online,omitempty"`
	// Trusted are the newest roots and targets that the server holds; empty
	// before the first ceremony.
	Trusted Trusted `json:"trusted"`
	// Documents are what is to be signed, or was.
	Documents []Document `json:"documents,omitempty"`
}

// Trusted is what is in force.
type Trusted struct {
	ImageRoot    json.RawMessage `json:"imageRoot,omitempty"`
	DirectorRoot json.RawMessage `json:"directorRoot,omitempty"`
	Targets      json.RawMessage `json:"targets,omitempty"`
}

// Document is metadata to be signed offline.
type Document struct {
	Repository string          `json:"repository"` // image or director
	Role       string          `json:"role"`       // root or targets
	Metadata   json.RawMessage `json:"metadata"`   // {"signed": ..., "signatures": [...]}
}

// ReadBundle reads a bundle.
func ReadBundle(b []byte) (*Bundle, error) {
	var x Bundle
	if len(b) > LargestBundle {
		return nil, fault.New(fault.Invalid, "the file has more than %d bytes: it is no export of fettle keys export", LargestBundle)
	}
	if err := json.Unmarshal(b, &x); err != nil || x.Format != Format {
		return nil, fault.New(fault.Invalid, "this is no file of fettle keys export or fettle keys root (%s)", Format)
	}
	for name, k := range x.Online {
		if !slices.Contains(OnlineKeys, name) || k == nil {
			return nil, fault.New(fault.Invalid, "an online key %q is unknown", name)
		}
	}
	for _, d := range x.Documents {
		if _, err := d.open(); err != nil {
			return nil, err
		}
	}
	return &x, nil
}

// Root reads root metadata.
func Root(b []byte) (*metadata.Metadata[metadata.RootType], error) {
	m, err := metadata.Root().FromBytes(b)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "root metadata", err)
	}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		r := m.Signed.Roles[role]
		if r == nil || r.Threshold < 1 {
			return nil, fault.New(fault.Invalid, "root metadata says nothing of the role %s", role)
		}
		for _, id := range r.KeyIDs {
			if m.Signed.Keys[id] == nil {
				return nil, fault.New(fault.Invalid, "root metadata lacks key %.12s of the role %s", id, role)
			}
		}
	}
	return m, nil
}

// Targets reads targets metadata.
func Targets(b []byte) (*metadata.Metadata[metadata.TargetsType], error) {
	m, err := metadata.Targets().FromBytes(b)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "targets metadata", err)
	}
	for name, f := range m.Signed.Targets {
		if f == nil {
			return nil, fault.New(fault.Invalid, "targets metadata says nothing of %s", name)
		}
	}
	return m, nil
}

// opened is a document that has been read: one of the two.
type opened struct {
	root    *metadata.Metadata[metadata.RootType]
	targets *metadata.Metadata[metadata.TargetsType]
}

func (d Document) open() (opened, error) {
	switch {
	case d.Role == metadata.ROOT && (d.Repository == Image || d.Repository == Director):
		m, err := Root(d.Metadata)
		return opened{root: m}, err
	case d.Role == metadata.TARGETS && d.Repository == Image:
		m, err := Targets(d.Metadata)
		return opened{targets: m}, err
	}
	return opened{}, fault.New(fault.Invalid, "nobody signs %s %s offline", d.Repository, d.Role)
}

func (o opened) any() any {
	if o.root != nil {
		return o.root
	}
	return o.targets
}

func (o opened) signatures() []metadata.Signature {
	if o.root != nil {
		return o.root.Signatures
	}
	return o.targets.Signatures
}

func (o opened) version() int64 {
	if o.root != nil {
		return o.root.Signed.Version
	}
	return o.targets.Signed.Version
}

func (o opened) expires() time.Time {
	if o.root != nil {
		return o.root.Signed.Expires
	}
	return o.targets.Signed.Expires
}

func (o opened) bytes() (json.RawMessage, error) {
	if o.root != nil {
		return o.root.ToBytes(false)
	}
	return o.targets.ToBytes(false)
}

// Need is a group of signatures that a document must have: who may give them,
// who has.
type Need struct {
	Document  string   // in words, as image root 2
	By        string   // whose keys: the old root's, its own
	Threshold int      // how many
	Signed    []string // holders who have signed validly
	Open      []string // holders who still could
}

// Missing is how many signatures are wanted yet.
func (n Need) Missing() int { return max(0, n.Threshold-len(n.Signed)) }

func (b *Bundle) rootOf(repository string) json.RawMessage {
	if repository == Director {
		return b.Trusted.DirectorRoot
	}
	return b.Trusted.ImageRoot
}

// delegator is who may sign a document, besides itself if it is a root.
func (b *Bundle) delegators(d Document, o opened) (map[string]*metadata.Metadata[metadata.RootType], error) {
	out := map[string]*metadata.Metadata[metadata.RootType]{}
	if o.root != nil {
		out["the new root's keys"] = o.root
		if old := b.rootOf(d.Repository); old != nil {
			r, err := Root(old)
			if err != nil {
				return nil, err
			}
			out["the old root's keys"] = r
		}
		return out, nil
	}
	// The targets are signed by the keys of a root in the same bundle, or of the one in force.
	for _, other := range b.Documents {
		if other.Role == metadata.ROOT && other.Repository == Image {
			r, err := Root(other.Metadata)
			if err != nil {
				return nil, err
			}
			out["the new root's keys"] = r
			return out, nil
		}
	}
	if b.Trusted.ImageRoot == nil {
		return nil, fault.New(fault.Conflict, "there is no root yet: begin with fettle keys root create")
	}
	r, err := Root(b.Trusted.ImageRoot)
	if err != nil {
		return nil, err
	}
	out["the root's keys"] = r
	return out, nil
}

// Needs lists what signatures each document must have, and has.
func (b *Bundle) Needs() ([]Need, error) {
	var out []Need
	for _, d := range b.Documents {
		o, err := d.open()
		if err != nil {
			return nil, err
		}
		by, err := b.delegators(d, o)
		if err != nil {
			return nil, err
		}
		names := make([]string, 0, len(by))
		for n := range by {
			names = append(names, n)
		}
		slices.Sort(names)
		slices.Reverse(names) // the old root's first
		for _, n := range names {
			root := by[n]
			need := Need{Document: d.words(o), By: n, Threshold: root.Signed.Roles[d.Role].Threshold}
			for _, id := range root.Signed.Roles[d.Role].KeyIDs {
				if validBy(root, d.Role, id, o.any()) {
					need.Signed = append(need.Signed, Holder(root, id))
				} else {
					need.Open = append(need.Open, Holder(root, id))
				}
			}
			slices.Sort(need.Signed)
			slices.Sort(need.Open)
			out = append(out, need)
		}
	}
	return out, nil
}

func (d Document) words(o opened) string {
	return fmt.Sprintf("%s %s %d", d.Repository, d.Role, o.version())
}

// validBy reports whether a document carries a valid signature of one key.
func validBy(root *metadata.Metadata[metadata.RootType], role, id string, document any) bool {
	only := metadata.Metadata[metadata.RootType]{Signed: root.Signed}
	only.Signed.Roles = map[string]*metadata.Role{role: {KeyIDs: []string{id}, Threshold: 1}}
	return only.VerifyDelegate(role, document) == nil
}

// Check is nil when every document has all the signatures it needs.
func (b *Bundle) Check() error {
	needs, err := b.Needs()
	if err != nil {
		return err
	}
	var lines []string
	for _, n := range needs {
		if m := n.Missing(); m > 0 {
			lines = append(lines, fmt.Sprintf("%s needs %d more of %s: %s", n.Document, m, n.By, strings.Join(n.Open, ", ")))
		}
	}
	if len(lines) > 0 {
		return fault.New(fault.Conflict, "signatures are missing: %s", strings.Join(lines, "; "))
	}
	return nil
}

// Sign puts a signer's signature on every document that his key may sign, and
// says in words which those were.
func (b *Bundle) Sign(s Signer) ([]string, error) {
	var signed []string
	for i, d := range b.Documents {
		o, err := d.open()
		if err != nil {
			return nil, err
		}
		by, err := b.delegators(d, o)
		if err != nil {
			return nil, err
		}
		may := false
		for _, root := range by {
			may = may || slices.Contains(root.Signed.Roles[d.Role].KeyIDs, s.ID)
		}
		if !may {
			continue
		}
		if o.root != nil {
			err = SignOver(s, o.root)
		} else {
			err = SignOver(s, o.targets)
		}
		if err != nil {
			return nil, fmt.Errorf("sign %s: %w", d.words(o), err)
		}
		if b.Documents[i].Metadata, err = o.bytes(); err != nil {
			return nil, err
		}
		signed = append(signed, d.words(o))
	}
	if len(signed) == 0 {
		return nil, fault.New(fault.Denied, "key %s (%.12s) may sign none of these documents: no root names it for them", s.Name, s.ID)
	}
	return signed, nil
}

// Merge takes the signatures of another copy of the same bundle.
func (b *Bundle) Merge(o *Bundle) error {
	if len(b.Documents) != len(o.Documents) {
		return errOther
	}
	for i := range b.Documents {
		mine, err := b.Documents[i].open()
		if err != nil {
			return err
		}
		theirs, err := o.Documents[i].open()
		if err != nil {
			return err
		}
		if !sameSigned(mine, theirs) {
			return errOther
		}
		for _, sig := range theirs.signatures() {
			if slices.ContainsFunc(mine.signatures(), func(m metadata.Signature) bool { return m.KeyID == sig.KeyID }) {
				continue
			}
			if mine.root != nil {
				mine.root.Signatures = append(mine.root.Signatures, sig)
			} else {
				mine.targets.Signatures = append(mine.targets.Signatures, sig)
			}
		}
		if b.Documents[i].Metadata, err = mine.bytes(); err != nil {
			return err
		}
	}
	return nil
}

var errOther = fault.New(fault.Invalid, "the files are not copies of one export: their documents differ")

func sameSigned(a, b opened) bool {
	var x, y []byte
	var err, err2 error
	switch {
	case a.root != nil && b.root != nil:
		x, err = json.Marshal(a.root.Signed)
		y, err2 = json.Marshal(b.root.Signed)
	case a.targets != nil && b.targets != nil:
		x, err = json.Marshal(a.targets.Signed)
		y, err2 = json.Marshal(b.targets.Signed)
	default:
		return false
	}
	return errors.Join(err, err2) == nil && slices.Equal(x, y)
}
