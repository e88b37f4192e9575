// Package delta turns the image that a unit has into the one it is to have. A
// delta is a Zstandard frame that was made with the old image as its raw
// dictionary, behind a header that names that image: content coding dcz of
// RFC 9842. `zstd -d --patch-from=OLD` reads it too, since the header is a
// frame that may be skipped.
//
// What comes from the network is not trusted: the dictionary must be the one
// that the delta names, the window and the length are bounded before memory is
// taken, and the result is worth nothing until its hash is what signed
// metadata says.
package delta

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Coding names the content coding in HTTP.
const Coding = "dcz"

// HeaderSize is how many bytes stand before the frame.
const HeaderSize = len(magic) + sha256.Size

// magic begins a skippable frame of 32 bytes (RFC 9842, section 5; RFC 8878,
// section 3.1.2).
const magic = "\x5e\x2a\x4d\x18\x20\x00\x00\x00"

// MostWindow is the largest window that is taken where no other is named: what
// a unit of little memory can give.
const MostWindow = 64 << 20

// Why a delta was refused.
var (
	ErrHeader     = errors.New("delta: not a delta")
	ErrDictionary = errors.New("delta: made for another image than the one at hand")
	ErrLength     = errors.New("delta: the result has not the length that was promised")
	ErrHash       = errors.New("delta: the result has not the hash that was promised")
	ErrDamaged    = errors.New("delta: damaged, or asks for more memory than it may")
)

// Header is what stands before the frame of a delta from the image of a hash.
func Header(from [sha256.Size]byte) []byte { return append([]byte(magic), from[:]...) }

// Want is what a delta must give, and may take.
type Want struct {
	Length int64  // of the result, in bytes
	SHA256 string // of the result, in lower-case hexadecimal digits
	Window uint64 // largest window in bytes; 0: MostWindow
}

// Apply writes the new image to w, from the old one and a delta. Unless it
// gives nil, what was written is not the image and must not be used. Memory is
// the window, and the old image if that is not mapped from a file.
func Apply(w io.Writer, patch io.Reader, old []byte, want Want) error {
	head := make([]byte, HeaderSize)
	if _, err := io.ReadFull(patch, head); err != nil {
		return fmt.Errorf("%w: %w", ErrHeader, err)
	}
	if !bytes.HasPrefix(head, []byte(magic)) {
		return ErrHeader
	}
	if sum := sha256.Sum256(old); !bytes.Equal(sum[:], head[len(magic):]) {
		return ErrDictionary
	}
	return Expand(w, patch, old, want)
}

// Expand writes the image of a plain Zstandard frame to w; old, if any, is its
// raw dictionary. It is Apply without the header, for an image that was only
// compressed.
func Expand(w io.Writer, frame io.Reader, old []byte, want Want) error {
	window := want.Window
	if window == 0 {
		window = MostWindow
	}
	options := []zstd.DOption{
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(window),
	}
	if len(old) > 0 {
		options = append(options, zstd.WithDecoderDictRaw(0, old))
	}
	d, err := zstd.NewReader(frame, options...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer d.Close()
	sum := sha256.New()
	out := &sink{w: io.MultiWriter(w, sum)}
	n, err := io.Copy(out, io.LimitReader(d, want.Length))
	switch {
	case out.err != nil:
		return out.err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case n != want.Length:
		return ErrLength
	}
	var more [1]byte
	if n, err := d.Read(more[:]); n > 0 || !errors.Is(err, io.EOF) { // a frame's checksum is read only at its end
		if n > 0 {
			return ErrLength
		}
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		return ErrHash
	}
	return nil
}

// sink remembers why writing failed, which is not the delta's fault.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}
