package backtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"fettle.dev/fettle/internal/condition"
)

// State is how far a job is.
type State string

// The states of a job.
const (
	Waiting   State = "waiting"
	Running   State = "running"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
	// Stopping is a running one whose result may not be kept: somebody withdrew
	// what it was run for. It is shown as running until it has noticed.
	Stopping State = "stopping"
)

// Ended reports whether a state is a last one.
func (s State) Ended() bool { return s == Done || s == Failed || s == Cancelled }

// Request is what is asked for. The zero value of each but Detector is its default.
type Request struct {
	Detector     condition.Ref      `json:"detector"` // the name that it has, and the version that it has or would get
	Spec         condition.Detector `json:"spec"`
	Basis        *condition.Basis   `json:"basis,omitempty"` // of a version that is kept
	From         time.Time          `json:"from,omitzero"`
	To           time.Time          `json:"to,omitzero"`
	Units        []string           `json:"units,omitempty"`  // nil: all of the product
	Cohort       string             `json:"cohort,omitempty"` // whose members Units are
	Sweep        Sweep              `json:"sweep"`
	Failures     []Failure          `json:"failures,omitempty"`   // as given
	Component    string             `json:"component,omitempty"`  // only failures of it, and of units as a whole
	Unrecorded   bool               `json:"unrecorded,omitempty"` // leave out what the records hold
	Partial      bool               `json:"partial,omitempty"`    // there were failures that nobody has told of
	Match        Match              `json:"match"`
	Cost         Cost               `json:"cost"`
	MostFindings int                `json:"mostFindings,omitempty"`
}

// Job is one run and how far it is.
type Job struct {
	ID       string
	Request  Request
	By       string
	At       time.Time // asked for
	State    State
	Why      string // failed, cancelled
	Begun    int    // how often it was begun: more than once after restarts
	BegunAt  time.Time
	EndedAt  time.Time
	Done     float64 // 0 to 1, while it runs
	Rows     int
	Withheld int            // units whose owners do not permit the purpose
	Sources  map[string]int // known failures by where they are known from
}

// Store keeps jobs and their results.
type Store interface {
	// PutJob adds a job that waits, and changes one that has not ended.
	PutJob(ctx context.Context, j Job) error
	// Finish keeps a job's last state, with its result; nil: it has none. A result
	// of a job that is Stopping, or is gone, is fault.Conflict.
	Finish(ctx context.Context, j Job, result []byte) error
	Job(ctx context.Context, id string) (Job, error)
	// Jobs are the newest, first, of a detector's name ("": all).
	Jobs(ctx context.Context, detector string, limit int) ([]Job, error)
	// Unended are those that wait or run, oldest first.
	Unended(ctx context.Context) ([]Job, error)
	Result(ctx context.Context, id string) ([]byte, error)
	DeleteJob(ctx context.Context, id string) error
	// Trim deletes ended jobs that ended before a time, and all but the newest so many.
	Trim(ctx context.Context, before time.Time, newest int) error
}

// kept is a result as it is stored.
type kept struct {
	Result
	Findings []condition.Finding `json:"findings"`
	UnitKeys []int64             `json:"unitKeys"` // of Findings: what an API shows of them leaves the key out
	Keys     []int64             `json:"keys"`
	Known    []Failure           `json:"known"`
	Episodes [][]Episode         `json:"episodes"`
}

const resultVersion = 1

// Encode is a result with its alarms, compressed.
func Encode(r *Result, known []Failure) ([]byte, error) {
	k := kept{Result: *r, Findings: r.Findings, Keys: r.Keys, Known: known}
	for _, f := range r.Findings {
		k.UnitKeys = append(k.UnitKeys, f.UnitKey)
	}
	for i := range r.Thresholds {
		k.Episodes = append(k.Episodes, r.Thresholds[i].Episodes)
	}
	var b bytes.Buffer
	b.WriteByte(resultVersion)
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(k); err != nil {
		return nil, fmt.Errorf("encode backtest: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("encode backtest: %w", err)
	}
	return b.Bytes(), nil
}

// maxResult bounds what a stored result may unpack to.
const maxResult = 1 << 30

// Decode is the inverse of Encode.
func Decode(raw []byte) (*Result, []Failure, error) {
	if len(raw) == 0 || raw[0] != resultVersion {
		return nil, nil, errors.New("decode backtest: it was written by another version of this program")
	}
	z, err := gzip.NewReader(bytes.NewReader(raw[1:]))
	if err != nil {
		return nil, nil, fmt.Errorf("decode backtest: %w", err)
	}
	var k kept
	if err := json.NewDecoder(io.LimitReader(z, maxResult)).Decode(&k); err != nil {
		return nil, nil, fmt.Errorf("decode backtest: %w", err)
	}
	if len(k.Episodes) != len(k.Thresholds) || len(k.UnitKeys) != len(k.Findings) || k.Declared < 0 || k.Declared >= len(k.Thresholds) || k.Best >= len(k.Thresholds) {
		return nil, nil, errors.New("decode backtest: its parts do not fit together")
	}
	r := k.Result
	r.Findings, r.Keys = k.Findings, k.Keys
	for i := range r.Findings {
		r.Findings[i].UnitKey = k.UnitKeys[i]
	}
	for i := range k.Episodes {
		for _, ep := range k.Episodes[i] {
			if int(ep.Unit) >= len(k.Keys) {
				return nil, nil, errors.New("decode backtest: an alarm of a unit that it has not")
			}
		}
		r.Thresholds[i].Episodes = k.Episodes[i]
	}
	return &r, k.Known, nil
}
