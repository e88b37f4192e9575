package prognosis

import (
	"context"
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet/maintenance"
)

// changes are findings that have opened, cleared, or gone on.
type changes struct{ all, opened, cleared []condition.Finding }

func (c *changes) clear(f condition.Finding, at time.Time, why string) {
	f.State, f.Cleared, f.ClearWhy = condition.Cleared, at, why
	c.all, c.cleared = append(c.all, f), append(c.cleared, f)
}

// keep writes findings; it is called in a transaction.
func (m *Manager) keep(ctx context.Context, c changes) error {
	if len(c.all) == 0 {
		return nil
	}
	if err := m.c.Findings.PutFindings(ctx, c.all); err != nil {
		return err
	}
	if m.c.Told != nil && len(c.opened)+len(c.cleared) > 0 {
		return m.c.Told(ctx, c.opened, c.cleared)
	}
	return nil
}

// relief is how many horizons the median must be away again for a finding to
// clear, so that one that wavers about the horizon does not come and go.
const relief = 1.25

// findings tells what predictions change: a finding opens on a unit that is
// heading towards failure, and clears when it no longer is, when its part was
// replaced, or when it may no longer be looked at.
func (m *Manager) findings(ctx context.Context, d *condition.Detector, predictions []Prediction, lives []maintenance.Life, permitted map[int64]bool, at time.Time) (changes, error) {
	var out changes
	open, err := m.c.Findings.Findings(ctx, condition.FindingFilter{Product: d.Product, Detector: d.Name, State: condition.Open})
	if err != nil {
		return out, err
	}
	before, err := m.c.Store.Risks(ctx, RiskFilter{Detector: d.Name})
	if err != nil {
		return out, err
	}
	alive := livesNow(lives)
	since := begun(before)
	of := make(map[string]*Prediction, len(predictions))
	for i := range predictions {
		of[predictions[i].UnitID] = &predictions[i]
	}
	standing := map[string]bool{}
	for _, f := range open {
		p := of[f.UnitID]
		l, inUse := alive[f.UnitID]
		switch {
		case f.Detector != d.Ref():
			out.clear(f, at, fmt.Sprintf("the detector was changed: version %d watches from here", d.Version))
		case !inUse || replaced(f, l, since):
			out.clear(f, at, ended(d, inUse))
		case !permitted[f.UnitKey]:
			out.clear(f, at, notPermitted)
		case p == nil || p.State == Unknown:
			standing[f.UnitID] = true // nothing says that it is any better
		case p.Median > relief*p.Horizon:
			out.clear(f, at, "it is expected to last longer again: "+span(p))
		default:
			standing[f.UnitID] = true
			f.LastAt, f.Peak = at, min(f.Peak, p.Median)
			out.all = append(out.all, f)
		}
	}
	for i := range predictions {
		p := &predictions[i]
		if p.State != Heading || standing[p.UnitID] {
			continue
		}
		f := condition.Finding{
			ID: condition.FindingID(d.Ref(), p.UnitKey, at.UnixMilli()), Detector: d.Ref(), Severity: d.Severity,
			UnitID: p.UnitID, UnitKey: p.UnitKey, Product: d.Product, State: condition.Open,
			Onset: at, OpenedAt: at, SeenAt: at, LastAt: at, Peak: p.Median, Why: why(p),
		}
		out.all, out.opened = append(out.all, f), append(out.opened, f)
	}
	return out, nil
}

const notPermitted = "the owner no longer permits it"

func livesNow(lives []maintenance.Life) map[string]maintenance.Life {
	out := map[string]maintenance.Life{}
	for _, l := range lives {
		if l.Alive {
			out[l.UnitID] = l
		}
	}
	return out
}

// begun says when the life began that each unit was last judged on.
func begun(risks []Prediction) map[string]time.Time {
	out := make(map[string]time.Time, len(risks))
	for _, p := range risks {
		out[p.UnitID] = p.Since
	}
	return out
}

// replaced reports whether a finding is about a part that was in use before
// the one of life l: it began after the finding, or, by a record that came
// late, is another one than was judged.
func replaced(f condition.Finding, l maintenance.Life, since map[string]time.Time) bool {
	judged, known := since[f.UnitID]
	return l.From.After(f.Onset) || known && !judged.Equal(l.From)
}

func ended(d *condition.Detector, inUse bool) string {
	what := d.Prognosis.Part
	if what == "" {
		what = "unit"
	}
	if inUse {
		return "the " + what + " was replaced"
	}
	return "the " + what + " is no longer in use"
}

// why says in words what is foreseen, and by what.
func why(p *Prediction) string {
	what := "failure"
	if p.Part != "" {
		what += " of " + p.Part
	}
	text := fmt.Sprintf("%s expected in %s, by model %d", what, span(p), p.Model)
	var reasons []string
	for _, r := range p.Reasons {
		reasons = append(reasons, r.Text)
	}
	if len(reasons) > 0 {
		text += "; " + strings.Join(reasons, ", ")
	}
	return text
}

// span writes a remaining life with its interval.
func span(p *Prediction) string {
	unit, by := "days", 1.0
	if p.High < 2 {
		unit, by = "hours", 24
	}
	return fmt.Sprintf("%.1f %s (80 %%: %.1f to %.1f)", p.Median*by, unit, p.Low*by, p.High*by)
}

// release clears findings about parts that are no longer in use and on units
// that may no longer be looked at, and takes those units out of the list until
// they are judged again.
func (m *Manager) release(ctx context.Context, d *condition.Detector) error {
	open, err := m.c.Findings.Findings(ctx, condition.FindingFilter{Product: d.Product, Detector: d.Name, State: condition.Open})
	if err != nil {
		return err
	}
	now := m.c.Clock.Now()
	lives, _, err := m.c.Lives.Lives(ctx, d.Product, d.Prognosis.Part, now)
	if err != nil {
		return err
	}
	permitted, err := m.c.Consents.Permitted(ctx, d.Product, d.Purpose)
	if err != nil {
		return err
	}
	risks, err := m.c.Store.Risks(ctx, RiskFilter{Detector: d.Name})
	if err != nil {
		return err
	}
	alive, since := livesNow(lives), begun(risks)
	var out changes
	for _, f := range open {
		if l, inUse := alive[f.UnitID]; !inUse || replaced(f, l, since) {
			out.clear(f, now, ended(d, inUse))
		} else if !permitted[f.UnitKey] {
			out.clear(f, now, notPermitted)
		}
	}
	var gone []string
	for _, p := range risks {
		if l, inUse := alive[p.UnitID]; !inUse || !p.Since.Equal(l.From) || !permitted[p.UnitKey] {
			gone = append(gone, p.UnitID)
		}
	}
	if len(out.all)+len(gone) == 0 {
		return nil
	}
	return m.c.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := m.keep(ctx, out); err != nil {
			return err
		}
		return m.c.Store.DropRisks(ctx, d.Name, gone)
	})
}

// end clears what a detector that was deleted has open.
func (m *Manager) end(ctx context.Context, detector string) error {
	open, err := m.c.Findings.Findings(ctx, condition.FindingFilter{Detector: detector, State: condition.Open})
	if err != nil {
		return err
	}
	var out changes
	now := m.c.Clock.Now()
	for _, f := range open {
		out.clear(f, now, "the detector was deleted")
	}
	return m.c.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := m.keep(ctx, out); err != nil {
			return err
		}
		return m.c.Store.DeleteStatus(ctx, detector)
	})
}
