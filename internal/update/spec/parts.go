package spec

import "strings"

// PartState is what a unit has of one part of a release of several.
type PartState struct {
	Component string `json:"component"`
	Version   string `json:"version" doc:"That the release installs."`
	Have      string `json:"have" doc:"That the unit reports."`
}

// Installed reports whether the unit has the part.
func (p PartState) Installed() bool { return p.Have == p.Version }

// PartStates are what a unit has of a release of several parts; nil for one of
// a single image.
func PartStates(r *Release, versions map[string]string) []PartState {
	if len(r.Parts) == 0 {
		return nil
	}
	var out []PartState
	for _, p := range r.Images() {
		out = append(out, PartState{Component: p.Component, Version: p.Version, Have: versions[p.Component]})
	}
	return out
}

// StateOf says in what state a unit is whose update of several parts has
// ended otherwise than well; "" for one of a single image.
func StateOf(parts []PartState) string {
	var has, lacks []string
	for _, p := range parts {
		if p.Installed() {
			has = append(has, p.Component+" "+p.Version)
			continue
		}
		have := p.Have
		if have == "" {
			have = "an unknown version"
		}
		lacks = append(lacks, p.Component+" (it has "+have+", not "+p.Version+")")
	}
	switch {
	case len(parts) == 0:
		return ""
	case len(has) == 0:
		return "no part of it is installed: the unit has the versions it had"
	case len(lacks) == 0:
		return "every part of it is installed all the same: " + strings.Join(has, ", ")
	default:
		return "only some parts of it are installed: " + strings.Join(has, ", ") + "; not " + strings.Join(lacks, ", ")
	}
}
