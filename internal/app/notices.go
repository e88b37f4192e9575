package app

import (
	"context"

	"fettle.dev/fettle/internal/sqldb/message"
)

// subscriptions are the browsers that an owner is told things on.
func (h *house) subscriptions(ctx context.Context, ownerID string) ([]string, error) {
	list, err := message.Pushes(h.records).Subscriptions(ctx, ownerID)
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	return ids, err
}
