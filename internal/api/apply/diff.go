package apply

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// diff tells the fields in which two specifications differ, a line a field:
// "- path: old" and "+ path: new". It is empty when nothing differs; old may be nil.
func diff(old, now any) string {
	before, after := flatten(old), flatten(now)
	paths := maps.Clone(before)
	maps.Copy(paths, after)
	var b strings.Builder
	for _, p := range slices.SortedFunc(maps.Keys(paths), byPath) {
		was, had := before[p]
		is, has := after[p]
		if had == has && was == is {
			continue
		}
		if had {
			b.WriteString("- " + p + ": " + was + "\n")
		}
		if has {
			b.WriteString("+ " + p + ": " + is + "\n")
		}
	}
	return b.String()
}

// byPath sorts paths, list indexes by number.
func byPath(a, b string) int {
	for {
		x, restA, moreA := strings.Cut(a, "[")
		y, restB, moreB := strings.Cut(b, "[")
		if c := strings.Compare(x, y); c != 0 || !moreA || !moreB {
			return c
		}
		i, tailA, _ := strings.Cut(restA, "]")
		j, tailB, _ := strings.Cut(restB, "]")
		m, _ := strconv.Atoi(i)
		n, _ := strconv.Atoi(j)
		if m != n {
			return m - n
		}
		a, b = tailA, tailB
	}
}

func flatten(v any) map[string]string {
	out := map[string]string{}
	if v == nil {
		return out
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return out
	}
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return out
	}
	flattenInto(out, "", doc)
	return out
}

func flattenInto(out map[string]string, path string, v any) {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			at := k
			if path != "" {
				at = path + "." + k
			}
			flattenInto(out, at, e)
		}
	case []any:
		for i, e := range x {
			flattenInto(out, path+"["+strconv.Itoa(i)+"]", e)
		}
	case nil:
	default:
		raw, _ := json.Marshal(x) // scalars always encode
		out[path] = string(raw)
	}
}
