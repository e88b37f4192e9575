package wave

import (
	"fmt"
	"strings"
)

// most is how many waves a campaign may have, and how many units one may name.
const (
	most      = 100
	mostUnits = 100_000
)

// Validate finds every mistake of the waves; add takes the path below the
// campaign, what was expected and what was there (nil: nothing).
func Validate(waves []Wave, add func(path, expected string, got any)) {
	if len(waves) == 0 || len(waves) > most {
		add("waves", fmt.Sprintf("1 to %d waves", most), len(waves))
	}
	names, named, sum := map[string]bool{}, map[string]int{}, 0.0
	for i := range waves {
		w, at := &waves[i], fmt.Sprintf("waves[%d]", i)
		if w.Name == "" || names[w.Name] {
			add(at+".name", "a name that no other wave has", w.Name)
		}
		names[w.Name] = true
		last := i == len(waves)-1
		if w.Random() && w.Count == 0 {
			sum += w.Share
		}
		validateOne(w, at, last, add)
		for j, id := range w.Units {
			if other, twice := named[id]; id == "" || twice {
				got := id
				if twice {
					got = fmt.Sprintf("%s, also in wave %s", id, waves[other].Name)
				}
				add(fmt.Sprintf("%s.units[%d]", at, j), "each unit once in all waves, not empty", got)
			}
			named[id] = i
		}
	}
	if sum > 1+1e-9 {
		add("waves", "shares that add up to at most 1", sum)
	}
}

func validateOne(w *Wave, at string, last bool, add func(path, expected string, got any)) {
	if !(w.Share >= 0 && w.Share <= 1) {
		add(at+".share", "a share of the cohort above 0, at most 1", w.Share)
	}
	if w.Count < 0 {
		add(at+".count", "a number of units above 0", w.Count)
	}
	if w.Share > 0 && w.Count > 0 {
		add(at+".count", "a share or a count, not both", w.Count)
	}
	if w.Random() && w.Share == 0 && w.Count == 0 && !last {
		add(at+".share", "a share above 0, a count, where, match or units: only the last wave takes the rest", w.Share)
	}
	if last && (!w.Random() || w.Count > 0) {
		add(at, "a last wave that takes the rest: no count, where, match or units", w.Name)
	}
	if len(w.Units) > 0 && (w.Share > 0 || w.Count > 0 || w.Where != "" || w.Match != nil) {
		add(at+".units", "units alone, or a share, a count, where or match", fmt.Sprintf("%d units", len(w.Units)))
	}
	if len(w.Units) > mostUnits {
		add(at+".units", fmt.Sprintf("at most %d units; match a larger set by an attribute", mostUnits), len(w.Units))
	}
	if w.Where != "" && w.Match != nil {
		add(at+".where", "where or match, not both", w.Where)
	}
	if w.Match != nil && w.Match.Empty() {
		add(at+".match", "at least one attribute", nil)
	}
	if w.Where != "" {
		if _, err := compile(w.Where); err != nil {
			add(at+".where", "CEL over a unit (id, serial, hardware, batch, region, version, versions, attributes), as region == 'NO'", firstLine(err.Error()))
		}
	}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
