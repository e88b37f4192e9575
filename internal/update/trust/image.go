package trust

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/trust/ceremony"
)

// hardwareOf is what the hardware of an image must be: the part's own list,
// else the release's.
func hardwareOf(r *update.Release, p *update.ReleasePart) []string {
	if len(p.Hardware) > 0 {
		return p.Hardware
	}
	return r.Hardware
}

// describe gives a release's images as targets, by path: release, component,
// file name.
func (s *Service) describe(ctx context.Context, r *update.Release) (map[string]*metadata.TargetFiles, error) {
	out := map[string]*metadata.TargetFiles{}
	for _, p := range r.Images() {
		name, f, err := s.describePart(ctx, r, &p)
		if err != nil {
			return nil, err
		}
		out[name] = f
	}
	return out, nil
}

func (s *Service) describePart(ctx context.Context, r *update.Release, p *update.ReleasePart) (string, *metadata.TargetFiles, error) {
	a, err := s.cfg.Releases.Artifact(ctx, p.ArtifactSHA256())
	if err != nil {
		return "", nil, fmt.Errorf("release %s: %w", r.Name, err)
	}
	sum, err := hex.DecodeString(a.SHA256)
	if err != nil {
		return "", nil, fmt.Errorf("artifact %s: %w", a.SHA256, err)
	}
	raw, err := json.Marshal(ImageCustom{
		Product: r.Product, Component: p.Component, Version: p.Version, HardwareIDs: hardwareOf(r, p),
		ReleaseCounter: uint64(max(r.Counter, 0)), Release: r.Name,
	})
	if err != nil {
		return "", nil, err
	}
	text := json.RawMessage(raw)
	return path.Join(r.Name, p.Component, a.Named(p.Filename).Filename), &metadata.TargetFiles{
		Length: a.Size, Hashes: metadata.Hashes{"sha256": sum}, Custom: &text,
	}, nil
}

func custom(f *metadata.TargetFiles) (ImageCustom, error) {
	var c ImageCustom
	if f == nil || f.Custom == nil {
		return c, fault.New(fault.Invalid, "a target without its custom part")
	}
	if err := json.Unmarshal(*f.Custom, &c); err != nil {
		return c, fault.Wrap(fault.Invalid, "custom part of a target", err)
	}
	return c, nil
}

// equal reports whether two targets say the same.
func equal(a, b *metadata.TargetFiles) bool {
	if a == nil || b == nil || !a.Equal(*b) {
		return false
	}
	x, err := custom(a)
	if err != nil {
		return false
	}
	y, err := custom(b)
	return err == nil && x.Product == y.Product && x.Component == y.Component && x.Version == y.Version &&
		x.ReleaseCounter == y.ReleaseCounter && x.Release == y.Release && slices.Equal(x.HardwareIDs, y.HardwareIDs)
}

// Change is a target that the next signing would add, change or remove.
type Change struct {
	Target string `json:"target"`
	What   string `json:"what" enum:"add,change,remove"`
}

// wanted is what the targets should say: the images of all releases that are
// not withdrawn, of products for which trust is required.
func (s *Service) wanted(ctx context.Context, n *state) (map[string]*metadata.TargetFiles, error) {
	out := map[string]*metadata.TargetFiles{}
	for product := range n.required {
		releases, err := s.cfg.Releases.Releases(ctx, product)
		if err != nil {
			return nil, err
		}
		for i := range releases {
			if releases[i].Withdrawn != nil {
				continue
			}
			d, err := s.describe(ctx, &releases[i])
			if err != nil {
				return nil, err
			}
			maps.Copy(out, d)
		}
	}
	return out, nil
}

func (n *state) changes(want map[string]*metadata.TargetFiles) []Change {
	have := map[string]*metadata.TargetFiles{}
	if n.targets != nil {
		have = n.targets.Signed.Targets
	}
	out := []Change{}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		switch {
		case have[name] == nil:
			out = append(out, Change{name, "add"})
		case !equal(have[name], want[name]):
			out = append(out, Change{name, "change"})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if want[name] == nil {
			out = append(out, Change{name, "remove"})
		}
	}
	return out
}

// Export gives what the holders of offline keys need: the server's public
// keys, what is in force, and the targets to be signed, which expire after a
// while (0: TargetsLife). Without a root yet there is nothing to be signed.
func (s *Service) Export(ctx context.Context, life time.Duration) (*ceremony.Bundle, error) {
	if life <= 0 {
		life = TargetsLife
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.now.Load().image == nil {
		if err := s.makeKeys(ctx, false); err != nil {
			return nil, err
		}
	}
	n, now := s.now.Load(), s.cfg.Clock.Now()
	b := &ceremony.Bundle{Format: ceremony.Format, Server: s.cfg.Server, Made: now, Online: n.proposed()}
	b.Trusted = ceremony.Trusted{ImageRoot: n.rootOf[ceremony.Image], DirectorRoot: n.rootOf[ceremony.Director], Targets: n.body}
	if n.image == nil {
		return b, nil
	}
	want, err := s.wanted(ctx, n)
	if err != nil {
		return nil, err
	}
	if n.targets != nil && len(n.changes(want)) == 0 && n.targets.Signed.Expires.After(now.Add(life/2)) {
		return b, nil
	}
	m := metadata.Targets(now.Add(life).UTC().Truncate(time.Second))
	m.Signed.Targets = want
	if n.targets != nil {
		m.Signed.Version = n.targets.Signed.Version + 1
	}
	raw, err := m.ToBytes(false)
	if err != nil {
		return nil, err
	}
	b.Documents = []ceremony.Document{{Repository: ceremony.Image, Role: metadata.TARGETS, Metadata: raw}}
	return b, nil
}

// Imported says what an import put into force.
type Imported struct {
	Documents []string `json:"documents"` // as image root 2
}

// Import takes signed roots and targets into force, all of the bundle or
// nothing: each must follow what is in force by one version, carry enough
// signatures of the keys that are in force (a root: of the old and of its own),
// and not have expired.
func (s *Service) Import(ctx context.Context, b *ceremony.Bundle) (Imported, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	n, now := s.now.Load(), s.cfg.Clock.Now()
	if len(b.Documents) == 0 {
		return Imported{}, fault.New(fault.Invalid, "the file holds nothing signed: there was nothing to sign when it was exported")
	}
	// What the file says is in force counts for nothing.
	b.Trusted = ceremony.Trusted{ImageRoot: n.rootOf[ceremony.Image], DirectorRoot: n.rootOf[ceremony.Director]}
	if err := b.Check(); err != nil {
		return Imported{}, err
	}
	next := &proposal{image: n.image, director: n.director, promote: map[string]bool{}, seen: map[string]int64{}}
	for _, d := range b.Documents {
		if err := n.follow(next, d, now); err != nil {
			return Imported{}, err
		}
	}
	if next.image == nil || next.director == nil {
		return Imported{}, fault.New(fault.Invalid, "the first import needs both roots: fettle keys root create makes them")
	}
	if next.seen[ceremony.Image+" "+metadata.TARGETS] == 0 && n.targets != nil {
		// Else the targets in force would count for nothing, and units refuse them.
		if err := next.image.VerifyDelegate(metadata.TARGETS, n.targets); err != nil {
			return Imported{}, fault.New(fault.Conflict, "by the new root's keys the targets in force are not signed: fettle keys root rotate puts them into the file to be signed anew")
		}
	}
	out := Imported{Documents: []string{}}
	err := s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		for _, d := range b.Documents {
			what := d.Repository + " " + d.Role
			out.Documents = append(out.Documents, fmt.Sprintf("%s %d", what, next.seen[what]))
			if err := s.cfg.Store.PutMetadata(ctx, d.Repository, d.Role, next.seen[what], d.Metadata, now); err != nil {
				return err
			}
		}
		for _, name := range slices.Sorted(maps.Keys(next.promote)) {
			if err := s.cfg.Store.Promote(ctx, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Imported{}, fmt.Errorf("import: %w", err)
	}
	s.units.forget()
	if err := s.load(ctx); err != nil {
		return Imported{}, err
	}
	return out, s.signSnapshot(ctx, now)
}

// proposal is what would be in force after an import.
type proposal struct {
	image, director *metadata.Metadata[metadata.RootType]
	promote         map[string]bool  // online keys that come into use
	seen            map[string]int64 // versions by repository and role
}

// follow puts a document into a proposal, if it follows what is in force.
func (n *state) follow(next *proposal, d ceremony.Document, now time.Time) error {
	what := d.Repository + " " + d.Role
	if next.seen[what] != 0 {
		return fault.New(fault.Invalid, "the file holds two %s", what)
	}
	var version, follows int64
	var expires time.Time
	if d.Role == metadata.ROOT {
		root, err := ceremony.Root(d.Metadata)
		if err != nil {
			return err
		}
		if err := ceremony.CheckRoot(d.Repository, root); err != nil {
			return err
		}
		names, err := n.promoted(d.Repository, root)
		if err != nil {
			return err
		}
		for _, name := range names {
			next.promote[name] = true
		}
		old := &next.image
		if d.Repository == ceremony.Director {
			old = &next.director
		}
		if *old != nil {
			follows = (*old).Signed.Version
		}
		*old, version, expires = root, root.Signed.Version, root.Signed.Expires
	} else {
		m, err := ceremony.Targets(d.Metadata)
		if err != nil {
			return err
		}
		for _, f := range m.Signed.Targets {
			if _, err := custom(f); err != nil {
				return err
			}
		}
		if n.targets != nil {
			follows = n.targets.Signed.Version
		}
		version, expires = m.Signed.Version, m.Signed.Expires
	}
	next.seen[what] = version
	switch {
	case version <= follows:
		return fault.New(fault.Conflict, "%s %d is in force already, this file holds %d: export again", what, follows, version)
	case version != follows+1:
		return fault.New(fault.Conflict, "%s %d is in force, this file holds %d: a version between was left out, import that first", what, follows, version)
	case !now.Before(expires):
		return fault.New(fault.Conflict, "%s %d expired at %s: export again and sign that", what, version, expires.Format(time.RFC3339))
	}
	return nil
}
