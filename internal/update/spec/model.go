package spec

import (
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update/register"
)

// ReleaseKind is what a release is for; a feature may not ride in a recall,
// safety or security campaign.
type ReleaseKind string

// The kinds of a release.
const (
	Security ReleaseKind = "security"
	Safety   ReleaseKind = "safety"
	Fix      ReleaseKind = "fix"
	Feature  ReleaseKind = "feature"
)

// Release is declared in a file of kind Release. Its images are uploaded by
// apply from the paths beside the file, or before by `fettle artifact put`. A
// release of one image says Component, Version and Artifact; one of several
// says Parts, which are installed all or none.
type Release struct {
	Name      string      `json:"-"`
	Withdrawn *Withdrawal `json:"-"` // an act of operators, never declared; nil: it may be offered

	Product       string              `json:"product"`
	Component     string              `json:"component,omitempty" doc:"Component it installs on (default software)."`
	Version       string              `json:"version" doc:"As the unit will report it; of a release of several parts, the name it goes by."`
	Kind          ReleaseKind         `json:"kind" enum:"security,safety,fix,feature"`
	Counter       int64               `json:"counter,omitempty" doc:"Release counter: a unit that has run a release is never offered one of a lower counter. Default: one above the highest of the product's releases."`
	Hardware      []string            `json:"hardware,omitempty" doc:"Hardware revisions it fits; empty: all."`
	From          []string            `json:"from,omitempty" doc:"Versions it may be installed over; empty: any."`
	Requires      map[string][]string `json:"requires,omitempty" doc:"Versions that other components must have, by component: one of those listed, as the unit reported it."`
	Minutes       int                 `json:"minutes" doc:"How long an installation takes, until the fleet has shown it."`
	Notes         map[string]string   `json:"notes" doc:"What changes, in plain words for owners, by language."`
	EngineerNotes string              `json:"engineerNotes,omitempty" doc:"For operators alone; owners never see it."`
	Unavailable   map[string]string   `json:"unavailable,omitempty" doc:"What will not work meanwhile, by language."`
	Preconditions []Precondition      `json:"preconditions,omitempty" doc:"What must hold of the unit's last values for it to be offered."`
	Skilled       bool                `json:"skilled,omitempty" doc:"A skilled person must be present: it is dispatched, and never an owner's update."`
	SupportEnd    string              `json:"supportEnd,omitempty" doc:"Last day on which this version is supported, as 2031-12-31."`
	Artifact      string              `json:"artifact,omitempty" doc:"Path of the signed image beside this file, or sha256:<hex> of one uploaded before."`
	Filename      string              `json:"filename,omitempty" doc:"Name under which units fetch the image (default: that of the file, or under which it was uploaded last). The same bytes may have another in another release."`
	Settings      *Settings           `json:"settings,omitempty" doc:"Parameters and features that it changes, in place of an image."`
	Parts         []ReleasePart       `json:"parts,omitempty" doc:"Images for several components, installed all or none, in place of component and artifact."`
}

// Precondition is something that must hold of a unit's last state for an
// update to be offered: enough charge, parked, idle, not on a metered network.
type Precondition struct {
	Name  string            `json:"name" doc:"Unique in the release, as charge."`
	When  string            `json:"when" doc:"CEL over the product's signals that must be true, as battery >= 30 && parked."`
	Age   fleet.Duration    `json:"age" doc:"Values older than this say nothing: the update is not offered."`
	Words map[string]string `json:"words,omitempty" doc:"What the owner can do about it, by language."`
}

// ReleasePart is the image for one component of a release of several.
type ReleasePart struct {
	Component string   `json:"component"`
	Version   string   `json:"version" doc:"As the unit will report it of this component."`
	Hardware  []string `json:"hardware,omitempty" doc:"Hardware revisions of the component that it fits; empty: all. The component's revision is the unit's attribute hardware.<component>, else the unit's own hardware."`
	From      []string `json:"from,omitempty" doc:"Versions of the component that it may be installed over; empty: any."`
	Artifact  string   `json:"artifact" doc:"Path of the signed image beside this file, or sha256:<hex> of one uploaded before."`
	Filename  string   `json:"filename,omitempty" doc:"Name under which units fetch the image (default: that of the file, or under which it was uploaded last)."`
	After     []string `json:"after,omitempty" doc:"Components of this release that must be installed before it."`
	Files     []string `json:"files,omitempty" doc:"More files of the part, for clients that take several: sha256:<hex> of each, uploaded before."`
	Filenames []string `json:"filenames,omitempty" doc:"Names of files, in their order; left out: those under which they were uploaded."`
}

// Withdrawal is the act that ended the offering of a release.
type Withdrawal struct {
	At  time.Time `json:"at"`
	By  string    `json:"by"`
	Why string    `json:"why"`
}

// ComponentName is Component or its default.
func (r *Release) ComponentName() string {
	if r.Component == "" {
		return fleet.MainComponent
	}
	return r.Component
}

// Images are the images of a release in the order in which they are to be
// installed: its parts, each after those it waits for and else as declared, or
// the one image of a release without parts.
func (r *Release) Images() []ReleasePart {
	if r.Settings != nil {
		return r.Settings.Parts()
	}
	if len(r.Parts) == 0 {
		return []ReleasePart{{Component: r.ComponentName(), Version: r.Version, From: r.From, Artifact: r.Artifact, Filename: r.Filename}}
	}
	ordered, _ := r.order()
	return ordered
}

// order sorts the parts by what they wait for; stuck are those that wait for
// each other, or for what is not there.
func (r *Release) order() (ordered, stuck []ReleasePart) {
	done := map[string]bool{}
	stuck = slices.Clone(r.Parts)
	for moved := true; moved; {
		moved = false
		for i, p := range stuck {
			if slices.ContainsFunc(p.After, func(c string) bool { return !done[c] }) {
				continue
			}
			ordered, done[p.Component] = append(ordered, p), true
			stuck = slices.Delete(stuck, i, i+1)
			moved = true
			break // the earliest declared that can go next
		}
	}
	return ordered, stuck
}

// InstalledOn reports whether versions, by component, are those of all images.
func (r *Release) InstalledOn(versions map[string]string) bool {
	for _, p := range r.Images() {
		if v, ok := versions[p.Component]; !ok || v != p.Version {
			return false
		}
	}
	return true
}

// Refuse says why r may not be installed on u, by what is known of both; nil
// if it may. Counters and preconditions are judged by the Service.
func (r *Release) Refuse(u *fleet.Unit) *Refusal {
	switch {
	case u.State != fleet.UnitActive:
		return &Refusal{Code: CodeInactive, Why: "the unit is " + string(u.State), Have: string(u.State)}
	case r.Product != u.Product:
		return &Refusal{Code: CodeProduct, Why: "the release is for product " + r.Product, Have: u.Product, Need: r.Product}
	case r.Withdrawn != nil:
		return &Refusal{Code: CodeWithdrawn, Why: "the release has been withdrawn: " + r.Withdrawn.Why}
	case len(r.Hardware) > 0 && !slices.Contains(r.Hardware, u.Hardware):
		return hardware("", u.Hardware, r.Hardware)
	case r.Settings != nil && r.InstalledOn(u.Versions):
		return &Refusal{Code: CodeVersion, Why: "is set so already", Have: r.Version}
	case r.InstalledOn(u.Versions):
		return &Refusal{Code: CodeVersion, Why: "has version " + r.Version + " already", Have: r.Version}
	}
	for _, p := range r.Images() {
		if h := revision(u, p.Component); len(p.Hardware) > 0 && !slices.Contains(p.Hardware, h) {
			return hardware(p.Component, h, p.Hardware)
		}
		v := u.Versions[p.Component]
		if len(p.From) > 0 && v != p.Version && !slices.Contains(p.From, v) {
			return &Refusal{
				Code: CodeFrom, Name: p.Component, Have: v, Need: strings.Join(p.From, ", "),
				Why: "version " + v + " is not among those it may be installed over",
			}
		}
	}
	for _, c := range sortedKeys(r.Requires) {
		if v := u.Versions[c]; !slices.Contains(r.Requires[c], v) {
			why := c + " has version " + v + ", and must have " + strings.Join(r.Requires[c], " or ")
			if v == "" {
				why = c + " must have version " + strings.Join(r.Requires[c], " or ") + ", and the unit has not reported it"
			}
			return &Refusal{Code: CodeRequires, Name: c, Have: v, Need: strings.Join(r.Requires[c], ", "), Why: why}
		}
	}
	return nil
}

// revisionAttribute begins the name of the attribute of a unit that holds a
// component's hardware revision.
const revisionAttribute = "hardware."

func revision(u *fleet.Unit, component string) string {
	if h, ok := u.Attributes[revisionAttribute+component]; ok {
		return h
	}
	return u.Hardware
}

func hardware(component, have string, need []string) *Refusal {
	of := "hardware "
	if component != "" {
		of = component + " has hardware " + have + ", which"
	} else {
		of += have
	}
	return &Refusal{
		Code: CodeHardware, Name: component, Have: have, Need: strings.Join(need, ", "),
		Why: of + " is not among those the release fits",
	}
}

// Fits reports whether r may be installed on u, else the reason.
func (r *Release) Fits(u *fleet.Unit) (ok bool, why string) {
	if no := r.Refuse(u); no != nil {
		return false, no.Why
	}
	return true, ""
}

// Supported reports whether the support of a release has not ended at now; its
// last day counts, everywhere on earth.
func (r *Release) Supported(now time.Time) bool {
	last, err := time.Parse(time.DateOnly, r.SupportEnd)
	return r.SupportEnd == "" || err != nil || now.Before(last.Add(36*time.Hour)) // it ends at UTC-12
}

// SameContent reports whether two releases put the same onto units: else one
// may not take the other's place while units install it.
func (r *Release) SameContent(o *Release) bool {
	return r.Version == o.Version && r.Product == o.Product && r.Counter == o.Counter && slices.EqualFunc(r.Images(), o.Images(), func(a, b ReleasePart) bool {
		return a.Component == b.Component && a.Version == b.Version && a.Artifact == b.Artifact && (a.Filename == b.Filename || a.Filename == "" || b.Filename == "")
	})
}

// Shares reports whether two releases install on the same component.
func (r *Release) Shares(o *Release) bool {
	theirs := o.Images()
	return slices.ContainsFunc(r.Images(), func(p ReleasePart) bool {
		return slices.ContainsFunc(theirs, func(q ReleasePart) bool { return p.Component == q.Component })
	})
}

// Family names the releases of which installations are alike: those of a
// product for the same components.
func (r *Release) Family() string {
	var components []string
	for _, p := range r.Images() {
		components = append(components, p.Component)
	}
	slices.Sort(components)
	return r.Product + "/" + strings.Join(components, "+")
}

// Installs are what a release installs, by component.
func (r *Release) Installs() map[string]string {
	out := map[string]string{}
	for _, p := range r.Images() {
		out[p.Component] = p.Version
	}
	return out
}

// Software is what a release installs of a version of a component.
func (r *Release) Software(component, version string) (register.Software, bool) {
	for _, p := range r.Images() {
		if p.Component == component && p.Version == version {
			return register.Software{Component: component, Version: version, Release: r.Name, Counter: r.Counter, SHA256: p.SHA256()}, true
		}
	}
	return register.Software{}, false
}

// ArtifactSHA256 is the name of the uploaded artifact that p refers to, or ""
// while it still names a file beside the declaration.
func (p *ReleasePart) ArtifactSHA256() string { return Sum(p.Artifact) }
