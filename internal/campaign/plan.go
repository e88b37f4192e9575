package campaign

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"fettle.dev/fettle/internal/campaign/wave"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// Plan is what a start would do.
type Plan struct {
	SnapshotID string              `json:"snapshotId"`
	Detector   condition.Ref       `json:"detector"`
	Waves      []PlannedWave       `json:"waves"`
	OfferedN   int                 `json:"offeredN"`
	NotN       int                 `json:"notN"`
	NotByCode  map[update.Code]int `json:"notByCode"`
}

// PlannedWave is a wave with its number of units.
type PlannedWave struct {
	Name   string `json:"name"`
	Units  int    `json:"units"`
	Random bool   `json:"random"` // drawn by lot: may be compared with others
}

// PlannedUnit is a unit and its wave, or why it would not be offered the remedy.
type PlannedUnit struct {
	UnitID string
	Wave   int             // -1: it is not in the cohort
	No     *update.Refusal // nil: offered; the code is the member's own where it is not in the cohort
}

const (
	memberPage = 5000
	// planAtOnce is how many members Start plans before it answers; the rest is
	// the manager's.
	planAtOnce = 50_000
	// closeAtOnce is how many tasks Cancel and Finish end before they answer.
	closeAtOnce = 2000
)

func (r *Run) seed() int64 {
	if r.Campaign.Seed != 0 {
		return r.Campaign.Seed
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.ID))
	return int64(h.Sum64())
}

// refuse says why a unit may not be offered the remedy, as it stands now.
func refuse(u *fleet.Unit, j *update.Judge, k Kind) *update.Refusal {
	switch no := j.Refuse(u); {
	case no != nil:
		return no
	case j.Release.Skilled:
		return &update.Refusal{Code: update.CodeSkilled, Why: "it needs a skilled person: dispatch one"}
	case u.OwnerID == "" && !k.Policy().Unasked:
		return &update.Refusal{Code: CodeNoOwner, Why: "no owner to ask"}
	}
	return nil
}

// material is all that DryRun and Start look at, but for the members.
type material struct {
	run      Run
	snapshot cohort.Snapshot
	detector condition.Detector
	release  update.Release
	judge    *update.Judge
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
	case s.State != cohort.Ready:
		return mat, fault.New(fault.Conflict, "cohort %s is %s: wait until it is ready", c.Cohort, s.State)
	case s.Definition.Product != c.Product:
		return mat, fault.New(fault.Conflict, "cohort %s is of product %s, the campaign of %s", c.Cohort, s.Definition.Product, c.Product)
	}
	if mat.detector, err = m.cfg.Detectors.Detector(ctx, c.Detector, mat.run.Detector.Version); err != nil {
		return mat, err
	}
	if mat.judge, err = m.cfg.Updates.Judge(ctx, c.Release); err != nil {
		return mat, err
	}
	mat.release = mat.judge.Release
	return mat, nil
}

// drawn draws the waves of a campaign: as they were frozen, or as they would be now.
func (m *Manager) drawn(ctx context.Context, mat *material) (*wave.Draw, []uint64, error) {
	r := &mat.run
	draw, err := wave.New(r.seed(), r.Campaign.Waves)
	if err != nil || r.PlanDone || !draw.Counts() {
		return draw, r.Cuts, err
	}
	err = m.members(ctx, MemberQuery{Snapshot: mat.snapshot.ID}, func(x *Member) error { draw.See(&x.Unit); return nil })
	cuts, _ := draw.Cuts()
	return draw, cuts, err
}

// members calls fn for every member that is in, by unit, page by page.
func (m *Manager) members(ctx context.Context, q MemberQuery, fn func(x *Member) error) error {
	for q.Limit = memberPage; ; {
		page, err := m.cfg.Store.Members(ctx, q)
		if err != nil {
			return err
		}
		for i := range page {
			if err := fn(&page[i]); err != nil {
				return err
			}
		}
		if len(page) < q.Limit {
			return nil
		}
		q.After = page[len(page)-1].Unit.ID
	}
}

// DryRun says who would be offered the remedy, in which wave, and who not,
// each with the reason; it changes nothing. It tells each of every unit, by
// unit: first those in the cohort, then those that are not; an error of each
// ends it. It keeps a page of units in memory, however large the cohort is.
func (m *Manager) DryRun(ctx context.Context, name string, each func(PlannedUnit) error) (Plan, error) {
	mat, err := m.material(ctx, name)
	if err != nil {
		return Plan{}, err
	}
	draw, cuts, err := m.drawn(ctx, &mat)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{SnapshotID: mat.snapshot.ID, Detector: mat.detector.Ref(), NotByCode: map[update.Code]int{}}
	for i := range mat.run.Campaign.Waves {
		w := &mat.run.Campaign.Waves[i]
		p.Waves = append(p.Waves, PlannedWave{Name: w.Name, Random: w.Random()})
	}
	tell := func(u PlannedUnit) error {
		if u.No != nil {
			p.NotN++
			p.NotByCode[u.No.Code]++
		} else {
			p.OfferedN++
		}
		return each(u)
	}
	kind := mat.run.Campaign.Kind
	err = m.members(ctx, MemberQuery{Snapshot: mat.snapshot.ID, Detector: mat.detector.Name, Except: mat.run.ID}, func(x *Member) error {
		w := draw.Wave(&x.Unit, cuts, false)
		p.Waves[w].Units++
		no := &update.Refusal{Code: update.CodeUnknown, Why: "the unit is not known any more"}
		if x.Known {
			no = refuse(&x.Unit, mat.judge, kind)
		}
		if no == nil && x.Busy != "" {
			no = &update.Refusal{Code: CodeBusy, Name: x.Busy, Why: "waits until campaign " + x.Busy + " is done with it"}
		}
		return tell(PlannedUnit{x.Unit.ID, w, no})
	})
	for _, list := range []cohort.List{cohort.NotJudgeable, cohort.Out} {
		for after, more := "", true; more && err == nil; {
			var page []cohort.Member
			page, err = m.cfg.Cohorts.Members(ctx, mat.snapshot.ID, list, after, memberPage)
			for i := 0; i < len(page) && err == nil; i++ {
				o := &page[i]
				after, err = o.UnitID, tell(PlannedUnit{o.UnitID, -1, &update.Refusal{Code: update.Code(o.Code), Why: "not in the cohort: " + o.Reason}})
			}
			more = len(page) == memberPage
		}
	}
	return p, err
}

// Start freezes the cohort's newest snapshot, the detector's newest version
// and the waves, and plans a task for each member, page by page: a crash
// resumes after the last page. When all are planned, and the campaign's time
// has come, the first wave opens. A large campaign goes on being planned after
// Start has answered. By is who started it, in words; id, the operator's, is
// what the register of versions names as who approved it.
func (m *Manager) Start(ctx context.Context, name, by, id string) (Run, error) {
	mat, err := m.material(ctx, name)
	if err != nil {
		return Run{}, err
	}
	first, err := m.cfg.Store.Members(ctx, MemberQuery{Snapshot: mat.snapshot.ID, Limit: 1})
	if err != nil {
		return Run{}, fmt.Errorf("start campaign %s: %w", name, err)
	}
	c := &mat.run.Campaign
	switch now := m.cfg.Clock.Now(); {
	case len(first) == 0 && !c.Dynamic:
		return Run{}, fault.New(fault.Conflict, "cohort %s has no members: there is nobody to remedy", c.Cohort)
	case !c.End.IsZero() && !now.Before(c.End):
		return Run{}, fault.New(fault.Conflict, "campaign %s ended at %s, before it started: declare another end", name, c.End.Format(time.RFC3339))
	case mat.release.Withdrawn != nil:
		return Run{}, fault.New(fault.Conflict, "release %s has been withdrawn: %s", mat.release.Name, mat.release.Withdrawn.Why)
	}
	run, err := m.control(ctx, "start", name, func(_ context.Context, r *Run) error {
		switch r.State {
		case Draft:
		case Planning: // a start that was cut short
			return errSame
		default:
			return fault.New(fault.Conflict, "campaign %s is %s: it starts once", name, r.State)
		}
		r.State, r.Why = Planning, "started by "+by
		r.SnapshotID, r.Detector = mat.snapshot.ID, mat.detector.Ref()
		r.StartedAt, r.ApprovedBy = m.cfg.Clock.Now(), id
		return nil
	})
	for planned := 0; err == nil && run.State == Planning && !run.PlanDone && planned < planAtOnce; planned += memberPage {
		run, err = m.planPage(ctx, name)
	}
	return run, err
}

// planned is a campaign whose waves are being drawn: which units those with a
// count take is known when all have been seen.
type planned struct {
	draw *wave.Draw
	to   string // unit seen last
}

// seen gives the draw of a campaign that has seen all units planned so far:
// the one of the page before, or, after a crash, one made anew.
func (m *Manager) seen(ctx context.Context, r *Run) (*wave.Draw, error) {
	if v, ok := m.plans.LoadAndDelete(r.ID); ok { // given back when the page is committed
		if p, _ := v.(planned); p.to == r.PlannedTo {
			return p.draw, nil
		}
	}
	draw, err := wave.New(r.seed(), r.Campaign.Waves)
	if err != nil || !draw.Counts() || r.PlannedTo == "" {
		return draw, err
	}
	err = m.members(ctx, MemberQuery{Snapshot: r.SnapshotID, To: r.PlannedTo}, func(x *Member) error { draw.See(&x.Unit); return nil })
	return draw, err
}

// planPage plans the next page of members, in one transaction, and opens the
// first wave when there is nothing left to plan.
func (m *Manager) planPage(ctx context.Context, name string) (Run, error) {
	var draw *wave.Draw
	run, err := m.control(ctx, "plan", name, func(ctx context.Context, r *Run) (err error) {
		now := m.cfg.Clock.Now()
		switch {
		case r.State != Planning:
			return errSame // somebody else was faster, or it was canceled
		case r.PlanDone:
			return m.openFirst(ctx, r, now)
		}
		if draw, err = m.seen(ctx, r); err != nil {
			return err
		}
		page, err := m.cfg.Store.Members(ctx, MemberQuery{Snapshot: r.SnapshotID, Detector: r.Detector.Name, After: r.PlannedTo, Limit: memberPage})
		if err != nil {
			return err
		}
		tasks := make([]Task, len(page))
		for i := range page {
			u := &page[i].Unit
			if draw.Counts() {
				draw.See(u)
			}
			tasks[i] = m.newTask(r, &page[i], draw.Wave(u, nil, false), now)
		}
		if err := m.cfg.Store.AddTasks(ctx, tasks); err != nil {
			return err
		}
		r.Planned += len(page)
		if len(page) > 0 {
			r.PlannedTo = page[len(page)-1].Unit.ID
		}
		if len(page) < memberPage {
			return m.planDone(ctx, r, draw, now)
		}
		return nil
	})
	if err == nil && draw != nil && !run.PlanDone {
		m.plans.Store(run.ID, planned{draw, run.PlannedTo})
	}
	return run, err
}

// planDone moves units into the waves with a count, which are known now.
func (m *Manager) planDone(ctx context.Context, r *Run, draw *wave.Draw, now time.Time) error {
	cuts, taken := draw.Cuts()
	for unit, w := range taken {
		list, err := m.cfg.Store.Tasks(ctx, TaskFilter{CampaignID: r.ID, UnitID: unit, Wave: -1, Limit: 1})
		if err != nil {
			return err
		}
		if len(list) == 0 {
			continue
		}
		if list[0].Wave = w; list[0].State == Planned {
			if err := m.cfg.Store.SaveTasks(ctx, list); err != nil {
				return err
			}
		}
	}
	r.PlanDone, r.Cuts = true, cuts
	return m.openFirst(ctx, r, now)
}

func (m *Manager) newTask(r *Run, x *Member, wave int, now time.Time) Task {
	return Task{
		ID: m.cfg.IDs.ID(), CampaignID: r.ID, Campaign: r.Campaign.Name, UnitID: x.Unit.ID, UnitKey: x.Unit.Key, OwnerID: x.Unit.OwnerID,
		Wave: wave, State: Planned, Queue: QueueOffer, FoundAt: x.FoundAt, Updated: now,
	}
}

// openFirst opens the first wave of a campaign that is planned, if its time
// has come.
func (m *Manager) openFirst(ctx context.Context, r *Run, now time.Time) error {
	if at := r.Campaign.Start; now.Before(at) {
		why := "planned; it begins at " + at.UTC().Format(time.RFC3339)
		if r.Why == why {
			return errSame
		}
		r.Why = why
		return nil
	}
	r.State, r.WaveOpen, r.WaveOpened, r.NextAt = Running, 0, []time.Time{now}, now
	r.Why = "wave " + r.Campaign.Waves[0].Name + " is open"
	if r.Campaign.Dynamic {
		return m.cfg.Store.Watch(ctx, r.ID, r.Campaign.Product, true)
	}
	return nil
}
