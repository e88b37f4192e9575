// Command fettle-agent runs on a Linux unit: it sends telemetry, and installs
// what its server orders, its makers have signed and its owner agrees to.
// docs/agent.md is its manual.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/unitkit/install"
)

// programVersion is set by the linker.
var programVersion = "dev"

const defaultConfig = "/etc/fettle-agent.yaml"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr)) // nothing is left to be done
}

// execute is the program; it gives the exit status.
func execute(ctx context.Context, args []string, out, errOut io.Writer) int {
	root := newCommand()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(errOut, "fettle-agent: %s\n", strings.TrimSpace(err.Error()))
		return 1
	}
	return 0
}

func newCommand() *cobra.Command {
	file := defaultConfig
	root := &cobra.Command{
		Use:   "fettle-agent",
		Short: "Telemetry and updates for a unit of a Fettle fleet",
		Long: `fettle-agent sends what collectors on the unit print, and installs updates: into
the other of two slots by the product's installer program, or as files that are
replaced atomically. After the restart it checks the unit's health and brings
the old version back when that fails. The unit's owner decides when.

"fettle-agent run" is the service. The other commands talk to it over a socket,
also while the server cannot be reached. docs/agent.md describes the
configuration file and what an installer program must do.

Exit status: 0 done, 1 refused or failed.`,
		Example: `  fettle-agent run --config /etc/fettle-agent.yaml
  fettle-agent status
  fettle-agent postpone 2h`,
		Version:       programVersion,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&file, "config", defaultConfig, "configuration `file` in YAML")
	root.AddCommand(
		&cobra.Command{
			Use: "run", Short: "Run the agent until it is told to stop (SIGTERM)", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				c, err := readConfig(file)
				if err == nil {
					err = c.files()
				}
				if err != nil {
					return err
				}
				return serve(cmd.Context(), c, logger(c, cmd.ErrOrStderr()))
			},
		},
		&cobra.Command{
			Use: "config", Short: "Check the configuration file and the files it names, and say what is wrong", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				c, err := readConfig(file)
				if err != nil {
					return err
				}
				if err := c.files(); err != nil {
					return fmt.Errorf("%s is right, but what it names is not:\n%w", file, err)
				}
				fmt.Fprintln(cmd.OutOrStdout(), file+" is right")
				return nil
			},
		},
		newStatusCommand(&file),
		newChoiceCommand(&file, &cobra.Command{
			Use: "start-now", Short: "Install the update now, as the unit's owner", Args: cobra.NoArgs,
			Long: "Installs as soon as the unit is not in use and its preconditions hold, whatever time was set.",
		}, func([]string) (choice, error) { return choice{Choice: install.StartNow}, nil }),
		newChoiceCommand(&file, &cobra.Command{
			Use: "not-now", Short: "Do not install the update until told otherwise, as the unit's owner", Args: cobra.NoArgs,
			Long: "Holds until start-now, or until the owner sets another time in the portal.",
		}, func([]string) (choice, error) { return choice{Choice: install.NotNow}, nil }),
		newChoiceCommand(&file, &cobra.Command{
			Use: "postpone TIME", Short: "Install the update after a time, as the unit's owner", Args: cobra.ExactArgs(1),
			Long:    "TIME is how long from now, as 90m or 2h, or a moment, as 2026-11-23T02:00:00+01:00.",
			Example: "  fettle-agent postpone 2h",
		}, func(args []string) (choice, error) {
			at, err := moment(args[0])
			return choice{install.Postpone, at}, err
		}),
		&cobra.Command{
			Use: "check", Short: "Ask the server for updates at once", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				c, err := readConfig(file)
				if err != nil {
					return err
				}
				_, err = ask(cmd.Context(), c.control(), "POST", "/check", nil)
				return err
			},
		},
	)
	return root
}

func newStatusCommand(file *string) *cobra.Command {
	format := "text"
	cmd := &cobra.Command{
		Use: "status", Short: "Show where the unit stands, and what an update waits for", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := readConfig(*file)
			if err != nil {
				return err
			}
			s, err := ask(cmd.Context(), c.control(), "GET", "/status", nil)
			if err != nil {
				return err
			}
			return print(cmd.OutOrStdout(), format, s)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", format, "text or json")
	return cmd
}

func newChoiceCommand(file *string, cmd *cobra.Command, choose func(args []string) (choice, error)) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := readConfig(*file)
		if err != nil {
			return err
		}
		what, err := choose(args)
		if err != nil {
			return err
		}
		s, err := ask(cmd.Context(), c.control(), "POST", "/choice", what)
		if err != nil {
			return err
		}
		return print(cmd.OutOrStdout(), "text", s)
	}
	return cmd
}

func print(w io.Writer, format string, s status) error {
	switch format {
	case "text":
		show(w, s)
		return nil
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(s)
	default:
		return fmt.Errorf("--output: want text or json, got %q", format)
	}
}

// moment reads a time to come.
func moment(s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return time.Now().Add(d), nil //nolint:forbidigo // the owner's clock
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("want how long from now, as 90m or 2h, or a moment, as 2026-11-23T02:00:00+01:00; got %q", s)
	}
	return t, nil
}

func logger(c *config, w io.Writer) *slog.Logger {
	var level slog.Level
	if c.LogLevel != "" {
		_ = level.UnmarshalText([]byte(c.LogLevel)) // checked
	}
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
