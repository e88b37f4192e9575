package door

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
)

// step is by how much a body's memory grows: a slow sender holds little more
// than it has sent.
const step = 32 << 10

// maxWindow is how far back a zstd frame may refer; RFC 8878 asks decoders for 8 MiB.
const maxWindow = 8 << 20

func newZstd(limit int64) *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(uint64(limit)), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}

// Body is a request's body, decompressed. Free gives its memory back; Bytes
// must not be used afterwards.
type Body struct {
	Bytes []byte
	door  *Door
	held  int64
}

// Free gives the body's memory back. It may be called twice.
func (b *Body) Free() {
	b.door.memory.Release(b.held)
	b.held, b.Bytes = 0, nil
}

// hold takes part in the memory that all bodies share.
func (b *Body) hold(ctx context.Context, n int64) error {
	if !b.door.memory.TryAcquire(n) {
		ctx, cancel := context.WithTimeout(ctx, b.door.cfg.Room)
		defer cancel()
		if err := b.door.memory.Acquire(ctx, n); err != nil {
			return fault.New(fault.Unavailable, "%w: %w", device.ErrBusy, err)
		}
	}
	b.held += n
	return nil
}

// giveBack returns what is held beyond n bytes.
func (b *Body) giveBack(n int64) {
	if b.held > n {
		b.door.memory.Release(b.held - n)
		b.held = n
	}
}

// Body reads a request's body and undoes its Content-Encoding. Neither what is
// sent nor what it decompresses to may be more than Config.MaxBody bytes.
func (d *Door) Body(w http.ResponseWriter, r *http.Request) (*Body, error) {
	return d.BodyOf(w, r, d.cfg.MaxBody)
}

// BodyOf is Body with a lower limit.
func (d *Door) BodyOf(w http.ResponseWriter, r *http.Request, limit int64) (*Body, error) {
	if r.ContentLength > limit {
		d.drain(w, r, limit)
		return nil, tooLarge(limit)
	}
	encoding := strings.ToLower(strings.TrimSpace(strings.Join(r.Header.Values("Content-Encoding"), ",")))
	switch encoding {
	case "", "identity", "gzip", "x-gzip", "zstd":
	default:
		return nil, &refused{status: http.StatusUnsupportedMediaType, accept: true, detail: fmt.Sprintf("Content-Encoding %.40q is not known: gzip, zstd and none are", encoding)}
	}
	// The answer has a deadline of its own; not every ResponseWriter knows any.
	_ = http.NewResponseController(w).SetReadDeadline(clock.Real{}.Now().Add(d.cfg.ReadBody))
	b := &Body{door: d}
	err := b.read(r, limit)
	if err == nil {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		switch encoding {
		case "gzip", "x-gzip":
			err = b.gunzip(r.Context(), limit)
		case "zstd":
			err = b.unzstd(r.Context(), limit)
		}
	}
	if err != nil {
		b.Free()
		return nil, err
	}
	return b, nil
}

// drain reads a body that is somewhat too large and keeps nothing of it: many
// clients read no answer before all is sent, and would see no more than a
// connection that was reset. One that is far too large is not worth it.
func (d *Door) drain(w http.ResponseWriter, r *http.Request, limit int64) {
	if r.ContentLength > 4*limit || r.Header.Get("Expect") != "" { // or it waits for the answer, as it should
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(clock.Real{}.Now().Add(d.cfg.ReadBody))
	_, _ = io.Copy(io.Discard, r.Body)
}

func tooLarge(limit int64) error {
	return &refused{status: http.StatusRequestEntityTooLarge, detail: fmt.Sprintf("at most %d bytes are taken at once, as sent and decompressed: send less in each request", limit)}
}

// read fills the body with what was sent.
func (b *Body) read(r *http.Request, limit int64) error {
	for {
		if len(b.Bytes) == cap(b.Bytes) {
			if err := b.grow(r.Context(), limit); err != nil {
				return err
			}
		}
		n, err := r.Body.Read(b.Bytes[len(b.Bytes):cap(b.Bytes)])
		b.Bytes = b.Bytes[:len(b.Bytes)+n]
		switch {
		case int64(len(b.Bytes)) > limit:
			return tooLarge(limit)
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return &refused{status: http.StatusRequestTimeout, detail: "the body took longer than " + b.door.cfg.ReadBody.String()}
		case err != nil:
			return &refused{status: http.StatusBadRequest, detail: "the body ended early"}
		}
	}
}

// grow makes room for more: twice as much as there is, at most one byte over the limit.
func (b *Body) grow(ctx context.Context, limit int64) error {
	to := min(max(2*int64(cap(b.Bytes)), step), limit+1)
	if err := b.hold(ctx, to-int64(cap(b.Bytes))); err != nil {
		return err
	}
	larger := make([]byte, len(b.Bytes), to)
	copy(larger, b.Bytes)
	b.Bytes = larger
	return nil
}

var gunzips = sync.Pool{New: func() any { return new(kgzip.Reader) }}

func (b *Body) gunzip(ctx context.Context, limit int64) error {
	z := gunzips.Get().(*kgzip.Reader)
	defer gunzips.Put(z)
	if err := z.Reset(bytes.NewReader(b.Bytes)); err != nil {
		return damaged("gzip", err)
	}
	plain := &Body{door: b.door}
	for {
		if len(plain.Bytes) == cap(plain.Bytes) {
			if err := plain.grow(ctx, limit); err != nil {
				plain.Free()
				return err
			}
		}
		n, err := z.Read(plain.Bytes[len(plain.Bytes):cap(plain.Bytes)])
		plain.Bytes = plain.Bytes[:len(plain.Bytes)+n]
		if errors.Is(err, io.EOF) && int64(len(plain.Bytes)) <= limit {
			break
		}
		if int64(len(plain.Bytes)) > limit {
			plain.Free()
			return tooLarge(limit)
		}
		if err != nil {
			plain.Free()
			return damaged("gzip", err)
		}
	}
	b.Free()
	*b = *plain
	return nil
}

// unzstd holds the most that may come out until it is known.
func (b *Body) unzstd(ctx context.Context, limit int64) error {
	sent := b.held
	if err := b.hold(ctx, b.door.cfg.MaxBody); err != nil {
		return err
	}
	plain, err := b.door.zstd.DecodeAll(b.Bytes, nil)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded), int64(len(plain)) > limit:
		return tooLarge(limit)
	case err != nil:
		return damaged("zstd", err)
	}
	b.Bytes = plain
	b.giveBack(max(int64(cap(plain)), sent))
	return nil
}

func damaged(encoding string, err error) error {
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, kgzip.ErrHeader) || errors.Is(err, zstd.ErrMagicMismatch) {
		return &refused{status: http.StatusBadRequest, detail: "the body is not " + encoding + ", as its Content-Encoding says"}
	}
	return &refused{status: http.StatusBadRequest, detail: "the body is damaged " + encoding + ": " + err.Error()}
}
