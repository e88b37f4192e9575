// Package tree finds the repository that a test runs in. For tests only.
package tree

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Root is the folder of go.mod above the package whose tests run: where `go
// test` starts a test program. Programs built with -trimpath, as make builds
// them, do not know where their source was.
var Root = sync.OnceValue(func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			panic("no go.mod above " + dir)
		}
	}
})

// Tools makes and locks the folder under .tools that peers are built in: of
// several test processes one builds, the others wait until it lets go.
func Tools(name string) (dir string, release func(), err error) {
	dir = filepath.Join(Root(), ".tools", name)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // programs that everybody may run
		return "", nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", nil, errors.Join(err, lock.Close())
	}
	return dir, func() { _ = lock.Close() }, nil
}
