// Package install puts verified updates onto a unit, and brings the old
// version back when the new one is not healthy. Whatever moment the power is
// cut at, the unit has the old version or the new one, goes on where it was,
// and tells the server once how it came out.
//
// An [Updater] keeps a journal: one small file that is replaced atomically at
// each change of state. What each state does can be done again, so that after
// a power cut it is. The states in their order:
//
//	idle -> downloading -> downloaded -> waiting -> installing -> activating -> installed -> checking -> committing -> committed -> idle
//	                                                    |             |             |            |            |
//	                                                  failed          +-------------+-- returning+------------+-> returned -> idle
//
// Before activating, nothing that runs is changed. The release counter, under
// which no older release is taken, is raised with the state committed: after
// the health check, so that the old version may come back until then.
//
// Whoever runs an Updater calls [Updater.Offer] with what [unitkit.Client]
// found, [Updater.Step] again and again, and [Updater.Deliver] while the
// server can be reached. cmd/fettle-agent does.
package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/unitkit"
)

// Source is the server, as far as an Updater needs it; *unitkit.Client is one.
type Source interface {
	// Fetch writes a target's bytes from offset on, and says how many.
	Fetch(ctx context.Context, t unitkit.Target, w io.Writer, offset int64) (int64, error)
	// Report tells how an update goes. It may come twice.
	Report(ctx context.Context, u *unitkit.Update, p unitkit.Progress) error
	// Confirm tells, after the health check, which versions run. It may come twice.
	Confirm(ctx context.Context, u *unitkit.Update) error
}

// ErrGone is what a Source returns when the server no longer knows an update,
// or has ended it: it is not asked again.
var ErrGone = errors.New("the server does not have this update any more")

// Config is what an Updater works with.
type Config struct {
	FS     FS     // nil: OS
	Dir    string // absolute; the journal and what is downloaded
	Source Source
	Parts  map[string]Part // by component

	// MayBegin says nil when installing may begin: the unit is not in use
	// and its preconditions hold. It is asked before the new version is
	// made ready, and again right before it takes the old one's place. Its
	// error is shown to the owner. nil: always.
	MayBegin func(ctx context.Context, u *unitkit.Update) error

	// Restart makes the unit run what is active now: it restarts a service,
	// or the machine.
	Restart func(ctx context.Context, u *unitkit.Update) error
	// BootID is another one after each start of the machine; nil when
	// Restart returns only once the new version runs.
	BootID func() (string, error)

	// Healthy probes the unit once; nil: always healthy.
	Healthy func(ctx context.Context) error
	Health  Health

	// Tell tells the server what the owner chose on the unit; nil: it stands
	// in the report's words.
	Tell func(ctx context.Context, u *unitkit.Update, c Choice) error

	// Delta writes a target's bytes made of what the unit has, to save a
	// download; an error means that the whole is fetched. nil: never.
	Delta func(ctx context.Context, t unitkit.Target, w io.Writer) error

	Checkpoint int64 // bytes downloaded between two syncs (default 4 MiB): what a power cut may cost

	Now func() time.Time // nil: time.Now
	Log *slog.Logger
}

// Health is how often and how long a new version is probed.
type Health struct {
	Attempts int           // probes that may fail (default 5)
	Passes   int           // probes that must pass, one after another (default 1)
	Interval time.Duration // between two probes (default 10 s)
	Deadline time.Duration // for all of them (default 5 min)
}

const (
	retryAfter     = 30 * time.Second
	recheckAfter   = 30 * time.Second // while waiting for a veto to go
	restartAgain   = 5 * time.Minute  // a restart that did not come is asked for again
	maxStarts      = 3                // starts of this program on a version that is on trial
	maxReturns     = 5                // attempts to return
	maxRetries     = 2                // downloads that do not verify
	maxOutbox      = 32
	maxDetails     = 20
	maxDetailBytes = 500
)

// Updater installs updates. Its methods may be called at the same time, Step
// by one goroutine only.
type Updater struct {
	cfg Config
	log *slog.Logger

	// Of Step's goroutine alone.
	resumed bool // checking was entered by this process
	from    time.Time
	failed  int // probes
	passed  int
	asked   time.Time // when a restart was asked for
	retries int       // of what failed and may be better next time
	waiting string    // the reason reported last

	mu     sync.Mutex
	j      *Journal
	said   []string           // words for the next report
	why    string             // what it waits for now, for people
	stop   context.CancelFunc // of a download
	damage bool
}

// Open takes up an Updater where it was. A journal that cannot be read is set
// aside: the unit is idle then, and Damaged says so.
func Open(cfg Config) (*Updater, error) {
	if cfg.FS == nil {
		cfg.FS = OS{}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // the default of a public library
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &cfg.Health
	h.Attempts, h.Passes = max(h.Attempts, 0), max(h.Passes, 1)
	if h.Attempts == 0 {
		h.Attempts = 5
	}
	if h.Interval <= 0 {
		h.Interval = 10 * time.Second
	}
	if h.Deadline <= 0 {
		h.Deadline = 5 * time.Minute
	}
	if cfg.Checkpoint <= 0 {
		cfg.Checkpoint = 4 << 20
	}
	u := &Updater{cfg: cfg, log: cfg.Log}
	if err := MkdirAll(cfg.FS, u.downloads(), 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", u.downloads(), err)
	}
	j, err := load(cfg.FS, cfg.Dir)
	if errors.Is(err, ErrJournal) {
		cfg.Log.Error("the journal of updates is damaged and is set aside as journal.bad: whatever was going on is given up, what runs stays", "err", err)
		at := filepath.Join(cfg.Dir, journalName)
		if err := cfg.FS.Rename(at, filepath.Join(cfg.Dir, "journal.bad")); err != nil {
			return nil, fmt.Errorf("set the damaged journal aside: %w", err)
		}
		j, u.damage, err = &Journal{State: Idle}, true, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal of updates: %w", err)
	}
	u.j = j
	return u, nil
}

// Damaged reports whether Open found a journal that could not be read.
func (u *Updater) Damaged() bool { return u.damage }

func (u *Updater) downloads() string { return filepath.Join(u.cfg.Dir, "download") }

func (u *Updater) path(t unitkit.Target) string { return filepath.Join(u.downloads(), t.SHA256) }

// Journal is a copy of what the Updater knows.
func (u *Updater) Journal() *Journal {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.j.clone()
}

// change replaces the journal by what fn makes of it; when fn or the disk
// fails it stays as it was.
func (u *Updater) change(fn func(j *Journal) error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	next := u.j.clone()
	if err := fn(next); err != nil {
		return err
	}
	if err := save(u.cfg.FS, u.cfg.Dir, next); err != nil {
		return fmt.Errorf("write the journal of updates: %w", err)
	}
	if next.State != u.j.State {
		u.log.Info("update", "state", next.State, "action", action(next), "why", next.Why)
		u.why = ""
	}
	u.j = next
	return nil
}

func action(j *Journal) int64 {
	if j.Update == nil {
		return 0
	}
	return j.Update.Action
}

// Refusals of an offer.
var (
	ErrBusy     = errors.New("another update is being installed")
	ErrTooLate  = errors.New("the update is being installed: it can no longer be stopped")
	ErrRollback = errors.New("its release counter is below the one that this unit has confirmed")
	ErrNoPart   = errors.New("this unit has no installer for the component")
	ErrUpdate   = errors.New("the update cannot be read")
	ErrNoUpdate = errors.New("the server has given no update to decide on; one that is only offered is chosen in the portal first")
)

// errSame says that nothing changes.
var errSame = errors.New("nothing changes")

// Offer takes up an update. One that is known already gets the owner's time
// that stands in it now; one that has ended is answered with its result, once
// more. It takes the place of another one that has not been begun.
func (u *Updater) Offer(ctx context.Context, n unitkit.Update) error {
	if n.Cancel {
		return u.Cancel(ctx, n)
	}
	if err := u.check(&n); err != nil {
		return err
	}
	err := u.change(func(j *Journal) error {
		if j.Last != nil && j.Last.Action == n.Action && (j.Update == nil || j.Update.Action != n.Action) {
			if slices.ContainsFunc(j.Outbox, func(m Message) bool { return m.Update.Action == n.Action && m.ended() }) {
				return errSame
			}
			u.result(j, n, j.Last.Result, j.Last.Why)
			return nil
		}
		for _, t := range n.Targets {
			if t.Counter < j.Counters[t.Component] {
				return fmt.Errorf("%w: %s %s has counter %d, confirmed is %d", ErrRollback, t.Component, t.Version, t.Counter, j.Counters[t.Component])
			}
		}
		switch {
		case j.Update == nil:
		case j.Update.Action == n.Action:
			if j.State.Begun() || j.Update.NotBefore.Equal(n.NotBefore) && j.Update.NotAfter.Equal(n.NotAfter) {
				return errSame
			}
			if !j.Update.NotBefore.Equal(n.NotBefore) {
				j.Choice = nil // the owner has chosen anew
			}
			j.Update.NotBefore, j.Update.NotAfter = n.NotBefore, n.NotAfter
			return nil
		case j.State.Begun():
			return ErrBusy
		}
		j.begin(n)
		return nil
	})
	if errors.Is(err, errSame) {
		return nil
	}
	if err == nil {
		u.interrupt()
	}
	return err
}

// begin starts on an update, in place of one that has not been begun. What was
// downloaded of its targets before is used.
func (j *Journal) begin(n unitkit.Update) {
	j.clear()
	j.State, j.Update, j.Tasks = Downloading, &n, make([]Step, len(n.Targets))
	for sha := range j.Got {
		if !slices.ContainsFunc(n.Targets, func(t unitkit.Target) bool { return t.SHA256 == sha }) {
			delete(j.Got, sha)
		}
	}
}

// clear forgets the update that was, save what was downloaded of it.
func (j *Journal) clear() {
	got := j.Got
	if j.Update != nil && !j.State.Begun() {
		for i, t := range j.Update.Targets {
			if j.Tasks[i].Done || j.State != Downloading {
				set(&got, t.SHA256, t.Length)
			}
		}
	}
	*j = Journal{State: Idle, Got: got, Counters: j.Counters, Versions: j.Versions, Last: j.Last, Outbox: j.Outbox, Sent: j.Sent}
}

func (u *Updater) check(n *unitkit.Update) error {
	if n.Action <= 0 || len(n.Targets) == 0 {
		return fmt.Errorf("%w: no action, or no targets", ErrUpdate)
	}
	seen := map[string]bool{}
	for _, t := range n.Targets {
		switch {
		case u.cfg.Parts[t.Component] == nil:
			return fmt.Errorf("%w %q: add it to the configuration", ErrNoPart, t.Component)
		case seen[t.Component]:
			return fmt.Errorf("%w: component %q twice", ErrUpdate, t.Component)
		case len(t.SHA256) != 64 || strings.Trim(t.SHA256, "0123456789abcdef") != "" || t.Length <= 0:
			return fmt.Errorf("%w: target %q has no hash or length", ErrUpdate, t.Filename)
		}
		seen[t.Component] = true
	}
	return nil
}

// Cancel stops an update that has not been begun; else it is ErrTooLate, and
// the server is told so. One that is not known, or has ended, is answered too.
func (u *Updater) Cancel(_ context.Context, n unitkit.Update) error {
	late := false
	err := u.change(func(j *Journal) error {
		n.Cancel = true
		switch {
		case j.Update == nil || j.Update.Action != n.Action:
			if j.Last != nil && j.Last.Action == n.Action && j.Last.Result == unitkit.StateInstalled {
				late = true
				u.post(j, n, unitkit.StateRefused, "it is installed")
				return nil
			}
			u.result(j, n, unitkit.StateCanceled, "")
		case j.State.Begun():
			late = true
			u.post(j, n, unitkit.StateRefused, ErrTooLate.Error())
		default:
			u.result(j, n, unitkit.StateCanceled, "stopped before anything was changed")
			j.clear()
		}
		return nil
	})
	if err == nil && late {
		err = ErrTooLate
	}
	if err == nil {
		u.interrupt()
	}
	return err
}

// Nothing is to be called when the server has nothing for this unit to do: what
// has not been begun was withdrawn, or is withheld until the owner says
// otherwise, and is forgotten. What was downloaded of it is kept until there
// is another update.
func (u *Updater) Nothing() error {
	err := u.change(func(j *Journal) error {
		if j.Update == nil || j.State.Begun() {
			return errSame
		}
		u.log.Info("update: the server offers it no longer", "action", j.Update.Action, "release", j.Update.Release)
		j.clear()
		return nil
	})
	if errors.Is(err, errSame) {
		return nil
	}
	u.interrupt()
	return err
}

// interrupt ends a download that goes on, so that Step looks again.
func (u *Updater) interrupt() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stop != nil {
		u.stop()
	}
}

// Status is an Updater in a few words.
type Status struct {
	State     State             `json:"state"`
	Action    int64             `json:"action,omitempty"`
	Release   string            `json:"release,omitempty"`
	Kind      string            `json:"kind,omitempty"`
	Waiting   string            `json:"waiting,omitempty"` // for what
	NotBefore time.Time         `json:"notBefore,omitzero"`
	Got       int64             `json:"got,omitempty"` // bytes
	Of        int64             `json:"of,omitempty"`
	Choice    *Choice           `json:"choice,omitempty"`
	Why       string            `json:"why,omitempty"`
	Versions  map[string]string `json:"versions,omitempty"` // that were committed
	Counters  map[string]uint64 `json:"counters,omitempty"`
	Last      *Ended            `json:"last,omitempty"`
	Unsent    int               `json:"unsent,omitempty"` // reports that the server has yet to get
}

// Status tells where the Updater stands.
func (u *Updater) Status() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	j := u.j.clone()
	s := Status{
		State: j.State, Waiting: u.why, Choice: j.Choice, Why: j.Why,
		Versions: j.Versions, Counters: j.Counters, Last: j.Last, Unsent: len(j.Outbox),
	}
	if j.Update != nil {
		s.Action, s.Release, s.Kind, s.NotBefore = j.Update.Action, j.Update.Release, j.Update.Kind, j.Update.NotBefore
		for i, t := range j.Update.Targets {
			s.Of += t.Length
			if j.Tasks[i].Done || j.State != Downloading {
				s.Got += t.Length
			} else {
				s.Got += j.Got[t.SHA256]
			}
		}
	}
	return s
}
