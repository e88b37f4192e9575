package campaign

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// Refusal is a unit that would not be offered the remedy, and why. Code is the
// member's own where it is not in the cohort, else one of those below.
type Refusal struct {
	UnitID string `json:"unitId"`
	Code   string `json:"code"`
	Why    string `json:"why"`
}

// The codes of refusals of members.
const (
	CodeUnknown  = "unknown unit"
	CodeInactive = "not active"
	CodeUnfit    = "does not fit"
	CodeVersion  = "has version"
	CodeNoOwner  = "no owner"
	CodeBusy     = "other campaign"
)

// Plan is what a start would do.
type Plan struct {
	SnapshotID string        `json:"snapshotId"`
	Detector   condition.Ref `json:"detector"`
	Waves      []PlannedWave `json:"waves"`
	Offered    []PlannedTask `json:"offered"`
	Not        []Refusal     `json:"not"`
}

// PlannedWave is a wave with its number of units.
type PlannedWave struct {
	Name  string `json:"name"`
	Units int    `json:"units"`
}

// PlannedTask is a unit that would be offered the remedy.
type PlannedTask struct {
	UnitID string `json:"unitId"`
	Wave   int    `json:"wave"`
}

const memberPage = 2000

func (m *Manager) members(ctx context.Context, snapshot string, list cohort.List) ([]cohort.Member, error) {
	var all []cohort.Member
	after := ""
	for {
		page, err := m.cfg.Cohorts.Members(ctx, snapshot, list, after, memberPage)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < memberPage {
			return all, nil
		}
		after = page[len(page)-1].UnitID
	}
}

// draw assigns members to waves: a shuffle of the members in order of their
// ids, so that the same seed and membership give the same waves, cut at the
// exact shares. Owners cannot choose their wave, which is what makes waves
// comparable.
func draw(members []cohort.Member, waves []Wave, seed int64) map[string]int {
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.UnitID
	}
	slices.Sort(ids)
	rng := rand.New(rand.NewPCG(uint64(seed), 0x66657474))
	rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	out := make(map[string]int, len(ids))
	from, sum := 0, 0.0
	for w, wave := range waves {
		sum += wave.Share
		to := min(len(ids), int(math.Round(sum*float64(len(ids)))))
		if w == len(waves)-1 {
			to = len(ids)
		}
		for _, id := range ids[min(from, to):to] {
			out[id] = w
		}
		from = max(from, to)
	}
	return out
}

func (r *Run) seed() int64 {
	if r.Campaign.Seed != 0 {
		return r.Campaign.Seed
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.ID))
	return int64(h.Sum64())
}

// refuse says why a unit may not be offered the remedy, as it stands now.
func refuse(u *fleet.Unit, r *update.Release, k Kind) (code, why string) {
	switch ok, unfit := r.Fits(u); {
	case u.State != fleet.UnitActive:
		return CodeInactive, "the unit is " + string(u.State)
	case r.InstalledOn(u.Versions):
		return CodeVersion, unfit
	case !ok:
		return CodeUnfit, unfit
	case u.OwnerID == "" && !k.policy().unasked:
		return CodeNoOwner, "no owner to ask"
	}
	return "", ""
}

// material is all that DryRun and Start look at.
type material struct {
	run      Run
	snapshot cohort.Snapshot
	detector condition.Detector
	release  update.Release
	members  []cohort.Member
	units    map[string]fleet.Unit
	waves    map[string]int
}

func (m *Manager) material(ctx context.Context, name string) (mat material, err error) {
	if mat.run, err = m.cfg.Store.Campaign(ctx, name); err != nil {
		return mat, err
	}
	c := mat.run.Campaign
	if err := m.Validate(ctx, c); err != nil {
		return mat, err
	}
	if mat.run.SnapshotID != "" {
		mat.snapshot, err = m.cfg.Cohorts.Snapshot(ctx, mat.run.SnapshotID)
	} else {
		mat.snapshot, err = m.cfg.Cohorts.SnapshotByName(ctx, c.Cohort)
	}
	if err != nil {
		return mat, fmt.Errorf("cohort of campaign %s: %w", name, err)
	}
	switch s := mat.snapshot; {
	case s.State != "ready":
		return mat, fault.New(fault.Conflict, "cohort %s is %s: wait until it is ready", c.Cohort, s.State)
	case s.Definition.Product != c.Product:
		return mat, fault.New(fault.Conflict, "cohort %s is of product %s, the campaign of %s", c.Cohort, s.Definition.Product, c.Product)
	}
	if mat.detector, err = m.cfg.Detectors.Detector(ctx, c.Detector, mat.run.Detector.Version); err != nil {
		return mat, err
	}
	if mat.release, err = m.cfg.Updates.Release(ctx, c.Release); err != nil {
		return mat, err
	}
	if mat.members, err = m.members(ctx, mat.snapshot.ID, cohort.In); err != nil {
		return mat, err
	}
	units, err := m.cfg.Fleet.Units(ctx, fleet.Filter{Product: c.Product})
	if err != nil {
		return mat, err
	}
	mat.units = make(map[string]fleet.Unit, len(units))
	for _, u := range units {
		mat.units[u.ID] = u
	}
	mat.waves = draw(mat.members, c.Waves, mat.run.seed())
	return mat, nil
}

// DryRun says who would be offered the remedy, in which wave, and who not,
// each with the reason; it changes nothing.
func (m *Manager) DryRun(ctx context.Context, name string) (Plan, error) {
	mat, err := m.material(ctx, name)
	if err != nil {
		return Plan{}, err
	}
	busy, err := m.cfg.Store.UnitsBusy(ctx, mat.run.Campaign.Product, mat.run.ID)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{SnapshotID: mat.snapshot.ID, Detector: mat.detector.Ref()}
	for _, w := range mat.run.Campaign.Waves {
		p.Waves = append(p.Waves, PlannedWave{Name: w.Name})
	}
	for _, member := range mat.members {
		wave := mat.waves[member.UnitID]
		p.Waves[wave].Units++
		u, ok := mat.units[member.UnitID]
		code, why := CodeUnknown, "the unit is not known any more"
		if ok {
			code, why = refuse(&u, &mat.release, mat.run.Campaign.Kind)
		}
		if other := busy[member.UnitID]; code == "" && other != "" {
			code, why = CodeBusy, "waits until campaign "+other+" is done with it"
		}
		if code != "" {
			p.Not = append(p.Not, Refusal{member.UnitID, code, why})
			continue
		}
		p.Offered = append(p.Offered, PlannedTask{member.UnitID, wave})
	}
	for _, list := range []cohort.List{cohort.NotJudgeable, cohort.Out} {
		others, err := m.members(ctx, mat.snapshot.ID, list)
		if err != nil {
			return Plan{}, err
		}
		for _, o := range others {
			p.Not = append(p.Not, Refusal{o.UnitID, o.Code, "not in the cohort: " + o.Reason})
		}
	}
	slices.SortStableFunc(p.Offered, func(a, b PlannedTask) int {
		if a.Wave != b.Wave {
			return a.Wave - b.Wave
		}
		return strings.Compare(a.UnitID, b.UnitID)
	})
	return p, nil
}

// Start freezes the cohort's newest snapshot and the detector's newest
// version, draws the waves, plans a task for each member and opens the first
// wave: all of it or nothing.
func (m *Manager) Start(ctx context.Context, name, by string) (Run, error) {
	mat, err := m.material(ctx, name)
	if err != nil {
		return Run{}, err
	}
	if len(mat.members) == 0 {
		return Run{}, fault.New(fault.Conflict, "cohort %s has no members: there is nobody to remedy", mat.run.Campaign.Cohort)
	}
	found, err := m.earliest(ctx, mat)
	if err != nil {
		return Run{}, fmt.Errorf("start campaign %s: %w", name, err)
	}
	var run Run
	err = m.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		now := m.cfg.Clock.Now()
		run, err = m.cfg.Store.UpdateCampaign(ctx, name, func(r *Run) error {
			if r.State != Draft {
				return fault.New(fault.Conflict, "campaign %s is %s: it starts once", name, r.State)
			}
			r.State, r.Why = Running, "started by "+by
			r.SnapshotID, r.Detector = mat.snapshot.ID, mat.detector.Ref()
			r.WaveOpen, r.WaveOpened, r.StartedAt, r.NextAt = 0, []time.Time{now}, now, now
			return nil
		})
		if err != nil {
			return err
		}
		tasks := make([]Task, 0, len(mat.members))
		for _, member := range mat.members {
			t := Task{
				ID: m.cfg.IDs.ID(), CampaignID: run.ID, Campaign: name, UnitID: member.UnitID, UnitKey: member.UnitKey,
				Wave: mat.waves[member.UnitID], State: Planned, FoundAt: found[member.UnitID], Updated: now,
			}
			if u, ok := mat.units[member.UnitID]; ok {
				t.OwnerID, t.UnitKey = u.OwnerID, u.Key
			}
			if t.Wave == 0 {
				t.NextAt = now
			}
			tasks = append(tasks, t)
		}
		return m.cfg.Store.AddTasks(ctx, tasks)
	})
	if err != nil {
		return Run{}, fmt.Errorf("start campaign %s: %w", name, err)
	}
	return run, nil
}

const findingPage = 1000

// earliest is when each unit's earliest finding of the detector, in any
// version, opened.
func (m *Manager) earliest(ctx context.Context, mat material) (map[string]time.Time, error) {
	out := map[string]time.Time{}
	f := condition.FindingFilter{Product: mat.run.Campaign.Product, Detector: mat.detector.Name, Limit: findingPage}
	for {
		page, err := m.cfg.Detectors.Findings(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, x := range page {
			if at, ok := out[x.UnitID]; !ok || x.OpenedAt.Before(at) {
				out[x.UnitID] = x.OpenedAt
			}
		}
		if len(page) < findingPage {
			return out, nil
		}
		f.Before = page[len(page)-1].ID
	}
}
