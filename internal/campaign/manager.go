package campaign

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// NoticeKind is why an owner is told something about a task.
type NoticeKind string

// The notices of a task. Escalation is a reminder of a safety or recall
// campaign after its deadline.
const (
	NoticeOffer      NoticeKind = "offer"
	NoticeReminder   NoticeKind = "reminder"
	NoticeEscalation NoticeKind = "escalation"
	NoticeCountdown  NoticeKind = "countdown" // it starts by itself at Task.At
	NoticeDone       NoticeKind = "done"
	NoticeFailed     NoticeKind = "failed"
)

// Notice is something an owner is to be told. Key makes it unique for ever.
type Notice struct {
	Key      string
	Kind     NoticeKind
	Owner    fleet.Owner
	Campaign Campaign
	Release  update.Release
	Size     int64 // of the image, bytes
	Task     Task
}

// Notices tells owners. Tell is called inside the transaction that moves the
// task, and only keeps the message (notify.Store.Enqueue); a second notice
// with a known key is not kept.
type Notices interface {
	Tell(ctx context.Context, n Notice) error
	// Delivered reports whether the notice with a key has reached its owner.
	Delivered(ctx context.Context, key string) (bool, error)
}

// Detectors gives the detector to freeze and the findings that tell how long a
// unit has been ill; condition.Store does.
type Detectors interface {
	Detector(ctx context.Context, name string, version int) (condition.Detector, error)
	Findings(ctx context.Context, f condition.FindingFilter) ([]condition.Finding, error)
}

// Config is what a Manager works with. All but NotifyUnit and Interval must be set.
type Config struct {
	Store      Store
	Fleet      fleet.Store
	Cohorts    cohort.Store
	Detectors  Detectors
	Updates    *update.Service
	Notices    Notices
	Tx         fleet.Transactor
	Clock      clock.Clock
	IDs        clock.IDs
	Log        *slog.Logger
	NotifyUnit func(unitID string) // tells a connected unit to poll; called after the commit
	Interval   time.Duration       // real time between passes (default 100 ms)
}

// Manager moves campaigns: operators start, pause, resume and cancel them,
// owners choose, and Run moves what is due. Every step is one transaction over
// task, assignment and notice, so that a crash anywhere resumes.
type Manager struct {
	cfg      Config
	keepTime func(product string) bool // nil: none
	follow   follower
	plans    sync.Map // planned by campaign id
	failures failures
}

// NewManager makes a Manager.
func NewManager(cfg Config) *Manager {
	if cfg.Interval <= 0 {
		cfg.Interval = 100 * time.Millisecond
	}
	if cfg.NotifyUnit == nil {
		cfg.NotifyUnit = func(string) {}
	}
	return &Manager{cfg: cfg}
}

// Run moves what is due until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	return clock.Passes(ctx, m.cfg.Interval, m.Pass, func(err error) {
		m.cfg.Log.ErrorContext(ctx, "campaigns could not be moved", "err", err)
	})
}
