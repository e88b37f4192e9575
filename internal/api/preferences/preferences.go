// Package preferences serves what owners set about updates: when they are not
// reminded, when a security update may start by itself, and whether it may.
package preferences

import (
	"context"
	"net/http"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/campaign"
)

// Keeper is what the operations need of the room campaign; *campaign.Manager is one.
type Keeper interface {
	Preferences(ctx context.Context, ownerID string) (campaign.Preferences, error)
	SetPreferences(ctx context.Context, ownerID string, p campaign.Preferences) error
}

type putIn struct {
	Body campaign.Preferences
}

// Register adds the operations to a server.
func Register(s *frame.Server, k Keeper) {
	const path = "/owner/v1/preferences"
	frame.Add(s, frame.Route{Method: http.MethodGet, Path: path, ID: "getMyPreferences", Summary: "What the owner has set about updates", Tag: "owner", Access: frame.Owner},
		func(ctx context.Context, _ *struct{}) (campaign.Preferences, error) {
			return k.Preferences(ctx, frame.Who(ctx).ID)
		})
	frame.Add(s, frame.Route{
		Method: http.MethodPut, Path: path, ID: "putMyPreferences", Summary: "Set quiet hours, hours for security updates, and whether these start by themselves",
		Doc: "The whole of it: what is left out goes back to its default.", Tag: "owner", Access: frame.Owner,
	}, func(ctx context.Context, in *putIn) (campaign.Preferences, error) {
		id := frame.Who(ctx).ID
		if err := k.SetPreferences(ctx, id, in.Body); err != nil {
			return campaign.Preferences{}, err
		}
		return k.Preferences(ctx, id)
	})
}
