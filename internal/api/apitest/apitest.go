// Package apitest serves the operations in a test, over real records (SQLite or PostgreSQL),
// history (DuckDB) and artifacts in a temporary directory. Units and the stream
// are played by the test: what they would have stored is put into history.
package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fettle.dev/fettle/internal/app/deliver"
	intips "fettle.dev/fettle/internal/app/tips"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api"
	"fettle.dev/fettle/internal/api/data"
	"fettle.dev/fettle/internal/app/person"
	"fettle.dev/fettle/internal/app/tell"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/blob"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/consent/share"
	"fettle.dev/fettle/internal/consent/takeout"
	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/maintenance"
	"fettle.dev/fettle/internal/outcome"
	rights "fettle.dev/fettle/internal/privacy"
	"fettle.dev/fettle/internal/sqldb"
	deltastore "fettle.dev/fettle/internal/sqldb/delta"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/privacy"
	"fettle.dev/fettle/internal/sqldb/release"
	kept "fettle.dev/fettle/internal/sqldb/rights"
	"fettle.dev/fettle/internal/sqldb/signin"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/sqldb/trail"
	"fettle.dev/fettle/internal/sqldb/trial"
	trusts "fettle.dev/fettle/internal/sqldb/trust"
	"fettle.dev/fettle/internal/sqldb/unitlog"
	"fettle.dev/fettle/internal/sqldb/wear"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/telemetry/guard"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/delta"
	"fettle.dev/fettle/internal/update/trust"
	"fettle.dev/fettle/internal/update/upload"
)

// Start is what the clock shows first: a while after the story's recordings.
var Start = time.Date(2014, 3, 1, 12, 0, 0, 0, time.UTC)

// Env is a service under test.
type Env struct {
	T       testing.TB
	URL     string
	DB      *sqldb.DB
	History *duckdb.History
	Deps    api.Deps
	Clock   *clock.Manual
	Admin   string // API token of scope admin
	Log     *bytes.Buffer

	mu    sync.Mutex
	links map[string]string // one-time links mailed, by address
	Hooks []string          // hooks called, in order
	seq   uint64

	fourEyes atomic.Bool
}

// FourEyes asks for two people to start campaigns from now on.
func (e *Env) FourEyes() { e.fourEyes.Store(true) }

// SendLink keeps a link for the test instead of mailing it.
func (e *Env) SendLink(_ context.Context, _ access.Link, email, _, secret string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.links[email] = secret
	return nil
}

// Link is the one-time link mailed last to an address, "" without.
func (e *Env) Link(email string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.links[email]
}

func (e *Env) hook(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.Hooks = append(e.Hooks, name)
}

// UnitStateChanged is the gateway's, which is not there.
func (e *Env) UnitStateChanged(_ context.Context, unitID string) error {
	e.hook("state " + unitID)
	return nil
}

// CredentialChanged is the gateway's, which is not there.
func (e *Env) CredentialChanged(unitID string) { e.hook("credential " + unitID) }

// Delivered reports that every notice is.
func (e *Env) Delivered(context.Context, string) (bool, error) { return true, nil }

// Tell is the owners' notices, which nobody reads here.
func (e *Env) Tell(_ context.Context, n campaign.Notice) error {
	e.hook("notice " + n.Task.UnitID)
	return nil
}

type lockedBuffer struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Each runs fn on a service of its own on each kind of records.
func Each(t *testing.T, fn func(t *testing.T, e *Env)) {
	t.Helper()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		fn(t, on(t, db))
	})
}

// New serves the operations until the test ends, after changes to what they
// work with; its records are on SQLite.
func New(tb testing.TB, change ...func(*Env)) *Env {
	tb.Helper()
	return on(tb, sqldbtest.SQLite(tb), change...)
}

func on(tb testing.TB, db *sqldb.DB, change ...func(*Env)) *Env {
	tb.Helper()
	ctx := tb.Context()
	e := &Env{T: tb, DB: db, Clock: clock.NewManual(Start), Log: &bytes.Buffer{}, links: map[string]string{}}
	log := slog.New(slog.NewJSONHandler(&lockedBuffer{b: e.Log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	e.History, err = duckdb.Open(ctx, duckdb.Config{Dir: tb.TempDir(), MemoryMB: 128, Threads: 1}, log)
	require.NoError(tb, err)
	blobs, err := blob.Open(ctx, tb.TempDir())
	require.NoError(tb, err)

	units, ids, wall := e.DB.Fleet(), clock.Random{}, clock.Real{}
	letIn := access.New(signin.New(e.DB), units, e.DB, wall, ids, log, access.Config{Links: e, Secrets: signin.Secrets(e.DB), Key: make([]byte, 32), Approvals: signin.Approvals(e.DB), FourEyes: func(string) bool { return e.fourEyes.Load() }})
	consents := consent.NewService(e.DB.Consent(), units, e.DB, e.Clock, ids)
	consents.OnChange(func(_ context.Context, changes []consent.Change) error {
		e.hook("consents")
		return nil
	})
	read := guard.New(e.History, e.DB.Consent(), units)
	updates, err := update.NewService(ctx, update.Config{Store: e.DB.Update(), Ledger: release.New(e.DB), State: read, Logs: unitlog.New(e.DB), Blobs: blobs, Fleet: units, Tx: e.DB, Clock: e.Clock, Log: log, Dir: tb.TempDir()})
	require.NoError(tb, err)
	uploads, err := upload.New(upload.Config{Artifacts: updates, Clock: e.Clock, IDs: ids, Log: log, Dir: tb.TempDir()})
	require.NoError(tb, err)
	deltas := delta.NewManager(delta.Config{
		Store: deltastore.New(e.DB), Releases: e.DB.Update(), Blobs: blobs, Clock: e.Clock, Wall: wall, Log: log, Dir: tb.TempDir(),
	})
	trusted, err := trust.NewService(ctx, trust.Config{
		Store: trusts.New(e.DB), Releases: e.DB.Update(), Tx: e.DB, Clock: e.Clock, Log: log, Server: "http://fettle.test", Seal: make([]byte, trust.SealSize),
		Versions: func(context.Context, string, map[string]string) error { return nil },
	})
	require.NoError(tb, err)
	trusted.Assign(updates)
	updates.SetSigned(trusted.Refuse)
	conditions := condition.NewService(condition.Config{
		Store: e.DB.Condition(), Fleet: units, Consents: e.DB.Consent(), History: read, Clock: e.Clock, IDs: ids,
	})
	backtests := backtest.NewManager(backtest.Config{
		Store: trial.New(e.DB), History: read, Fleet: units, Conditions: conditions, Maintenance: wear.Maintenance(e.DB),
		Applied: e.History.Applied, Clock: e.Clock, Wall: wall, IDs: ids, Log: log,
	})
	serviced := maintenance.NewService(maintenance.Config{Store: wear.Maintenance(e.DB), Fleet: units, Tx: e.DB, Clock: e.Clock, IDs: ids, Log: log})
	foreseen := prognosis.NewManager(prognosis.Config{
		Store: wear.Prognosis(e.DB), Findings: e.DB.Condition(), Lives: serviced, Fleet: units, Consents: consents,
		History: read, Learner: prognosis.Trees{Count: 40}, Tx: e.DB, Clock: e.Clock, Log: log,
	})
	cohorts := cohort.NewService(cohort.Config{
		Store: e.DB.Cohort(), Tx: e.DB, Fleet: units, Conditions: conditions, History: read,
		Last: func(context.Context) (uint64, error) { return e.seq, nil }, Clock: e.Clock, IDs: ids, Log: log,
		Foreseen: foreseen,
	})
	campaigns := campaign.NewManager(campaign.Config{
		Store: e.DB.Campaign(), Fleet: units, Cohorts: e.DB.Cohort(), Detectors: e.DB.Condition(), Updates: updates,
		Notices: e, Tx: e.DB, Clock: e.Clock, IDs: ids, Log: log,
	})
	outcomes := outcome.NewManager(outcome.Config{
		Store: e.DB.Outcome(), Campaigns: campaigns, Runs: e.DB.Campaign(), Fleet: units, Consent: e.DB.Consent(),
		Condition: e.DB.Condition(), Tx: e.DB, Clock: e.Clock, Log: log,
	})
	trails := audit.New(audit.Config{Store: trail.New(e.DB), Tx: e.DB, Clock: wall, Log: log})
	tells := tell.New(tell.Config{Records: e.DB, Updates: updates, Clock: e.Clock, IDs: ids, Log: log, URL: "http://fettle.test", Trail: trails})
	e.Deps = api.Deps{
		Trail:   trails,
		Privacy: rights.NewService(rights.Config{Store: privacy.New(e.DB), Tx: e.DB, Fleet: units, Trail: trails, Clock: wall, IDs: ids, Log: log}),
		Log:     log, Clock: e.Clock, Wall: wall, IDs: ids, Tx: e.DB, Speed: 1,
		Access: letIn, Fleet: units, Versions: e.DB, Consents: consents, Choices: e.DB.Consent(), Condition: conditions, Backtests: backtests, Cohorts: cohorts,
		Maintenance: serviced, Prognosis: foreseen, Trust: trusted, Uploads: uploads, Deltas: deltas, Register: release.New(e.DB),
		Updates: updates, Campaigns: campaigns, Runs: e.DB.Campaign(), Outcomes: outcomes, Notify: message.New(e.DB), Words: tells.Operations(), History: read,
		Data: data.Deps{
			Clock: e.Clock, Consents: consents, Choices: e.DB.Consent(), Notices: consent.NewNotices(kept.Notices(e.DB), e.DB.Consent(), e.DB, e.Clock), History: read,
			Shares:  share.New(share.Config{Store: kept.Shares(e.DB), Tx: e.DB, Clock: e.Clock, IDs: ids}),
			Exports: takeout.New(takeout.Config{Store: kept.Exports(e.DB), Clock: e.Clock, IDs: ids, Log: log, Dir: tb.TempDir()}),
			Rates: func(ctx context.Context, product string) (map[string]data.Rate, error) {
				given, refused, err := kept.Rates(ctx, e.DB, product)
				out := map[string]data.Rate{}
				for name, n := range given {
					out[name] = data.Rate{Given: n, Refused: refused[name]}
				}
				return out, err
			},
		},
		Provisioning: fleet.NewProvisioning(units, e.DB.Credentials(), e.DB.Claims(), e.DB, e.Clock, ids, e),
		EraseUnit:    privacy.New(e.DB).EraseUnit,
		Backup: func(_ context.Context, w io.Writer) error {
			_, err := w.Write([]byte("archive"))
			return err
		},
		OnProducts: func(ctx context.Context, names []string) error {
			for _, n := range names {
				e.hook("product " + n)
				if p, err := units.Product(ctx, n); err == nil {
					columns := map[string]string{}
					for _, s := range p.Signals {
						columns[s.Name] = string(s.Type)
					}
					if err := e.History.EnsureProduct(ctx, n, columns); err != nil {
						return err
					}
				}
			}
			return nil
		},
		OnDetectors: func(context.Context) error { e.hook("detectors"); return nil },
		OnUnits:     func(_ context.Context, _ []string) error { e.hook("units"); return nil },
	}
	server := httptest.NewUnstartedServer(nil)
	// A passkey belongs to a name, which an address in digits is not.
	e.Deps.PublicURL = "http://" + strings.Replace(server.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	e.Deps.People, e.Deps.SignIn, err = person.New(person.Deps{
		Records: e.DB, Fleet: units, Access: letIn, Consents: consents, Campaigns: campaigns, Clock: e.Clock, Wall: wall, IDs: ids, Log: log,
		PublicURL: e.Deps.PublicURL, Mails: true, OnUnits: e.Deps.OnUnits,
	})
	require.NoError(tb, err)
	post, err := deliver.New(ctx, deliver.Config{
		Settings: deliver.Settings{MailFrom: "fettle@localhost"}, Records: e.DB, Clock: e.Clock, IDs: ids, Log: log,
		PublicURL: e.Deps.PublicURL, Key: make([]byte, 32), Journal: filepath.Join(tb.TempDir(), "sent"), Console: true,
	})
	require.NoError(tb, err)
	e.Deps.Messages = post.Operations(e.Clock, ids)
	advice := intips.New(intips.Config{
		Records: e.DB, Fleet: units, Read: e.History, Used: e.History, Conditions: conditions, Owners: campaigns.Preferences,
		Mark: func(context.Context, ...telemetry.Mark) error { return nil }, Clock: e.Clock, IDs: ids, Log: log, PerDay: 3,
	})
	e.Deps.Tips, e.Deps.Feeds = advice.Service, advice.Feeds.Status
	e.Deps.BackupKeys = func(context.Context) (any, error) { return []string{}, nil }
	for _, fn := range change {
		fn(e)
	}
	server.Config.Handler = api.New(e.Deps)
	server.Start()
	e.URL = server.URL
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 2)
	go func() { done <- cohorts.Run(running) }()
	go func() { done <- backtests.Run(running) }()
	tb.Cleanup(func() {
		server.Close()
		stop()
		require.NoError(tb, <-done)
		require.NoError(tb, <-done)
		require.NoError(tb, e.History.Close())
		require.NoError(tb, blobs.Close())
		require.NoError(tb, post.Close())
	})

	link, created, err := letIn.Bootstrap(ctx)
	require.NoError(tb, err)
	require.True(tb, created)
	session, _, err := letIn.SignIn(ctx, access.PartyOperator, link, "", access.Caller{Agent: "test"})
	require.NoError(tb, err)
	e.Admin = e.Token(session.Subject, access.ScopeAdmin)
	return e
}

// Token makes an API token of an operator.
func (e *Env) Token(operatorID string, scope access.Scope) string {
	e.T.Helper()
	_, secret, err := e.Deps.Access.CreateAPIToken(e.T.Context(), access.NewToken{OperatorID: operatorID, Name: "test", Scope: scope, Expires: time.Time{}})
	require.NoError(e.T, err)
	return secret
}

// Operator is the first operator's id.
func (e *Env) Operator() string {
	e.T.Helper()
	all, err := signin.New(e.DB).Operators(e.T.Context())
	require.NoError(e.T, err)
	return all[0].ID
}

// Do makes a request; set changes it before it is sent. A text is sent as it
// is, anything else but nil as JSON.
func (e *Env) Do(method, path string, body any, set func(*http.Request)) (status int, answer []byte, header http.Header) {
	e.T.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = bytes.NewReader([]byte(b))
	default:
		raw, err := json.Marshal(b)
		require.NoError(e.T, err)
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(e.T.Context(), method, e.URL+path, r)
	require.NoError(e.T, err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if set != nil {
		set(req)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(e.T, err)
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	require.NoError(e.T, err)
	return res.StatusCode, answer, res.Header
}

// Bearer sends an API token.
func Bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// As sends a session cookie, from a page of the service.
func (e *Env) As(cookie, session string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Cookie", cookie+"="+session)
		r.Header.Set("Origin", e.URL)
	}
}

// Call makes a request as admin and reads the answer, which must have the status.
func Call[T any](e *Env, want int, method, path string, body any) T {
	e.T.Helper()
	status, raw, _ := e.Do(method, path, body, Bearer(e.Admin))
	require.Equal(e.T, want, status, "%s %s: %s", method, path, raw)
	var out T
	if len(raw) > 0 {
		require.NoError(e.T, json.Unmarshal(raw, &out), "%s", raw)
	}
	return out
}

// OwnerSession signs an owner in by mail.
func (e *Env) OwnerSession(email string) string {
	e.T.Helper()
	require.NoError(e.T, e.Deps.Access.RequestLink(e.T.Context(), access.PartyOwner, email, "127.0.0.1"))
	_, secret, err := e.Deps.Access.SignIn(e.T.Context(), access.PartyOwner, e.Link(email), "", access.Caller{Agent: "test"})
	require.NoError(e.T, err)
	return secret
}

// Store puts rows of a unit into history, as the stream's next batch.
func (e *Env) Store(unitID string, rows ...telemetry.Row) {
	e.T.Helper()
	u, err := e.DB.Fleet().Unit(e.T.Context(), unitID)
	require.NoError(e.T, err)
	for i := range rows {
		rows[i].Unit = u.Key
		if rows[i].Received == 0 {
			rows[i].Received = rows[i].Event
		}
	}
	mask, err := e.DB.Consent().Mask(e.T.Context(), unitID)
	require.NoError(e.T, err)
	given := slices.Collect(maps.Keys(mask))
	at := rows[0].Received
	e.seq += 2
	require.NoError(e.T, e.History.Append(e.T.Context(), []telemetry.Sequenced{
		{Seq: e.seq - 1, Batch: &telemetry.Batch{Marks: []telemetry.Mark{
			{Kind: telemetry.MarkEnrolled, Unit: u.Key, At: at},
			{Kind: telemetry.MarkConsent, Unit: u.Key, At: at, Text: strings.Join(given, ",")},
		}}},
		{Seq: e.seq, Batch: &telemetry.Batch{Product: u.Product, Rows: rows}},
	}))
}

// StoreEvents puts events of a unit into history, as the stream's next batch.
func (e *Env) StoreEvents(unitID string, events ...telemetry.Event) {
	e.T.Helper()
	u, err := e.DB.Fleet().Unit(e.T.Context(), unitID)
	require.NoError(e.T, err)
	for i := range events {
		events[i].Unit = u.Key
	}
	e.seq++
	require.NoError(e.T, e.History.Append(e.T.Context(), []telemetry.Sequenced{{Seq: e.seq, Batch: &telemetry.Batch{Product: u.Product, Events: events}}}))
}
