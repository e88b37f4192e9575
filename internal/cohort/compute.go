package cohort

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// The codes of a member's reason.
const (
	CodeEvidence   = "evidence"
	CodeAttributes = "attributes"
	CodeNoEvidence = "no evidence"
	CodeNoConsent  = "no consent"
	CodeRestricted = "restricted" // its owner had its use restricted, or objected (GDPR 18, 21)
	CodeSilent     = "silent"
	CodeTooLittle  = "too little data"
)

// Run computes snapshots as they are asked for, and those that a crash
// interrupted, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	look := time.NewTicker(5 * time.Second)
	defer look.Stop()
	for {
		if err := s.pending(ctx); err != nil && ctx.Err() == nil {
			s.c.Log.Error("cohorts", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-look.C:
		}
	}
}

// pending computes all that wait, oldest first.
func (s *Service) pending(ctx context.Context) error {
	all, err := s.c.Store.Snapshots(ctx, "")
	if err != nil {
		return err
	}
	slices.Reverse(all)
	for _, snap := range all {
		if snap.State != Computing {
			continue
		}
		if err := s.compute(ctx, snap); err != nil {
			if ctx.Err() != nil || fault.KindOf(err) == fault.Unavailable {
				return err // it stays computing, and is begun anew
			}
			s.c.Log.Error("cohort could not be computed", "cohort", snap.Definition.Name, "error", err)
			snap.State, snap.Error = Failed, err.Error()
			if err := s.c.Store.PutSnapshot(ctx, snap); err != nil {
				return err
			}
		}
	}
	return nil
}

// compute freezes the members of a snapshot.
func (s *Service) compute(ctx context.Context, snap Snapshot) error {
	members, err := s.members(ctx, &snap)
	if err != nil {
		return err
	}
	snap.In, snap.Out, snap.NotJudgeable = 0, 0, 0
	for i := range members {
		switch members[i].List {
		case In:
			snap.In++
		case Out:
			snap.Out++
		default:
			snap.NotJudgeable++
		}
	}
	snap.State, snap.Done = Ready, 1
	return s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.c.Store.Snapshot(ctx, snap.ID); err != nil {
			if fault.KindOf(err) == fault.NotFound {
				return nil // deleted meanwhile
			}
			return err
		}
		if err := s.c.Store.PutMembers(ctx, snap.ID, members); err != nil {
			return err
		}
		return s.c.Store.PutSnapshot(ctx, snap)
	})
}

// Recompute gives the members that a snapshot's definition gives at its
// position now: the same as it froze, as long as history and consent still
// allow to look.
func (s *Service) Recompute(ctx context.Context, id string) ([]Member, error) {
	snap, err := s.c.Store.Snapshot(ctx, id)
	if err != nil {
		return nil, err
	}
	snap.State = Ready // not to be shown as in progress
	return s.members(ctx, &snap)
}

func (s *Service) members(ctx context.Context, snap *Snapshot) ([]Member, error) {
	d := &snap.Definition
	all, err := s.c.Fleet.Units(ctx, fleet.Filter{Product: d.Product})
	if err != nil {
		return nil, err
	}
	units := slices.DeleteFunc(all, func(u fleet.Unit) bool {
		return u.State == fleet.UnitPending || u.State == fleet.UnitRetired || u.CreatedAt.After(snap.At)
	})
	members := make([]Member, len(units))
	for i := range units {
		members[i] = Member{UnitID: units[i].ID, UnitKey: units[i].Key}
	}
	if d.Evidence != nil {
		if err := s.evidence(ctx, snap, units, members); err != nil {
			return nil, err
		}
	}
	for i := range units {
		combine(d, &units[i], &members[i])
	}
	return members, nil
}

// combine adds what the attributes say to what the evidence said.
func combine(d *Definition, u *fleet.Unit, m *Member) {
	if d.Attributes == nil {
		return
	}
	matches, why := d.Attributes.Holds(u)
	switch {
	case d.Evidence == nil && matches, d.Match != "all" && m.List != In && matches:
		m.List, m.Code, m.Reason = In, CodeAttributes, why
	case d.Evidence == nil, d.Match == "all" && !matches:
		m.List, m.Code, m.Reason = Out, CodeAttributes, why
	case m.List == In && matches:
		m.Reason += "; " + why
	default:
	}
}

// evidence runs the detector over history and says where each unit stands.
func (s *Service) evidence(ctx context.Context, snap *Snapshot, units []fleet.Unit, members []Member) error {
	e := snap.Definition.Evidence
	if err := s.applied(ctx, snap.Position); err != nil {
		return err
	}
	p, err := s.c.Fleet.Product(ctx, snap.Definition.Product)
	if err != nil {
		return err
	}
	detector, err := s.c.Conditions.Detector(ctx, e.Detector.Name, e.Detector.Version)
	if err != nil {
		return err
	}
	permitted, err := s.c.Conditions.Permitted(ctx, &p, detector.Purpose, units)
	if err != nil {
		return err
	}
	may := make(map[int64]bool, len(permitted))
	for _, u := range permitted {
		may[u.Key] = true
	}
	if detector.Type == condition.TypePrognosis {
		return s.foreseen(ctx, &detector, e, may, members)
	}
	progress := func(rows int) {
		snap.Done = float64(rows) / float64(rows+5*progressScale)
		if snap.State == Computing {
			if err := s.c.Store.PutSnapshot(ctx, *snap); err != nil {
				s.c.Log.Warn("cohort: progress", "error", err)
			}
		}
	}
	result, atLeast, err := s.sift(ctx, condition.Trial{
		History: s.c.History, Product: p, Detector: detector, Units: permitted,
		UpTo: snap.Position, Fresh: true, From: e.From, To: e.To, Rows: progress,
	}, time.Duration(e.MinExposure))
	if err != nil {
		return err
	}
	found := map[int64]condition.Finding{}
	for _, f := range result.Findings { // the first of each unit
		if _, ok := found[f.UnitKey]; !ok {
			found[f.UnitKey] = f
		}
	}
	purpose, measure := detector.Purpose, ""
	if detector.Basis != nil && detector.Type == condition.TypeTolerance {
		signal, _ := p.Signal(detector.Basis.Tolerance.Signal)
		measure = signal.Unit
	}
	withheld, err := s.withheld(ctx, p.Name, purpose)
	if err != nil {
		return err
	}
	for i := range members {
		m := &members[i]
		if !may[m.UnitKey] {
			m.List = NotJudgeable
			m.Code, m.Reason = withheld(m.UnitKey)
			continue
		}
		verdict := result.Units[m.UnitKey]
		m.Exposure = verdict.Exposure
		f, breached := found[m.UnitKey]
		switch {
		case breached:
			m.List, m.Code, m.Reason = In, CodeEvidence, breach(&f, measure)
		case verdict.Rows == 0:
			m.List, m.Code, m.Reason = NotJudgeable, CodeSilent, "nothing received from "+words.Instant(e.From)+" to "+words.Instant(e.To)
		case !verdict.Judged || m.Exposure < time.Duration(e.MinExposure):
			m.List, m.Code = NotJudgeable, CodeTooLittle
			m.Reason = fmt.Sprintf("%s of exposure, %s needed; last heard of %s", hours(m.Exposure), hours(time.Duration(e.MinExposure)), words.Instant(verdict.LastAt))
		case atLeast[m.UnitKey] && e.MinExposure == 0:
			m.List, m.Code, m.Reason = Out, CodeNoEvidence, "no breach"
		case atLeast[m.UnitKey]:
			m.List, m.Code, m.Reason = Out, CodeNoEvidence, "more than "+hours(time.Duration(e.MinExposure))+" of exposure, no breach"
		default:
			m.List, m.Code, m.Reason = Out, CodeNoEvidence, hours(m.Exposure)+" of exposure, no breach"
		}
	}
	return nil
}

// progressScale stands for the size of a history that isn't known beforehand:
// the share done nears 1 as more of it is read.
const progressScale = 200_000

// applied waits until history holds the stream up to a position.
func (s *Service) applied(ctx context.Context, position uint64) error {
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		have, err := s.c.History.Applied(ctx)
		if err != nil {
			return err
		}
		if have >= position {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}

func breach(f *condition.Finding, measure string) string {
	s := f.Why + ", from " + words.Instant(f.Onset)
	if f.LastAt.After(f.OpenedAt) {
		s += " to " + words.Instant(f.LastAt)
	}
	if measure != "" {
		s += ", peak " + words.Measured(f.Peak, measure)
	}
	return s
}

func hours(d time.Duration) string {
	return words.Number(float64(d.Round(6*time.Minute))/float64(time.Hour)) + " h"
}

// Empty reports whether nothing is matched by.
func (a *Attributes) Empty() bool {
	return len(a.Hardware)+len(a.Batch)+len(a.Region)+len(a.Version)+len(a.Versions)+len(a.Other) == 0
}

// Holds reports whether a unit has one of the values of each attribute, and why.
func (a *Attributes) Holds(u *fleet.Unit) (ok bool, why string) {
	var have []string
	ok = true
	check := func(name, value string, want []string) {
		if len(want) == 0 {
			return
		}
		if value == "" {
			value = "unknown"
		}
		if !slices.Contains(want, value) {
			if ok {
				ok, why = false, fmt.Sprintf("%s %s is not %s", name, value, strings.Join(want, " or "))
			}
			return
		}
		have = append(have, name+" "+value)
	}
	check("hardware", u.Hardware, a.Hardware)
	check("batch", u.Batch, a.Batch)
	check("region", u.Region, a.Region)
	check("version", u.Versions[fleet.MainComponent], a.Version)
	for _, name := range slices.Sorted(maps.Keys(a.Versions)) {
		check("version of "+name, u.Versions[name], a.Versions[name])
	}
	for _, name := range slices.Sorted(maps.Keys(a.Other)) {
		check(name, u.Attributes[name], a.Other[name])
	}
	if ok {
		why = strings.Join(have, ", ")
	}
	return ok, why
}
