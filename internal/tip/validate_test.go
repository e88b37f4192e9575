package tip

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

func TestMistakesOfATip(t *testing.T) {
	t.Parallel()
	require.Empty(t, Validate(new(dryer()), new(humid())))
	for name, c := range map[string]struct {
		change func(x *Tip)
		want   string
	}{
		"no such name":        {func(x *Tip) { x.When = "humidity > 3" }, `spec.when: expected one of what conditions may name (feature.eco_mode.count, `},
		"types":               {func(x *Tip) { x.When = "running > 3" }, `spec.when: expected an expression that is true or false; at line 1`},
		"no truth":            {func(x *Tip) { x.When = "load" }, `spec.when: expected an expression that is true or false`},
		"empty":               {func(x *Tip) { x.When = " " }, `spec.when: expected a condition`},
		"another purpose":     {func(x *Tip) { x.When = "secret > 3" }, `spec.when: expected signal secret to name purpose tips in product dryer`},
		"a feature not told":  {func(x *Tip) { x.When = "feature.eco_mode.never" }, `spec.when: expected feature eco-mode to name purpose tips`},
		"words name it, too":  {func(x *Tip) { x.Text = map[string]string{"en": "{secret}", "de": "x"} }, `spec.when: expected signal secret to name`},
		"no such place":       {func(x *Tip) { x.Text = map[string]string{"en": "{nothing}", "de": "x"} }, `spec.text: expected one of what conditions may name`},
		"no such purpose":     {func(x *Tip) { x.Purpose = "ads" }, `spec.purpose: expected one of the product's purposes (tips, near, care), got "ads"`},
		"no English":          {func(x *Tip) { delete(x.Text, "en") }, `spec.text.en: expected a text in English`},
		"a language is short": {func(x *Tip) { delete(x.Text, "de") }, `spec.text.de: expected a text in each language`},
		"too long":            {func(x *Tip) { x.Title["en"] = strings.Repeat("x", 61) }, `spec.title.en: expected 1 to 60 characters, got 61`},
		"a channel":           {func(x *Tip) { x.Channels = []Channel{"mail"} }, `spec.channels[0]: expected display, portal or push, got "mail"`},
		"twice":               {func(x *Tip) { x.Channels = []Channel{Portal, Portal} }, `spec.channels[1]: expected each channel once`},
		"too quick":           {func(x *Tip) { x.Every = fleet.Duration(time.Second) }, `spec.every: expected from 1m to 366d`},
		"no such feature":     {func(x *Tip) { x.Feature = "weak" }, `spec.feature: expected one of the product's features, got "weak"`},
		"a feature unasked":   {func(x *Tip) { x.Feature = "eco-mode" }, `spec.feature: expected a feature that names purpose tips`},
		"lot without measure": {func(x *Tip) { x.Feature, x.Holdout = "", new(5.0) }, `spec.feature: expected the feature that tells`},
		"too many held":       {func(x *Tip) { x.Holdout = new(60.0) }, `spec.holdout: expected a percentage from 0 to 50, got 60`},
		"a button":            {func(x *Tip) { x.Action = &Action{Label: map[string]string{"en": "Go"}} }, `spec.action: expected a link, a command or both`},
		"a script":            {func(x *Tip) { x.Action = &Action{Label: map[string]string{"en": "Go"}, Link: "javascript:alert(1)"} }, `spec.action.link: expected an https address`},
		"another host":        {func(x *Tip) { x.Action = &Action{Label: map[string]string{"en": "Go"}, Link: "//evil.example"} }, `spec.action.link: expected an https address`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x, p := humid(), dryer()
			c.change(&x)
			require.ErrorContains(t, fault.Fields("", Validate(&p, &x)), c.want)
		})
	}
}
