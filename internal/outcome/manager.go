package outcome

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/outcome/sequential"
)

// Record is what is kept of a campaign's outcome.
type Record struct {
	CampaignID string       `json:"campaignId"`
	Gates      []GateStatus `json:"gates"`             // by wave, as last decided
	Primary    *Effect      `json:"primary,omitempty"` // the one comparison that decides
	PrimaryAt  int          `json:"primaryAt"`         // the wave whose gate it was made at
	Latest     *Effect      `json:"latest,omitempty"`  // the newest comparison, for information
	Report     *Report      `json:"report,omitempty"`  // frozen when the campaign has ended

	Usual    *Usual              `json:"usual,omitempty"` // as known when the campaign began
	Baseline sequential.Baseline `json:"baseline"`
	Drawn    []int               `json:"drawn,omitempty"` // units that each wave was drawn
	Harm     sequential.Hazard   `json:"harm"`
	Evidence []Evidence          `json:"evidence,omitempty"` // as it stands; as it stood when a gate was last decided
	Looks    int                 `json:"looks,omitempty"`    // at the effect, where the gate waits for it
	LookedAt time.Time           `json:"lookedAt,omitzero"`
	Shown    bool                `json:"shown,omitempty"` // the effect, at one of those looks
	At       time.Time           `json:"at"`
}

// Store keeps records of outcomes.
type Store interface {
	PutRecord(ctx context.Context, r Record) error
	Record(ctx context.Context, campaignID string) (Record, error) // fault.NotFound before the first
}

// Conditions is what is asked of the detectors; condition.Store does.
type Conditions interface {
	Detector(ctx context.Context, name string, version int) (condition.Detector, error)
	Findings(ctx context.Context, f condition.FindingFilter) ([]condition.Finding, error)
	Exposures(ctx context.Context, d condition.Ref, units []int64) ([]condition.Exposure, error)
	JudgedAt(ctx context.Context, product string, units []int64) (map[int64]time.Time, error)
}

// Consents is what is asked of the owners' choices; consent.Store does.
type Consents interface {
	Masks(ctx context.Context, product string) (map[string]consent.Mask, error)
}

// Config is what a Manager works with.
type Config struct {
	Store     Store
	Campaigns *campaign.Manager
	Runs      campaign.Store
	Fleet     fleet.Store
	Consent   Consents
	Condition Conditions
	Tx        fleet.Transactor
	Clock     clock.Clock
	Log       *slog.Logger
	Interval  time.Duration // least real time between passes (default 200 ms)

	// Exposures are newer than Condition's, which keeps those of large fleets
	// every half minute; false: all findings up to them are not known yet. May
	// be nil.
	Exposures func(d condition.Ref, units []int64) ([]condition.Exposure, bool)
}

// Manager judges tasks, keeps gates and writes reports.
type Manager struct {
	cfg Config

	mu    sync.Mutex
	state map[string]*watch // by campaign id
}

// watch is what a Manager remembers of one campaign between passes; all of it
// is made anew after a restart.
type watch struct {
	next   time.Time // by the clock
	rested int       // passes since it was looked at
	passes int
	failed int // tasks that had failed when it was looked at
	masks  map[string]consent.Mask
	frozen bool
	ills   ills
}

// NewManager makes a Manager.
func NewManager(cfg Config) *Manager {
	if cfg.Interval <= 0 {
		cfg.Interval = 200 * time.Millisecond
	}
	return &Manager{cfg: cfg, state: map[string]*watch{}}
}

// rowsPerMillisecond paces Run: a pass that read many rows is followed by a
// longer rest, so that judging a large campaign leaves the records to others.
const rowsPerMillisecond = 3

// Run judges until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wait.C:
		}
		rows, err := m.pass(ctx)
		if err != nil && ctx.Err() == nil {
			m.cfg.Log.ErrorContext(ctx, "outcomes could not be judged", "err", err)
		}
		wait.Reset(m.cfg.Interval + time.Duration(rows/rowsPerMillisecond)*time.Millisecond)
	}
}

// Pass judges every campaign that is due, once.
func (m *Manager) Pass(ctx context.Context) error {
	_, err := m.pass(ctx)
	return err
}

func (m *Manager) pass(ctx context.Context) (rows int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	runs, err := m.cfg.Runs.Campaigns(ctx, "")
	if err != nil {
		return 0, err
	}
	var errs []error
	for i := range runs {
		r := &runs[i]
		if r.State == campaign.Draft {
			continue
		}
		w := m.state[r.ID]
		if w == nil {
			w = &watch{}
			m.state[r.ID] = w
		}
		n, err := m.one(ctx, r, w)
		rows += n
		if err != nil {
			errs = append(errs, fmt.Errorf("campaign %s: %w", r.Campaign.Name, err))
		}
	}
	return rows, errors.Join(errs...)
}

func (m *Manager) one(ctx context.Context, r *campaign.Run, w *watch) (rows int, err error) {
	if r.Detector.Name == "" {
		if r.Open() {
			return 1, m.plain(ctx, r)
		}
		return 0, nil
	}
	if !r.Open() {
		if w.frozen || r.Closing { // its tasks are still being ended
			return 0, nil
		}
		return 0, m.freeze(ctx, r, w)
	}
	now := m.cfg.Clock.Now()
	failed := m.cfg.Campaigns.Failures(r.ID)
	if now.Before(w.next) && w.rested < mostRests && failed == w.failed {
		w.rested++
		return 0, nil
	}
	w.rested, w.failed = 0, failed
	if rows, err = m.judgeAll(ctx, r, w); err != nil {
		return rows, err
	}
	n, err := m.gate(ctx, r, w)
	if err != nil {
		return rows + n, err
	}
	// A fiftieth of the exposure asked for is as exact as anybody needs.
	w.next = now.Add(min(max(time.Duration(r.Campaign.Exposure)/50, time.Second), 10*time.Minute))
	return rows + n, nil
}

// mostRests is how many passes may go by without a look: five seconds at the
// default interval, so that whoever watches a verdict come sees it come.
const mostRests = 25

// maskEvery is how many passes share one reading of the owners' choices.
const maskEvery = 10

// judgeAll looks at every installed remedy of a campaign: two readings of its
// tasks, page by page, one of the exposures, one of the findings since the
// first installation.
func (m *Manager) judgeAll(ctx context.Context, r *campaign.Run, w *watch) (rows int, err error) {
	f := campaign.TaskFilter{
		CampaignID: r.ID, Wave: -1, States: []campaign.TaskState{campaign.Verifying, campaign.Verified, campaign.Unjudged},
	}
	c := &r.Campaign
	var first time.Time
	var waiting []int64
	err = campaign.EachTask(ctx, m.cfg.Runs, f, func(t *campaign.Task) error {
		if rows == 0 || t.InstalledAt.Before(first) {
			first = t.InstalledAt
		}
		if rows++; t.State != campaign.Verified {
			waiting = append(waiting, t.UnitKey)
		}
		return nil
	})
	if err != nil || rows == 0 {
		return 0, err
	}
	// Exposure is read before findings: what is found between the two readings
	// can only take a verdict away.
	exposures, err := m.newest(ctx, r.Detector, waiting)
	if err != nil {
		return 0, err
	}
	findings, err := m.findings(ctx, condition.FindingFilter{
		Product: c.Product, Detector: r.Detector.Name, Version: r.Detector.Version, From: first.Truncate(time.Millisecond),
	})
	if err != nil {
		return 0, err
	}
	permitted, err := m.permitted(ctx, r, w, len(waiting) > 0)
	if err != nil {
		return 0, err
	}
	byUnit := map[int64][]condition.Finding{}
	for _, f := range findings {
		byUnit[f.UnitKey] = append(byUnit[f.UnitKey], f)
	}
	exposed := make(map[int64]condition.Exposure, len(exposures))
	for _, x := range exposures {
		exposed[x.UnitKey] = x
	}
	now := m.cfg.Clock.Now()
	var said []campaign.Judgement
	err = campaign.EachTask(ctx, m.cfg.Runs, f, func(t *campaign.Task) error {
		if j, ok := judge(t, c, exposed[t.UnitKey], byUnit[t.UnitKey], permitted(t.UnitID), now); ok {
			said = append(said, j)
		}
		return nil
	})
	if err != nil {
		return rows, err
	}
	rows += len(findings) + len(exposures)
	_, err = m.cfg.Campaigns.Judge(ctx, said)
	return rows, err
}

// manyUnits is from how many units on it is cheaper to read them all.
const manyUnits = 1000

// newest is exposures, ahead of what is kept where that can be told.
func (m *Manager) newest(ctx context.Context, d condition.Ref, units []int64) ([]condition.Exposure, error) {
	if m.cfg.Exposures != nil && len(units) > 0 {
		if now, ok := m.cfg.Exposures(d, units); ok {
			return now, nil
		}
	}
	return m.exposures(ctx, d, units)
}

func (m *Manager) exposures(ctx context.Context, d condition.Ref, units []int64) ([]condition.Exposure, error) {
	switch {
	case len(units) == 0:
		return nil, nil
	case len(units) > manyUnits:
		units = nil
	}
	return m.cfg.Condition.Exposures(ctx, d, units)
}

const findingPage = 1000

func (m *Manager) findings(ctx context.Context, f condition.FindingFilter) ([]condition.Finding, error) {
	var all []condition.Finding
	return all, m.eachFinding(ctx, f, func(x *condition.Finding) { all = append(all, *x) })
}

// eachFinding calls fn for each finding, newest first, page by page.
func (m *Manager) eachFinding(ctx context.Context, f condition.FindingFilter, fn func(*condition.Finding)) error {
	for f.Limit = findingPage; ; {
		page, err := m.cfg.Condition.Findings(ctx, f)
		if err != nil {
			return err
		}
		for i := range page {
			fn(&page[i])
		}
		if len(page) < findingPage {
			return nil
		}
		f.Before = page[len(page)-1].ID
	}
}

// permitted tells of which units data may be read for the detector's purpose.
func (m *Manager) permitted(ctx context.Context, r *campaign.Run, w *watch, asked bool) (func(unitID string) bool, error) {
	if !asked {
		return func(string) bool { return true }, nil
	}
	p, err := m.cfg.Fleet.Product(ctx, r.Campaign.Product)
	if err != nil {
		return nil, err
	}
	d, err := m.cfg.Condition.Detector(ctx, r.Detector.Name, r.Detector.Version)
	if err != nil {
		return nil, err
	}
	if w.masks == nil || w.passes%maskEvery == 0 {
		if w.masks, err = m.cfg.Consent.Masks(ctx, r.Campaign.Product); err != nil {
			return nil, err
		}
	}
	w.passes++
	return func(unitID string) bool { return w.masks[unitID].PermitsPurpose(&p, d.Purpose) }, nil
}

// decided keeps the status of a gate, one for each wave.
func (r *Record) decided(s GateStatus) {
	for i := range r.Gates {
		if r.Gates[i].Wave == s.Wave {
			r.Gates[i] = s
			return
		}
	}
	r.Gates = append(r.Gates, s)
}

func (m *Manager) record(ctx context.Context, campaignID string) (Record, error) {
	rec, err := m.cfg.Store.Record(ctx, campaignID)
	if fault.KindOf(err) == fault.NotFound {
		return Record{CampaignID: campaignID}, nil
	}
	return rec, err
}

func (m *Manager) load(ctx context.Context, c *comparison) (rows int, err error) {
	err = campaign.EachTask(ctx, m.cfg.Runs, campaign.TaskFilter{CampaignID: c.run.ID, Wave: -1}, func(t *campaign.Task) error {
		c.drawn = append(c.drawn, place{unit: t.UnitKey, wave: t.Wave, lot: c.run.Comparable(t)})
		return nil
	})
	if err != nil {
		return 0, err
	}
	units := make([]int64, len(c.drawn))
	for i, p := range c.drawn {
		units[i] = p.unit
	}
	if c.exposures, err = m.exposures(ctx, c.run.Detector, units); err != nil {
		return 0, err
	}
	if len(units) > manyUnits {
		units = nil
	}
	if c.judgedAt, err = m.cfg.Condition.JudgedAt(ctx, c.run.Campaign.Product, units); err != nil {
		return 0, err
	}
	c.findings, err = m.findings(ctx, condition.FindingFilter{
		Product: c.run.Campaign.Product, Detector: c.run.Detector.Name, Version: c.run.Detector.Version, From: c.from, To: c.to,
	})
	return len(c.drawn) + len(c.exposures) + len(c.findings), err
}
