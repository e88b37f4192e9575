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

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/fault"
)

// version is set by the linker.
var version = "dev"

// Exit statuses.
const (
	exitFailed = 1 // the server refused, or something went wrong
	exitUsage  = 2 // the command line is wrong
)

// exitError ends the program with a status of its own; an empty message prints nothing.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// errQuiet has been told already.
var errQuiet = errors.New("")

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program; tests call it in their own process.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	began := false
	root := newRootCmd(&began) //nolint:contextcheck // commands get it from cobra
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if text := strings.TrimSpace(err.Error()); text != "" {
		fmt.Fprintf(errOut, "fettle: %s\n", text)
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.status
	}
	if fault.KindOf(err) == fault.Invalid {
		return exitUsage
	}
	if !began {
		fmt.Fprintln(errOut, "fettle: see fettle --help")
		return exitUsage
	}
	return exitFailed
}

func newRootCmd(began *bool) *cobra.Command {
	c := &cli{Client: client.Client{Agent: "fettle/" + version}}
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
			*began = true
			return c.check()
		},
	}
	root.PersistentFlags().StringVar(&c.Server, "server", "", "address of the service (FETTLE_SERVER)")
	root.PersistentFlags().StringVar(&c.Token, "token", "", "API token (FETTLE_TOKEN); fettle login keeps one")
	root.PersistentFlags().StringVarP(&c.output, "output", "o", "table", "table, json or yaml")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "declare", Title: "Declare:"},
		&cobra.Group{ID: "work", Title: "Work:"},
		&cobra.Group{ID: "access", Title: "Access:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add("run", newServeCmd(), newDemoCmd(), newReplayCmd(c), newBackupCmd(c), newRestoreCmd(), newAdminCmd())
	add("declare", newApplyCmd(c), newDiffCmd(c), newGetCmd(c), newDescribeCmd(c), newDeleteCmd(c), newSchemaCmd())
	add("work", newUnitCmd(c), newFindingCmd(c), newCohortCmd(c), newCampaignCmd(c), newBacktestCmd(c))
	add("access", newLoginCmd(c), newTokenCmd(c), newClaimCmd(c))
	root.AddCommand(newCompletionCmd())
	return root
}
