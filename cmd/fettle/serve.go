package main

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"fettle.dev/fettle/internal/app"
)

func newServeCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the service: units' doors, detectors, campaigns, console and portal",
		Long: `Run the service in one process on one data directory.

Every setting below is a flag, an environment variable (in brackets) and a key
of the YAML file named by --config: listen: 0.0.0.0:8080. The flag wins over the
variable, the variable over the file. Two keys stand in the file alone:
unit-trust (who may vouch for units; docs/updates.md) and gateways (how SMS and
calls are sent; docs/operations.md).

The first operator's sign-in link is written to DATA/first-operator-link,
readable by this user alone.

SIGTERM stops it: units are disconnected after what they sent is durable.`,
		Example: `  fettle serve --data /var/lib/fettle --listen 0.0.0.0:8080 --mqtt 0.0.0.0:1883
  FETTLE_SMTP=smtp://mail.example.com:587 fettle serve --config /etc/fettle.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(cmd, file)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return app.Serve(ctx, config, logger(cmd.ErrOrStderr(), config), version)
		},
	}
	addSettings(cmd, &file)
	return cmd
}

// addSettings adds every setting as a flag, and --config.
func addSettings(cmd *cobra.Command, file *string) {
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(file, "config", "", "YAML file of settings")
	for _, s := range app.Settings() {
		if s.Type == "bool" {
			cmd.Flags().Bool(s.Name, s.Default == "true", s.Help+" ["+s.Env+"]")
			continue
		}
		cmd.Flags().String(s.Name, s.Default, s.Help+" ["+s.Env+"]")
	}
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	_ = cmd.MarkFlagDirname("data")
}

// loadConfig reads the settings of a command made with addSettings.
func loadConfig(cmd *cobra.Command, file string) (app.Config, error) {
	given := map[string]string{}
	for _, s := range app.Settings() {
		if f := cmd.Flags().Lookup(s.Name); f != nil && f.Changed {
			given[s.Name] = f.Value.String()
		}
	}
	return app.Load(file, os.LookupEnv, given)
}

// logger writes JSON lines, or coloured text on a terminal.
func logger(w io.Writer, c app.Config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // Load has checked it
	f, isFile := w.(*os.File)
	text := c.LogFormat == "text" || c.LogFormat == "" && isFile && term.IsTerminal(int(f.Fd()))
	if text {
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
