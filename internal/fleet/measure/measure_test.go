package measure

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fleet"
)

func TestConvert(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v        float64
		from, to string
		want     float64
	}{
		{21.5, "Cel", "Cel", 21.5},
		{21.5, "", "Cel", 21.5},
		{21.5, "Cel", "", 21.5},
		{212, "[degF]", "Cel", 100},
		{300, "K", "Cel", 26.85},
		{20, "Cel", "K", 293.15},
		{230500, "mV", "V", 230.5},
		{1.5, "kW.h", "W.h", 1500},
		{3.6e6, "J", "kW.h", 1},
		{0.5, "1", "%", 50},
		{50, SenML("%RH"), "%", 50},
		{0.5, SenML("/"), "%", 50},
		{4, SenML("KiB"), "By", 4096},
		{7, "{fault}", "1", 7},
		{7, "{request}/min", "/min", 7},
		{90, "km/h", "m/s", 25},
		{1013.25, "hPa", "Pa", 101325},
	} {
		got, ok := Convert(c.v, c.from, c.to)
		require.True(t, ok, "%s to %s", c.from, c.to)
		require.InDelta(t, c.want, got, 1e-9*c.want, "%s to %s", c.from, c.to)
	}
	got, _ := Convert(230, "mV", "V")
	require.Equal(t, 0.23, got, "as written in decimals") //nolint:testifylint // exactly is what is meant
	for _, c := range [][2]string{
		{"Cel", "V"}, {"V.A", "W"}, {"N.m", "J"}, {"furlong", "m"}, {"Hz", "Bq"}, {"%", "Cel"}, {"V.A{reactive}", "V.A"}, {"g", "N"},
	} {
		_, ok := Convert(1, c[0], c[1])
		require.False(t, ok, "%s is no %s", c[0], c[1])
	}
	require.Equal(t, "J", Summed("W"))
	require.Equal(t, "Pa.s", Summed("Pa"))
	require.Empty(t, Summed(""))
}

// Every code of the tables is one that a product may declare.
func TestCodesAreUCUM(t *testing.T) {
	t.Parallel()
	for code := range units {
		require.NoError(t, fleet.CheckUnit(code))
	}
	for symbol, code := range senml {
		require.NoError(t, fleet.CheckUnit(code), symbol)
	}
}
