package outcome

import (
	"context"
	"fmt"
	"slices"
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
)

// Report is a campaign's report as of now, or as frozen when it ended.
func (m *Manager) Report(ctx context.Context, name string) (Report, error) {
	r, err := m.cfg.Runs.Campaign(ctx, name)
	if err != nil {
		return Report{}, err
	}
	if r.State == campaign.Draft {
		return Report{}, fault.New(fault.Conflict, "campaign %s has not started: there is nothing to report", name)
	}
	rec, err := m.record(ctx, r.ID)
	if err != nil {
		return Report{}, err
	}
	if !r.Open() && rec.Report != nil {
		return *rec.Report, nil
	}
	return m.report(ctx, &r, &rec)
}

// Status is where each gate of a campaign stands now, and its effect.
func (m *Manager) Status(ctx context.Context, name string) (Record, error) {
	r, err := m.cfg.Runs.Campaign(ctx, name)
	if err != nil {
		return Record{}, err
	}
	rec, err := m.record(ctx, r.ID)
	if err != nil {
		return Record{}, err
	}
	counts, err := m.cfg.Runs.CountTasks(ctx, r.ID)
	if err != nil {
		return Record{}, err
	}
	rec.Gates = gates(&r, &rec, counts, m.cfg.Clock.Now())
	if !r.StartedAt.IsZero() {
		f := rec.facts(&r, counts)
		rec.Evidence = f.evidence(&r)
		rec.Evidence[0].Limits = f.limits(&r)
	}
	return rec, nil
}

// gates is the status of every gate: decided ones as they were decided, the
// open wave's as it stands.
func gates(r *campaign.Run, rec *Record, counts []campaign.Count, now time.Time) []GateStatus {
	out := make([]GateStatus, len(r.Campaign.Waves))
	for w := range out {
		out[w] = GateStatus{Wave: w, State: GateWaiting, Why: "the wave is not open"}
	}
	judged := false
	for _, g := range rec.Gates {
		if g.Wave < len(out) {
			out[g.Wave] = g
		}
		judged = judged || g.Wave == r.WaveOpen
	}
	switch {
	case r.State == campaign.Running:
		out[r.WaveOpen], _ = decide(r, rec.facts(r, counts), now)
	case r.State == campaign.Paused && !judged: // not by its gate: by an operator
		g, _ := decide(r, rec.facts(r, counts), now)
		g.State, g.Why = GateWaiting, "the campaign is paused; "+g.Why
		out[r.WaveOpen] = g
	}
	return out
}

// freeze keeps the report of a campaign that has ended.
func (m *Manager) freeze(ctx context.Context, r *campaign.Run, w *watch) error {
	rec, err := m.record(ctx, r.ID)
	if err != nil {
		return err
	}
	if rec.Report == nil && !r.StartedAt.IsZero() {
		report, err := m.report(ctx, r, &rec)
		if err != nil {
			return err
		}
		rec.Report, rec.At = &report, report.At
		if err := m.cfg.Store.PutRecord(ctx, rec); err != nil {
			return err
		}
	}
	w.frozen, w.masks = true, nil
	return nil
}

// report reads the tasks and the findings page by page: of each unit it keeps
// numbers alone, so that a campaign over a million units is reported in tens
// of megabytes.
func (m *Manager) report(ctx context.Context, r *campaign.Run, rec *Record) (Report, error) {
	counts, err := m.cfg.Runs.CountTasks(ctx, r.ID)
	if err != nil {
		return Report{}, fmt.Errorf("report of campaign %s: %w", r.Campaign.Name, err)
	}
	w := newWriter(r, rec, counts, m.cfg.Clock.Now())
	if err := m.eachFinding(ctx, condition.FindingFilter{Product: r.Campaign.Product, Detector: r.Detector.Name, To: r.StartedAt}, w.finding); err != nil {
		return Report{}, fmt.Errorf("report of campaign %s: %w", r.Campaign.Name, err)
	}
	err = campaign.EachTask(ctx, m.cfg.Runs, campaign.TaskFilter{CampaignID: r.ID, Wave: -1}, func(t *campaign.Task) error { w.task(t); return nil })
	if err != nil {
		return Report{}, fmt.Errorf("report of campaign %s: %w", r.Campaign.Name, err)
	}
	return w.done(), nil
}

// writer makes the report of the findings that were there when the campaign
// started, and then of its tasks.
type writer struct {
	out        Report
	earliest   map[int64]found // by unit's key
	toFinding  []float64       // s
	toVerified []float64       // s
}

// found is when a unit's earliest finding was seen, and how long after its onset.
type found struct {
	seen int64 // ms
	took float64
}

func newWriter(r *campaign.Run, rec *Record, counts []campaign.Count, now time.Time) *writer {
	w := &writer{out: Report{Campaign: r.Campaign.Name, Title: title(r.Campaign.Title), At: now, Effect: rec.effect()}, earliest: map[int64]found{}}
	status := gates(r, rec, counts, now)
	for i, wave := range r.Campaign.Waves {
		wr := WaveReport{Name: wave.Name, Gate: status[i].State + ": " + status[i].Why}
		if i < len(r.WaveOpened) {
			wr.OpenedAt = r.WaveOpened[i]
		}
		w.out.ByWave = append(w.out.ByWave, wr)
	}
	return w
}

func (w *writer) finding(f *condition.Finding) {
	if e, ok := w.earliest[f.UnitKey]; !ok || f.SeenAt.UnixMilli() < e.seen {
		w.earliest[f.UnitKey] = found{f.SeenAt.UnixMilli(), f.SeenAt.Sub(f.Onset).Seconds()}
	}
}

func (w *writer) task(t *campaign.Task) {
	w.out.count(t)
	if f, ok := w.earliest[t.UnitKey]; ok {
		w.toFinding = append(w.toFinding, f.took)
	}
	if t.State == campaign.Verified && !t.FoundAt.IsZero() {
		w.toVerified = append(w.toVerified, t.EndedAt.Sub(t.FoundAt).Seconds())
	}
}

func (w *writer) done() Report {
	w.out.OnsetToFindingP50, w.out.FindingToVerifiedP50 = median(w.toFinding), median(w.toVerified)
	return w.out
}

func (r *Report) count(t *campaign.Task) {
	w := &r.ByWave[t.Wave]
	add := func(yes bool, n ...*int) {
		for _, p := range n {
			if yes {
				*p++
			}
		}
	}
	add(true, &r.Involved, &w.Units)
	add(!t.OfferedAt.IsZero(), &r.Offered)
	add(!t.StartedAt.IsZero(), &r.Started)
	add(!t.ClaimedAt.IsZero(), &r.Claimed)
	add(!t.InstalledAt.IsZero(), &r.Installed, &w.Installed)
	add(t.State == campaign.Verified, &r.Verified, &w.Verified)
	add(t.State == campaign.Relapsed, &r.Relapsed, &w.Relapsed)
	add(t.State == campaign.Unjudged, &r.NotJudgeable)
	add(t.State == campaign.Verifying, &r.NotExposed)
	add(t.State == campaign.Declined, &r.Declined)
	add(t.State == campaign.FailedTask, &r.Failed, &w.Failed)
	add(t.State == campaign.Unreachable, &r.Unreachable)
}

// title is the English one, or the first by language.
func title(words map[string]string) string {
	if s, ok := words["en"]; ok {
		return s
	}
	langs := make([]string, 0, len(words))
	for l := range words {
		langs = append(langs, l)
	}
	if len(langs) == 0 {
		return ""
	}
	return words[slices.Min(langs)]
}

func median(v []float64) Seconds {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return Seconds((v[n/2-1] + v[n/2]) / 2)
	}
	return Seconds(v[len(v)/2])
}
