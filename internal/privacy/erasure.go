package privacy

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// The steps of an erasure, in order. Each may be done again.
const (
	StepStop      = "stop"    // nothing more is collected or shown: consents are withdrawn, sign-ins ended
	StepRecords   = "records" // every table
	StepSettle    = "settle"  // wait until history and detectors have read what the stream holds
	StepDetectors = "detectors"
	StepHistory   = "history"
	StepStream    = "stream"
	StepFiles     = "files"   // exports and other files of theirs
	StepCompact   = "compact" // overwrite what deleted rows leave in files
	StepSearch    = "search"  // look whether anything is left
)

// Steps are all of them.
var Steps = []string{StepStop, StepRecords, StepSettle, StepDetectors, StepHistory, StepStream, StepFiles, StepCompact, StepSearch}

// Within is how long an erasure takes at most in what the service works with,
// with 10,000 units a second read: longer is said in the log. Backups: see
// Config.Backups.
const Within = 24 * time.Hour

// Stores is what an erasure asks the stores for; each may be asked again.
type Stores struct {
	// Stop withdraws consents and ends sign-ins, and tells those who act on them.
	Stop func(ctx context.Context, s *Subject) error
	// Unlinked is called in the transaction that unlinked the units.
	Unlinked func(ctx context.Context, s *Subject) error
	// Changed is called once that is committed.
	Changed func(ctx context.Context, s *Subject) error
	// Last is the newest position of the stream, and Settled waits until all have read up to one.
	Last    func(ctx context.Context) (uint64, error)
	Settled func(ctx context.Context, position uint64) error
	// Detectors forgets states of units.
	Detectors func(ctx context.Context, s *Subject) error
	History   func(ctx context.Context, s *Subject) error
	Stream    func(ctx context.Context, position uint64) error
	// Files removes files of the person's: by name of what they are, how many.
	Files func(ctx context.Context, s *Subject) (map[string]int, error)
}

// Config is what the service works with.
type Config struct {
	Store  Store
	Tx     fleet.Transactor
	Fleet  fleet.Store
	Trail  *audit.Trail
	Stores Stores
	Clock  clock.Clock // the machine's
	IDs    clock.IDs
	Log    *slog.Logger

	// Backups is how long after an erasure a backup from before it can be read
	// at most (default 30 days).
	Backups time.Duration
	// Told tells a person, in the transaction of the change, that their request
	// was received, takes longer or is answered; may be nil.
	Told func(ctx context.Context, r Request) error
	// Limited is told of units whose restrictions have changed; may be nil.
	Limited func(ctx context.Context, units []string) error
}

// Service takes requests and does erasures.
type Service struct {
	cfg  Config
	wake chan struct{}
}

// NewService makes the service.
func NewService(cfg Config) *Service {
	if cfg.Backups == 0 {
		cfg.Backups = 30 * 24 * time.Hour
	}
	return &Service{cfg: cfg, wake: make(chan struct{}, 1)}
}

// Proof is what a receipt names a person by: nobody can tell whose it is
// without both the address and the secret.
func Proof(email, secret string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(strings.ToLower(strings.TrimSpace(email))))
	return hex.EncodeToString(m.Sum(nil))
}

// Hash is how it is remembered that somebody was erased: the SHA-256 of their
// random id, which says nothing to anybody who does not know the id.
func Hash(ownerID string) string {
	sum := sha256.Sum256([]byte(ownerID))
	return hex.EncodeToString(sum[:])
}

// Again begins to erase those of the records whose hashes are given: records
// from a backup. It says how many there are.
func (s *Service) Again(ctx context.Context, hashes []string) (n int, err error) {
	gone := map[string]bool{}
	for _, h := range hashes {
		gone[h] = true
	}
	if len(gone) == 0 {
		return 0, nil
	}
	ids, err := s.cfg.Store.Owners(ctx)
	if err != nil {
		return 0, err
	}
	open, err := s.cfg.Store.Unended(ctx)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if !gone[Hash(id)] {
			continue
		}
		n++
		if slices.ContainsFunc(open, func(j Job) bool { return j.Subject != nil && j.Subject.OwnerID == id }) {
			continue
		}
		if _, _, err := s.Erase(ctx, id, "restore"); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Erase begins to erase a person. The secret goes to the person and is not
// kept: with it and their address they can show that a receipt is theirs.
func (s *Service) Erase(ctx context.Context, ownerID, askedBy string) (j Job, secret string, err error) {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	secret = hex.EncodeToString(raw)
	err = s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		sub, err := s.cfg.Store.Subject(ctx, ownerID)
		if err != nil {
			return err
		}
		open, err := s.cfg.Store.Unended(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(open, func(o Job) bool { return o.Subject != nil && o.Subject.OwnerID == ownerID }) {
			return fault.New(fault.Conflict, "this person is being erased already")
		}
		now := s.cfg.Clock.Now()
		j = Job{
			ID: s.cfg.IDs.ID(), Subject: &sub, Whose: Hash(ownerID), Proof: Proof(sub.Email, secret), AskedBy: askedBy, Step: Steps[0],
			AskedAt: now, BackupsAt: now.Add(s.cfg.Backups),
		}
		return s.cfg.Store.PutJob(ctx, j)
	})
	if err != nil {
		return Job{}, "", fmt.Errorf("erase a person: %w", err)
	}
	s.Wake()
	return j, secret, nil
}

// Wake makes Run look at once.
func (s *Service) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run does what erasures there are, also those that a crash left half done,
// until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	pause := time.Second
	for {
		switch failed, err := s.Work(ctx); {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was asked to end
		case err != nil:
			s.cfg.Log.WarnContext(ctx, "erasures wait", "error", err)
			pause = min(2*pause, time.Minute)
		case failed:
			pause = min(2*pause, time.Minute)
		default:
			pause = 30 * time.Second
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			pause = time.Second
		case <-time.After(pause):
		}
	}
}

// Work does every erasure that is open as far as it goes. failed says that one
// has to be tried again.
func (s *Service) Work(ctx context.Context) (failed bool, err error) {
	open, err := s.cfg.Store.Unended(ctx)
	if err != nil {
		return true, err
	}
	for _, j := range open {
		for j.EndedAt.IsZero() {
			if err := s.step(ctx, &j); err != nil {
				if ctx.Err() != nil {
					return true, err
				}
				failed = true
				j.Failed, j.Tries = err.Error(), j.Tries+1
				s.cfg.Log.WarnContext(ctx, "a step of an erasure has to be tried again", "erasure", j.ID, "step", j.Step, "error", err)
				if s.cfg.Clock.Now().Sub(j.AskedAt) > Within {
					s.cfg.Log.ErrorContext(ctx, "an erasure takes longer than it may", "erasure", j.ID, "step", j.Step, "asked", j.AskedAt)
				}
				if err := s.cfg.Store.PutJob(ctx, j); err != nil {
					return true, err
				}
				break
			}
		}
	}
	return failed, nil
}

// step does one step and keeps that it is done. One that was done when the
// process died is done again, which changes nothing.
func (s *Service) step(ctx context.Context, j *Job) error {
	st, sub := s.cfg.Stores, j.Subject
	add := func(c ...Count) { j.Counts = append(j.Counts, c...) }
	switch j.Step {
	case StepStop:
		if err := st.Stop(ctx, sub); err != nil {
			return err
		}
	case StepRecords:
		return s.records(ctx, j)
	case StepSettle:
		if err := st.Changed(ctx, sub); err != nil {
			return err
		}
		last, err := st.Last(ctx)
		if err != nil {
			return err
		}
		if j.Position == 0 {
			j.Position = last
		}
		if err := st.Settled(ctx, j.Position); err != nil {
			return err
		}
	case StepDetectors:
		if err := st.Detectors(ctx, sub); err != nil {
			return err
		}
	case StepHistory:
		if err := st.History(ctx, sub); err != nil {
			return err
		}
		add(Count{Place: "history", Deleted: int64(len(sub.Keys))})
		if n := former(sub.Spans); n > 0 {
			add(Count{Place: "history of units that were theirs", Deleted: int64(n)})
		}
	case StepStream:
		if err := st.Stream(ctx, j.Position); err != nil {
			return err
		}
	case StepFiles:
		gone, err := st.Files(ctx, sub)
		if err != nil {
			return err
		}
		for place, n := range gone {
			add(Count{Place: place, Deleted: int64(n)})
		}
	case StepCompact:
		if err := s.cfg.Store.Compact(ctx); err != nil {
			return err
		}
	case StepSearch:
		return s.search(ctx, j)
	default:
		return fault.New(fault.Internal, "an erasure has no step %q", j.Step)
	}
	return s.next(ctx, j)
}

func (s *Service) next(ctx context.Context, j *Job) error {
	j.Step, j.Failed = Steps[slices.Index(Steps, j.Step)+1], ""
	return s.cfg.Store.PutJob(ctx, *j)
}

// records takes the person out of all tables, keeps that it did, and enters it
// in the trail, in one transaction.
func (s *Service) records(ctx context.Context, j *Job) error {
	return s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		// What was added since it was asked for goes, too; what has gone to another since is a span by now.
		now, err := s.cfg.Store.Subject(ctx, j.Subject.OwnerID)
		if fault.KindOf(err) == fault.NotFound { // done before, and not noted
			return s.next(ctx, j)
		}
		if err != nil {
			return err
		}
		for _, list := range []struct {
			into *[]string
			from []string
		}{{&j.Subject.Units, now.Units}, {&j.Subject.Products, now.Products}} {
			for _, v := range list.from {
				if !slices.Contains(*list.into, v) {
					*list.into = append(*list.into, v)
				}
			}
		}
		for _, k := range now.Keys {
			if !slices.Contains(j.Subject.Keys, k) {
				j.Subject.Keys = append(j.Subject.Keys, k)
			}
		}
		j.Subject.Spans = now.Spans
		for i, id := range slices.Backward(j.Subject.Units) {
			if !slices.Contains(now.Units, id) && !now.Whole(id) {
				j.Subject.Units, j.Subject.Keys = slices.Delete(j.Subject.Units, i, i+1), slices.Delete(j.Subject.Keys, i, i+1)
			}
		}
		counts, err := s.cfg.Store.Erase(ctx, *j.Subject)
		if err != nil {
			return err
		}
		if err := s.cfg.Stores.Unlinked(ctx, j.Subject); err != nil {
			return err
		}
		j.Counts = append(j.Counts, counts...)
		err = s.cfg.Trail.Append(ctx, audit.Entry{
			Kind: audit.Change, Actor: audit.Actor{Party: audit.Server, ID: "erasure"}, Operation: "erasePerson", Object: "erasures/" + j.ID,
			Outcome: audit.Done, Changed: []string{fmt.Sprintf("%d tables", len(counts)), fmt.Sprintf("%d units", len(j.Subject.Units))},
		})
		if err != nil {
			return err
		}
		return s.next(ctx, j)
	})
}

// former is how many units were theirs.
func former(spans []Span) int {
	units := map[string]bool{}
	for _, v := range spans {
		units[v.UnitID] = units[v.UnitID] || !v.To.IsZero()
	}
	n := 0
	for _, was := range units {
		if was {
			n++
		}
	}
	return n
}

// search looks through the records for what names the person; finding it is an
// error that somebody has to look at.
func (s *Service) search(ctx context.Context, j *Job) error {
	found, columns, err := s.cfg.Store.Search(ctx, []string{j.Subject.OwnerID, j.Subject.Email})
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return errors.New("the person is still in " + places(found))
	}
	j.Searched, j.Subject, j.Step, j.Failed, j.EndedAt = columns, nil, "", "", s.cfg.Clock.Now()
	// The erasure itself named the person: its row is written over, and the log of the database with it.
	if err := s.cfg.Store.PutJob(ctx, *j); err != nil {
		return err
	}
	if err := s.cfg.Store.Compact(ctx); err != nil {
		s.cfg.Log.WarnContext(ctx, "what an erasure named is overwritten later", "error", err)
	}
	s.cfg.Log.InfoContext(ctx, "a person was erased", "erasure", j.ID, "took", j.EndedAt.Sub(j.AskedAt).Round(time.Millisecond).String())
	return nil
}

func places(found []Place) string {
	var out []string
	for _, p := range found {
		out = append(out, p.Where)
	}
	return strings.Join(out, ", ")
}

// Progress is how many of the steps are done.
func (j *Job) Progress() (done, of int) {
	if !j.EndedAt.IsZero() {
		return len(Steps), len(Steps)
	}
	return slices.Index(Steps, j.Step), len(Steps)
}
