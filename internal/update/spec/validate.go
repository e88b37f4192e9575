package spec

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// artifactPrefix begins a reference to an uploaded artifact.
const artifactPrefix = "sha256:"

// Bounds of what a release may hold.
const (
	longestVersion   = 128 // what a unit must be able to report
	longestNotes     = 10_000
	maxPreconditions = 20
	maxParts         = 32
)

// Sum is the name of the uploaded artifact that reference names, or "" while
// it still names a file beside the declaration.
func Sum(reference string) string {
	sum, ok := strings.CutPrefix(reference, artifactPrefix)
	if b, err := hex.DecodeString(sum); !ok || err != nil || len(b) != 32 || strings.ToLower(sum) != sum {
		return ""
	}
	return sum
}

// ArtifactSHA256 is the name of the uploaded artifact of a release of one
// image, or "".
func (r *Release) ArtifactSHA256() string { return Sum(r.Artifact) }

// SHA256 is the name of the part's uploaded artifact, or "".
func (p *ReleasePart) SHA256() string { return Sum(p.Artifact) }

// validation gathers the mistakes of a release.
type validation struct {
	r       *Release
	product *fleet.Product // nil: there is none of its name
	fields  []fault.Field
}

func (v *validation) add(path, expected, got string) {
	v.fields = append(v.fields, fault.Field{Path: "spec." + path, Expected: expected, Got: got})
}

// ValidateRelease finds every mistake of r; product is nil where there is none
// of its name.
func ValidateRelease(r Release, product *fleet.Product) error {
	v := &validation{r: &r, product: product}
	if product == nil {
		v.add("product", "the name of a product", r.Product)
	}
	v.version("version", r.Version)
	switch r.Kind {
	case Security, Safety, Fix, Feature:
	default:
		v.add("kind", "security, safety, fix or feature", string(r.Kind))
	}
	if r.Counter < 0 {
		v.add("counter", "1 or more, or nothing for one above the highest of the product", fmt.Sprint(r.Counter))
	}
	v.once("hardware", r.Hardware, "each hardware revision once, not empty")
	v.from("from", r.From, r.Version)
	v.requires()
	if r.Minutes < 1 || r.Minutes > 24*60 {
		v.add("minutes", "1 to 1440: how long an installation takes", fmt.Sprint(r.Minutes))
	}
	if len(r.Notes) == 0 {
		v.add("notes", "what changes, in plain words for owners, in at least one language", "")
	}
	v.words("notes", r.Notes)
	v.words("unavailable", r.Unavailable)
	if len(r.EngineerNotes) > longestNotes {
		v.add("engineerNotes", fmt.Sprintf("at most %d bytes", longestNotes), fmt.Sprintf("%d bytes", len(r.EngineerNotes)))
	}
	v.preconditions()
	if _, err := time.Parse(time.DateOnly, r.SupportEnd); err != nil && r.SupportEnd != "" {
		v.add("supportEnd", "a day, as 2031-12-31", r.SupportEnd)
	}
	switch {
	case r.Settings != nil:
		v.settings()
	case len(r.Parts) > 0:
		v.parts()
	default:
		v.artifact("artifact", r.Artifact)
		v.filename("filename", r.Filename)
	}
	return fault.Fields("release "+r.Name, v.fields)
}

func (v *validation) version(path, version string) {
	if s := strings.TrimSpace(version); s == "" || s != version || len(s) > longestVersion {
		v.add(path, fmt.Sprintf("the version as the unit will report it, 1 to %d characters without spaces around", longestVersion), version)
	}
}

func (v *validation) artifact(path, reference string) {
	if Sum(reference) == "" {
		v.add(path, "sha256: and 64 lower-case hexadecimal digits of an uploaded artifact (fettle apply uploads a file beside the declaration)", reference)
	}
}

func (v *validation) once(path string, list []string, expected string) {
	for i, s := range list {
		if s == "" || slices.Contains(list[:i], s) {
			v.add(fmt.Sprintf("%s[%d]", path, i), expected, s)
		}
	}
}

func (v *validation) from(path string, list []string, own string) {
	for i, s := range list {
		switch {
		case s == "" || slices.Contains(list[:i], s):
			v.add(fmt.Sprintf("%s[%d]", path, i), "each version once, not empty", s)
		case s == own:
			v.add(fmt.Sprintf("%s[%d]", path, i), "another version than the release's own", s)
		}
	}
}

func (v *validation) requires() {
	for _, c := range sortedKeys(v.r.Requires) {
		path := "requires." + c
		switch installs := slices.ContainsFunc(v.r.Images(), func(p ReleasePart) bool { return p.Component == c }); {
		case c == "":
			v.add(path, "the name of a component", c)
		case installs:
			v.add(path, "another component than those it installs (use from for the version before)", c)
		case len(v.r.Requires[c]) == 0:
			v.add(path, "at least one version", "none")
		}
		v.once(path, v.r.Requires[c], "each version once, not empty")
	}
}

func (v *validation) words(path string, words map[string]string) {
	for _, lang := range sortedKeys(words) {
		if lang == "" || strings.TrimSpace(words[lang]) == "" {
			v.add(path+"."+lang, "a language tag, as en, and words", words[lang])
		}
	}
}

func (v *validation) preconditions() {
	if len(v.r.Preconditions) > maxPreconditions {
		v.add("preconditions", fmt.Sprintf("at most %d", maxPreconditions), fmt.Sprint(len(v.r.Preconditions)))
		return
	}
	seen := map[string]bool{}
	for i, p := range v.r.Preconditions {
		path := fmt.Sprintf("preconditions[%d]", i)
		if p.Name == "" || seen[p.Name] {
			v.add(path+".name", "a name that no other precondition has", p.Name)
		}
		seen[p.Name] = true
		if p.Age <= 0 {
			v.add(path+".age", "a duration above 0, as 15m: values older than it say nothing", p.Age.String())
		}
		v.words(path+".words", p.Words)
		if strings.TrimSpace(p.When) == "" {
			v.add(path+".when", "a condition over the product's signals, as battery >= 30", "")
			continue
		}
		if v.product == nil {
			continue
		}
		x, fields := expression.Parse(v.product, p.When, "spec."+path+".when")
		v.fields = append(v.fields, fields...)
		if len(fields) == 0 && len(x.Signals()) == 0 {
			v.add(path+".when", "a condition over at least one signal of the product", p.When)
		}
	}
}

func (v *validation) parts() {
	r := v.r
	if len(r.Parts) > maxParts {
		v.add("parts", fmt.Sprintf("at most %d", maxParts), fmt.Sprint(len(r.Parts)))
		return
	}
	for _, f := range []struct {
		path string
		set  bool
		got  string
	}{{"artifact", r.Artifact != "", r.Artifact}, {"filename", r.Filename != "", r.Filename}, {"component", r.Component != "", r.Component}, {"from", len(r.From) > 0, strings.Join(r.From, ", ")}} {
		if f.set {
			v.add(f.path, "nothing here where there are parts: each part has its own", f.got)
		}
	}
	index := map[string]int{}
	for i, p := range r.Parts {
		if _, twice := index[p.Component]; p.Component == "" || twice {
			v.add(fmt.Sprintf("parts[%d].component", i), "a component that no other part is for", p.Component)
			continue
		}
		index[p.Component] = i
	}
	for i, p := range r.Parts {
		path := fmt.Sprintf("parts[%d]", i)
		v.version(path+".version", p.Version)
		v.once(path+".hardware", p.Hardware, "each hardware revision once, not empty")
		v.from(path+".from", p.From, p.Version)
		v.artifact(path+".artifact", p.Artifact)
		v.filename(path+".filename", p.Filename)
		for j, name := range p.Filenames {
			v.filename(fmt.Sprintf("%s.filenames[%d]", path, j), name)
		}
		for j, f := range p.Files {
			v.artifact(fmt.Sprintf("%s.files[%d]", path, j), f)
		}
		for j, c := range p.After {
			if _, ok := index[c]; !ok || c == p.Component {
				v.add(fmt.Sprintf("%s.after[%d]", path, j), "the component of another part of this release", c)
			}
		}
	}
	if _, stuck := r.order(); len(stuck) > 0 && len(v.fields) == 0 {
		var circle []string
		for _, p := range stuck {
			circle = append(circle, p.Component)
		}
		v.add(fmt.Sprintf("parts[%d].after", index[stuck[0].Component]), "parts of which one can be installed first", strings.Join(circle, ", ")+" wait for each other")
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
