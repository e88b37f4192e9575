package detectors

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/fleet"
)

// inWords says what a detector does, a sentence each.
func inWords(p *fleet.Product, d *condition.Detector) []string {
	var out []string
	switch d.Type {
	case condition.TypeTolerance:
		out = tolerance(p, d)
	case condition.TypeSilence:
		out = silence(d)
	default:
		out = others(d)
	}
	purpose := d.Purpose
	if q, ok := p.Purpose(d.Purpose); ok && q.Title != "" {
		purpose = q.Title
	}
	return append(out, fmt.Sprintf("It reads data for the purpose “%s”. A unit whose owner does not permit that is withheld.", purpose))
}

func span(d fleet.Duration) string { return words.Span(time.Duration(d)) }

func tolerance(p *fleet.Product, d *condition.Detector) []string {
	t, _ := p.Tolerance(d.Tolerance)
	if d.Basis != nil {
		t = d.Basis.Tolerance
	}
	s, _ := p.Signal(t.Signal)
	var bands []string
	for _, b := range t.Bands {
		l := detect.Limits{Min: math.Inf(-1), Max: math.Inf(1)}
		if b.Min != nil {
			l.Min = *b.Min - d.Margin
		}
		if b.Max != nil {
			l.Max = *b.Max + d.Margin
		}
		text := words.Limits(l, s.Unit)
		if b.When != "" {
			text += " while " + b.When
		} else if len(t.Bands) > 1 {
			text += " otherwise"
		}
		bands = append(bands, text)
	}
	what := t.Signal + " is "
	if t.Rate > 0 {
		what = fmt.Sprintf("the change of %s within %s is ", t.Signal, span(t.Rate))
	}
	what += strings.Join(bands, ", or ")
	if t.Breach != "" {
		what = t.Breach
	}
	open := fmt.Sprintf("A finding (%s) opens when %s", d.Severity, what)
	if d.Share > 0 {
		open += fmt.Sprintf(" for %s %% of %s", words.Number(d.Share), span(d.Window))
	} else if d.Count > 0 {
		open += fmt.Sprintf(" in %d readings within %s", d.Count, span(d.Window))
	}
	if d.Hold > 0 {
		open += ", held for " + span(d.Hold)
	}
	clear := "It clears when that holds no longer"
	if d.Hysteresis > 0 {
		clear += ", by at least " + words.Measured(d.Hysteresis, s.Unit)
	}
	if d.Clear > 0 {
		clear += ", for " + span(d.Clear)
	}
	out := []string{open + ".", clear + "."}
	if d.Margin != 0 {
		out = append(out, fmt.Sprintf("The tolerance's own limits are moved %s by %s.", map[bool]string{true: "outwards", false: "inwards"}[d.Margin > 0], words.Measured(math.Abs(d.Margin), s.Unit)))
	}
	if d.Exposure != "" {
		out = append(out, "Use counts for verification while "+d.Exposure+".")
	}
	return out
}

func silence(d *condition.Detector) []string {
	factor, least, most := d.Factor, d.Minimum, d.Maximum
	if factor == 0 {
		factor = 4
	}
	if least == 0 {
		least = fleet.Duration(10 * time.Minute)
	}
	if most == 0 {
		most = fleet.Duration(7 * 24 * time.Hour)
	}
	return []string{
		fmt.Sprintf("A finding (%s) opens when nothing has been heard of a unit for %s times the interval that it usually keeps, no sooner than after %s and no later than after %s.",
			d.Severity, words.Number(factor), span(least), span(most)),
		"It clears when the unit is heard of again. Time in which the service itself was down does not count.",
	}
}

// others says the settings of a kind by their names.
func others(d *condition.Detector) []string {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(raw, &fields) // a detector is an object
	for _, k := range []string{"product", "title", "description", "type", "severity", "purpose"} {
		delete(fields, k)
	}
	text := fmt.Sprintf("A detector of kind %s opens findings (%s)", d.Type, d.Severity)
	var set []string
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		set = append(set, k+" "+strings.Trim(string(fields[k]), `"`))
	}
	if len(set) > 0 {
		text += " with " + strings.Join(set, ", ")
	}
	return []string{text + "."}
}

// stated is the budget of alarms a unit-year that a detector states, 0 without.
func stated(*condition.Detector) float64 { return 0 }
