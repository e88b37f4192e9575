// Package remote holds the commands that talk to a running service over its
// API, as an operator with a token does.
package remote

import (
	"errors"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/cmd/fettle/remote/artifact"
	"fettle.dev/fettle/cmd/fettle/remote/keys"
	"fettle.dev/fettle/cmd/fettle/remote/message"
	"fettle.dev/fettle/cmd/fettle/remote/operator"
	"fettle.dev/fettle/cmd/fettle/remote/person"
	"fettle.dev/fettle/cmd/fettle/remote/release"
	"fettle.dev/fettle/cmd/fettle/remote/setting"
	"fettle.dev/fettle/cmd/fettle/remote/tips"
	"fettle.dev/fettle/cmd/fettle/remote/trial"
	"fettle.dev/fettle/cmd/fettle/remote/wear"
	"fettle.dev/fettle/cmd/fettle/remote/words"
	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/clock"
)

// errTold ends a command with status 1 when what is to be said was printed.
var errTold = errors.New("")

// Add adds the commands and the flags that they share. Call check before any
// command runs; version is told to the service; offline runs backtests without one.
func Add(root *cobra.Command, version string, offline trial.Offline) (check func() error) {
	c := &cli{Client: client.Client{Agent: "fettle/" + version}}
	common := new(cobra.Command) // holds the flags, which commands without a service do not have
	common.Flags().StringVar(&c.Server, "server", "", "address of the service (FETTLE_SERVER)")
	common.Flags().StringVar(&c.Token, "token", "", "API token (FETTLE_TOKEN); fettle login keeps one")
	common.Flags().StringVarP(&c.output, "output", "o", "table", "table, json or yaml")
	_ = common.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	root.CompletionOptions.DisableDefaultCmd = true
	add := func(id, title string, cmds ...*cobra.Command) {
		if !root.ContainsGroup(id) {
			root.AddGroup(&cobra.Group{ID: id, Title: title})
		}
		for _, cmd := range cmds {
			cmd.GroupID = id
			cmd.PersistentFlags().AddFlagSet(common.Flags())
			root.AddCommand(cmd)
		}
	}
	add("run", "Run:", newReplayCmd(c), newBackupCmd(c), newExportCmd(c))
	add("declare", "Declare:", newApplyCmd(c), newDiffCmd(c), newGetCmd(c), newDescribeCmd(c), newDeleteCmd(c), newSchemaCmd())
	add("work", "Work:", newUnitCmd(c), newFindingCmd(c), newCohortCmd(c), newCampaignCmd(c), trial.Command(&trial.Shared{
		Client: &c.Client, Print: c.print, Table: func() bool { return c.output == "table" }, Row: row, Findings: findingRows, Time: parseTime,
	}, offline))
	add("work", "Work:", wear.Commands(wear.Shared{Client: &c.Client, Print: c.print, Row: row, Time: parseTime, Names: c.completeNames})...)
	add("declare", "Declare:", artifact.Command(artifact.Shared{Client: &c.Client, Print: c.print, Row: row, Size: size, Names: c.completeNames}))
	c.Progress = artifact.Progress(root.ErrOrStderr())
	add("work", "Work:", release.Commands(release.Shared{Client: &c.Client, Print: c.print, Row: row, Names: c.completeNames, Confirm: confirm})...)
	add("work", "Work:", setting.Command(setting.Shared{Client: &c.Client, Print: c.print, Row: row, Names: c.completeNames}))
	add("work", "Work:", message.Commands(message.Shared{Client: &c.Client, Print: c.print, Row: row, Names: c.completeNames})...)
	add("work", "Work:", words.Commands(words.Shared{Client: &c.Client, Print: c.print, Row: row, Names: c.completeNames, Time: parseTime, Told: errTold})...)
	add("work", "Work:", tips.Command(tips.Shared{Client: &c.Client, Print: c.print, Row: row, Names: c.completeNames, Time: parseTime}))
	add("access", "Access:", keys.Command(keys.Shared{Client: &c.Client, Print: c.print, Row: row, Names: c.completeNames, Now: clock.Real{}.Now}))
	add("work", "Work:", person.Command(person.Shared{Client: &c.Client, Print: c.print, Row: row}))
	add("access", "Access:", operator.Commands(operator.Shared{Client: &c.Client, Print: c.print, Row: row})...)
	add("access", "Access:", newLoginCmd(c), newTokenCmd(c), newClaimCmd(c))
	return c.check
}
