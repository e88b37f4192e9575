package app

import (
	"time"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// undeclaredEvents is how long events are kept whose declaration is gone: long
// enough to bring back what was taken out by mistake. Nobody can read them.
const undeclaredEvents = 7 * 24 * time.Hour

// eventsBefore tells, for a kind and name of a product's events, the time before which
// they are no longer kept.
func eventsBefore(p *fleet.Product, now time.Time) func(kind telemetry.EventKind, name string) time.Time {
	return func(kind telemetry.EventKind, name string) time.Time {
		d, ok := p.Event(kind.String(), name)
		if !ok || d.Retention <= 0 {
			return now.Add(-undeclaredEvents)
		}
		return now.Add(-time.Duration(d.Retention))
	}
}
