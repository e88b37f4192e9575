package spec

import (
	"path"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/fault"
)

// Filename is what is expected where ValidFilename does not hold.
const Filename = "a plain file name of at most 200 characters, ending in .swu for SWUpdate"

// ValidFilename reports whether units can fetch something under a name.
func ValidFilename(name string) bool {
	return name != "" && len(name) <= 200 && path.Base(name) == name && !strings.ContainsAny(name, "\\\x00\r\n\"%?#") && !strings.HasPrefix(name, ".")
}

func (v *validation) filename(path, name string) {
	if name != "" && !ValidFilename(name) {
		v.add(path, Filename, name)
	}
}

// Names gives names to the images of a release that have none: as it has them
// in the records, old, where the bytes are the same, else as they were
// uploaded last, which last tells by SHA-256 (fault.NotFound: nothing was).
func Names(r, old *Release, last func(sum string) (string, error)) (err error) {
	one := func(component, artifact string, name *string) error {
		if *name != "" || Sum(artifact) == "" {
			return nil
		}
		for _, p := range old.Images() {
			if p.Component == component && p.Artifact == artifact {
				*name = p.Filename // "": from before releases had names
				return nil
			}
		}
		if *name, err = last(Sum(artifact)); fault.KindOf(err) == fault.NotFound {
			return nil // refused where it is validated
		}
		return err
	}
	if len(r.Parts) == 0 && r.Settings == nil {
		return one(r.ComponentName(), r.Artifact, &r.Filename)
	}
	r.Parts = slices.Clone(r.Parts)
	for i := range r.Parts {
		if err := one(r.Parts[i].Component, r.Parts[i].Artifact, &r.Parts[i].Filename); err != nil {
			return err
		}
	}
	return nil
}
