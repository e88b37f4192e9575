package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/sim/story"
)

//go:embed demo/*.yaml
var demoFiles embed.FS

var errNotClosed = errors.New("the loop is not closed")

func newDemoCmd() *cobra.Command {
	o := story.Options{}
	var remedy string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Tell the story of 2014: a simulated fleet, a fault, and its remedy",
		Long: `Run the whole loop on a simulated fleet of wall chargers: some have adapters
whose contacts age and overheat. The service, which runs as a child process and
sees nothing of the truth, finds them; owners get a mail and choose when the
update runs; the same detector then says whether it helped.

It needs nothing and leaves nothing behind: data goes to a temporary directory
unless --data names one. The clock is scaled. Without --exit the service stays
up after the story, to look around.

The exit status is 0 only if the loop closed: every defective unit that can be
reached and whose owner agreed is verified, no unit outside the cohort was
treated, and every sample is accounted for.`,
		Example: `  fettle demo
  fettle demo --units 29222 --exit --report report.json
  fettle demo --remedy placebo --exit`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch remedy {
			case "update":
			case "placebo":
				o.Placebo = true
			default:
				return fault.New(fault.Invalid, "--remedy %s: expected update or placebo", remedy)
			}
			if o.Units < 25 || o.Units > 200_000 {
				return fault.New(fault.Invalid, "--units %d: expected 25 to 200000", o.Units)
			}
			if o.Speed < 0 || o.Speed > 200_000 {
				return fault.New(fault.Invalid, "--speed %g: expected 1 to 200000", o.Speed)
			}
			if o.Report != "" { // better known now than after the story
				f, err := os.OpenFile(o.Report, os.O_CREATE|os.O_WRONLY, 0o600)
				if err != nil {
					return fault.Wrap(fault.Invalid, "--report", err)
				}
				_ = f.Close()
			}
			if !cmd.Flags().Changed("seed") {
				o.Seed = rand.Uint64N(1_000_000)
			}
			exe, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			o.Command = []string{exe, "serve"}
			if o.Files, err = fs.Sub(demoFiles, "demo"); err != nil {
				return err
			}
			o.Keys = demoKeys
			o.Out = cmd.OutOrStdout()
			if f, ok := o.Out.(*os.File); ok {
				o.Terminal = term.IsTerminal(int(f.Fd()))
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			cmd.SilenceUsage = true
			rep, err := story.Run(ctx, o)
			if err == nil && !rep.Closed {
				err = errNotClosed
			}
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Units, "units", 1000, "number of chargers; at most 8,000 are connected at once, the others in turn")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of the fleet and its faults (default: random, printed)")
	f.Float64Var(&o.Speed, "speed", 0, "how many times faster than real the clock runs (default: as fits the number of units)")
	f.BoolVar(&o.Exit, "exit", false, "end after the story, with status 0 only if the loop closed")
	f.StringVar(&o.Report, "report", "", "file to write a JSON report to, which compares with the truth")
	f.StringVar(&remedy, "remedy", "update", "update, or placebo: it installs and changes nothing, and the faults come and go")
	f.StringVar(&o.Data, "data", "", "data directory of the service, empty at first (default: temporary)")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8080", "address of the service's HTTP; another port is taken when it is in use")
	f.StringVar(&o.MQTT, "mqtt", "127.0.0.1:1883", "address of the service's MQTT; another port is taken when it is in use")
	f.StringVar(&o.Records, "db", "", "records of the service, as postgres://… (default: SQLite in the data directory)")
	f.IntVar(&o.Kills, "kill-server", 0, "kill the service with -9 at so many random moments, and start it again")
	_ = cmd.MarkFlagDirname("data")
	_ = cmd.MarkFlagFilename("report", "json")
	_ = cmd.RegisterFlagCompletionFunc("remedy", cobra.FixedCompletions([]string{"update", "placebo"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
