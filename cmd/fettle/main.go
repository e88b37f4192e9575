// Command fettle runs the service, its demonstration, and everything that
// operators do from a terminal.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/cmd/fettle/remote"
	"fettle.dev/fettle/internal/fault"
)

// version is set by the linker.
var version = "dev"

// Exit statuses.
const (
	exitFailed = 1 // the server refused, or something went wrong
	exitUsage  = 2 // the command line is wrong
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program; tests call it in their own process.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	began := false
	root := newRootCmd(&began)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if text := strings.TrimSpace(err.Error()); text != "" {
		fmt.Fprintf(errOut, "fettle: %s\n", text)
	}
	var exit interface{ ExitCode() int } // of a command that a mail server runs
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if fault.KindOf(err) == fault.Invalid {
		return exitUsage
	}
	if !began {
		fmt.Fprintf(errOut, "fettle: see %s --help\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailed
}

func newRootCmd(began *bool) *cobra.Command {
	check := func() error { return nil }
	root := &cobra.Command{
		Use:   "fettle",
		Short: "Know the condition of every unit, and put right what is wrong",
		Long: `Fettle watches a fleet of connected products, finds the units that leave their
tolerances, and brings them a remedy that is verified by the same detector.

"fettle serve" runs the service; the other commands talk to one, at the address
and with the API token that --server and --token name, or FETTLE_SERVER and
FETTLE_TOKEN, or what "fettle login" has kept.

Exit status: 0 done, 1 refused or failed, 2 the command line is wrong.`,
		Example: `  fettle demo
  fettle login http://127.0.0.1:8080
  fettle apply -f fleet/
  fettle get units --condition degraded`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups()); err != nil {
				return err // cobra would look after this, as if the command had begun
			}
			*began = true
			return check()
		},
	}
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 100"))
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run:"})
	for _, cmd := range []*cobra.Command{newServeCmd(), newDemoCmd(), newRestoreCmd(), newAdminCmd(), newAuditCmd(), newScoreCmd(), newPrognoseCmd(), newDatasheetCmd()} {
		cmd.GroupID = "run"
		root.AddCommand(cmd)
	}
	root.AddCommand(newCompletionCmd())
	check = remote.Add(root, version, backtestFile)
	refuseUnknown(root)
	return root
}

// refuseUnknown makes groups of commands refuse what is none of theirs, where
// cobra would print help and report success.
func refuseUnknown(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		refuseUnknown(sub)
	}
	if cmd.Runnable() || !cmd.HasSubCommands() || !cmd.HasParent() {
		return // of the program itself cobra sees to it
	}
	cmd.DisableFlagsInUseLine, cmd.SuggestionsMinimumDistance = true, 2
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			text += ": did you mean " + strings.Join(near, " or ") + "?"
		}
		return errors.New(text)
	}
}
