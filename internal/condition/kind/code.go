package kind

import (
	"errors"
	"fmt"

	"fettle.dev/fettle/internal/detect/code"
)

// ErrState is the cause of every refusal of an encoded state.
var ErrState = errors.New("state is damaged")

// ErrNewer is the cause of a refusal of state that a later Fettle has written.
var ErrNewer = errors.New("state was written by a later version of Fettle")

// ReadState begins to read an encoded state that starts with a version byte, which
// must be from 1 to newest.
func ReadState(data []byte, newest byte) (r *code.Reader, version byte, err error) {
	r = code.NewReader(data)
	version = r.Byte()
	switch {
	case version == 0:
		return nil, 0, ErrState
	case version > newest:
		return nil, version, fmt.Errorf("%w: state version %d, this one reads up to %d; start that version again, or restore a backup from before it", ErrNewer, version, newest)
	}
	return r, version, nil
}

// End is ErrState unless r has read all, and well.
func End(r *code.Reader) error {
	if !r.Whole() {
		return ErrState
	}
	return nil
}
