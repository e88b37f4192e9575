package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/app"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/privacy"
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
					// four-eyes asks for two people to start campaigns.
					"four-eyes": func(*testscript.TestScript, bool, []string) { e.FourEyes() },
					// colleague makes an operator with a password and an authenticator, and
					// writes both as the answers to a sign-in: colleague EMAIL ROLE FILE.
					"colleague": func(ts *testscript.TestScript, _ bool, args []string) {
						ctx, people := t.Context(), e.Deps.Access
						o, link, err := people.Invite(ctx, access.Operator{Email: args[0], Role: access.Role(args[1])})
						ts.Check(err)
						s, _, err := people.SignIn(ctx, access.PartyOperator, link, "", access.Caller{})
						ts.Check(err)
						ts.Check(people.SetPassword(ctx, o.ID, s.ID, "", "four words nobody knows"))
						a, err := people.Enrol(ctx, o.ID)
						ts.Check(err)
						code := func(ahead time.Duration) string {
							c, err := totp.GenerateCode(a.Key, time.Now().Add(ahead))
							ts.Check(err)
							return c
						}
						_, _, _, err = people.Enrolled(ctx, a.Ticket, code(-30*time.Second), s.ID, access.Caller{})
						ts.Check(err)
						ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte("four words nobody knows\n"+code(0)+"\n"), 0o600))
					},
					// id sets ID to the first id in a file of JSON.
					"id": func(ts *testscript.TestScript, _ bool, args []string) {
						_, after, _ := strings.Cut(ts.ReadFile(args[0]), `"id": "`)
						id, _, _ := strings.Cut(after, `"`)
						ts.Setenv("ID", id)
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
					// trail makes a data directory whose audit trail has so many entries.
					"trail": func(ts *testscript.TestScript, _ bool, args []string) {
						n, err := strconv.Atoi(args[1])
						ts.Check(err)
						ts.Check(trailIn(t.Context(), ts.MkAbs(args[0]), n))
					},
					// tamper changes the records of a data directory behind its back.
					"tamper": func(ts *testscript.TestScript, _ bool, args []string) {
						db, err := sql.Open("sqlite3", "file:"+ts.MkAbs(args[0])+"/records.db")
						ts.Check(err)
						for _, statement := range args[1:] {
							_, err := db.ExecContext(t.Context(), statement)
							ts.Check(err)
						}
						ts.Check(db.Close())
					},
					// kept sets HEAD to the line in a file.
					"kept": func(ts *testscript.TestScript, _ bool, args []string) {
						ts.Setenv("HEAD", strings.TrimSpace(ts.ReadFile(args[0])))
					},
					// ask has a person ask for something about their data: ask EMAIL KIND TEXT.
					"ask": func(ts *testscript.TestScript, _ bool, args []string) {
						o, err := e.Deps.Fleet.OwnerByEmail(t.Context(), args[0])
						ts.Check(err)
						_, err = e.Deps.Privacy.Request(t.Context(), privacy.Ask{OwnerID: o.ID, Kind: privacy.Kind(args[1]), Text: args[2]})
						ts.Check(err)
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

// trailIn makes a data directory with an audit trail of n entries, op0 on
// units/WC-0 and so on.
func trailIn(ctx context.Context, dir string, n int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	config, err := app.Load("", func(string) (string, bool) { return "", false }, map[string]string{"data": dir})
	if err != nil {
		return err
	}
	tr, closing, err := app.Trail(ctx, config, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	for i := range n {
		err = errors.Join(err, tr.Append(ctx, audit.Entry{
			Kind: audit.Change, Actor: audit.Actor{Party: audit.Server, ID: "test"}, Operation: fmt.Sprint("op", i), Object: fmt.Sprint("units/WC-", i), Outcome: audit.Done,
		}))
	}
	return errors.Join(err, closing())
}
