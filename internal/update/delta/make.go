package delta

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update/delta/libzstd"
)

// MostImage is the largest image that deltas are made of and to: the reach of
// Zstandard's largest window. Larger ones are served whole.
const MostImage = 1 << libzstd.MostWindowLog

// hard is up to which size an image is compressed as hard as `zstd -19` does;
// beyond, at a tenth of the time, as `zstd -9 --long` does.
const hard = 512 << 20

// header stands before a delta from the image of a hash: a skippable frame that
// names it (RFC 9842, section 5).
func header(from [sha256.Size]byte) []byte {
	return append([]byte("\x5e\x2a\x4d\x18\x20\x00\x00\x00"), from[:]...)
}

// Made is a delta, or an image that was only compressed.
type Made struct {
	SHA256 string
	Size   int64
	Window int64 // bytes that whoever applies it must have for it
	Memory int64 // bytes that the library took beside the two files, which are mapped
}

// errTooLarge is told of an image that Zstandard's window does not reach across.
var errTooLarge = errors.New("larger than deltas are made of (2 GiB)")

// Make writes what turns from into to: a frame in content coding dcz, or where
// from is nil a plain Zstandard frame. The result is what was written only if
// it gives no error. It takes, for as long as it runs, about 80 MiB, up to 270
// for images near MostImage, and the pages of both files, which the system can
// take back at any time.
func Make(ctx context.Context, w io.Writer, from, to *os.File, progress func(done int64)) (Made, error) {
	// Of low priority for the time it takes: polls and telemetry come first. The
	// thread is not given back to others, it ends with the goroutine.
	type result struct {
		Made
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), lowPriority) // if not, it is only less polite
		m, err := encode(ctx, w, from, to, progress)
		done <- result{m, err}
	}()
	r := <-done
	return r.Made, r.err
}

// lowPriority is the nice value of the threads that compress.
const lowPriority = 15

func encode(ctx context.Context, w io.Writer, from, to *os.File, progress func(done int64)) (Made, error) {
	old, err := mapped(from)
	if err != nil {
		return Made{}, err
	}
	defer unmap(old)
	image, err := mapped(to)
	if err != nil {
		return Made{}, err
	}
	defer unmap(image)
	if len(old) > MostImage || from != nil && len(image) > MostImage {
		return Made{}, errTooLarge
	}
	sum := sha256.New()
	out := &counted{w: io.MultiWriter(w, sum)}
	if from != nil {
		if _, err := out.Write(header(sha256.Sum256(old))); err != nil {
			return Made{}, err
		}
	}
	o := libzstd.Options{Level: 19, Progress: progress}
	o.WindowLog = windowLog(len(old), len(image))
	if len(image) > hard {
		o.Level = 9
	}
	o.Long = o.WindowLog > 24 // beyond the reach of level 19's own tables
	memory, err := libzstd.Compress(ctx, out, old, image, o)
	if err != nil {
		return Made{}, err
	}
	return Made{SHA256: hex.EncodeToString(sum.Sum(nil)), Size: out.n, Window: 1 << o.WindowLog, Memory: memory}, nil
}

// windowLog is the window, as a power of two: of a delta that of `zstd
// --patch-from`, which covers the larger of both, so that matches reach all of
// the old image; of an image alone no more than what every decoder gives
// without being asked (8 MiB).
func windowLog(old, image int) int {
	const least, common = 10, 23
	log := max(least, bits.Len64(uint64(max(old, image, 1))))
	if old == 0 {
		return min(log, common)
	}
	return min(log, libzstd.MostWindowLog)
}

func mapped(f *os.File) ([]byte, error) {
	if f == nil {
		return nil, nil
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "image", err)
	}
	if info.Size() == 0 {
		return nil, nil
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Sprintf("map an image of %d bytes", info.Size()), err)
	}
	return b, nil
}

func unmap(b []byte) {
	if b != nil {
		_ = unix.Munmap(b) // nothing was written to it
	}
}

type counted struct {
	w io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
