package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func newBackupCmd(c *cli) *cobra.Command {
	var path, keys string
	var force, only bool
	cmd := &cobra.Command{
		Use:   "backup --file FILE",
		Short: "Write one archive of everything a running service holds",
		Long: `Ask the running service for one archive, consistent over records, stream,
history and artifacts, and write it to a file that only this user may read. The
file appears when it is whole. It holds personal data and the hashes of secrets,
sealed with a key of its own.

The keys of all backups that may still be opened are written to a second file,
beside the first unless --keys says where. Restoring needs it. Keep it apart from
the backups, and its newest copy alone: when people are erased, the keys of
backups that hold them are destroyed after a while, and each "fettle backup"
(or "fettle backup --only-keys") brings that file up to date.

It needs a token of scope admin. "fettle restore" makes a data directory of it.`,
		Example: "  fettle backup --file fettle.backup",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if keys == "" {
				keys = filepath.Join(filepath.Dir(path), keyringFile)
			}
			if only {
				_, err := c.keep(cmd.Context(), keys)
				return err
			}
			if _, err := os.Stat(path); err == nil && !force {
				return fmt.Errorf("%s is there already; --force replaces it", path)
			}
			res, err := c.Send(cmd.Context(), http.MethodGet, "/v1/backup", "", nil)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, res.Body.Close()) }()
			n, err := save(path, res.Body)
			if err != nil {
				return fmt.Errorf("backup: %w", err)
			}
			opening, err := c.keep(cmd.Context(), keys)
			if err != nil {
				return fmt.Errorf("%s is whole, but its key was not written: run fettle backup --only-keys: %w", path, err)
			}
			saved := struct {
				File  string `json:"file"`
				Bytes int64  `json:"bytes"`
				Keys  string `json:"keys"`
			}{path, n, keys}
			return c.print(cmd, saved, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %s\n%s: %s, opens it; keep it elsewhere, restoring needs it\n", path, size(n), keys, size(opening))
			})
		},
	}
	cmd.Flags().StringVarP(&path, "file", "f", "fettle.backup", "file to write")
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	cmd.Flags().StringVar(&keys, "keys", "", "file of keys to write (default: "+keyringFile+" beside the backup)")
	cmd.Flags().BoolVar(&only, "only-keys", false, "write the file of keys alone")
	_ = cmd.MarkFlagFilename("file")
	_ = cmd.MarkFlagFilename("keys")
	return cmd
}

// keyringFile is where the keys of backups are written by default.
const keyringFile = "fettle-backup.keys"

// keep writes the keys of backups over the copy that was there.
func (c *cli) keep(ctx context.Context, path string) (n int64, err error) {
	res, err := c.Send(ctx, http.MethodGet, "/v1/backup/keys", "", nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	return save(path, res.Body)
}

// size writes bytes as people read them.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}

// save writes a stream to a file, for this user alone, that appears whole or not at all.
func save(path string, r io.Reader) (n int64, err error) {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(f, r)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return n, errors.Join(err, os.Remove(part))
	}
	return n, os.Rename(part, path)
}
