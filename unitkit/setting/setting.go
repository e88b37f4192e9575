// Package setting keeps a unit set to what its server says: parameters and
// features that are changed over the air. Whatever moment the power is cut at,
// the unit has the old values of a change or the new ones, goes on where it
// was, and tells the server what it is set to, or why it refuses.
//
// A [Keeper] has a journal, one small file that is replaced atomically, and
// works with two functions of the product: Get, which tells what the unit is
// set to, and Set, which changes some of it, all or nothing. A value that the
// server says is taken once for each of its revisions: what is changed on the
// unit afterwards stays, and is reported, so that the server shows the drift.
// What the server no longer says goes back to what the unit had before.
//
// Whoever runs a Keeper calls [Keeper.Hear] with the server's desired state,
// [Keeper.Step] again and again, and [Keeper.Deliver] while the server can be
// reached. cmd/fettle-agent does.
package setting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/unitkit/install"
)

// What a setting's name begins with, as the server's records have it.
const (
	Parameter = "parameter:"
	Feature   = "feature:"
)

// Values are settings by name, "parameter:height" or "feature:eco", each a
// number, a truth value or a text as JSON.
type Values map[string]string

// Config is what a Keeper works with. Get, Set and Send are wanted.
type Config struct {
	FS  install.FS // nil: install.OS
	Dir string     // absolute; of the journal

	// Get tells what the unit is set to now: all of its settings.
	Get func(ctx context.Context) (Values, error)
	// Set gives some settings new values: all of them, on the disk when it
	// returns nil, or none. Power may be cut in it; it is then called again.
	// A *NotNowError means that it may be tried again; any other error is
	// a refusal, a *RefusedError one that names what it refuses.
	Set func(ctx context.Context, v Values) error
	// MayBegin says nil when settings may be changed: the unit is not in use
	// and its preconditions hold. nil: always.
	MayBegin func(ctx context.Context) error
	// Send tells the server, which has taken it when Send returns nil.
	// ErrUnsendable: it never will.
	Send func(ctx context.Context, r Report) error

	Now func() time.Time // nil: time.Now
	Log *slog.Logger
}

// ErrUnsendable is what Send returns when the server will never take a report.
var ErrUnsendable = errors.New("the server does not take it")

// NotNowError says that settings cannot be changed at this moment, and why.
type NotNowError struct{ Why string }

func (e *NotNowError) Error() string { return e.Why }

// RefusedError says why settings are refused, by name.
type RefusedError struct{ Why map[string]string }

func (e *RefusedError) Error() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(e.Why)) {
		all = append(all, bare(name)+": "+e.Why[name])
	}
	return strings.Join(all, "; ")
}

// bare is a setting's name as the product declares it.
func bare(name string) string {
	_, name, _ = strings.Cut(name, ":")
	return name
}

const (
	journalName  = "journal.json"
	recheckAfter = 30 * time.Second // while something is against a change
	retryAfter   = 10 * time.Second
	maxWhy       = 300 // bytes of a reason
)

// wanted is a value that the server says.
type wanted struct {
	Value    string `json:"value"`
	Revision int64  `json:"revision,omitempty"`
}

// journal is what a Keeper knows. It is one file, sealed with its hash.
type journal struct {
	Want    map[string]wanted  `json:"want,omitempty"`    // the server's word, as it was last heard
	Taken   map[string]taken   `json:"taken,omitempty"`   // of it, what was set or refused
	Before  Values             `json:"before,omitempty"`  // while a change is made: what it changes
	First   Values             `json:"first,omitempty"`   // what the unit had before the server said anything of it
	Refused map[string]refusal `json:"refused,omitempty"` // that the server has yet to hear
}

// taken is what became of a value that the server said.
type taken struct {
	wanted
	No bool `json:"no,omitempty"` // it was refused: nothing was changed
}

// refusal is why a setting was not taken.
type refusal struct {
	Why      string `json:"why"`
	Revision int64  `json:"revision,omitempty"`
}

// Keeper keeps a unit set as its server says. Its methods may be called at the
// same time, Step by one goroutine only.
type Keeper struct {
	cfg Config
	log *slog.Logger

	mu     sync.Mutex
	j      *journal
	now    Values            // what the unit is set to, as it was last read
	told   string            // the report that the server has, of this process
	waits  map[string]string // why a change has to wait, by name
	narrow bool              // the server does not take all that the unit knows
	damage bool
}

// Open takes up a Keeper where it was. A journal that cannot be read is set
// aside: the server's word is then taken anew.
func Open(cfg Config) (*Keeper, error) {
	if cfg.FS == nil {
		cfg.FS = install.OS{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // the default of a public library
	}
	k := &Keeper{cfg: cfg, log: cfg.Log, j: &journal{}}
	if err := install.MkdirAll(cfg.FS, cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", cfg.Dir, err)
	}
	name := filepath.Join(cfg.Dir, journalName)
	switch err := install.ReadSealed(cfg.FS, name, k.j); {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, install.ErrJournal):
		cfg.Log.Error("the journal of settings is damaged and is set aside as journal.bad: the server's word is taken anew", "err", err)
		if err := cfg.FS.Rename(name, filepath.Join(cfg.Dir, "journal.bad")); err != nil {
			return nil, fmt.Errorf("set the damaged journal aside: %w", err)
		}
		k.j, k.damage = &journal{}, true
	case err != nil:
		return nil, fmt.Errorf("read the journal of settings: %w", err)
	}
	return k, nil
}

// Damaged reports whether Open found a journal that could not be read.
func (k *Keeper) Damaged() bool { return k.damage }

// change replaces the journal by what fn makes of it; when the disk fails it
// stays as it was.
func (k *Keeper) change(fn func(j *journal)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.j.clone()
	fn(next)
	if err := install.WriteSealed(k.cfg.FS, filepath.Join(k.cfg.Dir, journalName), next); err != nil {
		return fmt.Errorf("write the journal of settings: %w", err)
	}
	k.j = next
	return nil
}

func (k *Keeper) journal() *journal {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.j.clone()
}

// clone gives a copy of which everything that changes is its own, and no map is nil.
func (j *journal) clone() *journal {
	return &journal{Want: own(j.Want), Taken: own(j.Taken), Before: own(j.Before), First: own(j.First), Refused: own(j.Refused)}
}

func own[M ~map[string]V, V any](m M) M {
	out := make(M, len(m))
	maps.Copy(out, m)
	return out
}

// desired is the part of the server's desired state that is of settings
// (api/asyncapi.yaml).
type desired struct {
	Parameters map[string]json.RawMessage `json:"parameters"`
	Features   map[string]json.RawMessage `json:"features"`
	Revisions  map[string]int64           `json:"revisions"` // by "parameter:" or "feature:" and the name
}

const maxSettings = 256

// Hear takes the server's desired state, as it was sent. It says whether Step
// has something to do.
func (k *Keeper) Hear(raw []byte) (bool, error) {
	var d desired
	if err := json.Unmarshal(raw, &d); err != nil {
		return false, fmt.Errorf("what the unit is to be set to: %w", err)
	}
	if n := len(d.Parameters) + len(d.Features); n > maxSettings {
		return false, fmt.Errorf("what the unit is to be set to: %d settings, at most %d are taken", n, maxSettings)
	}
	want := map[string]wanted{}
	for prefix, m := range map[string]map[string]json.RawMessage{Parameter: d.Parameters, Feature: d.Features} {
		for name, raw := range m {
			text, err := Canonical(raw)
			if err != nil {
				return false, fmt.Errorf("what the unit is to be set to: %s%s: %w", prefix, name, err)
			}
			want[prefix+name] = wanted{Value: text, Revision: d.Revisions[prefix+name]}
		}
	}
	if maps.Equal(want, k.journal().Want) {
		return false, nil
	}
	return true, k.change(func(j *journal) {
		j.Want = want
		for name, t := range j.Taken { // what was refused and is taken back needs nothing to be done
			switch w, ok := want[name]; {
			case t.No && !ok:
				delete(j.Taken, name)
				delete(j.First, name)
			case t.No && w.Revision == t.Revision && w.Revision != 0:
				j.Taken[name] = taken{wanted: w}
			}
		}
		for name, r := range j.Refused { // of what is asked for no more
			if want[name].Revision != r.Revision {
				delete(j.Refused, name)
			}
		}
	})
}

// Canonical is a setting's value as the one text of it: 16 for 16.0. What is
// no number, truth value or text is refused.
func Canonical(raw json.RawMessage) (string, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", err
	}
	switch v.(type) {
	case float64, bool, string:
		b, err := json.Marshal(v)
		return string(b), err
	default:
		return "", fmt.Errorf("want a number, true, false or a text, got %.40s", raw)
	}
}
