package fleet

import (
	"strings"
	"sync"
)

// The atoms of UCUM (ucum.org, case sensitive codes): those that take a prefix
// and those that take none.
const (
	metricAtoms = `m s g rad K C cd mol sr Hz N Pa J W A V F Ohm S Wb Cel T H lm lx Bq Gy Sv
		l L ar t bar u eV pc [c] [h] [k] [eps_0] [mu_0] [e] [m_e] [m_p] [G] [g] [ly] gf
		Ky Gal dyn erg P Bi St Mx G Oe Gb sb Lmb ph Ci R RAD REM
		cal_[15] cal_[20] cal_m cal_IT cal_th cal tex m[H2O] m[Hg] eq osm g% kat U [iU] [IU]
		Np B B[SPL] B[V] B[mV] B[uV] B[10.nV] B[W] B[kW] st mho bit By Bd`
	plainAtoms = `10* 10^ [pi] % [ppth] [ppm] [ppb] [pptr] gon deg ' '' min h d a_t a_j a_g a wk mo_s mo_j mo_g mo
		AU atm [lbf_av] att Ao b [psi] circ sph [car_m] [car_Au] [smoot] [m/s2/Hz^0.5] bit_s
		[in_i] [ft_i] [yd_i] [mi_i] [fth_i] [nmi_i] [kn_i] [sin_i] [sft_i] [syd_i] [cin_i] [cft_i] [cyd_i]
		[bf_i] [cr_i] [mil_i] [cml_i] [hd_i]
		[ft_us] [yd_us] [in_us] [rd_us] [ch_us] [lk_us] [rch_us] [rlk_us] [fth_us] [fur_us] [mi_us] [acr_us]
		[srd_us] [smi_us] [sct] [twp] [mil_us]
		[in_br] [ft_br] [rd_br] [ch_br] [lk_br] [fth_br] [pc_br] [yd_br] [mi_br] [nmi_br] [kn_br] [acr_br]
		[gal_us] [bbl_us] [qt_us] [pt_us] [gil_us] [foz_us] [fdr_us] [min_us] [crd_us] [bu_us] [gal_wi] [pk_us]
		[dqt_us] [dpt_us] [tbs_us] [tsp_us] [cup_us] [foz_m] [cup_m] [tsp_m] [tbs_m]
		[gal_br] [pk_br] [bu_br] [qt_br] [pt_br] [gil_br] [foz_br] [fdr_br] [min_br]
		[gr] [lb_av] [oz_av] [dr_av] [scwt_av] [lcwt_av] [ston_av] [lton_av] [stone_av]
		[pwt_tr] [oz_tr] [lb_tr] [lne] [pnt] [pca] [den]
		[degF] [degR] [degRe] [Cal] [Btu_39] [Btu_59] [Btu_60] [Btu_m] [Btu_IT] [Btu_th] [Btu] [HP]
		[in_i'H2O] [in_i'Hg] [PRU] [wood'U] [diop] [p'diop] %[slope] [mesh_i] [Ch] [drp] [hnsf'U] [MET] [pH] [S] [HPF] [LPF]`
	prefixes = `Q R Y Z E P T G M k h da d c m u n p f a z y r q Ki Mi Gi Ti`
)

// slips are what people write instead of UCUM, by lower case.
var slips = map[string]string{
	"°c": "Cel", "degc": "Cel", "deg_c": "Cel", "celsius": "Cel", "centigrade": "Cel", "℃": "Cel",
	"°f": "[degF]", "degf": "[degF]", "deg_f": "[degF]", "fahrenheit": "[degF]", "℉": "[degF]", "kelvin": "K", "°k": "K",
	"°": "deg", "degree": "deg", "degrees": "deg",
	"kwh": "kW.h", "wh": "W.h", "mwh": "MW.h", "ah": "A.h", "mah": "mA.h", "va": "V.A", "kva": "kV.A", "var": "V.A{reactive}",
	"kw/h": "kW.h", "nm": "N.m", "ohms": "Ohm", "ω": "Ohm", "Ω": "Ohm", "ohm": "Ohm",
	"sec": "s", "secs": "s", "second": "s", "seconds": "s", "msec": "ms", "minute": "min", "minutes": "min", "mins": "min",
	"hr": "h", "hrs": "h", "hour": "h", "hours": "h", "day": "d", "days": "d", "week": "wk", "month": "mo", "year": "a", "years": "a",
	"kph": "km/h", "kmh": "km/h", "kmph": "km/h", "mph": "[mi_i]/h", "mps": "m/s", "knots": "[kn_i]", "kn": "[kn_i]",
	"rpm": "{rev}/min", "bpm": "{beat}/min", "percent": "%", "pct": "%", "ppm": "[ppm]", "ppb": "[ppb]", "psi": "[psi]", "ph": "[pH]",
	"volt": "V", "volts": "V", "amp": "A", "amps": "A", "ampere": "A", "amperes": "A", "watt": "W", "watts": "W", "hertz": "Hz",
	"joule": "J", "joules": "J", "newton": "N", "pascal": "Pa", "lux": "lx", "lumen": "lm", "liter": "L", "litre": "L", "liters": "L",
	"gram": "g", "grams": "g", "kilogram": "kg", "kilo": "kg", "kgs": "kg", "lb": "[lb_av]", "lbs": "[lb_av]", "oz": "[oz_av]", "ton": "t",
	"meter": "m", "metre": "m", "meters": "m", "inch": "[in_i]", "inches": "[in_i]", "in": "[in_i]", "feet": "[ft_i]", "ft": "[ft_i]", "foot": "[ft_i]",
	"yard": "[yd_i]", "mile": "[mi_i]", "miles": "[mi_i]", "gallon": "[gal_us]", "hp": "[HP]", "btu": "[Btu]", "mmhg": "mm[Hg]", "mmh2o": "mm[H2O]",
	"byte": "By", "bytes": "By", "kb": "kBy", "mb": "MBy", "gb": "GBy", "bits": "bit", "baud": "Bd", "dbm": "dB{mW}", "db": "dB",
	"count": "{count}", "counts": "{count}", "cycles": "{cycle}", "none": "1", "unitless": "1", "ratio": "1", "g-force": "[g]",
}

type atomTable struct {
	metric map[string]bool // atom to whether it takes a prefix
	prefix []string
	folded map[string]string // lower case of atoms, and of common atoms with a prefix, to the code
}

var atoms = sync.OnceValue(func() *atomTable {
	t := &atomTable{metric: map[string]bool{}, folded: map[string]string{}, prefix: strings.Fields(prefixes)}
	for a := range strings.FieldsSeq(plainAtoms) {
		t.metric[a] = false
		t.folded[strings.ToLower(a)] = a
	}
	for a := range strings.FieldsSeq(metricAtoms) {
		t.metric[a] = true
	}
	// A later one wins, so the most usual stand last.
	for _, a := range append(strings.Fields(metricAtoms), strings.Fields("m g s mol Hz N Pa J W A V Ohm Cel By")...) {
		for _, p := range []string{"M", "u", "m", "k", ""} {
			t.folded[strings.ToLower(p+a)] = p + a
		}
	}
	return t
})

// known reports whether symbol is an atom, or a prefix and a metric atom.
func (t *atomTable) known(symbol string) bool {
	if _, ok := t.metric[symbol]; ok {
		return true
	}
	for _, p := range t.prefix {
		if rest, ok := strings.CutPrefix(symbol, p); ok && t.metric[rest] {
			return true
		}
	}
	return false
}
