package fleet

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSources(t *testing.T) {
	t.Parallel()
	signal := func(name string, sources ...Source) Signal { return Signal{Name: name, Sources: sources} }
	one := Source{Name: "modbus.i", Where: map[string]string{"slave": "1", "site": "a"}}
	same := Source{Name: "modbus.i", Where: map[string]string{"site": "a", "slave": "1"}}
	other := Source{Name: "modbus.i", Where: map[string]string{"slave": "2"}}
	var m mistakes
	m.sources([]Signal{signal("a", one, other), signal("b", Source{Name: "modbus.i"})})
	require.Empty(t, m)
	m.sources([]Signal{signal("a", one), signal("b", Source{}, same)})
	require.Len(t, m, 2)
	require.Equal(t, "spec.signals[1].sources[0].name", m[0].Path)
	require.Equal(t, "spec.signals[1].sources[1]", m[1].Path)
	require.Contains(t, m[1].Expected, "a has it too")
}
