package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/app"
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

func newRestoreCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a data directory from a backup",
		Long: `Make a data directory from a backup that "fettle backup" wrote.

The data directory (and the PostgreSQL database, NATS stream and bucket, if
the configuration names them) must be empty. Start "fettle serve" on it
afterwards with the same configuration.`,
		Example: "  fettle restore --data /var/lib/fettle-new fettle.backup",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			config, err := loadConfig(cmd, file)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			if err := app.Restore(cmd.Context(), config, f, logger(cmd.ErrOrStderr(), config)); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "restored into %s\n", config.Data)
			return nil
		},
	}
	addSettings(cmd, &file)
	return cmd
}

func newAdminCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "admin", Short: "Look after a service from its own machine"}
	var file string
	reset := &cobra.Command{
		Use:   "reset",
		Short: "End all operators' sessions and write a new sign-in link",
		Long: `End all operators' sessions and write a new one-time sign-in link for the first
operator to DATA/first-operator-link, readable by this user alone. It lasts 15
minutes. The service may be running. API tokens stay.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(cmd, file)
			if err != nil {
				return err
			}
			path, err := app.Reset(cmd.Context(), config, logger(cmd.ErrOrStderr(), config))
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "a new sign-in link stands in %s\n", path)
			return nil
		},
	}
	addSettings(reset, &file)
	cmd.AddCommand(reset)
	return cmd
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
