package spec

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"fettle.dev/fettle/internal/fleet"
)

// Settings are what a release of settings changes on a unit: a remedy without
// an image. To all that judges, counts and follows a release, a parameter is a
// component whose version is its value: "parameter:height" at version "120".
type Settings struct {
	Parameters map[string]any  `json:"parameters,omitempty" doc:"Values of the product's parameters, by name."`
	Features   map[string]bool `json:"features,omitempty" doc:"Features of the product that are switched on (true) or off, by name."`
}

// The components of settings begin with these.
const (
	parameterPrefix = fleet.ParameterComponent
	featurePrefix   = fleet.FeatureComponent
)

// Bounds of settings.
const (
	maxSettings    = 64
	longestSetting = 100 // bytes of a text
)

// Parts are the settings as parts of a release, by component.
func (s *Settings) Parts() []ReleasePart {
	var out []ReleasePart
	for _, name := range sortedKeys(s.Parameters) {
		out = append(out, ReleasePart{Component: parameterPrefix + name, Version: SettingText(s.Parameters[name])})
	}
	for _, name := range sortedKeys(s.Features) {
		out = append(out, ReleasePart{Component: featurePrefix + name, Version: strconv.FormatBool(s.Features[name])})
	}
	return out
}

// SettingText is a setting's value as JSON, one text for one value: 120 and
// 120.0 are the same.
func SettingText(v any) string {
	switch x := v.(type) {
	case int:
		v = float64(x)
	case int64:
		v = float64(x)
	case uint64:
		v = float64(x)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

// settings finds the mistakes of a release of settings.
func (v *validation) settings() {
	r := v.r
	for _, f := range []struct {
		path string
		set  bool
	}{{"artifact", r.Artifact != ""}, {"filename", r.Filename != ""}, {"component", r.Component != ""}, {"from", len(r.From) > 0}, {"parts", len(r.Parts) > 0}} {
		if f.set {
			v.add(f.path, "nothing here where there are settings: they have no image", "something")
		}
	}
	if n := len(r.Settings.Parameters) + len(r.Settings.Features); n == 0 || n > maxSettings {
		v.add("settings", fmt.Sprintf("1 to %d parameters and features", maxSettings), strconv.Itoa(n))
	}
	if v.product == nil {
		return
	}
	for _, name := range sortedKeys(r.Settings.Parameters) {
		path, value := "settings.parameters."+name, r.Settings.Parameters[name]
		i := slices.IndexFunc(v.product.Parameters, func(p fleet.Parameter) bool { return p.Name == name })
		if i < 0 {
			v.add("settings.parameters", "parameters of product "+v.product.Name, name)
			continue
		}
		if expected := v.product.Parameters[i].Refuse(value); expected != "" {
			v.add(path, expected, SettingText(value))
		} else if text, ok := value.(string); ok && len(text) > longestSetting {
			v.add(path, fmt.Sprintf("at most %d bytes", longestSetting), fmt.Sprintf("%d bytes", len(text)))
		}
	}
	for _, name := range sortedKeys(r.Settings.Features) {
		if !slices.ContainsFunc(v.product.Features, func(f fleet.Feature) bool { return f.Name == name }) {
			v.add("settings.features", "features of product "+v.product.Name, name)
		}
	}
}

// settingValue is the value that SettingText wrote.
func settingValue(text string) (v any, err error) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("setting %q: %w", text, err)
	}
	return v, nil
}
