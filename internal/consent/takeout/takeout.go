// Package takeout makes an owner's export: everything about them and their
// units, in files that other programs read, with a description of each column.
// It is made part by part in a directory of its own, so that a crash costs the
// part that was being made, and sent as one archive that is written as it is
// read: neither needs memory for more than a part of a file.
package takeout

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
)

// State is where an export stands.
type State string

// The states of an export.
const (
	Waiting State = "waiting"
	Running State = "running"
	Ready   State = "ready"
	Failed  State = "failed"
	Expired State = "expired"
)

// Export is one that an owner asked for.
type Export struct {
	ID        string    `json:"id"`
	OwnerID   string    `json:"-"`
	Language  string    `json:"language"`
	State     State     `json:"state" enum:"waiting,running,ready,failed,expired"`
	AskedAt   time.Time `json:"askedAt"`
	Done      int       `json:"done" doc:"Parts that are done, of total."`
	Total     int       `json:"total"`
	Bytes     int64     `json:"bytes,omitempty" doc:"Of its files, before they are packed."`
	Why       string    `json:"why,omitempty" doc:"Why it failed."`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	ExpiresAt time.Time `json:"expiresAt,omitzero" doc:"The link is good until then."`
}

// Store keeps exports.
type Store interface {
	Put(ctx context.Context, e Export) error
	Export(ctx context.Context, id string) (Export, error)
	// Of are an owner's, the newest first.
	Of(ctx context.Context, ownerID string) ([]Export, error)
	// In are those in states, the oldest first.
	In(ctx context.Context, states ...State) ([]Export, error)
}

// Part is one step of making an export. Name tells it from the others, in every
// run the same; Write puts files into a directory that is empty.
type Part struct {
	Name  string
	Write func(ctx context.Context, dir string) error
}

// Config is what a Manager works with; all of it is needed.
type Config struct {
	Store Store
	Clock clock.Clock
	IDs   clock.IDs
	Log   *slog.Logger
	Dir   string // of all exports
	// Parts are those of an owner's export, in order.
	Parts func(ctx context.Context, e Export) ([]Part, error)
	Life  time.Duration // how long the link is good
}

// Manager makes exports, one at a time.
type Manager struct {
	c    Config
	wake chan struct{}
}

// New makes the manager.
func New(c Config) *Manager {
	if c.Life == 0 {
		c.Life = 7 * 24 * time.Hour
	}
	return &Manager{c: c, wake: make(chan struct{}, 1)}
}

// Ask begins an export. One that is under way is given instead of another.
func (m *Manager) Ask(ctx context.Context, ownerID, language string) (Export, error) {
	all, err := m.c.Store.Of(ctx, ownerID)
	if err != nil {
		return Export{}, err
	}
	now := m.c.Clock.Now()
	recent := 0
	for _, e := range all {
		if e.State == Waiting || e.State == Running {
			return e, nil
		}
		if now.Sub(e.AskedAt) < 24*time.Hour {
			recent++
		}
	}
	if recent >= 10 {
		return Export{}, fault.New(fault.Unavailable, "there were ten exports within a day: take one of those, or try again tomorrow")
	}
	e := Export{ID: m.c.IDs.ID(), OwnerID: ownerID, Language: language, State: Waiting, AskedAt: now}
	if err := m.c.Store.Put(ctx, e); err != nil {
		return e, fmt.Errorf("export: %w", err)
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return e, nil
}

// Of are an owner's exports, the newest first.
func (m *Manager) Of(ctx context.Context, ownerID string) ([]Export, error) {
	return m.c.Store.Of(ctx, ownerID)
}

// Export is one of an owner's.
func (m *Manager) Export(ctx context.Context, ownerID, id string) (Export, error) {
	e, err := m.c.Store.Export(ctx, id)
	if err == nil && e.OwnerID != ownerID {
		err = fault.New(fault.NotFound, "no export %q", id)
	}
	return e, err
}

// Drop removes an owner's export with its files.
func (m *Manager) Drop(ctx context.Context, ownerID, id string) error {
	e, err := m.Export(ctx, ownerID, id)
	if err != nil {
		return err
	}
	return m.expire(ctx, e)
}

func (m *Manager) expire(ctx context.Context, e Export) error {
	if err := os.RemoveAll(m.dir(e)); err != nil {
		return fmt.Errorf("remove export: %w", err)
	}
	e.State, e.Bytes = Expired, 0
	return m.c.Store.Put(ctx, e)
}

func (m *Manager) dir(e Export) string { return filepath.Join(m.c.Dir, filepath.Base(e.ID)) }

// Archive writes a ready export as a ZIP archive.
func (m *Manager) Archive(ctx context.Context, e Export, w io.Writer) error {
	if err := m.Good(e); err != nil {
		return err
	}
	z := zip.NewWriter(w)
	root := m.dir(e)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		_, name, ok := strings.Cut(filepath.ToSlash(rel), "/") // the part's own directory is left out
		if !ok {
			return nil
		}
		h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: e.EndedAt}
		if strings.HasSuffix(name, ".parquet") { // packed already
			h.Method = zip.Store
		}
		f, err := os.Open(path) //nolint:gosec // our own directory
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		out, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, f)
		return err
	})
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return z.Close()
}

// Good refuses an export that cannot be fetched now.
func (m *Manager) Good(e Export) error {
	switch {
	case e.State == Waiting || e.State == Running:
		return fault.New(fault.Conflict, "the export is being made: %d of %d parts are done", e.Done, e.Total)
	case e.State == Failed:
		return fault.New(fault.Conflict, "the export failed: %s", e.Why)
	case e.State == Expired || !m.c.Clock.Now().Before(e.ExpiresAt):
		return fault.New(fault.NotFound, "the link is not good any more: ask for a new export")
	}
	return nil
}

// Run makes what is asked for, and removes what has expired, until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	if err := os.MkdirAll(m.c.Dir, 0o700); err != nil {
		return fmt.Errorf("exports: %w", err)
	}
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		if err := m.pass(ctx); err != nil && ctx.Err() == nil {
			m.c.Log.WarnContext(ctx, "exports", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		case <-t.C:
		}
	}
}

func (m *Manager) pass(ctx context.Context) error {
	all, err := m.c.Store.In(ctx, Running, Waiting)
	if err != nil {
		return err
	}
	for _, e := range all {
		err := m.make(ctx, &e)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it goes on at the next start
		}
		if err != nil {
			m.c.Log.ErrorContext(ctx, "an export failed", "export", e.ID, "error", err)
			e.State, e.Why, e.EndedAt = Failed, "something went wrong on our side; ask for another", m.c.Clock.Now()
			err = errors.Join(os.RemoveAll(m.dir(e)), m.c.Store.Put(ctx, e))
		}
		if err != nil {
			return err
		}
	}
	ready, err := m.c.Store.In(ctx, Ready)
	if err != nil {
		return err
	}
	for _, e := range ready {
		if !m.c.Clock.Now().Before(e.ExpiresAt) {
			if err := m.expire(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// make writes the parts that are not there yet, each under another name until
// it is whole.
func (m *Manager) make(ctx context.Context, e *Export) error {
	parts, err := m.c.Parts(ctx, *e)
	if err != nil {
		return err
	}
	e.State, e.Total, e.Done = Running, len(parts), 0
	if err := os.MkdirAll(m.dir(*e), 0o700); err != nil {
		return err
	}
	for i, p := range parts {
		whole := filepath.Join(m.dir(*e), fmt.Sprintf("%06d", i))
		if _, err := os.Stat(whole); err == nil {
			e.Done++
			continue
		}
		half := whole + ".half"
		if err := errors.Join(os.RemoveAll(half), os.MkdirAll(half, 0o700)); err != nil {
			return err
		}
		if err := p.Write(ctx, half); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if err := os.Rename(half, whole); err != nil {
			return err
		}
		e.Done++
		if err := m.c.Store.Put(ctx, *e); err != nil {
			return err
		}
	}
	if e.Bytes, err = size(m.dir(*e)); err != nil {
		return err
	}
	e.State, e.EndedAt = Ready, m.c.Clock.Now()
	e.ExpiresAt = e.EndedAt.Add(m.c.Life)
	return m.c.Store.Put(ctx, *e)
}

func size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// Column describes one column of a file.
type Column struct {
	Name     string
	Title    string
	About    string
	Type     string // xsd type without its prefix: string, double, boolean, dateTime, integer
	Unit     string // UCUM
	Purposes []string
	Source   string // unit, service, owner, operator
	Language string // of Title and About, as a BCP 47 tag; English if left out
}

// Table describes a file; see Describe.
type Table struct {
	Files   []string // that hold the same columns, by name in the archive
	About   string
	Columns []Column
}

// Describe is the description of tables as the W3C's metadata vocabulary for
// tabular data has it (CSVW, https://www.w3.org/TR/tabular-metadata/), with
// unit of measure, purposes and source of each column. What says nothing of its
// language is English.
func Describe(tables []Table) map[string]any {
	var out []any
	for _, t := range tables {
		var columns []any
		for _, c := range t.Columns {
			language := cmp.Or(c.Language, "en")
			col := map[string]any{
				"name": c.Name, "titles": map[string]any{language: c.Title}, "datatype": c.Type,
				"dc:description": map[string]any{"@value": c.About, "@language": language},
				"fettle:source":  c.Source, "fettle:purposes": append([]string{}, c.Purposes...),
			}
			if c.Unit != "" {
				col["fettle:ucumUnit"] = c.Unit
			}
			columns = append(columns, col)
		}
		files := slices.Clone(t.Files)
		out = append(out, map[string]any{
			"url": files[0], "dc:description": t.About, "fettle:sameColumns": files[1:], "tableSchema": map[string]any{"columns": columns},
		})
	}
	return map[string]any{
		"@context": []any{"http://www.w3.org/ns/csvw", map[string]any{"@language": "en", "fettle": "https://fettle.dev/ns#"}},
		"tables":   out,
	}
}
