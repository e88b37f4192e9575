package condition_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
)

func TestValidateDetector(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(d *condition.Detector)
		want   []string // "path | part of the sentence"
	}{
		"right":         {func(*condition.Detector) {}, nil},
		"whole numbers": {func(d *condition.Detector) { d.Exposure = "current >= 16 && plug_temperature < 90" }, nil},
		"texts and booleans": {func(d *condition.Detector) {
			d.Exposure = `!charging || mode in ["eco", "fast"] || mode.startsWith("x")`
		}, nil},
		"unknown signal":      {func(d *condition.Detector) { d.Exposure = "amps >= 16" }, []string{`spec.exposure | a signal of product wall-charger (current, plug_temperature, charging, mode, state) at line 1, column 1, got "amps"`}},
		"two unknown signals": {func(d *condition.Detector) { d.Exposure = "a > 1 && b" }, []string{`spec.exposure | "a" in`, `spec.exposure | "b" in`}},
		"no condition":        {func(d *condition.Detector) { d.Exposure = "current + 1.0" }, []string{"spec.exposure | true or false, got \"current + 1.0\", which is of type double"}},
		"types":               {func(d *condition.Detector) { d.Exposure = "current > mode" }, []string{"spec.exposure | at line 1, column 9"}},
		"mixed arithmetic":    {func(d *condition.Detector) { d.Exposure = "current * 2 > 32.0 && current != 3" }, nil},
		"integers":            {func(d *condition.Detector) { d.Exposure = "size(mode) * 1.5 > 2.0" }, []string{"spec.exposure | as 2.0 rather than 2"}},
		"syntax":              {func(d *condition.Detector) { d.Exposure = "current >" }, []string{"spec.exposure | Syntax error"}},
		"loops":               {func(d *condition.Detector) { d.Exposure = "[1, 2].all(x, x > 0)" }, []string{`spec.exposure | "all" in`, `spec.exposure | "x" in`, `spec.exposure | "x" in`}},
		"too long":            {func(d *condition.Detector) { d.Exposure = strings.Repeat("charging || ", 200) + "charging" }, []string{"spec.exposure | at most 1000 bytes"}},
		"too dear": {func(d *condition.Detector) {
			d.Exposure = strings.Repeat(`mode.matches("(a|b)*c.*d") || `, 12) + "charging"
		}, []string{"spec.exposure | costs at most 10000"}},
		"other purpose":   {func(d *condition.Detector) { d.Exposure = "state == 1" }, []string{`spec.exposure | collected for purpose "care", got state, collected for operation`}},
		"purpose of none": {func(d *condition.Detector) { d.Purpose = "cure" }, []string{"spec.purpose | a purpose of product wall-charger (care, operation), got cure"}},
		"all at once": {func(d *condition.Detector) {
			d.Tolerance, d.Severity, d.Hysteresis, d.Factor, d.Product = "plg", "grave", math.NaN(), 3, "x"
		}, []string{"spec.product | ", "spec.severity | warning, minor, major or critical, got grave", "spec.factor | only detectors of type silence", "spec.tolerance | a tolerance of product wall-charger (plug, hot-idle, heating), got plg", "spec.hysteresis | 0 or more"}},
		"silence": {func(d *condition.Detector) {
			*d = silent()
			d.Clear, d.Tolerance, d.Factor, d.Maximum, d.GroupBy = 1, "plug", 0.5, fleet.Duration(time.Minute), []string{"site", "a=b"}
		}, []string{"spec.tolerance | only detectors of type tolerance", "spec.clear | ", "spec.factor | from 1 to 1000", "spec.maximum | no less than the minimum, 10m, got 1m", "spec.groupBy[1] | the name of an attribute of units, as site, each once, got \"a=b\""}},
		"share":           {func(d *condition.Detector) { d.Window, d.Share = fleet.Duration(time.Hour), 20 }, nil},
		"count":           {func(d *condition.Detector) { d.Window, d.Count = fleet.Duration(time.Hour), 3 }, nil},
		"share and count": {func(d *condition.Detector) { d.Window, d.Share, d.Count = fleet.Duration(time.Hour), 20, 3 }, []string{"spec.window | either share or count beside it, got share 20 and count 3"}},
		"window of what":  {func(d *condition.Detector) { d.Window = fleet.Duration(time.Hour) }, []string{"spec.window | either share or count"}},
		"no window":       {func(d *condition.Detector) { d.Share = 120 }, []string{"spec.share | to 100, got 120", "spec.window | the time that share or count look at, as 24h, got nothing"}},
		"condition":       {func(d *condition.Detector) { d.Tolerance, d.Hysteresis = "hot-idle", 0 }, nil},
		"margin of a condition": {func(d *condition.Detector) { d.Tolerance, d.Margin = "hot-idle", 3 }, []string{
			"spec.hysteresis | tolerance hot-idle is a condition, not a band", "spec.margin | tolerance hot-idle is a condition, not a band",
		}},
		"no type": {func(d *condition.Detector) { d.Type = "magic" }, []string{"spec.type | prognosis, got magic"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, d := charger(), overheat()
			tt.change(&d)
			fields := condition.Validate(&p, &d)
			require.Len(t, fields, len(tt.want), "%v", fields)
			for i, want := range tt.want {
				path, sentence, _ := strings.Cut(want, " | ")
				require.Equal(t, path, fields[i].Path)
				require.Contains(t, fields[i].String(), sentence)
			}
		})
	}
}

func TestValidateProduct(t *testing.T) {
	t.Parallel()
	p := charger()
	require.Empty(t, condition.ValidateProduct(&p))
	p.Tolerances[0].Bands = []fleet.Band{{When: "current >= 16", Max: new(1.0)}, {When: "amps >= 16", Max: new(1.0)}}
	p.Signals[4].Name = "in"
	fields := condition.ValidateProduct(&p)
	require.Len(t, fields, 2)
	require.Equal(t, "spec.signals[4].name", fields[0].Path)
	require.Equal(t, "spec.tolerances[0].bands[1].when", fields[1].Path)
}

func TestADetectorKeepsTheToleranceItWasMadeWith(t *testing.T) {
	t.Parallel()
	p, d := charger(), overheat()
	basis := condition.BasisOf(&p, &d)
	d.Basis = &basis
	p.Tolerances = nil
	require.Empty(t, condition.Validate(&p, &d))
	d.Basis = nil
	require.NotEmpty(t, condition.Validate(&p, &d))
}
