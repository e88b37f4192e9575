// Package delta makes what turns the image that a unit has into the one it is
// to have, by itself and in the background, for the versions that units really
// report. A delta is what `zstd --patch-from` makes and reads; where none pays,
// the whole image is served.
package delta

import (
	"context"
	"io"
	"time"

	"fettle.dev/fettle/internal/update"
)

// State is where a delta stands.
type State string

// The states of a delta. Those that did not pay, and those that failed, are
// kept, so that they are not tried again and again.
const (
	Waiting State = "waiting"
	Running State = "running"
	Ready   State = "ready"
	Larger  State = "does not pay" // no smaller than what it would spare
	Failed  State = "failed"       // Why says; tried again after retryAfter
)

// Delta is what turns the image of one hash into that of another. From "" is
// the image compressed alone, for units whose image is not known.
type Delta struct {
	To     string        `json:"to"`
	From   string        `json:"from"`
	State  State         `json:"state"`
	SHA256 string        `json:"sha256,omitempty"` // of the delta's bytes; its name in the store of artifacts
	Size   int64         `json:"size,omitempty"`   // its bytes, of one that is ready
	Window int64         `json:"window,omitempty"` // memory that applying it takes, in bytes
	Done   float64       `json:"done,omitempty"`   // share of the work, 0 to 1
	Why    string        `json:"why,omitempty"`
	At     time.Time     `json:"at"`             // of the last change
	Took   time.Duration `json:"took,omitempty"` // of making it, in nanoseconds of the machine's clock
}

// Coding is the content coding that its bytes are served in.
func (d *Delta) Coding() string {
	if d.From == "" {
		return "zstd"
	}
	return "dcz"
}

// InField is a number of units that have reported the same versions, by component.
type InField struct {
	Versions map[string]string
	Units    int
}

// Store keeps deltas.
type Store interface {
	Put(ctx context.Context, d Delta) error
	Delta(ctx context.Context, to, from string) (Delta, error) // fault.NotFound without
	// BySHA256 is the ready delta that has these bytes.
	BySHA256(ctx context.Context, sha256 string) (Delta, error)
	Of(ctx context.Context, to string) ([]Delta, error)
	// InField counts the product's active units by what they have reported.
	InField(ctx context.Context, product string) ([]InField, error)
}

// Releases is what is needed of the room update; update.Store is one.
type Releases interface {
	Releases(ctx context.Context, product string) ([]update.Release, error)
	ReleaseInUse(ctx context.Context, name string) (bool, error)
	Artifact(ctx context.Context, sha256 string) (update.Artifact, error)
	Attributes(ctx context.Context, unitID string) (map[string]string, error)
}

// Blobs opens and keeps bytes by their SHA-256; update.Blobs is one.
type Blobs interface {
	Open(ctx context.Context, sha256 string) (io.ReadSeekCloser, error)
	Put(ctx context.Context, sha256 string, r io.Reader) error
}

// Row is one line of a release's table of sizes: what a unit of a version
// fetches.
type Row struct {
	Component string
	Version   string  // "": any other, or none reported
	Units     int     // that report it
	Full      int64   // bytes of the whole image
	Size      int64   // bytes that a unit fetches whose client takes deltas
	Coding    string  // in which it gets them: dcz, zstd, or "" the whole image
	State     State   // of the delta; "" where there is no image of this version
	Done      float64 // share of the work, 0 to 1
	Window    int64   // memory that applying it takes, in bytes
	Took      time.Duration
	Why       string
}

// Takes is the attribute by which a unit's client says that it takes deltas:
// `delta: dcz`.
const Takes = "delta"

// takes reports whether a unit's client has said that it takes deltas.
func takes(attributes map[string]string) bool { return attributes[Takes] == "dcz" }
