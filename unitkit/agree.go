package unitkit

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// ImageCustom is what the image repository signs of each target beside its
// length and hash (the custom fields of the Uptane Standard, section 5.2.3.1).
type ImageCustom struct {
	Product        string   `json:"product"`
	Component      string   `json:"component"`
	Version        string   `json:"version"` // as the component will report it
	HardwareIDs    []string `json:"hardwareIds,omitempty"`
	ReleaseCounter uint64   `json:"releaseCounter"`
	Release        string   `json:"release"`
}

// DirectorCustom is what the director signs of a unit's targets as a whole, in
// the field "custom" of the signed part.
type DirectorCustom struct {
	Unit      string     `json:"unit"`                // for this unit alone
	Made      time.Time  `json:"made"`                // when: the unit's clock goes not below it
	Action    int64      `json:"action,omitempty"`    // the assignment; 0: nothing to install
	Release   string     `json:"release,omitempty"`   // its name
	Kind      string     `json:"kind,omitempty"`      // security, safety, fix or feature
	Counter   uint64     `json:"counter,omitempty"`   // the release's
	NotBefore *time.Time `json:"notBefore,omitempty"` // the owner's time
	NotAfter  *time.Time `json:"notAfter,omitempty"`  // installing may begin until then
	Order     []string   `json:"order,omitempty"`     // the targets' paths in the order of installation
}

// directed reads a director's targets and refuses those for somebody else.
func directed(t *metadata.TargetsType, unit string) (DirectorCustom, error) {
	var d DirectorCustom
	raw, err := json.Marshal(t.UnrecognizedFields["custom"])
	if err == nil {
		err = json.Unmarshal(raw, &d)
	}
	refuse := func(a Attack, format string, args ...any) (DirectorCustom, error) {
		return DirectorCustom{}, &AttackError{a, "director", metadata.TARGETS, fmt.Errorf(format, args...)}
	}
	switch {
	case err != nil:
		return refuse(ErrMalformed, "its custom part: %w", err)
	case d.Unit != unit:
		return refuse(ErrWrongUnit, "it is for unit %q, this is %q", d.Unit, unit)
	case len(t.Targets) != len(d.Order):
		return refuse(ErrMalformed, "%d targets, %d in the order of installation", len(t.Targets), len(d.Order))
	case len(t.Targets) > 0 && d.Action < 1:
		return refuse(ErrMalformed, "targets without an action")
	}
	return d, nil
}

// agreed makes an update of what both repositories say of the same targets
// (Uptane Standard 2.1.0, section 5.4.4.2, steps 10 and 11: same hash and
// length, hardware that fits, a release counter that does not fall).
func (c *Client) agreed(d DirectorCustom, director, image *metadata.TargetsType) (*Update, error) {
	u := &Update{Action: d.Action, Release: d.Release, Kind: d.Kind, Counter: d.Counter}
	if d.NotBefore != nil {
		u.NotBefore = *d.NotBefore
	}
	if d.NotAfter != nil {
		u.NotAfter = *d.NotAfter
	}
	components := c.config.Components()
	seen := map[string]bool{}
	for _, name := range d.Order {
		refuse := func(a Attack, format string, args ...any) (*Update, error) {
			return nil, &AttackError{a, "director", name, fmt.Errorf(format, args...)}
		}
		ordered, signed := director.Targets[name], image.Targets[name]
		switch {
		case ordered == nil || seen[name]:
			return refuse(ErrMalformed, "it stands in the order of installation, and not once among the targets")
		case signed == nil:
			return refuse(ErrArbitrarySoftware, "the image repository has no such target")
		}
		seen[name] = true
		t, err := target(name, signed)
		if err != nil {
			return refuse(ErrMalformed, "%w", err)
		}
		other, err := target(name, ordered)
		if err != nil {
			return refuse(ErrMalformed, "%w", err)
		}
		if !same(t, other) {
			return refuse(ErrDisagree, "the director says %+v, the image repository %+v", other, t)
		}
		part, ok := components[t.Component]
		switch {
		case c.config.Product != "" && t.product != c.config.Product:
			return refuse(ErrWrongHardware, "it is for product %q, this is %q", t.product, c.config.Product)
		case !ok:
			return refuse(ErrWrongHardware, "this unit has no component %q", t.Component)
		case len(t.Hardware) > 0 && !slices.Contains(t.Hardware, part.Hardware):
			return refuse(ErrWrongHardware, "it is for hardware %s, %s is %q", strings.Join(t.Hardware, ", "), t.Component, part.Hardware)
		case t.Counter < c.state.Counters[t.Component]:
			return refuse(ErrRollback, "its release counter is %d, %s has confirmed %d", t.Counter, t.Component, c.state.Counters[t.Component])
		case slices.ContainsFunc(u.Targets, func(o Target) bool { return o.Component == t.Component }):
			return refuse(ErrMalformed, "component %s has two targets", t.Component)
		}
		u.Targets = append(u.Targets, t.Target)
	}
	return u, nil
}

// described is a target with what only agreement is about.
type described struct {
	Target
	product, release string
}

func same(a, b described) bool {
	x, y := a.Target, b.Target
	hardware := slices.Equal(slices.Sorted(slices.Values(x.Hardware)), slices.Sorted(slices.Values(y.Hardware)))
	return hardware && a.product == b.product && a.release == b.release && x.Component == y.Component && x.Version == y.Version &&
		x.Filename == y.Filename && x.Length == y.Length && x.SHA256 == y.SHA256 && x.Counter == y.Counter
}

func target(name string, f *metadata.TargetFiles) (described, error) {
	if f == nil || f.Custom == nil {
		return described{}, errors.New("it has no custom part")
	}
	var c ImageCustom
	if err := json.Unmarshal(*f.Custom, &c); err != nil {
		return described{}, fmt.Errorf("its custom part: %w", err)
	}
	sum := f.Hashes["sha256"]
	file := path.Base(name)
	switch {
	case len(sum) != 32:
		return described{}, errors.New("it has no SHA-256")
	case f.Length < 1:
		return described{}, errors.New("it has no length")
	case c.Component == "" || c.Version == "":
		return described{}, errors.New("it names no component or no version")
	case file == "." || file == "/" || file == ".." || strings.ContainsAny(file, "\\\x00"):
		return described{}, errors.New("it has no plain file name")
	}
	return described{
		Target: Target{
			Component: c.Component, Version: c.Version, Filename: file, Length: f.Length,
			SHA256: hex.EncodeToString(sum), Hardware: c.HardwareIDs, Counter: c.ReleaseCounter,
		},
		product: c.Product, release: c.Release,
	}, nil
}
