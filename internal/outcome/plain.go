package outcome

import (
	"context"

	"fettle.dev/fettle/internal/campaign"
)

// plain follows a campaign without a detector, which was begun for one unit:
// what is installed is not judged, and when all is over the campaign is.
func (m *Manager) plain(ctx context.Context, r *campaign.Run) error {
	some, over := false, true
	var said []campaign.Judgement
	err := campaign.EachTask(ctx, m.cfg.Runs, campaign.TaskFilter{CampaignID: r.ID, Wave: -1}, func(t *campaign.Task) error {
		some = true
		if t.State == campaign.Verifying {
			said = append(said, campaign.Judgement{TaskID: t.ID, State: campaign.Unjudged, Why: "installed; no detector was named that would judge it"})
		}
		over = over && t.Over()
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := m.cfg.Campaigns.Judge(ctx, said); err != nil || !over || !some {
		return err
	}
	_, err = m.cfg.Campaigns.Finish(ctx, r.Campaign.Name, "the unit is done with it")
	return err
}
