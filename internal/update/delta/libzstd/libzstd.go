// Package libzstd compresses with Zstandard's own C library as `zstd
// --patch-from` does: with the old bytes as a prefix that matches may point
// into (zstd's manual, ZSTD_CCtx_refPrefix). The library is that of
// DataDog/zstd, which compiles its sources but does not offer this function;
// only the few calls that are needed are declared here.
package libzstd

/*
#include <stddef.h>

// From zstd.h 1.5 (BSD), whose names and numbers are stable. The symbols are
// weak, because they stand in another Go package's objects: this package alone
// links without them, a program has them.
#define WEAK __attribute__((weak))
typedef struct ZSTD_CCtx_s ZSTD_CCtx;
typedef struct { const void* src; size_t size; size_t pos; } ZSTD_inBuffer;
typedef struct { void* dst; size_t size; size_t pos; } ZSTD_outBuffer;
extern ZSTD_CCtx* ZSTD_createCCtx(void) WEAK;
extern size_t ZSTD_freeCCtx(ZSTD_CCtx*) WEAK;
extern size_t ZSTD_CCtx_setParameter(ZSTD_CCtx*, int, int) WEAK;
extern size_t ZSTD_CCtx_setPledgedSrcSize(ZSTD_CCtx*, unsigned long long) WEAK;
extern size_t ZSTD_CCtx_refPrefix(ZSTD_CCtx*, const void*, size_t) WEAK;
extern size_t ZSTD_compressStream2(ZSTD_CCtx*, ZSTD_outBuffer*, ZSTD_inBuffer*, int) WEAK;
extern size_t ZSTD_sizeof_CCtx(const ZSTD_CCtx*) WEAK;
extern unsigned ZSTD_isError(size_t) WEAK;
extern const char* ZSTD_getErrorName(size_t) WEAK;

// One step: no Go pointer is kept, none points to Go memory.
static size_t fettle_step(ZSTD_CCtx* c, void* dst, size_t cap, size_t* out, const void* src, size_t size, size_t* pos, int end) {
	ZSTD_outBuffer o = { dst, cap, 0 };
	ZSTD_inBuffer i = { src, size, *pos };
	size_t left = ZSTD_compressStream2(c, &o, &i, end);
	*out = o.pos;
	*pos = i.pos;
	return left;
}
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unsafe"

	_ "github.com/DataDog/zstd" // the C library
)

// The parameters' numbers in zstd.h.
const (
	paramLevel     = 100
	paramWindowLog = 101
	paramLDM       = 160
	paramChecksum  = 201
	paramStableIn  = 1006 // ZSTD_c_experimentalParam9
)

// MostWindowLog is the largest window, as a power of two, on 64-bit machines.
const MostWindowLog = 31

// Options are how hard it is tried.
type Options struct {
	Level     int  // 1 to 22
	WindowLog int  // how far back matches may reach within the new file, as a power of two; the old file is in reach until then
	Long      bool // look for long matches far away first: for windows beyond the level's own tables
	// Progress, if given, is told how many bytes of the new file are done.
	Progress func(done int64)
}

// Compress writes a frame from which, with from at hand, to can be had. Both
// must not be memory of Go, but mapped files: the library holds on to them
// between calls. It gives how many bytes the library had taken for itself.
func Compress(ctx context.Context, w io.Writer, from, to []byte, o Options) (memory int64, err error) {
	c := C.ZSTD_createCCtx()
	if c == nil {
		return 0, errors.New("zstd: no memory")
	}
	defer C.ZSTD_freeCCtx(c)
	set := func(param, value int) {
		if err == nil && value != 0 {
			err = failure(C.ZSTD_CCtx_setParameter(c, C.int(param), C.int(value)))
		}
	}
	set(paramLevel, o.Level)
	set(paramWindowLog, o.WindowLog)
	set(paramChecksum, 1)
	set(paramStableIn, 1) // nothing is copied: to stays where it is
	if o.Long {
		set(paramLDM, 1)
	}
	if err != nil {
		return 0, err
	}
	if err := failure(C.ZSTD_CCtx_setPledgedSrcSize(c, C.ulonglong(len(to)))); err != nil {
		return 0, err
	}
	if len(from) > 0 {
		if err := failure(C.ZSTD_CCtx_refPrefix(c, unsafe.Pointer(unsafe.SliceData(from)), C.size_t(len(from)))); err != nil {
			return 0, err
		}
	}
	const step = 4 << 20 // of the new file, between two looks at ctx
	out := make([]byte, 1<<20)
	var pos C.size_t
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		size, directive := int(pos)+step, 0 // ZSTD_e_continue
		if size >= len(to) {
			size, directive = len(to), 2 // ZSTD_e_end
		}
		var wrote C.size_t
		left := C.fettle_step(c, unsafe.Pointer(unsafe.SliceData(out)), C.size_t(len(out)), &wrote,
			unsafe.Pointer(unsafe.SliceData(to)), C.size_t(size), &pos, C.int(directive))
		if err := failure(left); err != nil {
			return 0, err
		}
		if _, err := w.Write(out[:wrote]); err != nil {
			return 0, err
		}
		if o.Progress != nil {
			o.Progress(int64(pos))
		}
		if directive == 2 && left == 0 {
			return int64(C.ZSTD_sizeof_CCtx(c)), nil
		}
	}
}

func failure(code C.size_t) error {
	if C.ZSTD_isError(code) == 0 {
		return nil
	}
	return fmt.Errorf("zstd: %s", C.GoString(C.ZSTD_getErrorName(code)))
}
