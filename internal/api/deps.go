package api

import (
	"context"
	"io"
	"log/slog"
	"time"

	"fettle.dev/fettle/internal/api/data"
	"fettle.dev/fettle/internal/api/messages"
	"fettle.dev/fettle/internal/api/signin"
	"fettle.dev/fettle/internal/api/words"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/maintenance"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/outcome"
	"fettle.dev/fettle/internal/privacy"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/tip"
	"fettle.dev/fettle/internal/tip/outside"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/delta"
	"fettle.dev/fettle/internal/update/register"
	"fettle.dev/fettle/internal/update/trust"
	"fettle.dev/fettle/internal/update/upload"
)

// Deps is what the operations work with. All must be set but the hooks and LastContact.
type Deps struct {
	Log       *slog.Logger
	Clock     clock.Clock
	Wall      clock.Clock // the machine's, for the life of tokens
	IDs       clock.IDs
	Tx        fleet.Transactor
	PublicURL string  // as people reach us; its origin may call with cookies
	Speed     float64 // of the clock, 1 outside --dev

	Trail        *audit.Trail // nil: none
	Privacy      *privacy.Service
	Access       *access.Service
	Fleet        fleet.Store
	People       *people.Service
	SignIn       signin.Deps
	Versions     Versions
	Provisioning *fleet.Provisioning
	Consents     *consent.Service
	Choices      consent.Store
	Condition    *condition.Service
	Backtests    *backtest.Manager
	Maintenance  *maintenance.Service
	Prognosis    *prognosis.Manager
	Cohorts      *cohort.Service
	Updates      *update.Service
	Uploads      *upload.Service
	Deltas       *delta.Manager
	Register     register.Store
	Trust        *trust.Service
	Campaigns    *campaign.Manager
	Runs         campaign.Store
	Outcomes     *outcome.Manager
	Tips         *tip.Service
	Feeds        func() []outside.Status
	Notify       notify.Store
	Words        words.Deps
	Messages     messages.Deps
	History      telemetry.History // guarded: see telemetry/guard
	Data         data.Deps         // owners' rights over their data; the zero value: off

	// LastContact is when the gateway last heard of a unit, zero if it has not since it started.
	LastContact func(unitID string) time.Time
	// NextPoll is by when a unit that is on and connected asks for its update,
	// zero if that is not known; a hook.
	NextPoll func(unitID string) time.Time
	// ClockSkew is how far a unit's clock is ahead of the server's, if that is known; a hook.
	ClockSkew func(unitID string) (ahead time.Duration, known bool)

	// Backup writes an archive of every store to w, while they are in use.
	Backup func(ctx context.Context, w io.Writer) error
	// EraseUnit takes what was found of a unit that was deleted out of the records
	// and out of the detectors' memory; a hook.
	EraseUnit func(ctx context.Context, id string, key int64) error
	// BackupKeys is what opens these archives.
	BackupKeys func(ctx context.Context) (any, error)

	// Hooks are called after the records have changed, so that what was cached
	// of them is read anew.
	OnProducts  func(ctx context.Context, names []string) error // made, changed or deleted
	OnDetectors func(ctx context.Context) error
	OnUnits     func(ctx context.Context, ids []string) error // made, changed or deleted
}

// unbound lets the hooks see everything, whoever asked for the change.
func (d *Deps) unbound() {
	if products := d.OnProducts; products != nil {
		d.OnProducts = func(ctx context.Context, names []string) error { return products(fleet.Unbounded(ctx), names) }
	}
	if detectors := d.OnDetectors; detectors != nil {
		d.OnDetectors = func(ctx context.Context) error { return detectors(fleet.Unbounded(ctx)) }
	}
	if units := d.OnUnits; units != nil {
		d.OnUnits = func(ctx context.Context, ids []string) error { return units(fleet.Unbounded(ctx), ids) }
	}
}

// Versions counts the units of a product by version of the main component.
type Versions interface {
	CountVersions(ctx context.Context, product string) (map[string]int, error)
}
