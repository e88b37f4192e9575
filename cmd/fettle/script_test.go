package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/telemetry"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"fettle": func() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// Scripts are people at a terminal, each with a service of their own: $SERVER,
// and tokens $ADMIN, $WRITER and $READER. The admin's is in use.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/script/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			e := apitest.New(t)
			testscript.Run(t, testscript.Params{
				Files: []string{file},
				Setup: func(env *testscript.Env) error {
					env.Setenv("SERVER", e.URL)
					env.Setenv("ADMIN", e.Admin)
					env.Setenv("WRITER", e.Token(e.Operator(), access.ScopeWrite))
					env.Setenv("READER", e.Token(e.Operator(), access.ScopeRead))
					env.Setenv("FETTLE_SERVER", e.URL)
					env.Setenv("FETTLE_TOKEN", e.Admin)
					env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
					return nil
				},
				Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
					// hot stores the story's history and findings.
					"hot": func(ts *testscript.TestScript, _ bool, _ []string) {
						e.Hot()
						ts.Setenv("FINDING", e.Keep()[0].ID)
					},
					// events stores some of a unit's.
					"events": func(_ *testscript.TestScript, _ bool, args []string) {
						at := apitest.Start.UnixMilli()
						e.StoreEvents(args[0],
							telemetry.Event{Event: at, Received: at, Kind: telemetry.EventFault, Name: "E1", State: telemetry.StateSet, Text: "relay\n2"},
							telemetry.Event{Event: at + 1000, Received: at, Kind: telemetry.EventLog, Name: "modem", Level: telemetry.LevelWarn, Text: "no carrier"})
					},
					// link sets LINK to a fresh one-time link.
					"link": func(ts *testscript.TestScript, _ bool, _ []string) {
						secret, err := e.Deps.Access.Reset(t.Context())
						ts.Check(err)
						ts.Setenv("LINK", e.URL+"/console/sign-in#"+secret)
					},
					// enroll has a unit claim a serial with the token in a file.
					"enroll": func(ts *testscript.TestScript, _ bool, args []string) {
						c, err := e.Deps.Provisioning.Enroll(t.Context(), fleet.EnrolRequest{
							ClaimToken: strings.TrimSpace(ts.ReadFile(args[0])), Serial: args[1],
							Token: fleet.NewSecret(fleet.UnitTokenPrefix), RemoteAddress: "192.0.2.7",
						})
						ts.Check(err)
						ts.Setenv("CLAIM", c.ID)
					},
					// lamps writes lives of lamps, the last hours of each cut off.
					"lamps": func(ts *testscript.TestScript, _ bool, args []string) {
						n, err := strconv.Atoi(args[1])
						ts.Check(err)
						cut, err := strconv.Atoi(args[2])
						ts.Check(err)
						ts.Check(lamps(ts.MkAbs(args[0]), n, cut))
					},
					// pass lets the campaigns take some steps.
					"pass": func(ts *testscript.TestScript, _ bool, _ []string) {
						for range 5 {
							_, err := e.Deps.Campaigns.Pass(t.Context())
							ts.Check(err)
						}
						e.Clock.Advance(time.Minute)
					},
				},
			})
		})
	}
}
