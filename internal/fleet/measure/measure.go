// Package measure knows when a value in one unit of measure is a value in
// another: for units of one kind, as kW and W, and never because dimensions
// happen to agree (a torque is no energy, apparent power no active power).
// Units are UCUM codes; SenML's own symbols have a translation.
package measure

import (
	"strconv"
	"strings"
)

// kinds lists, for each kind of quantity, UCUM codes with what one of them is
// in the first. Temperatures have a zero of their own, see zero.
var kinds = []string{
	"m=1 km=1e3 dm=1e-1 cm=1e-2 mm=1e-3 um=1e-6 nm=1e-9 [in_i]=0.0254 [ft_i]=0.3048 [yd_i]=0.9144 [mi_i]=1609.344 [nmi_i]=1852",
	"g=1 kg=1e3 mg=1e-3 ug=1e-6 t=1e6 [lb_av]=453.59237 [oz_av]=28.349523125",
	"s=1 ms=1e-3 us=1e-6 ns=1e-9 min=60 h=3600 d=86400 wk=604800",
	"A=1 mA=1e-3 uA=1e-6 kA=1e3",
	"K=1 mK=1e-3 Cel=1 [degF]=0.5555555555555556",
	"cd=1 mcd=1e-3", "mol=1 mmol=1e-3",
	"Hz=1 kHz=1e3 MHz=1e6 GHz=1e9",
	"rad=1 deg=0.017453292519943295", "sr=1",
	"N=1 kN=1e3 mN=1e-3",
	"Pa=1 hPa=1e2 kPa=1e3 MPa=1e6 mbar=1e2 bar=1e5 atm=101325 [psi]=6894.757293168361 mm[Hg]=133.322387415 m[Hg]=133322.387415",
	"J=1 mJ=1e-3 kJ=1e3 MJ=1e6 GJ=1e9 W.s=1 W.h=3600 kW.h=3.6e6 MW.h=3.6e9",
	"W=1 mW=1e-3 kW=1e3 MW=1e6 GW=1e9 J/s=1",
	"C=1 mC=1e-3 A.s=1 A.h=3600 mA.h=3.6",
	"V=1 uV=1e-6 mV=1e-3 kV=1e3",
	"F=1 mF=1e-3 uF=1e-6 nF=1e-9 pF=1e-12",
	"Ohm=1 mOhm=1e-3 kOhm=1e3 MOhm=1e6", "S=1 mS=1e-3 uS=1e-6", "S/m=1 mS/cm=0.1 uS/cm=1e-4",
	"Wb=1", "T=1 mT=1e-3 uT=1e-6", "H=1 mH=1e-3 uH=1e-6",
	"lm=1", "lx=1 klx=1e3", "cd/m2=1", "Bq=1 kBq=1e3", "Bq/m3=1", "Gy=1", "Sv=1 mSv=1e-3 uSv=1e-6", "kat=1", "[pH]=1",
	"m2=1 cm2=1e-4 km2=1e6", "m3=1 l=1e-3 L=1e-3 dl=1e-4 cl=1e-5 ml=1e-6 mL=1e-6 cm3=1e-6",
	"m/s=1 km/h=0.2777777777777778 cm/s=1e-2 mm/s=1e-3 mm/h=2.777777777777778e-07 m/h=0.0002777777777777778 [mi_i]/h=0.44704 [kn_i]=0.5144444444444445",
	"m/s2=1 [g]=9.80665",
	"m3/s=1 m3/h=0.0002777777777777778 l/s=1e-3 L/s=1e-3 l/min=1.6666666666666667e-05 L/min=1.6666666666666667e-05 l/h=2.777777777777778e-07 L/h=2.777777777777778e-07",
	"W/m2=1 kW/m2=1e3", "W.h/km=1 kW.h/km=1e3",
	"bit=1 By=8 kBy=8e3 MBy=8e6 GBy=8e9 KiBy=8192 MiBy=8388608 GiBy=8589934592",
	"bit/s=1 kbit/s=1e3 Mbit/s=1e6 Gbit/s=1e9 By/s=8 kBy/s=8e3 MBy/s=8e6",
	"1=1 %=1e-2 [ppth]=1e-3 [ppm]=1e-6 [ppb]=1e-9 10*-2=1e-2 10*-3=1e-3 10*-6=1e-6",
	"/s=1 /min=0.016666666666666666 /h=0.0002777777777777778 1/s=1 1/min=0.016666666666666666",
	"V.A=1 kV.A=1e3", "V.A.h=1 kV.A.h=1e3", "V.A{reactive}=1 kV.A{reactive}=1e3",
	"kg/m3=1 g/l=1 g/L=1 mg/l=1e-3 mg/L=1e-3 ug/m3=1e-9 mg/m3=1e-6 g/m3=1e-3",
	"dB=1", "dB[W]=1", "J/m=1",
}

// zero is where a temperature's zero lies, in K.
var zero = map[string]float64{"Cel": 273.15, "[degF]": 255.3722222222222}

type unit struct {
	kind   int
	factor float64
}

var units = func() map[string]unit {
	out := map[string]unit{}
	for i, k := range kinds {
		for word := range strings.FieldsSeq(k) {
			at := strings.LastIndexByte(word, '=')
			f, err := strconv.ParseFloat(word[at+1:], 64)
			if err != nil {
				panic(word)
			}
			out[word[:at]] = unit{i, f}
		}
	}
	return out
}()

// Convert gives a value in unit from as one in unit to, both UCUM, if they are
// of one kind. A side that names no unit agrees with any.
func Convert(v float64, from, to string) (float64, bool) {
	if from == to || from == "" || to == "" {
		return v, true
	}
	from, to = plain(from), plain(to)
	a, known := units[from]
	b, ok := units[to]
	switch {
	case from == to:
		return v, true
	case !known || !ok || a.kind != b.kind:
		return 0, false
	}
	if za, zb := zero[from], zero[to]; za != 0 || zb != 0 {
		if from == "[degF]" && to == "Cel" { // exact in tenths
			return (v - 32) * 5 / 9, true
		}
		return (v*a.factor + za - zb) / b.factor, true
	}
	if a.factor >= b.factor {
		return v * (a.factor / b.factor), true
	}
	return v / (b.factor / a.factor), true // thousandths stay what they are in decimals
}

// plain leaves annotations in braces out: {request}/s is /s, {fault} is 1.
func plain(code string) string {
	if _, ok := units[code]; ok {
		return code
	}
	for {
		before, rest, ok := strings.Cut(code, "{")
		if !ok {
			break
		}
		_, after, _ := strings.Cut(rest, "}")
		code = before + after
	}
	if code == "" {
		return "1"
	}
	return code
}

// senml is SenML's symbols (RFC 8428, RFC 8798, the IANA registry) that are
// not UCUM codes of the same meaning.
var senml = map[string]string{
	"/": "1", "%RH": "%", "%EL": "%", "EL": "s", "count": "1", "lat": "deg", "lon": "deg", "pH": "[pH]",
	"beat/min": "/min", "beats": "1", "B": "By", "KiB": "KiBy", "GB": "GBy", "B/s": "By/s", "MB/s": "MBy/s", "dBW": "dB[W]",
	"VA": "V.A", "kVA": "kV.A", "VAs": "V.A.s", "VAh": "V.A.h", "kVAh": "kV.A.h", "var": "V.A{reactive}", "kvar": "kV.A{reactive}",
	"Ah": "A.h", "Wh": "W.h", "kWh": "kW.h", "Wh/km": "W.h/km", "Ws": "W.s",
	"ppm": "[ppm]", "ppb": "[ppb]", "/100": "10*-2", "/1000": "10*-3",
}

// SenML translates a SenML unit into UCUM.
func SenML(symbol string) string {
	if code, ok := senml[symbol]; ok {
		return code
	}
	return symbol
}

// sums is what a unit summed over seconds is.
var sums = map[string]string{
	"W": "J", "kW": "kJ", "MW": "MJ", "A": "C", "1": "s", "m/s": "m", "m/s2": "m/s", "l/s": "l", "m3/s": "m3", "bit/s": "bit", "By/s": "By", "Hz": "1", "/s": "1",
}

// Summed is the unit of a sum of values over seconds (SenML's s), in UCUM.
func Summed(code string) string {
	if s, ok := sums[code]; ok || code == "" {
		return s
	}
	return code + ".s"
}
