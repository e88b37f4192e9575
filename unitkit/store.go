package unitkit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Store keeps what a Client must not forget: the metadata it verified last,
// the counters it confirmed, its reporting key. Save replaces a file entirely
// or not at all, also when the power fails. Load of what is not there is
// fs.ErrNotExist.
type Store interface {
	Load(name string) ([]byte, error)
	Save(name string, data []byte) error
	Delete(name string) error
}

// DirStore keeps files in a directory, readable to its user alone. A file is
// written beside the old one, synced, renamed over it, and the directory
// synced: either the old bytes stand there or the new ones.
func DirStore(dir string) (Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("unit's state: %w", err)
	}
	return dirStore(dir), nil
}

type dirStore string

func (d dirStore) path(name string) string {
	return filepath.Join(string(d), strings.ReplaceAll(name, "/", "-"))
}

func (d dirStore) Load(name string) ([]byte, error) { return os.ReadFile(d.path(name)) }

func (d dirStore) Save(name string, data []byte) (err error) {
	f, err := os.CreateTemp(string(d), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("save %s: %w", name, err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), d.path(name)); err != nil {
		return err
	}
	return syncDir(string(d))
}

func (d dirStore) Delete(name string) error {
	if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return syncDir(string(d))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// MemoryStore forgets when the process ends: for simulations and tests. A unit
// that forgets can be rolled back.
func MemoryStore() Store { return &memoryStore{files: map[string][]byte{}} }

type memoryStore struct {
	mu    sync.Mutex
	files map[string][]byte
}

func (m *memoryStore) Load(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.files[name]; ok {
		return b, nil
	}
	return nil, fs.ErrNotExist
}

func (m *memoryStore) Save(name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = append([]byte(nil), data...)
	return nil
}

func (m *memoryStore) Delete(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}
