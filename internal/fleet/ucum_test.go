package fleet_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fleet"
)

func TestCheckUnit(t *testing.T) {
	t.Parallel()
	for code := range strings.FieldsSeq(`Cel [degF] K C F % 1 A mA kA V W kW.h W.h m/s m/s2 m.s-2 /min 1/min {rev}/min {beat} km/h [mi_i]/h
		10*3/uL 10^3 10*-6 kg.m2.s-3.A-1 Ohm kOhm MOhm dB B[W] dB[SPL] deg rad ' '' min h d wk mo a L l mL bar mbar hPa Pa [psi] mm[Hg] m[H2O]
		[in_i'H2O] g{total} (kg/m)/s ((m)) l/(min.m2) By KiBy MBy GiBy bit/s Bd lx lm cd mol/L meq/L [ppm] [pH] t ng daN Gy Sv Bq [g] [in_i] cal_[15] kcal
		V.A{reactive} us umol Ts 2.m [iU]/L k[IU] [Btu_IT] [HP] 100.m qm Qm`) {
		require.NoError(t, fleet.CheckUnit(code), code)
	}
	for code, hint := range map[string]string{
		"°C": "Cel", "degC": "Cel", "celsius": "Cel", "Celsius": "Cel", "cel": "Cel", "CEL": "Cel", "°F": "[degF]", "degF": "[degF]",
		"kWh": "kW.h", "kwh": "kW.h", "Ah": "A.h", "mAh": "mA.h", "rpm": "{rev}/min", "kph": "km/h", "mph": "[mi_i]/h",
		"volts": "V", "v": "V", "KV": "kV", "sec": "s", "hr": "h", "ohm": "Ohm", "Ω": "Ohm", "µA": "uA", "psi": "[psi]", "percent": "%",
		"ppm": "[ppm]", "lbs": "[lb_av]", "dBm": "dB{mW}", "kw": "kW", "W/hr": "h", "HZ": "Hz", "mmHg": "mm[Hg]", "inch": "[in_i]",
	} {
		require.ErrorContains(t, fleet.CheckUnit(code), "did you mean "+hint+"?", code)
	}
	for _, code := range []string{
		"", "blorp", "m//s", "m.", "/", ".", "m s", "(m", "m)", "{a", "{a b}", "{ü}", "{a{b}}", "[degF", "degF]", "[[g]]", "m-", "m2.5x", "k%", "kmin", "k[degF]",
		"-", "+", "-1", strings.Repeat("(", 9) + "m" + strings.Repeat(")", 9), strings.Repeat("m.", 50) + "m", "m{a}{b}", "2{x}3", "m\x00", "\xff",
	} {
		require.Error(t, fleet.CheckUnit(code), code)
	}
}

func FuzzCheckUnit(f *testing.F) {
	for _, s := range []string{"kW.h", "m/s2", "[degF]", "{rev}/min", "10*-6", "(kg/m)/s", "°C", "", "[", "''", "1", "m-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, code string) {
		if fleet.CheckUnit(code) != nil {
			return
		}
		// What is a unit stays one in parentheses, inverted and annotated.
		require.LessOrEqual(t, len(code), 80)
		if len(code) < 70 && strings.Count(code, "(") < 8 {
			require.NoError(t, fleet.CheckUnit("("+code+")"))
			require.NoError(t, fleet.CheckUnit("s/("+code+")"))
			require.NoError(t, fleet.CheckUnit(code+".{x}"))
		}
	})
}
