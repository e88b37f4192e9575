package rollout

import (
	"context"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

type dryRunIn struct {
	frame.NameParam
	Limit int `query:"limit" default:"1000" minimum:"0" maximum:"10000" doc:"Most units listed of each kind; GET …/dry-run/units gives all, as a stream."`
	Skip  int `query:"skip" default:"0" minimum:"0" doc:"How many of each list to leave out from its beginning, to read the next page. Each page looks at the whole cohort anew."`
}

func dryRun(ctx context.Context, in *dryRunIn, campaigns *campaign.Manager, runs campaign.Store, updates *update.Service) (wire.DryRun, error) {
	offered, not := []wire.DryRunOffer{}, []wire.DryRunRefusal{}
	offeredN, notN := 0, 0
	plan, err := campaigns.DryRun(ctx, in.Name, func(u campaign.PlannedUnit) error {
		if u.No != nil {
			if notN++; notN > in.Skip && len(not) < in.Limit {
				not = append(not, wire.DryRunRefusal{UnitID: u.UnitID, Refusal: *u.No})
			}
		} else if offeredN++; offeredN > in.Skip && len(offered) < in.Limit {
			offered = append(offered, wire.DryRunOffer{UnitID: u.UnitID, Wave: u.Wave})
		}
		return nil
	})
	if err != nil {
		return wire.DryRun{}, err
	}
	run, err := runs.Campaign(ctx, in.Name)
	if err != nil {
		return wire.DryRun{}, err
	}
	waiting, err := Waiting(ctx, updates, &run)
	out := wire.DryRun{
		SnapshotID: plan.SnapshotID, Detector: plan.Detector, OfferedCount: plan.OfferedN, NotCount: plan.NotN,
		Waves: []wire.DryRunWave{}, NotByCode: map[string]int{}, Offered: offered, Not: not, Waiting: waiting,
	}
	for _, w := range plan.Waves {
		out.Waves = append(out.Waves, wire.DryRunWave(w))
	}
	for code, n := range plan.NotByCode {
		out.NotByCode[string(code)] = n
	}
	return out, err
}

// Waiting is what keeps the release of a campaign that is not over from every
// unit, whatever its owner chooses: signatures that are missing. Nil: nothing.
func Waiting(ctx context.Context, updates *update.Service, r *campaign.Run) (*update.Refusal, error) {
	if r.State == campaign.Canceled || r.State == campaign.Finished {
		return nil, nil
	}
	release, err := updates.Release(ctx, r.Campaign.Release)
	if fault.KindOf(err) == fault.NotFound { // a draft may come before it
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return updates.Unsigned(ctx, &release)
}
