package outcome

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/outcome/sequential"
)

// gate decides about the open wave. Decision, comparison and what follows are
// one transaction.
func (m *Manager) gate(ctx context.Context, r *campaign.Run, w *watch) (rows int, err error) {
	if r.State != campaign.Running {
		return 0, nil
	}
	counts, err := m.cfg.Runs.CountTasks(ctx, r.ID)
	if err != nil {
		return 0, err
	}
	rec, err := m.record(ctx, r.ID)
	if err != nil {
		return 0, err
	}
	now := m.cfg.Clock.Now()
	kept := rec
	if err := m.begin(ctx, r, &rec, counts); err != nil {
		return 0, err
	}
	if rows, err = m.harm(ctx, r, &rec, &w.ills, now); err != nil {
		return rows, err
	}
	n, err := m.shown(ctx, r, &rec, counts, now)
	if rows += n; err != nil {
		return rows, err
	}
	f := rec.facts(r, counts)
	status, act := decide(r, f, now)
	if act == wait {
		if reflect.DeepEqual(kept, rec) {
			return rows, nil
		}
		rec.At = now
		return rows, m.cfg.Store.PutRecord(ctx, rec)
	}
	if !r.Last() && (act == openNext || act == pause) {
		e, n, err := m.compare(ctx, r, now)
		if rows += n; err != nil {
			return rows, err
		}
		rec.compared(r.WaveOpen, e)
	}
	rec.At, rec.Evidence = now, f.evidence(r)
	rec.decided(status)
	name := r.Campaign.Name
	err = m.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		var err error
		switch act {
		case openNext:
			_, err = m.cfg.Campaigns.OpenWave(ctx, name, r.WaveOpen+1)
		case pause:
			_, err = m.cfg.Campaigns.Pause(ctx, name, status.Why)
		case passLast:
			_, err = m.cfg.Campaigns.PassLastGate(ctx, name)
		case wait: // decided above
		case finish:
			_, err = m.cfg.Campaigns.Finish(ctx, name, "done; the last gate "+status.State+": "+status.Why)
		}
		if err != nil {
			return err
		}
		return m.cfg.Store.PutRecord(ctx, rec)
	})
	if fault.KindOf(err) == fault.Conflict {
		return rows, nil // an operator was faster; look again
	}
	if err == nil {
		m.cfg.Log.InfoContext(ctx, "gate decided", "campaign", name, "wave", r.WaveOpen, "gate", status.State, "why", status.Why)
	}
	return rows, err
}

// begin keeps what is known before the first unit: what is usual, and how the
// waves were drawn. Neither may change under the campaign.
func (m *Manager) begin(ctx context.Context, r *campaign.Run, rec *Record, counts []campaign.Count) error {
	if rec.Usual != nil {
		return nil
	}
	past, err := m.past(ctx, r)
	if err != nil {
		return fmt.Errorf("earlier campaigns of %s: %w", r.Campaign.Product, err)
	}
	u, b := usual(&r.Campaign.Gate, past)
	rec.Usual, rec.Baseline = &u, b
	rec.Drawn, _ = drawn(r, counts)
	return nil
}

// past are the product's earlier campaigns that ended as planned. Those that
// were canceled are left out: a release that was given up is not what a good
// one is measured by.
func (m *Manager) past(ctx context.Context, r *campaign.Run) ([]sequential.Past, error) {
	if r.Campaign.Gate.Usual > 0 {
		return nil, nil
	}
	runs, err := m.cfg.Runs.Campaigns(ctx, r.Campaign.Product)
	if err != nil {
		return nil, err
	}
	var out []sequential.Past
	for i := range runs {
		if runs[i].State != campaign.Finished || runs[i].ID == r.ID || !runs[i].EndedAt.Before(r.StartedAt) {
			continue
		}
		counts, err := m.cfg.Runs.CountTasks(ctx, runs[i].ID)
		if err != nil {
			return nil, err
		}
		y := tallyOf(counts, anyWave)
		out = append(out, sequential.Past{Failed: y.failed, Begun: y.begun})
	}
	return out, nil
}

// harmEvery is the time between two looks at what units show beside the fault.
const harmEvery = time.Minute

// harm looks at what units show beside the fault while some of them have not
// been offered the update.
func (m *Manager) harm(ctx context.Context, r *campaign.Run, rec *Record, x *ills, now time.Time) (rows int, err error) {
	if x.first != nil && now.Sub(x.lookedAt) < harmEvery {
		return 0, nil
	}
	if rows, err = m.look(ctx, r, x); err != nil {
		return rows, fmt.Errorf("look for harm: %w", err)
	}
	x.lookedAt = now
	rec.Harm = x.hazard(r, rec.Drawn)
	return rows, nil
}

// shown looks whether the effect is demonstrated, where the gate waits for
// that: once for each window of comparison, each time at half the level of the
// time before, so that looking again does not make a remedy work that does not
// (the levels add up to that of one look, whatever the looks have in common).
func (m *Manager) shown(ctx context.Context, r *campaign.Run, rec *Record, counts []campaign.Count, now time.Time) (rows int, err error) {
	if !r.Campaign.Gate.Effect || rec.Shown || r.Last() || now.Sub(rec.LookedAt) < r.Campaign.CompareOver() {
		return 0, nil
	}
	f := rec.facts(r, counts)
	f.effect = true
	if _, act := decide(r, f, now); act != openNext {
		return 0, nil // something else is missing
	}
	e, rows, err := m.compare(ctx, r, now)
	if err != nil || e.Verdict == NoComparison || e.Verdict == Observational {
		return rows, err
	}
	rec.compared(r.WaveOpen, e)
	rec.Looks++
	rec.LookedAt = now
	rec.Shown = e.Difference > 0 && e.P < math.Ldexp(significance, -rec.Looks)
	return rows, nil
}

func (m *Manager) compare(ctx context.Context, r *campaign.Run, now time.Time) (e Effect, rows int, err error) {
	c := comparison{run: r, from: now.Add(-r.Campaign.CompareOver()), to: now}
	if rows, err = m.load(ctx, &c); err != nil {
		return e, rows, err
	}
	return c.effect(r.Campaign.Gate.LeastJudged()), rows, nil
}

// facts are what is known, for a decision.
func (r *Record) facts(run *campaign.Run, counts []campaign.Count) *facts {
	f := &facts{counts: counts, baseline: r.Baseline, harm: r.Harm, effect: r.Shown}
	if r.Usual != nil {
		f.usual = *r.Usual
	} else {
		f.usual, f.baseline = usual(&run.Campaign.Gate, nil)
	}
	_, f.lots = drawn(run, counts)
	return f
}
