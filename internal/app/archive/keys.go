package archive

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"filippo.io/age"

	"fettle.dev/fettle/internal/fault"
)

// Key opens one archive. Archives leave the machine, so that nothing in them
// can be erased later; what can be destroyed is the key (docs/adr/0023).
type Key struct {
	At       time.Time `json:"at"`
	Identity string    `json:"identity"` // of age (X25519)
}

// Keyring is the keys of all archives that may still be opened, and who was
// erased since: it is kept apart from the archives, and only its newest copy.
type Keyring struct {
	Keys   []Key    `json:"keys"`   // oldest first
	Erased []string `json:"erased"` // hashes of owners' ids, see privacy.Hash; those in an archive are erased when it is restored
}

// KeyringFile is the name of the file in the data directory, and the default
// one beside an archive.
const KeyringFile = "fettle-backup.keys"

// LoadKeyring reads a keyring; one that is not there is empty.
func LoadKeyring(path string) (k Keyring, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &k)
	}
	if err != nil {
		return k, fault.New(fault.Invalid, "keys of backups in %s: %w", path, err)
	}
	return k, nil
}

// Save writes the keyring, whole or not at all, and overwrites the file that
// was there, so that a key that is gone from it is gone from the disk as far as
// a file system lets a program say so.
func (k Keyring) Save(path string) (err error) {
	raw, err := json.MarshalIndent(k, "", " ")
	if err != nil {
		return err
	}
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keys of backups: %w", err)
	}
	_, err = f.Write(raw)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keys of backups: %w", errors.Join(err, os.Remove(part)))
	}
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keys of backups: %w", err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("keys of backups: %w", errors.Join(err, closed(old)))
	}
	return errors.Join(overwrite(old), closed(old), syncDir(filepath.Dir(path)))
}

func closed(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

func overwrite(f *os.File) error {
	if f == nil {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(f, 0), io.LimitReader(rand.Reader, info.Size()))
	return errors.Join(err, f.Sync())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// New adds a key for an archive made now.
func (k *Keyring) New(at time.Time) (Key, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return Key{}, fmt.Errorf("key of a backup: %w", err)
	}
	key := Key{At: at, Identity: id.String()}
	k.Keys = append(k.Keys, key)
	return key, nil
}

// Destroy removes the keys of archives from before a time, and says how many.
func (k *Keyring) Destroy(before time.Time) int {
	n := len(k.Keys)
	k.Keys = slices.DeleteFunc(k.Keys, func(key Key) bool { return !key.At.After(before) })
	return n - len(k.Keys)
}

// Seal encrypts what is written to it. Close it at the end.
func Seal(w io.Writer, key Key) (io.WriteCloser, error) {
	id, err := age.ParseX25519Identity(key.Identity)
	if err != nil {
		return nil, fmt.Errorf("key of a backup: %w", err)
	}
	return age.Encrypt(w, id.Recipient())
}

// sealed begins every sealed archive.
const sealed = "age-encryption.org/"

// Open reads an archive that is sealed with one of the keys, or not sealed.
func (k Keyring) Open(in io.Reader) (io.Reader, error) {
	r := bufio.NewReaderSize(in, 1<<16)
	head, err := r.Peek(len(sealed))
	if err != nil || string(head) != sealed {
		return r, nil // one of before, or none at all: Unpack says
	}
	ids := make([]age.Identity, 0, len(k.Keys))
	for _, key := range slices.Backward(k.Keys) {
		id, err := age.ParseX25519Identity(key.Identity)
		if err != nil {
			return nil, fault.New(fault.Invalid, "the file of keys is damaged: %w", err)
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return nil, fault.New(fault.Invalid, "the backup is sealed, and there is no file of keys: name it with --keys (fettle backup writes it beside the backup, as %s)", KeyringFile)
	}
	out, err := age.Decrypt(r, ids...)
	if _, none := errors.AsType[*age.NoIdentityMatchError](err); none {
		return nil, fault.New(fault.Invalid, "none of the keys opens this backup: it is of another service, or its key was destroyed because somebody in it was erased; take a newer one")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "the backup is damaged or not complete", err)
	}
	return out, nil
}
