package app

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// reported is the fleet as the gateway sees it: a version report moves the
// unit's update in the transaction that keeps it.
type reported struct {
	fleet.Store
	updates *update.Service
	tx      fleet.Transactor
}

// SetVersions keeps what the unit reports and tells the room update.
func (r reported) SetVersions(ctx context.Context, id string, versions map[string]string, at time.Time) error {
	return r.tx.InTx(ctx, func(ctx context.Context) error {
		// First, since it looks at what the unit had before.
		if err := r.updates.Reported(ctx, id, versions, at); err != nil {
			return err
		}
		return r.Store.SetVersions(ctx, id, versions, at)
	})
}

// columns tells the history writer a product's signals.
type columns struct{ fleet.Store }

// Signals are a product's signals with their types.
func (c columns) Signals(ctx context.Context, product string) (map[string]string, error) {
	p, err := c.Product(ctx, product)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(p.Signals))
	for _, s := range p.Signals {
		out[s.Name] = string(s.Type)
	}
	return out, nil
}
