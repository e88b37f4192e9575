package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/app"
	"fettle.dev/fettle/internal/app/archive"
)

func newRestoreCmd() *cobra.Command {
	var file, keyring string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a data directory from a backup",
		Long: `Make a data directory from a backup that "fettle backup" wrote.

The data directory (and the PostgreSQL database, NATS stream and bucket, if
the configuration names them) must be empty. Start "fettle serve" on it
afterwards with the same configuration.

A backup is sealed: --keys names the file of keys that "fettle backup" wrote
beside it, in its newest copy. Whoever was erased since the backup was made is
erased from it again when the service starts.`,
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
			if keyring == "" {
				keyring = filepath.Join(filepath.Dir(args[0]), archive.KeyringFile)
			} else if _, err := os.Stat(keyring); err != nil {
				return err
			}
			keys, err := archive.LoadKeyring(keyring)
			if err != nil {
				return err
			}
			if err := app.Restore(cmd.Context(), config, f, keys, logger(cmd.ErrOrStderr(), config)); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "restored into %s\n", config.Data)
			return nil
		},
	}
	addSettings(cmd, &file)
	cmd.Flags().StringVar(&keyring, "keys", "", "file of keys (default: "+archive.KeyringFile+" beside FILE)")
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
minutes. The service may be running. API tokens stay.

Give it the settings that the service has (--config, or --listen and
--public-url): the link begins with the service's address.`,
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
