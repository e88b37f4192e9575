package outcome

import (
	"context"
	"log/slog"
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet"
)

// GateStatus says where the gate of a wave stands, in words.
type GateStatus struct {
	Wave  int       `json:"wave"`
	State string    `json:"state" enum:"waiting,open,passed,failed"`
	Why   string    `json:"why"`
	At    time.Time `json:"at,omitzero"`
}

// Record is what is kept of a campaign's outcome.
type Record struct {
	CampaignID string       `json:"campaignId"`
	Gates      []GateStatus `json:"gates"`
	Primary    *Effect      `json:"primary,omitempty"` // the one comparison that decides
	PrimaryAt  int          `json:"primaryAt"`         // the wave whose gate it was made at
	Latest     *Effect      `json:"latest,omitempty"`  // the newest comparison, for information
	Report     *Report      `json:"report,omitempty"`  // frozen at the end
	At         time.Time    `json:"at"`
}

// Store keeps records of outcomes.
type Store interface {
	PutRecord(ctx context.Context, r Record) error
	Record(ctx context.Context, campaignID string) (Record, error) // fault.NotFound before the first
}

// Config is what a Manager works with.
type Config struct {
	Store     Store
	Campaigns *campaign.Manager
	Runs      campaign.Store
	Fleet     fleet.Store
	Consent   consent.Store
	Condition condition.Store
	Tx        fleet.Transactor
	Clock     clock.Clock
	Log       *slog.Logger
	Interval  time.Duration // least real time between passes (default 200 ms)
}

// Manager judges tasks, keeps gates and writes reports.
type Manager struct{ cfg Config }

func NewManager(cfg Config) *Manager { return &Manager{cfg} }

// Run judges until ctx ends. Pass is one round, for tests.
func (m *Manager) Run(ctx context.Context) error  { panic("coming") }
func (m *Manager) Pass(ctx context.Context) error { panic("coming") }

// Report is the campaign's report as of now, or as frozen at its end. Status is its gates and effect.
func (m *Manager) Report(ctx context.Context, name string) (Report, error) { panic("coming") }
func (m *Manager) Status(ctx context.Context, name string) (Record, error) { panic("coming") }
