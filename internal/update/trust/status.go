package trust

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update/trust/ceremony"
)

// warnBefore is how long before something expires it is said.
const warnBefore = 60 * 24 * time.Hour

// Status is how things stand, for people.
type Status struct {
	Roots    []RootStatus  `json:"roots"`
	Targets  *Targets      `json:"targets,omitempty" doc:"What the holders of offline keys have signed; absent: nothing yet."`
	Pending  []Change      `json:"pending" doc:"What the next signing would change."`
	Online   []OnlineKey   `json:"online" doc:"The server's own keys."`
	Required []Requirement `json:"required" doc:"Products whose releases are offered only once they are signed."`
	Warnings []string      `json:"warnings" doc:"What will soon be in the way, or is."`
	Next     string        `json:"next" doc:"What to do next, in words."`
}

// RootStatus is a root that is in force.
type RootStatus struct {
	Repository  string    `json:"repository" enum:"image,director"`
	Version     int64     `json:"version"`
	Expires     time.Time `json:"expires"`
	Fingerprint string    `json:"fingerprint" doc:"SHA-256 of the canonical signed part, as fettle keys show says it of a file."`
	Threshold   int       `json:"threshold"`
	Holders     []Holder  `json:"holders" doc:"Of offline keys."`
}

// Holder is somebody who holds an offline key.
type Holder struct {
	Name  string   `json:"name"`
	KeyID string   `json:"keyId"`
	Roles []string `json:"roles"`
}

// Targets is what is signed.
type Targets struct {
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	Count   int       `json:"count"`
}

// OnlineKey is one of the server's keys.
type OnlineKey struct {
	Name  string `json:"name" enum:"snapshot,timestamp,director"`
	KeyID string `json:"keyId,omitempty"`
	State string `json:"state" enum:"in use,next,missing" doc:"next: made, and used once a root names it."`
}

// Status tells how things stand and what to do next.
func (s *Service) Status(ctx context.Context) (Status, error) {
	n, now := s.now.Load(), s.cfg.Clock.Now()
	out := Status{Roots: []RootStatus{}, Required: []Requirement{}, Warnings: []string{}, Online: []OnlineKey{}, Pending: []Change{}}
	expired := 0 // warnings of what is in the way now, before those of what will be
	expiring := func(what string, at time.Time, cure string) {
		switch left := at.Sub(now); {
		case left <= 0:
			out.Warnings = slices.Insert(out.Warnings, expired, fmt.Sprintf("%s expired on %s, and units refuse everything: %s", what, at.Format(time.DateOnly), cure))
			expired++
		case left < warnBefore:
			out.Warnings = append(out.Warnings, fmt.Sprintf("%s expires on %s: %s before that", what, at.Format(time.DateOnly), cure))
		}
	}
	for _, x := range []struct {
		repository string
		root       *metadata.Metadata[metadata.RootType]
	}{{ceremony.Image, n.image}, {ceremony.Director, n.director}} {
		if x.root == nil {
			continue
		}
		out.Roots = append(out.Roots, RootStatus{
			Repository: x.repository, Version: x.root.Signed.Version, Expires: x.root.Signed.Expires,
			Fingerprint: ceremony.Fingerprint(x.root), Threshold: x.root.Signed.Roles[metadata.ROOT].Threshold,
			Holders: holdersOf(x.repository, x.root),
		})
		expiring("the "+x.repository+" root", x.root.Signed.Expires, "rotate the roots (fettle keys root rotate)")
	}
	want, err := s.wanted(ctx, n)
	if err != nil {
		return Status{}, err
	}
	out.Pending = n.changes(want)
	if n.targets != nil {
		out.Targets = &Targets{Version: n.targets.Signed.Version, Expires: n.targets.Signed.Expires, Count: len(n.targets.Signed.Targets)}
		expiring("the signed list of targets", n.targets.Signed.Expires, "export and sign it anew (fettle keys export)")
	}
	for _, name := range ceremony.OnlineKeys {
		k, ok := n.online[name]
		if !ok {
			out.Online = append(out.Online, OnlineKey{Name: name, State: "missing"})
			if n.image != nil {
				out.Warnings = append(out.Warnings, "the server's "+name+" key is missing: put trust-key back into the data directory, or make new keys (fettle keys renew-online) and rotate the roots")
			}
		} else {
			out.Online = append(out.Online, OnlineKey{name, k.ID, "in use"})
		}
		if k, ok := n.next[name]; ok {
			out.Online = append(out.Online, OnlineKey{name, k.ID, "next"})
		}
	}
	for _, p := range slices.Sorted(maps.Keys(n.required)) {
		out.Required = append(out.Required, n.required[p])
	}
	out.Next = n.advice(&out)
	return out, nil
}

func (n *state) advice(s *Status) string {
	switch {
	case n.image == nil:
		return "Export what a ceremony needs (fettle keys export), and carry it to a machine without a network: fettle keys init explains."
	case len(n.next) > 0:
		return "New server keys wait to be named by the roots: fettle keys export, then fettle keys root rotate, sign, and fettle keys import."
	case len(s.Required) == 0:
		return "Say for which products only signed releases may be offered: fettle keys require PRODUCT."
	case len(s.Pending) > 0:
		return fmt.Sprintf("%s: fettle keys export, sign with %d keys, and fettle keys import.", awaited(s.Pending), n.image.Signed.Roles[metadata.TARGETS].Threshold)
	case len(s.Warnings) > 0:
		return s.Warnings[0]
	}
	return "Nothing: all releases are signed."
}

// awaited says what signatures are waited for.
func awaited(pending []Change) string {
	removed := 0
	for _, c := range pending {
		if c.What == "remove" {
			removed++
		}
	}
	several := func(n int, one, more string) string {
		if n == 1 {
			return "1 " + one
		}
		return fmt.Sprintf("%d %s", n, more)
	}
	sign := several(len(pending)-removed, "target waits for signatures", "targets wait for signatures")
	drop := several(removed, "target is to be taken out of the signed list", "targets are to be taken out of the signed list")
	switch {
	case removed == 0:
		return sign
	case removed == len(pending):
		return drop
	}
	return sign + ", " + drop
}

func holdersOf(repository string, root *metadata.Metadata[metadata.RootType]) []Holder {
	roles := map[string][]string{}
	for _, role := range ceremony.OfflineRoles {
		if repository == ceremony.Director && role == metadata.TARGETS {
			continue
		}
		for _, id := range root.Signed.Roles[role].KeyIDs {
			roles[id] = append(roles[id], role)
		}
	}
	out := []Holder{}
	for id, r := range roles {
		out = append(out, Holder{ceremony.Holder(root, id), id, r})
	}
	slices.SortFunc(out, func(a, b Holder) int { return strings.Compare(a.Name+a.KeyID, b.Name+b.KeyID) })
	return out
}

// Root is a repository's root of a version, 0 the newest: what units are made with.
func (s *Service) Root(ctx context.Context, repository string, version int64) ([]byte, error) {
	if repository != ceremony.Image && repository != ceremony.Director {
		return nil, fault.New(fault.NotFound, "no repository %q: image or director", repository)
	}
	if version == 0 && s.now.Load().image == nil {
		return nil, fault.New(fault.NotFound, "there are no roots yet: fettle keys status says what comes next")
	}
	return s.cfg.Store.Metadata(ctx, repository, metadata.ROOT, version)
}

// Require lets releases of a product be offered only once they are signed.
func (s *Service) Require(ctx context.Context, product, by string) error {
	return s.change(ctx, func() error {
		return s.cfg.Store.Require(ctx, Requirement{Product: product, At: s.cfg.Clock.Now(), By: by})
	})
}

// Required reports whether a product's units are told by signed metadata what
// to install, and from when on.
func (s *Service) Required(product string) bool {
	_, ok := s.now.Load().required[product]
	return ok
}

// Release lets releases of a product be offered unsigned.
func (s *Service) Release(ctx context.Context, product string) error {
	return s.change(ctx, func() error { return s.cfg.Store.Release(ctx, product) })
}

func (s *Service) change(ctx context.Context, fn func() error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := fn(); err != nil {
		return err
	}
	return s.load(ctx)
}
