package ceremony

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Describe says in lines for people what a bundle's documents hold, so that
// whoever signs knows what. With an image root that the signer has himself it
// marks the keys that come and go, and lists those targets that differ from what
// that root vouches for; without one it lists all, because what the file says is
// in force may be a lie.
func (b *Bundle) Describe(trusted *metadata.Metadata[metadata.RootType]) ([]string, error) {
	var out []string
	for _, d := range b.Documents {
		o, err := d.open()
		if err != nil {
			return nil, err
		}
		out = append(out, fmt.Sprintf("%s, expires %s", d.words(o), o.expires().UTC().Format(time.DateOnly)))
		if o.root != nil {
			out = append(out, describeRoot(d.Repository, o.root)...)
			out = append(out, describeKeys(d.Repository, o.root, trusted)...)
			continue
		}
		lines, err := describeTargets(&o.targets.Signed, b.TrustedTargets(trusted))
		if err != nil {
			return nil, err
		}
		out = append(out, lines...)
	}
	for i := range out {
		out[i] = Printable(out[i])
	}
	return out, nil
}

// Printable is text as a terminal may show it: whoever made a file must not
// move the cursor of whoever signs it.
func Printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// describeKeys lists the holders' keys: a name in a root is only what its maker
// called a key. Whoever holds a root of the image repository knows those of the
// director's too.
func describeKeys(repository string, root, trusted *metadata.Metadata[metadata.RootType]) []string {
	keys := func(r *metadata.Metadata[metadata.RootType]) []string {
		var out []string
		for _, role := range OfflineRoles {
			if repository == Director && role == metadata.TARGETS {
				continue // online
			}
			for _, id := range r.Signed.Roles[role].KeyIDs {
				out = append(out, "key "+id+" of "+Holder(r, id))
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	now := keys(root)
	if trusted == nil {
		for i := range now {
			now[i] = "    " + now[i]
		}
		return now
	}
	before := keys(trusted)
	var out []string
	for _, k := range now {
		if slices.Contains(before, k) {
			out = append(out, "    "+k)
		} else {
			out = append(out, "  + "+k)
		}
	}
	for _, k := range before {
		if !slices.Contains(now, k) {
			out = append(out, "  - "+k)
		}
	}
	return out
}

func describeRoot(repository string, root *metadata.Metadata[metadata.RootType]) []string {
	out := []string{"  fingerprint " + Fingerprint(root)}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		r := root.Signed.Roles[role]
		names := make([]string, len(r.KeyIDs))
		for i, id := range r.KeyIDs {
			names[i] = Holder(root, id)
		}
		slices.Sort(names)
		by := "any " + fmt.Sprint(r.Threshold) + " of " + strings.Join(names, ", ")
		if online := role != metadata.ROOT && (role != metadata.TARGETS || repository == Director); online {
			by = "the server's key " + strings.Join(names, ", ")
		}
		out = append(out, fmt.Sprintf("  %-9s %s", role, by))
	}
	return out
}

// Target is what is signed of one image, for people.
type Target struct {
	Path, Product, Component, Version string
	Hardware                          []string
	Counter                           uint64
	Length                            int64
	SHA256                            string
}

// TargetsOf lists what targets metadata holds.
func TargetsOf(t *metadata.TargetsType) ([]Target, error) {
	var out []Target
	for _, name := range slices.Sorted(maps.Keys(t.Targets)) {
		f := t.Targets[name]
		var c struct {
			Product        string   `json:"product"`
			Component      string   `json:"component"`
			Version        string   `json:"version"`
			HardwareIDs    []string `json:"hardwareIds"`
			ReleaseCounter uint64   `json:"releaseCounter"`
		}
		if f.Custom != nil {
			if err := json.Unmarshal(*f.Custom, &c); err != nil {
				return nil, fmt.Errorf("target %s: %w", name, err)
			}
		}
		out = append(out, Target{name, c.Product, c.Component, c.Version, c.HardwareIDs, c.ReleaseCounter, f.Length, hex.EncodeToString(f.Hashes["sha256"])})
	}
	return out, nil
}

func (t Target) String() string {
	hardware := "any hardware"
	if len(t.Hardware) > 0 {
		hardware = "hardware " + strings.Join(t.Hardware, ", ")
	}
	return fmt.Sprintf("%s: %s %s version %s, %s, counter %d, %d bytes, sha256 %s", t.Path, t.Product, t.Component, t.Version, hardware, t.Counter, t.Length, t.SHA256)
}

func describeTargets(t *metadata.TargetsType, trusted *metadata.Metadata[metadata.TargetsType]) ([]string, error) {
	all, err := TargetsOf(t)
	if err != nil {
		return nil, err
	}
	before := map[string]string{}
	if trusted != nil {
		old, err := TargetsOf(&trusted.Signed)
		if err != nil {
			return nil, err
		}
		for _, o := range old {
			before[o.Path] = o.String()
		}
	}
	var out []string
	same := 0
	for _, x := range all {
		was, known := before[x.Path]
		delete(before, x.Path)
		switch {
		case !known:
			out = append(out, "  + "+x.String())
		case was != x.String():
			out = append(out, "  - "+was, "  + "+x.String())
		default:
			same++
		}
	}
	for _, path := range slices.Sorted(maps.Keys(before)) {
		out = append(out, "  - "+before[path])
	}
	if same > 0 {
		out = append(out, fmt.Sprintf("  and %d that you have signed before", same))
	}
	if len(all) == 0 {
		out = append(out, "  nothing: no software may be installed")
	}
	return out, nil
}

// TrustedTargets are the targets in force as far as a root that the signer has
// himself vouches for them; nil if it does not, or has expired out of use.
func (b *Bundle) TrustedTargets(root *metadata.Metadata[metadata.RootType]) *metadata.Metadata[metadata.TargetsType] {
	if root == nil || b.Trusted.Targets == nil {
		return nil
	}
	m, err := Targets(b.Trusted.Targets)
	if err != nil || root.VerifyDelegate(metadata.TARGETS, m) != nil {
		return nil
	}
	return m
}

// NewTargets are the targets of the bundle that are to be signed; nil if none.
func (b *Bundle) NewTargets() (*metadata.Metadata[metadata.TargetsType], error) {
	for _, d := range b.Documents {
		if d.Role == metadata.TARGETS {
			return Targets(d.Metadata)
		}
	}
	return nil, nil
}
