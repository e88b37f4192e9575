package fleet_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

func wallCharger() fleet.Product {
	day := fleet.Duration(24 * time.Hour)
	signal := func(name, unit string, t fleet.ValueType) fleet.Signal {
		return fleet.Signal{Name: name, Type: t, Unit: unit, Purposes: []string{"care"}, Retention: 90 * day, Description: "What it is."}
	}
	high, low := 60.0, -30.0
	return fleet.Product{
		Name: "wall-charger", Title: "Wall charger",
		Purposes: []fleet.Purpose{
			{Name: "care", Title: "Care", Description: "To warn you before it fails.", Basis: fleet.BasisConsent},
			{Name: "operation", Title: "Operation", Description: "To deliver updates.", Basis: fleet.BasisNecessary},
		},
		Signals: []fleet.Signal{
			signal("current", "A", fleet.Number), signal("plug_temperature", "Cel", fleet.Number),
			signal("energy", "kW.h", fleet.Number), signal("charging", "", fleet.Boolean),
		},
		Features:   []fleet.Feature{{Name: "schedule", Title: "Charge at night"}},
		Parameters: []fleet.Parameter{{Name: "limit", Type: fleet.Number, Unit: "A", Default: 16.0, Max: &high}},
		Tolerances: []fleet.Tolerance{{Name: "plug", Signal: "plug_temperature", Bands: []fleet.Band{{When: "current > 16.0", Max: &high}, {Min: &low, Max: &high}}}},
	}
}

func paths(fields []fault.Field) []string {
	out := []string{}
	for _, f := range fields {
		out = append(out, f.Path)
	}
	return out
}

func TestValidateProduct(t *testing.T) {
	t.Parallel()
	require.Empty(t, fleet.ValidateProduct(wallCharger()))
	nan, one, two := math.NaN(), 1.0, 2.0
	for name, c := range map[string]struct {
		spoil func(p *fleet.Product)
		want  []string
	}{
		"name":                  {func(p *fleet.Product) { p.Name = "Wall Charger" }, []string{"metadata.name"}},
		"title":                 {func(p *fleet.Product) { p.Title = " " }, []string{"spec.title"}},
		"sample gap":            {func(p *fleet.Product) { p.SampleGap = -1 }, []string{"spec.sampleGap"}},
		"basis":                 {func(p *fleet.Product) { p.Purposes[0].Basis = "maybe" }, []string{"spec.purposes[0].basis"}},
		"purpose texts":         {func(p *fleet.Product) { p.Purposes[1].Title, p.Purposes[1].Description = "", "" }, []string{"spec.purposes[1].title", "spec.purposes[1].description"}},
		"purpose twice":         {func(p *fleet.Product) { p.Purposes[1].Name = "care" }, []string{"spec.purposes[1].name"}},
		"signal name":           {func(p *fleet.Product) { p.Signals[0].Name = "plug-current" }, []string{"spec.signals[0].name"}},
		"signal name reserved":  {func(p *fleet.Product) { p.Signals[0].Name = "in" }, []string{"spec.signals[0].name"}},
		"signal twice":          {func(p *fleet.Product) { p.Signals[2].Name = "current" }, []string{"spec.signals[2].name"}},
		"signal type":           {func(p *fleet.Product) { p.Signals[2].Type = "float" }, []string{"spec.signals[2].type"}},
		"signal unit":           {func(p *fleet.Product) { p.Signals[2].Unit = "kWh" }, []string{"spec.signals[2].unit"}},
		"coulomb":               {func(p *fleet.Product) { p.Signals[1].Unit = "C" }, []string{"spec.signals[1].unit"}},
		"unit of a boolean":     {func(p *fleet.Product) { p.Signals[3].Unit = "A" }, []string{"spec.signals[3].unit"}},
		"signal description":    {func(p *fleet.Product) { p.Signals[3].Description = "" }, []string{"spec.signals[3].description"}},
		"retention":             {func(p *fleet.Product) { p.Signals[3].Retention = 0 }, []string{"spec.signals[3].retention"}},
		"no purposes":           {func(p *fleet.Product) { p.Signals[3].Purposes = nil }, []string{"spec.signals[3].purposes"}},
		"unknown purpose":       {func(p *fleet.Product) { p.Signals[3].Purposes = []string{"care", "ads"} }, []string{"spec.signals[3].purposes[1]"}},
		"purpose repeated":      {func(p *fleet.Product) { p.Signals[3].Purposes = []string{"care", "care"} }, []string{"spec.signals[3].purposes[1]"}},
		"feature":               {func(p *fleet.Product) { p.Features[0] = fleet.Feature{} }, []string{"spec.features[0].name", "spec.features[0].title"}},
		"default's type":        {func(p *fleet.Product) { p.Parameters[0].Default = "16" }, []string{"spec.parameters[0].default"}},
		"default out of bounds": {func(p *fleet.Product) { p.Parameters[0].Default = 61.0 }, []string{"spec.parameters[0].default"}},
		"bounds of a boolean":   {func(p *fleet.Product) { p.Parameters[0] = fleet.Parameter{Name: "on", Type: fleet.Boolean, Max: &one} }, []string{"spec.parameters[0].min"}},
		"tolerance's signal":    {func(p *fleet.Product) { p.Tolerances[0].Signal = "heat" }, []string{"spec.tolerances[0].signal"}},
		"tolerance of boolean":  {func(p *fleet.Product) { p.Tolerances[0].Signal = "charging" }, []string{"spec.tolerances[0].signal"}},
		"no bands":              {func(p *fleet.Product) { p.Tolerances[0].Bands = nil }, []string{"spec.tolerances[0].bands"}},
		"empty band":            {func(p *fleet.Product) { p.Tolerances[0].Bands[1] = fleet.Band{} }, []string{"spec.tolerances[0].bands[1]"}},
		"min above max":         {func(p *fleet.Product) { p.Tolerances[0].Bands[1] = fleet.Band{Min: &two, Max: &one} }, []string{"spec.tolerances[0].bands[1].min"}},
		"not a number":          {func(p *fleet.Product) { p.Tolerances[0].Bands[1].Max = &nan }, []string{"spec.tolerances[0].bands[1].max"}},
		"unreachable band":      {func(p *fleet.Product) { p.Tolerances[0].Bands[0].When = "" }, []string{"spec.tolerances[0].bands[0].when"}},
		"several": {func(p *fleet.Product) { p.Title, p.Signals[0].Unit, p.Signals[1].Unit = "", "amps", "°C" }, []string{
			"spec.title", "spec.signals[0].unit", "spec.signals[1].unit",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := wallCharger()
			c.spoil(&p)
			require.Equal(t, c.want, paths(fleet.ValidateProduct(p)))
		})
	}
	p := wallCharger()
	p.Signals[1].Unit = "C"
	require.Contains(t, fleet.ValidateProduct(p)[0].String(), "did you mean Cel (C is coulomb, a charge)?")
}

func TestValidateUnit(t *testing.T) {
	t.Parallel()
	good := func() fleet.UnitSpec {
		return fleet.UnitSpec{
			Product: "wall-charger", Serial: "S-1", Attributes: map[string]string{"plug": "NEMA 14-50"},
			Owner: &fleet.OwnerSpec{Email: "ada@example.org", Locale: "de-AT", TimeZone: "Europe/Oslo"},
		}
	}
	require.Empty(t, fleet.ValidateUnit("WC-000123", good()))
	require.Equal(t, []string{"metadata.name"}, paths(fleet.ValidateUnit("WC/1", good())))
	require.Equal(t, []string{"metadata.name"}, paths(fleet.ValidateUnit("", good())))
	for name, c := range map[string]struct {
		spoil func(s *fleet.UnitSpec)
		want  string
	}{
		"serial":    {func(s *fleet.UnitSpec) { s.Serial = "+" }, "spec.serial"},
		"product":   {func(s *fleet.UnitSpec) { s.Product = "" }, "spec.product"},
		"attribute": {func(s *fleet.UnitSpec) { s.Attributes[""] = "x" }, "spec.attributes."},
		"email":     {func(s *fleet.UnitSpec) { s.Owner.Email = "Ada <ada@example.org>" }, "spec.owner.email"},
		"no email":  {func(s *fleet.UnitSpec) { s.Owner.Email = "" }, "spec.owner.email"},
		"locale":    {func(s *fleet.UnitSpec) { s.Owner.Locale = "german!" }, "spec.owner.locale"},
		"time zone": {func(s *fleet.UnitSpec) { s.Owner.TimeZone = "Oslo" }, "spec.owner.timeZone"},
		"local":     {func(s *fleet.UnitSpec) { s.Owner.TimeZone = "Local" }, "spec.owner.timeZone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := good()
			c.spoil(&s)
			require.Equal(t, []string{c.want}, paths(fleet.ValidateUnit("WC-1", s)))
		})
	}
	require.Equal(t, []string{"spec.consents[1]", "spec.consents[2]"}, paths(fleet.ValidateConsents(wallCharger(), []string{"care", "operation", "ads"})))
	for _, bad := range []string{"", "a", "a@", "@b", "a b@c.d", "a@b\r\nBcc: x@y.z", "a@.b", "a@b.", "a@b@c"} {
		require.False(t, fleet.ValidEmail(bad), bad)
	}
	require.Equal(t, "ada@example.org", fleet.CanonicalEmail(" Ada@Example.org "))
}
