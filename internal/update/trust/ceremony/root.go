package ceremony

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"fettle.dev/fettle/internal/fault"
)

// LeastThreshold is how many holders at least must sign a root, or targets.
const LeastThreshold = 2

// namesField holds the holders' names by key id in root metadata: words for
// people, which no client reads.
const namesField = "x-fettle-holders"

// Holder is the name that a root knows a key by, else the beginning of its id.
func Holder(root *metadata.Metadata[metadata.RootType], id string) string {
	if names, ok := root.Signed.UnrecognizedFields[namesField].(map[string]any); ok {
		if n, ok := names[id].(string); ok && keyName.MatchString(n) {
			return n
		}
	}
	return fmt.Sprintf("%.12s", id)
}

// Fingerprint is the SHA-256 of a root's canonical signed part: people compare
// it to know that two files hold the same root.
func Fingerprint(root *metadata.Metadata[metadata.RootType]) string {
	b, err := cjson.EncodeCanonical(root.Signed)
	if err != nil { // of a root that was read: cannot be
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Create makes the first roots: offline keys by the roles they were made for,
// the server's online keys for the rest.
func (b *Bundle) Create(keys []KeyFile, threshold int, expires time.Time) error {
	if b.Trusted.ImageRoot != nil {
		return fault.New(fault.Conflict, "the server has roots already: change them with fettle keys root rotate")
	}
	image, director := metadata.Root(second(expires)), metadata.Root(second(expires))
	for _, r := range []*metadata.Metadata[metadata.RootType]{image, director} {
		r.Signed.UnrecognizedFields = map[string]any{namesField: map[string]any{}}
	}
	for _, k := range keys {
		if err := add(image, k, k.Roles...); err != nil {
			return err
		}
		if slices.Contains(k.Roles, metadata.ROOT) {
			if err := add(director, k, metadata.ROOT); err != nil {
				return err
			}
		}
	}
	image.Signed.Roles[metadata.ROOT].Threshold = threshold
	image.Signed.Roles[metadata.TARGETS].Threshold = threshold
	director.Signed.Roles[metadata.ROOT].Threshold = threshold
	return b.propose(image, director, nil)
}

func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func add(root *metadata.Metadata[metadata.RootType], k KeyFile, roles ...string) error {
	for _, role := range OfflineRoles {
		for _, id := range root.Signed.Roles[role].KeyIDs {
			if id == k.ID() {
				return fault.New(fault.Conflict, "the key of %s is there already", k.Name)
			}
			if Holder(root, id) == k.Name {
				return fault.New(fault.Conflict, "two keys have the name %s: give each a name of its own (fettle keys generate NAME)", k.Name)
			}
		}
	}
	for _, role := range roles {
		if err := root.Signed.AddKey(k.Public, role); err != nil {
			return err
		}
	}
	names, ok := root.Signed.UnrecognizedFields[namesField].(map[string]any)
	if !ok {
		names = map[string]any{}
		if root.Signed.UnrecognizedFields == nil {
			root.Signed.UnrecognizedFields = map[string]any{}
		}
		root.Signed.UnrecognizedFields[namesField] = names
	}
	names[k.ID()] = k.Name
	return nil
}

// Rotation is what changes from one root to the next.
type Rotation struct {
	Add           []KeyFile // for the roles they were made for
	Remove        []string  // holders, or beginnings of key ids: for all roles
	Threshold     int       // 0: as before
	Expires       time.Time
	TargetsExpire time.Time // of targets that must be signed anew, because a holder of theirs was removed
}

// Rotate makes the next roots. They name the online keys that the server said
// it will use, so that rotating those is a rotation without other changes.
// Where the holders of targets change, the targets in force are to be signed
// anew in the same bundle.
func (b *Bundle) Rotate(r Rotation) error {
	if b.Trusted.ImageRoot == nil || b.Trusted.DirectorRoot == nil {
		return fault.New(fault.Conflict, "there is no root yet: begin with fettle keys root create")
	}
	image, err := Root(b.Trusted.ImageRoot)
	if err != nil {
		return err
	}
	director, err := Root(b.Trusted.DirectorRoot)
	if err != nil {
		return err
	}
	before := slices.Sorted(slices.Values(image.Signed.Roles[metadata.TARGETS].KeyIDs))
	beforeN := image.Signed.Roles[metadata.TARGETS].Threshold
	for _, root := range []*metadata.Metadata[metadata.RootType]{image, director} {
		root.Signed.Version++
		root.Signed.Expires = second(r.Expires)
		root.ClearSignatures()
	}
	for _, who := range r.Remove {
		if err := remove(image, director, who); err != nil {
			return err
		}
	}
	for _, k := range r.Add {
		if err := add(image, k, k.Roles...); err != nil {
			return err
		}
		if slices.Contains(k.Roles, metadata.ROOT) {
			if err := add(director, k, metadata.ROOT); err != nil {
				return err
			}
		}
	}
	if r.Threshold > 0 {
		image.Signed.Roles[metadata.ROOT].Threshold = r.Threshold
		image.Signed.Roles[metadata.TARGETS].Threshold = r.Threshold
		director.Signed.Roles[metadata.ROOT].Threshold = r.Threshold
	}
	var targets *metadata.Metadata[metadata.TargetsType]
	after := slices.Sorted(slices.Values(image.Signed.Roles[metadata.TARGETS].KeyIDs))
	if b.Trusted.Targets != nil && (!slices.Equal(before, after) || beforeN != image.Signed.Roles[metadata.TARGETS].Threshold) {
		if targets, err = Targets(b.Trusted.Targets); err != nil {
			return err
		}
		targets.Signed.Version++
		targets.Signed.Expires = second(r.TargetsExpire)
		targets.ClearSignatures()
	}
	return b.propose(image, director, targets)
}

func remove(image, director *metadata.Metadata[metadata.RootType], who string) error {
	var ids []string
	for id := range image.Signed.Keys {
		if Holder(image, id) == who || len(who) >= 8 && strings.HasPrefix(id, who) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return fault.New(fault.NotFound, "the root names no key of %q; its holders: %s", who, strings.Join(holders(image), ", "))
	}
	for _, root := range []*metadata.Metadata[metadata.RootType]{image, director} {
		for _, id := range ids {
			for _, role := range OfflineRoles {
				if slices.Contains(root.Signed.Roles[role].KeyIDs, id) {
					if err := root.Signed.RevokeKey(id, role); err != nil {
						return err
					}
				}
			}
			if names, ok := root.Signed.UnrecognizedFields[namesField].(map[string]any); ok {
				delete(names, id)
			}
		}
	}
	return nil
}

func holders(root *metadata.Metadata[metadata.RootType]) []string {
	var out []string
	for _, role := range OfflineRoles {
		for _, id := range root.Signed.Roles[role].KeyIDs {
			out = append(out, Holder(root, id))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// propose puts roots into the bundle, with the server's online keys.
func (b *Bundle) propose(image, director *metadata.Metadata[metadata.RootType], targets *metadata.Metadata[metadata.TargetsType]) error {
	for _, name := range OnlineKeys {
		if b.Online[name] == nil {
			return fault.New(fault.Invalid, "the file lacks the server's %s key: it is no export of fettle keys export", name)
		}
	}
	set := func(root *metadata.Metadata[metadata.RootType], role, key string) error {
		for _, id := range slices.Clone(root.Signed.Roles[role].KeyIDs) {
			if err := root.Signed.RevokeKey(id, role); err != nil {
				return err
			}
		}
		return root.Signed.AddKey(b.Online[key], role)
	}
	for _, x := range []struct {
		root      *metadata.Metadata[metadata.RootType]
		role, key string
	}{
		{image, metadata.SNAPSHOT, OnlineSnapshot},
		{image, metadata.TIMESTAMP, OnlineTimestamp},
		{director, metadata.TARGETS, OnlineDirector},
		{director, metadata.SNAPSHOT, OnlineDirector},
		{director, metadata.TIMESTAMP, OnlineDirector},
	} {
		if err := set(x.root, x.role, x.key); err != nil {
			return err
		}
	}
	b.Documents = nil
	for _, x := range []struct {
		repository string
		root       *metadata.Metadata[metadata.RootType]
	}{{Image, image}, {Director, director}} {
		if err := CheckRoot(x.repository, x.root); err != nil {
			return err
		}
		raw, err := x.root.ToBytes(false)
		if err != nil {
			return err
		}
		b.Documents = append(b.Documents, Document{x.repository, metadata.ROOT, raw})
	}
	if targets != nil {
		raw, err := targets.ToBytes(false)
		if err != nil {
			return err
		}
		b.Documents = append(b.Documents, Document{Image, metadata.TARGETS, raw})
	}
	return nil
}

// CheckRoot finds what makes a root unsafe.
func CheckRoot(repository string, root *metadata.Metadata[metadata.RootType]) error {
	var fields []fault.Field
	for _, role := range OfflineRoles {
		if repository == Director && role == metadata.TARGETS {
			continue // online
		}
		r := root.Signed.Roles[role]
		if r.Threshold < LeastThreshold {
			fields = append(fields, fault.Field{Path: repository + "." + role + ".threshold", Expected: "at least 2: one stolen key must not be enough", Got: fmt.Sprint(r.Threshold)})
		}
		if len(r.KeyIDs) < r.Threshold {
			fields = append(fields, fault.Field{Path: repository + "." + role, Expected: fmt.Sprintf("at least as many keys as the threshold, %d; one more, so that losing one is no disaster", r.Threshold), Got: fmt.Sprint(len(r.KeyIDs))})
		}
		if shared := slices.ContainsFunc(r.KeyIDs, func(id string) bool {
			for _, other := range metadata.TOP_LEVEL_ROLE_NAMES {
				offline := other == metadata.ROOT || other == metadata.TARGETS && repository == Image
				if !offline && slices.Contains(root.Signed.Roles[other].KeyIDs, id) {
					return true
				}
			}
			return false
		}); shared {
			fields = append(fields, fault.Field{Path: repository + "." + role, Expected: "no key that the server holds"})
		}
	}
	return fault.Fields("root", fields)
}

// Copy is a bundle of its own with the same contents.
func (b *Bundle) Copy() (*Bundle, error) {
	raw, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	return ReadBundle(raw)
}
