package spec

import (
	"cmp"
	"slices"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Back is what a release that went wrong is put right with: for each of its
// components the content that came before it, as one release without a name,
// a counter and words of its own, that may be installed over the bad one's
// versions. all are the product's releases. The content is that of the newest
// release of a lower counter, not withdrawn, that installs on all of the bad
// one's components; where there is none, of the newest for each of them. What
// a release of settings changed first goes back to the product's defaults, and
// features off. name, if given, is the only release that is looked at. from are
// the releases that it is made of; none: the defaults.
func Back(bad *Release, all []Release, p *fleet.Product, name string) (out Release, from []Release, err error) {
	var older []Release
	for i := range all {
		if r := &all[i]; r.Name != bad.Name && r.Withdrawn == nil && (name == r.Name || name == "" && r.Counter < bad.Counter) {
			older = append(older, *r)
		}
	}
	slices.SortStableFunc(older, func(a, b Release) int { return cmp.Compare(b.Counter, a.Counter) })
	for i := range older {
		if r := &older[i]; r.Family() == bad.Family() && !r.InstalledOn(bad.Installs()) {
			return over(*r, bad), []Release{*r}, nil
		}
	}
	var parts []ReleasePart
	for _, b := range bad.Images() {
		i := slices.IndexFunc(older, func(r Release) bool { _, ok := part(&r, b); return ok })
		if i < 0 {
			if bad.Settings == nil {
				return out, nil, fault.New(fault.NotFound, "there is no older release for the component %s of release %s: declare one, or name another", b.Component, bad.Name)
			}
			continue
		}
		old, _ := part(&older[i], b)
		old.After = slices.Clone(b.After)
		parts = append(parts, old)
		if !slices.ContainsFunc(from, func(r Release) bool { return r.Name == older[i].Name }) {
			from = append(from, older[i])
		}
	}
	out = *bad // its time, preconditions and hardware are those of these components
	if bad.Settings != nil {
		out.Settings, err = settingsBack(bad, parts, p)
		return out, from, err
	}
	if len(parts) == 1 { // of a release of several
		out.Artifact, out.Filename, out.Hardware, out.Version = parts[0].Artifact, parts[0].Filename, parts[0].Hardware, parts[0].Version
		return over(out, bad), from, nil
	}
	out.Parts = parts
	return over(out, bad), from, nil
}

// part is what a release has for a component where that is another version
// than the bad one's.
func part(r *Release, bad ReleasePart) (ReleasePart, bool) {
	for _, p := range r.Images() {
		if p.Component == bad.Component && p.Version != bad.Version {
			if len(r.Parts) == 0 {
				p.Hardware = slices.Clone(r.Hardware)
			}
			return p, true
		}
	}
	return ReleasePart{}, false
}

// over lets a release be installed over the versions of another, each
// component over its own: on a unit that has only some of them, too.
func over(r Release, bad *Release) Release {
	r.From = nil
	if len(r.Parts) == 0 {
		if r.Settings == nil {
			r.From = []string{bad.Installs()[r.ComponentName()]}
		}
		return r
	}
	r.Parts = slices.Clone(r.Parts)
	for i := range r.Parts {
		p := &r.Parts[i]
		if p.From = []string{bad.Installs()[p.Component]}; p.From[0] == p.Version {
			p.From = nil // the two have it in common
		}
	}
	return r
}

// settingsBack are the values from before a release of settings: those that an
// older one said, else the product's defaults.
func settingsBack(bad *Release, parts []ReleasePart, p *fleet.Product) (*Settings, error) {
	out := &Settings{Parameters: map[string]any{}, Features: map[string]bool{}}
	said := func(component string) (ReleasePart, bool) {
		i := slices.IndexFunc(parts, func(p ReleasePart) bool { return p.Component == component })
		if i < 0 {
			return ReleasePart{}, false
		}
		return parts[i], true
	}
	for _, name := range sortedKeys(bad.Settings.Parameters) {
		if old, ok := said(parameterPrefix + name); ok {
			v, err := settingValue(old.Version)
			if err != nil {
				return nil, err
			}
			out.Parameters[name] = v
			continue
		}
		i := slices.IndexFunc(p.Parameters, func(q fleet.Parameter) bool { return q.Name == name })
		if i < 0 || p.Parameters[i].Default == nil {
			return nil, fault.New(fault.NotFound, "no older release sets parameter %s, and the product declares no default of it: declare a release to go back to, or the default", name)
		}
		out.Parameters[name] = p.Parameters[i].Default
	}
	for _, name := range sortedKeys(bad.Settings.Features) {
		old, ok := said(featurePrefix + name)
		out.Features[name] = ok && old.Version == "true"
	}
	if same := (&Release{Settings: out}); same.InstalledOn(bad.Installs()) {
		return nil, fault.New(fault.Conflict, "release %s sets what is the product's default: there is nothing to go back to", bad.Name)
	}
	return out, nil
}
