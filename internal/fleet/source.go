package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Source is a name under which units send a signal in a protocol that has
// names of its own.
type Source struct {
	Name  string            `json:"name" doc:"SenML name (bn and n joined), InfluxDB measurement.field, or OTLP metric name."`
	Where map[string]string `json:"where,omitempty" doc:"InfluxDB tags or OTLP attributes that must have these values."`
}

// key tells sources apart.
func (s Source) key() string {
	var b strings.Builder
	b.WriteString(s.Name)
	for _, k := range slices.Sorted(maps.Keys(s.Where)) {
		fmt.Fprintf(&b, "\x00%s\x00%s", k, s.Where[k])
	}
	return b.String()
}

// sources checks where a product's signals come from: each source stands for
// one signal.
func (m *mistakes) sources(signals []Signal) {
	seen := map[string]string{}
	for i, s := range signals {
		for j, from := range s.Sources {
			at := fmt.Sprintf("spec.signals[%d].sources[%d]", i, j)
			if from.Name == "" || len(from.Name) > 255 {
				m.add(at+".name", "the name it is sent under, at most 255 bytes", from.Name)
				continue
			}
			if other, ok := seen[from.key()]; ok {
				m.add(at, "a source of one signal ("+other+" has it too); tell them apart by where", from.Name)
			}
			seen[from.key()] = s.Name
		}
	}
}
