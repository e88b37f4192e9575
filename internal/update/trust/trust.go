// Package trust signs what units may install, so that neither a stolen server
// nor a stolen key can make them run anything else. It keeps two repositories
// of The Update Framework's metadata (specification 1.0.33), arranged as the
// Uptane Standard 2.1.0 has it (sections 5.2.3 to 5.2.5; ADR 15 says what is
// taken and what is not):
//
//   - image: which software exists. Root and targets are signed offline by at
//     least two holders of keys (package ceremony); snapshot and timestamp by
//     the server, whose keys can hide software and not add any.
//   - director: what one unit shall install now, made when that unit asks,
//     signed by the server, good for DirectorLife, bound to the unit's id.
//
// A unit that verifies with unitkit installs only what both say.
package trust

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/trust/ceremony"
)

// How long what the server signs is good for. A unit that hears nothing newer
// within it knows that something is kept from it (a freeze); an attacker in
// the middle can hold back an update no longer than that unnoticed. Each is
// made anew at half of it.
const (
	DirectorLife  = 12 * time.Hour
	TimestampLife = 24 * time.Hour
	SnapshotLife  = 7 * 24 * time.Hour
)

// InstallWithin is how long after the owner's time, or after being told where
// there is none, a unit may begin to install without having asked again.
const InstallWithin = 24 * time.Hour

// TargetsLife is what targets to be signed expire after, if nothing else is said.
const TargetsLife = 365 * 24 * time.Hour

// ImageCustom is what is signed of each image beside length and hash (Uptane
// Standard, 5.2.3.1). unitkit reads the same.
type ImageCustom struct {
	Product        string   `json:"product"`
	Component      string   `json:"component"`
	Version        string   `json:"version"`
	HardwareIDs    []string `json:"hardwareIds,omitempty"`
	ReleaseCounter uint64   `json:"releaseCounter"`
	Release        string   `json:"release"`
}

// DirectorCustom is what is signed of a unit's targets as a whole.
type DirectorCustom struct {
	Unit      string     `json:"unit"`
	Made      time.Time  `json:"made"`
	Action    int64      `json:"action,omitempty"`
	Release   string     `json:"release,omitempty"`
	Kind      string     `json:"kind,omitempty"`
	Counter   uint64     `json:"counter,omitempty"`
	NotBefore *time.Time `json:"notBefore,omitempty"`
	NotAfter  *time.Time `json:"notAfter,omitempty"`
	Order     []string   `json:"order,omitempty"`
}

// Requirement says that a product's releases are offered only once they are signed.
type Requirement struct {
	Product string    `json:"product"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
}

// SealedKey is an online key as the records hold it.
type SealedKey struct {
	Name   string // one of ceremony.OnlineKeys
	Next   bool   // not in use until a root names it
	Sealed []byte // Ed25519 seed, AES-256-GCM under the key in the data directory
	At     time.Time
}

// Reporter is what is known of a unit's signed version reports.
type Reporter struct {
	Unit     string
	Key      []byte // Ed25519 public key, from its first report
	Sequence uint64 // of its last
	At       time.Time
	Report   []byte // the last, as signed
}

// Store keeps metadata, sealed keys, requirements and reports.
type Store interface {
	PutMetadata(ctx context.Context, repository, role string, version int64, body []byte, at time.Time) error
	// Metadata is a version of a role's metadata, 0 the newest; fault.NotFound without.
	Metadata(ctx context.Context, repository, role string, version int64) ([]byte, error)
	// TrimMetadata drops all versions of a role's metadata below one.
	TrimMetadata(ctx context.Context, repository, role string, below int64) error

	PutKey(ctx context.Context, k SealedKey) error
	Keys(ctx context.Context) ([]SealedKey, error)
	// Promote makes the next key of a name the one in use; the one before is forgotten.
	Promote(ctx context.Context, name string) error

	Require(ctx context.Context, r Requirement) error
	Release(ctx context.Context, product string) error
	Required(ctx context.Context) ([]Requirement, error)

	// Reporter is fault.NotFound of a unit that never sent a signed report.
	Reporter(ctx context.Context, unitID string) (Reporter, error)
	PutReporter(ctx context.Context, r Reporter) error
	ForgetReporter(ctx context.Context, unitID string) error

	// Ceiling is the number below which all director versions given so far are.
	Ceiling(ctx context.Context) (int64, error)
	PutCeiling(ctx context.Context, n int64) error
}

// Releases is what the room update knows of software; update.Store is one.
type Releases interface {
	Releases(ctx context.Context, product string) ([]update.Release, error)
	Artifact(ctx context.Context, sha256 string) (update.Artifact, error)
}

// Assignments tells what a unit shall install; *update.Service is one.
type Assignments interface {
	Directed(ctx context.Context, unitID string) (update.Assignment, update.Release, error)
}

// Config is what a Service works with.
type Config struct {
	Store    Store
	Releases Releases
	Tx       fleet.Transactor
	Clock    clock.Clock
	Log      *slog.Logger
	Server   string // its address, in what is exported
	Seal     []byte // 32 bytes: opens the online keys
	// Versions takes what a unit has proven to run.
	Versions func(ctx context.Context, unitID string, versions map[string]string) error
	// Refused counts what was refused, by its name.
	Refused func(name string)
}

// Service keeps both repositories. Whoever asks reads a state that does not
// change; whoever changes something makes the next one.
type Service struct {
	cfg         Config
	assignments Assignments

	writing sync.Mutex // one change at a time
	now     atomic.Pointer[state]
	units   units
}

// state is what is in force.
type state struct {
	online   map[string]ceremony.Signer // keys in use
	next     map[string]ceremony.Signer // to be used once a root names them
	image    *metadata.Metadata[metadata.RootType]
	director *metadata.Metadata[metadata.RootType]
	targets  *metadata.Metadata[metadata.TargetsType]
	rootOf   map[string][]byte   // newest root by repository, as signed
	body     []byte              // targets, as signed
	signed   map[string][]string // targets by release
	required map[string]Requirement

	stamp, snap       []byte // image timestamp and snapshot, as signed
	stampN, snapN     int64
	stampEnd, snapEnd time.Time
}

// NewService opens what is kept.
func NewService(ctx context.Context, cfg Config) (*Service, error) {
	s := &Service{cfg: cfg}
	s.units.init(cfg.Store)
	if s.cfg.Refused == nil {
		s.cfg.Refused = func(string) {}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	return s, s.load(ctx)
}

// Assign tells where assignments are; call it before the first unit asks.
func (s *Service) Assign(a Assignments) { s.assignments = a }

// load makes what the records hold the state. The caller is the one who writes.
func (s *Service) load(ctx context.Context) error {
	n := &state{required: map[string]Requirement{}, rootOf: map[string][]byte{}, signed: map[string][]string{}}
	var err error
	if n.online, n.next, err = s.openKeys(ctx); err != nil {
		return err
	}
	list, err := s.cfg.Store.Required(ctx)
	if err != nil {
		return err
	}
	for _, r := range list {
		n.required[r.Product] = r
	}
	if err := s.loadMetadata(ctx, n); err != nil {
		return fmt.Errorf("update metadata in the records: %w", err)
	}
	s.now.Store(n)
	return nil
}

func (s *Service) loadMetadata(ctx context.Context, n *state) error {
	read := func(repository, role string) (b []byte, err error) {
		b, err = s.cfg.Store.Metadata(ctx, repository, role, 0)
		if fault.KindOf(err) == fault.NotFound {
			return nil, nil
		}
		return b, err
	}
	for _, x := range []struct {
		repository string
		root       **metadata.Metadata[metadata.RootType]
	}{{ceremony.Image, &n.image}, {ceremony.Director, &n.director}} {
		b, err := read(x.repository, metadata.ROOT)
		if err != nil || b == nil {
			return err
		}
		if *x.root, err = ceremony.Root(b); err != nil {
			return err
		}
		n.rootOf[x.repository] = b
	}
	var err error
	if n.body, err = read(ceremony.Image, metadata.TARGETS); err != nil || n.body == nil {
		return err
	}
	if n.targets, err = ceremony.Targets(n.body); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(n.targets.Signed.Targets)) {
		c, err := custom(n.targets.Signed.Targets[name])
		if err != nil {
			return err
		}
		n.signed[c.Release] = append(n.signed[c.Release], name)
	}
	if n.snap, err = read(ceremony.Image, metadata.SNAPSHOT); err != nil || n.snap == nil {
		return err
	}
	snap, err := metadata.Snapshot().FromBytes(n.snap)
	if err != nil {
		return err
	}
	n.snapN, n.snapEnd = snap.Signed.Version, snap.Signed.Expires
	if n.stamp, err = read(ceremony.Image, metadata.TIMESTAMP); err != nil || n.stamp == nil {
		return err
	}
	stamp, err := metadata.Timestamp().FromBytes(n.stamp)
	if err != nil {
		return err
	}
	n.stampN, n.stampEnd = stamp.Signed.Version, stamp.Signed.Expires
	return nil
}

// CodeUnsigned is why a release of a product for which trust is required is
// not offered: its images are not in the targets that the holders of the
// offline keys have signed.
const CodeUnsigned update.Code = "unsigned"

// Refuse is why a release may not be offered for want of signatures; nil if it
// may.
func (s *Service) Refuse(ctx context.Context, r *update.Release) (*update.Refusal, error) {
	n := s.now.Load()
	if _, required := n.required[r.Product]; !required {
		return nil, nil
	}
	targets := n.targets
	refusal := &update.Refusal{Code: CodeUnsigned, Name: r.Name, Why: "its targets are not signed offline yet: fettle keys export, sign with enough keys, fettle keys import"}
	want, err := s.describe(ctx, r)
	if err != nil {
		return nil, err
	}
	if targets == nil || targets.Signed.IsExpired(s.cfg.Clock.Now()) {
		if targets != nil {
			refusal.Why = "the signed targets have expired: fettle keys export, sign with enough keys, fettle keys import"
		}
		return refusal, nil
	}
	for name, f := range want {
		if !equal(targets.Signed.Targets[name], f) {
			refusal.Need = name
			return refusal, nil
		}
	}
	return nil, nil
}
