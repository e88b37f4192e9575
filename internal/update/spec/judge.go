package spec

import (
	"fmt"
	"strconv"

	"fettle.dev/fettle/internal/fleet"
)

// Judge tells of many units whether they may be offered a release, from what
// was read once: it asks nothing more.
type Judge struct {
	Release Release
	// versions are counters above the release's by component and version; of several releases with
	// one version the lowest counts, since the unit may have come with that.
	versions map[string]map[string]int64
	units    map[string]ran // confirmed counters above the release's
}

// ran is a counter that a unit has confirmed for a component.
type ran struct {
	component string
	counter   int64
}

// NewJudge makes a Judge of a release among all those of its product.
func NewJudge(r Release, all []Release) *Judge {
	return &Judge{Release: r, versions: versionCounters(all), units: map[string]ran{}}
}

// Ran notes a counter that a unit has confirmed for a component.
func (j *Judge) Ran(unitID, component string, counter int64) {
	for _, p := range j.Release.Images() {
		if p.Component == component && counter > j.Release.Counter {
			j.units[unitID] = ran{component, counter}
		}
	}
}

// versionCounters are the counters of versions by component, the lowest of a
// version that several releases have.
func versionCounters(all []Release) map[string]map[string]int64 {
	out := map[string]map[string]int64{}
	for i := range all {
		for _, p := range all[i].Images() {
			of := out[p.Component]
			if of == nil {
				of = map[string]int64{}
				out[p.Component] = of
			}
			if c, known := of[p.Version]; !known || all[i].Counter < c {
				of[p.Version] = all[i].Counter
			}
		}
	}
	return out
}

// Refuse says why a unit may not be offered the release, nil if it may, its
// preconditions aside: those are of the moment.
func (j *Judge) Refuse(u *fleet.Unit) *Refusal {
	r := &j.Release
	if no := r.Refuse(u); no != nil {
		return no
	}
	down := func(component string, counter int64) *Refusal {
		return &Refusal{
			Code: CodeDowngrade, Name: component, Have: strconv.FormatInt(counter, 10), Op: ">=", Need: strconv.FormatInt(r.Counter, 10),
			Why: fmt.Sprintf("%s has run release counter %d, and this release has %d: to go back to old content, issue it again under a higher counter (fettle release revert)", component, counter, r.Counter),
		}
	}
	if c, ok := j.units[u.ID]; ok {
		return down(c.component, c.counter)
	}
	for _, p := range r.Images() {
		if c := j.versions[p.Component][u.Versions[p.Component]]; c > r.Counter {
			return down(p.Component, c)
		}
	}
	return nil
}
