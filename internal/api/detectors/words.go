package detectors

import (
	"fmt"
	"math"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/kind/spec"
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
	case condition.TypeTrend:
		out = trend(p, d)
	case condition.TypePeers:
		out = peers(p, d)
	case condition.TypeAnomaly:
		out = anomaly(d)
	case condition.TypePrognosis:
		out = prognosis(d)
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
	factor, hold, most := d.Factor, d.Hold, d.Maximum
	if factor == 0 {
		factor = 2
	}
	if hold == 0 {
		hold = fleet.Duration(10 * time.Minute)
	}
	if most == 0 {
		most = fleet.Duration(7 * 24 * time.Hour)
	}
	text := fmt.Sprintf("A finding (%s) opens when nothing has been heard of a unit for %s times the interval that it usually keeps and %s more, no later than after %s",
		d.Severity, words.Number(factor), span(hold), span(most))
	if d.Minimum > 0 {
		text += " and no sooner than after " + span(d.Minimum)
	}
	together := "Many units of the product that fall silent together are one finding"
	if len(d.GroupBy) > 0 {
		together += ", and so are those of one " + strings.Join(d.GroupBy, " or ")
	}
	return []string{
		text + ".", together + ".",
		"It clears when the unit is heard of again. Time in which the service itself was down does not count.",
	}
}

func trend(p *fleet.Product, d *condition.Detector) []string {
	t := d.Trend
	limit := "the limits of tolerance " + t.Tolerance
	if t.Tolerance == "" {
		s, _ := p.Signal(t.Signal)
		var limits []string
		if t.Min != nil {
			limits = append(limits, words.Measured(*t.Min, s.Unit))
		}
		if t.Max != nil {
			limits = append(limits, words.Measured(*t.Max, s.Unit))
		}
		limit = t.Signal + " reaches " + strings.Join(limits, " or ")
	} else {
		limit = "the signal leaves " + limit
	}
	by := "as likely before as after"
	if t.By == spec.ByEarliest {
		by = "by the low end of the 80 % interval"
	}
	out := []string{fmt.Sprintf("A finding (%s) opens when the trend says that %s within %s, %s.", d.Severity, limit, span(t.Horizon), by)}
	if t.When != "" {
		out = append(out, "Readings count while "+t.When+".")
	}
	return append(out, "It is silent where the data does not support a trend.")
}

func anomaly(d *condition.Detector) []string {
	t := d.Anomaly
	what, budget, warmup := "all signals that it may read, together,", t.Budget, t.Warmup
	if len(t.Signals) > 0 {
		what = strings.Join(t.Signals, ", ")
	}
	if budget == "" {
		budget = "1/year"
	}
	if warmup == 0 {
		warmup = fleet.Duration(7 * 24 * time.Hour)
	}
	out := []string{
		fmt.Sprintf("A finding (%s) opens when %s show what the unit itself has not shown to be usual, so far out that a sound unit would do so %s.",
			d.Severity, what, often(budget)),
		fmt.Sprintf("Each unit is learned from for at least %s before anything is found, and again after what makes it begin anew.", span(warmup)),
	}
	if t.Mode != "" {
		out = append(out, "Each value of "+t.Mode+" is an operating mode, learned by itself.")
	}
	if t.When != "" {
		out = append(out, "Rows count while "+t.When+".")
	}
	return out
}

// often says a budget: once a year, 0.5 times a month.
func often(b spec.Budget) string {
	count, per := b.Split()
	if count += " times"; count == "1 times" {
		count = "once"
	}
	if per == "" {
		per = "year"
	}
	return count + " a " + per
}

func peers(p *fleet.Product, d *condition.Detector) []string {
	t := d.Peers
	budget, period, least := t.Budget, t.Period, t.Minimum
	if budget == "" {
		budget = "0.1/year"
	}
	if period == 0 {
		period = fleet.Duration(spec.DefaultPeriod)
	}
	if least == 0 {
		least = 8
	}
	of := "the product"
	if len(t.By) > 0 {
		of = "the same " + strings.Join(t.By, " and ")
	}
	out := []string{fmt.Sprintf("A finding (%s) opens when the mean of %s over %s lies further from that of units of %s than a sound unit's would %s.",
		d.Severity, t.Signal, span(period), of, often(budget))}
	out = append(out, fmt.Sprintf("Fewer than %d units with data are not compared.", least))
	if t.When != "" {
		out = append(out, "Readings count while "+t.When+".")
	}
	if t.Matters > 0 {
		s, _ := p.Signal(t.Signal)
		out = append(out, "A deviation below "+words.Measured(t.Matters, s.Unit)+" is no finding.")
	}
	return out
}

func prognosis(d *condition.Detector) []string {
	t := d.Prognosis
	what := "the unit"
	if t.Part != "" {
		what = "its " + t.Part
	}
	return []string{
		fmt.Sprintf("A finding (%s) opens when %s is expected to fail within %s.", d.Severity, what, span(t.Horizon)),
		fmt.Sprintf("It learns from %s of units that failed, %d at least, by means over %s; again every %s, if some have failed since.", strings.Join(t.Signals, ", "), t.Needed(), words.Span(t.Width()), words.Span(t.Retraining())),
		fmt.Sprintf("Units are judged every %s. Without a model that is better than age alone it is silent.", words.Span(t.Period())),
	}
}

// stated is the budget of alarms a unit-year that a detector states, 0 without.
func stated(d *condition.Detector) float64 {
	budget, otherwise := spec.Budget(""), 0.0
	switch {
	case d.Peers != nil:
		budget, otherwise = d.Peers.Budget, 0.1
	case d.Anomaly != nil:
		budget, otherwise = d.Anomaly.Budget, 1
	}
	if rate, err := budget.Rate(); err == nil && rate > 0 {
		return rate
	}
	return otherwise
}
