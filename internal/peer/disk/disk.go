// Package disk gives tests disks that are small, and what disks that lie do.
package disk

import (
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
)

// Small mounts a file system in memory that holds size, as "16m". It takes
// root; where that is missing the test is skipped, but not where CI is set.
func Small(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("mount: %v", err)
		}
		t.Skipf("a file system of limited size cannot be mounted here (%v): %s needs it", err, t.Name())
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// Damages are what a disk that lies does to a file from an offset on. They
// change the bytes that they are given.
var Damages = map[string]func(data []byte, at int) []byte{
	"cut":    func(data []byte, at int) []byte { return data[:at] },
	"zeroed": func(data []byte, at int) []byte { clear(data[at:]); return data },
	"garbled": func(data []byte, at int) []byte {
		random := rand.New(rand.NewPCG(uint64(at), 1))
		for i := at; i < len(data); i++ {
			data[i] ^= byte(1 + random.IntN(255)) // none stays what it was
		}
		return data
	},
	"one bit": func(data []byte, at int) []byte { data[min(at, len(data)-1)] ^= 4; return data },
	"a hole":  func(data []byte, at int) []byte { clear(data[at:min(at+512, len(data))]); return data },
}
