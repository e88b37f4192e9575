package words

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnit(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"1": "", "": "", "Cel": "°C", "[psi]": "psi", "[degF]": "°F", "m/s2": "m/s²", "kW.h": "kWh", "/min": "1/min",
		"{cycles}": "cycles", "{rev}/min": "rev/min", "N.m": "N·m", "W/(m2.K)": "W/(m²·K)", "Ohm.m": "Ω·m", "s-1": "s⁻¹",
		"%": "%", "10*3/uL": "10³/uL", "um": "µm",
	} {
		require.Equal(t, want, Unit(code), code)
	}
	require.Equal(t, "12 °C", Measured(12, "Cel"))
	require.Equal(t, "12", Measured(12, "1"))
}
