package disk

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"fettle.dev/fettle/internal/fault"
)

// Restore copies a file of a backup into dir under a name that must not be
// there.
func Restore(backup, dir, name string) error {
	from, err := os.Open(backup)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fault.New(fault.Conflict, "%s is there already", path)
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Sync(), to.Close())
}
