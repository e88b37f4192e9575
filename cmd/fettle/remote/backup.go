package remote

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"
)

func newBackupCmd(c *cli) *cobra.Command {
	var path string
	var force bool
	cmd := &cobra.Command{
		Use:   "backup --file FILE",
		Short: "Write one archive of everything a running service holds",
		Long: `Ask the running service for one archive, consistent over records, stream,
history and artifacts, and write it to a file that only this user may read. The
file appears when it is whole. It holds personal data and the hashes of secrets:
keep it as you keep the data directory.

It needs a token of scope admin. "fettle restore" makes a data directory of it.`,
		Example: "  fettle backup --file fettle.backup",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
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
			saved := struct {
				File  string `json:"file"`
				Bytes int64  `json:"bytes"`
			}{path, n}
			return c.print(cmd, saved, func(w io.Writer) { fmt.Fprintf(w, "%s: %s\n", path, size(n)) })
		},
	}
	cmd.Flags().StringVarP(&path, "file", "f", "fettle.backup", "file to write")
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	_ = cmd.MarkFlagFilename("file")
	return cmd
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
