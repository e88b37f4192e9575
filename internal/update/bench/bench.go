// Package bench keeps what tools written for hawkBit work with, software modules
// and distribution sets, and gives them to units: at once to those on a bench,
// that have no owner, by a campaign of one unit to any other.
package bench

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// File is an artifact of a module.
type File struct {
	ID     int64  `json:"id"`
	SHA256 string `json:"sha256"`
	Name   string `json:"name,omitempty"` // as it was uploaded for this module
}

// Module is a piece of software with the files it is installed from.
type Module struct {
	ID          int64     `json:"-"`
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Type        string    `json:"type"`
	Description string    `json:"description,omitempty"`
	Vendor      string    `json:"vendor,omitempty"`
	Files       []File    `json:"files,omitempty"`
	At          time.Time `json:"at"`
}

// Set is what is given to units: modules that belong together.
type Set struct {
	ID          int64     `json:"-"`
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Type        string    `json:"type"`
	Description string    `json:"description,omitempty"`
	Modules     []int64   `json:"modules"`
	At          time.Time `json:"at"`
}

// Kind says what a document of the store is.
type Kind string

// The kinds. A setting's and a token's document is named, the others are numbered.
const (
	KindModule  Kind = "module"
	KindSet     Kind = "set"
	KindFile    Kind = "file"
	KindSetting Kind = "setting"
	KindToken   Kind = "token" // sealed, by unit
)

// Store keeps documents by kind and name. Numbers are given once.
type Store interface {
	// Next gives the next number of a kind.
	Next(ctx context.Context, kind Kind) (int64, error)
	Put(ctx context.Context, kind Kind, name string, doc []byte) error
	Get(ctx context.Context, kind Kind, name string) ([]byte, error) // fault.NotFound if there is none
	Drop(ctx context.Context, kind Kind, name string) error          // fault.NotFound if there is none
	// Each gives the documents of a kind in the order of their numbers.
	Each(ctx context.Context, kind Kind, fn func(name string, doc []byte) error) error
}

// Tokens makes a unit's token valid; *fleet.Provisioning does.
type Tokens interface {
	KnownToken(ctx context.Context, unitID, token string) error
}

// Campaigns gives a release to one unit under its product's owner policy;
// *campaign.Manager does. The task refers to the assignment that is made for it.
type Campaigns interface {
	Single(ctx context.Context, name, unitID string, r update.Release, title, by string) (task string, err error)
}

// Config is what a Service works with.
type Config struct {
	Store     Store
	Updates   *update.Service
	Fleet     fleet.Store
	Tokens    Tokens
	Campaigns Campaigns
	Tx        fleet.Transactor
	Clock     clock.Clock
	IDs       clock.IDs
	Key       []byte // seals tokens of bench units; 32 random bytes
	Product   string // of the units that tools make
	// Changed lets the gateway read units and products anew.
	Changed func(ctx context.Context, products, units []string) error
}

// Service does what tools ask for.
type Service struct {
	cfg      Config
	settings settings
}

// New makes the service.
func New(ctx context.Context, cfg Config) (*Service, error) {
	s := &Service{cfg: cfg}
	return s, s.load(ctx)
}

// Product is the product of the units that tools make.
func (s *Service) Product() string { return s.cfg.Product }

func number(id int64) string { return strconv.FormatInt(id, 10) }

const longest = 128 // of names and versions

func check(what string, fields ...[2]string) error {
	var m []fault.Field
	for _, f := range fields {
		if v := strings.TrimSpace(f[1]); v == "" || len(f[1]) > longest {
			m = append(m, fault.Field{Path: f[0], Expected: fmt.Sprintf("1 to %d characters", longest), Got: f[1]})
		}
	}
	return fault.Fields(what, m)
}

// AddModule keeps a module.
func (s *Service) AddModule(ctx context.Context, m Module) (Module, error) {
	if err := check("software module", [2]string{"name", m.Name}, [2]string{"version", m.Version}, [2]string{"type", m.Type}); err != nil {
		return m, err
	}
	m.At, m.Files = s.cfg.Clock.Now(), nil
	return m, add(ctx, s, KindModule, &m, &m.ID)
}

// Module is a module by its number.
func (s *Service) Module(ctx context.Context, id int64) (Module, error) {
	var m Module
	err := get(ctx, s, KindModule, id, &m)
	m.ID = id
	return m, err
}

// Modules are all modules.
func (s *Service) Modules(ctx context.Context) ([]Module, error) {
	return all(ctx, s, KindModule, func(m *Module, id int64) { m.ID = id })
}

// DropModule forgets a module. One that is gone already is no error: tools
// that tidy up do it twice.
func (s *Service) DropModule(ctx context.Context, id int64) error {
	return s.drop(ctx, KindModule, id)
}

func (s *Service) drop(ctx context.Context, kind Kind, id int64) error {
	return s.cfg.Tx.InTx(ctx, func(ctx context.Context) error { return gone(s.cfg.Store.Drop(ctx, kind, number(id))) })
}

func gone(err error) error {
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// AddFile keeps an artifact that was uploaded as one of a module's files.
func (s *Service) AddFile(ctx context.Context, module int64, a update.Artifact) (File, error) {
	var f File
	err := s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		m, err := s.Module(ctx, module)
		if err != nil {
			return err
		}
		if f.ID, err = s.cfg.Store.Next(ctx, KindFile); err != nil {
			return err
		}
		f.SHA256, f.Name = a.SHA256, a.Filename
		m.Files = append(m.Files, f)
		return put(ctx, s, KindModule, number(module), &m)
	})
	return f, err
}

// File is a file of a module with what is known of its bytes.
func (s *Service) File(ctx context.Context, module, file int64) (update.Artifact, error) {
	m, err := s.Module(ctx, module)
	if err != nil {
		return update.Artifact{}, err
	}
	i := slices.IndexFunc(m.Files, func(f File) bool { return f.ID == file })
	if i < 0 {
		return update.Artifact{}, fault.New(fault.NotFound, "module %d has no artifact %d", module, file)
	}
	a, err := s.cfg.Updates.Artifact(ctx, m.Files[i].SHA256)
	return a.Named(m.Files[i].Name), err
}

// DropFile takes a file from a module. Its bytes stay while something else
// needs them.
func (s *Service) DropFile(ctx context.Context, module, file int64) error {
	return s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		m, err := s.Module(ctx, module)
		if err != nil {
			return err
		}
		n := len(m.Files)
		m.Files = slices.DeleteFunc(m.Files, func(f File) bool { return f.ID == file })
		if len(m.Files) == n {
			return fault.New(fault.NotFound, "module %d has no artifact %d", module, file)
		}
		return put(ctx, s, KindModule, number(module), &m)
	})
}

// AddSet keeps a set of modules that are known.
func (s *Service) AddSet(ctx context.Context, d Set) (Set, error) {
	if err := check("distribution set", [2]string{"name", d.Name}, [2]string{"version", d.Version}, [2]string{"type", d.Type}); err != nil {
		return d, err
	}
	for _, id := range d.Modules {
		if _, err := s.Module(ctx, id); err != nil {
			return d, err
		}
	}
	d.At = s.cfg.Clock.Now()
	return d, add(ctx, s, KindSet, &d, &d.ID)
}

// Set is a set by its number.
func (s *Service) Set(ctx context.Context, id int64) (Set, error) {
	var d Set
	err := get(ctx, s, KindSet, id, &d)
	d.ID = id
	return d, err
}

// Sets are all sets.
func (s *Service) Sets(ctx context.Context) ([]Set, error) {
	return all(ctx, s, KindSet, func(d *Set, id int64) { d.ID = id })
}

// DropSet forgets a set.
func (s *Service) DropSet(ctx context.Context, id int64) error {
	return s.drop(ctx, KindSet, id)
}
