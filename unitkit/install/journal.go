package install

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"fettle.dev/fettle/unitkit"
)

// State is where an update stands.
type State string

// The states. From Downloading to Waiting an update can be canceled, or its
// time changed. Nothing that runs is changed before Activating.
const (
	Idle        State = "idle"
	Downloading State = "downloading"
	Downloaded  State = "downloaded"
	Waiting     State = "waiting"    // for the owner's time, the unit being out of use, preconditions
	Installing  State = "installing" // the new version is made ready beside the old one
	Activating  State = "activating" // the new version takes the old one's place
	Installed   State = "installed"  // awaits the restart
	Checking    State = "checking"   // the new version runs, on trial
	Committing  State = "committing" // it is healthy: it stays
	Committed   State = "committed"
	Returning   State = "returning" // the old version takes its place again
	Returned    State = "returned"  // the old version runs again
	Failed      State = "failed"    // nothing was changed, or the old version could not be brought back: the report says which
)

// Begun reports whether it is too late to cancel.
func (s State) Begun() bool {
	switch s {
	case Idle, Downloading, Downloaded, Waiting:
		return false
	default:
		return true
	}
}

// Journal is what an Updater knows, as it stands in one small file: every
// change of state is one atomic replacement of it.
type Journal struct {
	State    State            `json:"state"`
	Update   *unitkit.Update  `json:"update,omitempty"`
	Tasks    []Step           `json:"tasks,omitempty"` // one for each target, in their order
	Got      map[string]int64 `json:"got,omitempty"`   // bytes of downloads, by SHA-256, that are on the disk for certain
	Retried  int              `json:"retried,omitempty"`
	Ready    bool             `json:"ready,omitempty"`     // installing: all targets are prepared
	BootID   string           `json:"bootId,omitempty"`    // when activating, or the return, was begun
	Restart  bool             `json:"restarted,omitempty"` // a restart into the new version was asked for
	Starts   int              `json:"starts,omitempty"`    // of this program while checking; before that, restarts asked for
	Back     bool             `json:"back,omitempty"`      // returning: every part has its old version again
	Again    bool             `json:"again,omitempty"`     // returning: the old version needs a restart
	Attempts int              `json:"attempts,omitempty"`  // at returning
	Why      string           `json:"why,omitempty"`       // of the failure

	Choice   *Choice           `json:"choice,omitempty"` // the owner's, made on the unit
	Counters map[string]uint64 `json:"counters,omitempty"`
	Versions map[string]string `json:"versions,omitempty"` // what was committed, by component
	Last     *Ended            `json:"last,omitempty"`
	Outbox   []Message         `json:"outbox,omitempty"` // for the server, oldest first
	Sent     uint64            `json:"sent,omitempty"`   // the latest message's number
}

// Step is how far one target has come.
type Step struct {
	Done bool   `json:"done,omitempty"` // downloaded and verified; prepared
	Note string `json:"note,omitempty"` // what its Part must know to go on, and to return
}

// Ended is how the last update came out.
type Ended struct {
	Action  int64         `json:"action"`
	Release string        `json:"release"`
	Result  unitkit.State `json:"result"`
	Why     string        `json:"why,omitempty"`
	At      time.Time     `json:"at"`
}

// Message is a report that the server has yet to get.
type Message struct {
	ID       uint64           `json:"id"`
	Update   unitkit.Update   `json:"update"`
	Progress unitkit.Progress `json:"progress,omitzero"`
	Confirm  bool             `json:"confirm,omitempty"` // of the versions, instead of progress
	Choice   *Choice          `json:"choice,omitempty"`  // of the owner, instead of progress
}

// ended reports whether it ends an update.
func (m *Message) ended() bool { return ends(m.Progress.State) || m.Confirm }

func ends(s unitkit.State) bool {
	switch s {
	case unitkit.StateInstalled, unitkit.StateFailed, unitkit.StateRolledBack, unitkit.StateCanceled:
		return true
	default:
		return false
	}
}

const (
	journalName = "journal.json"
	maxJournal  = 1 << 20
)

// ErrJournal says that the journal could not be read. It cannot be a power
// cut's work; the file is kept as journal.bad.
var ErrJournal = errors.New("the journal is damaged")

// WriteSealed replaces a small file by v as JSON and, on a line of its own, the
// hash of that: at once or not at all.
func WriteSealed(f FS, name string, v any) error {
	raw, err := seal(v)
	if err != nil {
		return err
	}
	return replaceFile(f, name, 0o600, bytes.NewReader(raw))
}

func seal(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return fmt.Appendf(nil, "%s\n%x\n", body, sum), nil
}

// ReadSealed reads what WriteSealed wrote. A file that is not there is
// fs.ErrNotExist, one that is not what was written ErrJournal.
func ReadSealed(f FS, name string, v any) error {
	r, err := f.Open(name)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxJournal+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if len(raw) > maxJournal {
		return fmt.Errorf("%w: more than %d bytes", ErrJournal, maxJournal)
	}
	return unseal(raw, v)
}

func unseal(raw []byte, v any) error {
	body, rest, _ := bytes.Cut(raw, []byte("\n"))
	sum := sha256.Sum256(body)
	if hex.EncodeToString(sum[:])+"\n" != string(rest) {
		return fmt.Errorf("%w: its hash is another", ErrJournal)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", ErrJournal, err)
	}
	return nil
}

func decode(raw []byte) (*Journal, error) {
	var j Journal
	if err := unseal(raw, &j); err != nil {
		return nil, err
	}
	return &j, j.valid()
}

// valid says what a journal of ours never lacks.
func (j *Journal) valid() error {
	switch j.State {
	case Idle:
		return nil
	case Downloading, Downloaded, Waiting, Installing, Activating, Installed, Checking, Committing, Committed, Returning, Returned, Failed:
	default:
		return fmt.Errorf("%w: no state %q", ErrJournal, j.State)
	}
	if j.Update == nil || len(j.Tasks) != len(j.Update.Targets) || len(j.Tasks) == 0 {
		return fmt.Errorf("%w: an update without targets", ErrJournal)
	}
	return nil
}

// load reads the journal; without one the unit is idle.
func load(f FS, dir string) (*Journal, error) {
	var j Journal
	err := ReadSealed(f, filepath.Join(dir, journalName), &j)
	if missing(err) {
		return &Journal{State: Idle}, nil
	}
	if err != nil {
		return nil, err
	}
	return &j, j.valid()
}

func save(f FS, dir string, j *Journal) error {
	return WriteSealed(f, filepath.Join(dir, journalName), j)
}

// clone gives a copy of which everything that changes is its own.
func (j *Journal) clone() *Journal {
	c := *j
	if j.Update != nil {
		u := *j.Update
		c.Update = &u
	}
	c.Tasks, c.Outbox = slices.Clone(j.Tasks), slices.Clone(j.Outbox)
	c.Got, c.Counters, c.Versions = maps.Clone(j.Got), maps.Clone(j.Counters), maps.Clone(j.Versions)
	return &c
}
