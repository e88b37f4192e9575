package send_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/event"
	"fettle.dev/fettle/internal/peer/node"
	"fettle.dev/fettle/internal/send"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

// verify asks the reference libraries whether what arrived is signed and is an event.
const verify = `
const { Webhook } = require('standardwebhooks');
const { HTTP } = require('cloudevents');
const input = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const out = input.map(({ secrets, headers, body }) => {
  const signed = secrets.map((s) => { try { new Webhook(s).verify(body, headers); return true; } catch (e) { return e.message; } });
  const e = HTTP.toEvent({ headers, body });
  return { signed, valid: e.validate(), id: e.id, type: e.type, source: e.source, subject: e.subject, product: e.product, time: e.time, data: e.data };
});
console.log(JSON.stringify(out));
`

type arrived struct {
	Secrets []string          `json:"secrets"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

func TestEvents(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, messages := t.Context(), message.New(db)
		status := http.StatusOK
		var got []arrived
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := arrived{Headers: map[string]string{}}
			for k := range r.Header {
				a.Headers[strings.ToLower(k)] = r.Header.Get(k)
			}
			b, _ := io.ReadAll(r.Body)
			a.Body = string(b)
			got = append(got, a)
			w.WriteHeader(status)
		}))
		defer srv.Close()
		wall := clock.NewManual(time.Now()) // the reference library looks at the time
		var switchedOff []string
		s, err := event.NewService(event.Config{
			Store: message.Endpoints(db), Messages: messages, Tx: db, Clock: wall, Machine: wall, IDs: clock.Random{}, Source: "https://fettle.example",
			Key:       []byte("0123456789abcdef0123456789abcdef"),
			OffNotice: func(_ context.Context, e event.Endpoint) error { switchedOff = append(switchedOff, e.Name); return nil },
		})
		require.NoError(t, err)
		put := func(e event.Endpoint) string {
			_, secret, err := s.Put(ctx, e)
			require.NoError(t, err)
			require.Regexp(t, `^whsec_`, secret)
			return secret
		}
		first := put(event.Endpoint{Name: "a", URL: srv.URL})
		other := put(event.Endpoint{Name: "b", URL: srv.URL, Format: event.Binary, Types: []event.Type{event.FindingOpened}, Product: "wall charger"})
		_, secret, err := s.Put(ctx, event.Endpoint{Name: "b", URL: srv.URL, Format: event.Binary, Types: []event.Type{event.FindingOpened}, Product: "wall charger"})
		require.NoError(t, err)
		require.Empty(t, secret, "told once")
		_, sealed, err := message.Endpoints(db).Endpoint(ctx, "a")
		require.NoError(t, err)
		require.NotContains(t, sealed, strings.TrimPrefix(first, "whsec_")[:20])

		events := []event.Event{
			{ID: "f1:opened", Type: event.FindingOpened, Subject: "findings/f 1 é%", Time: wall.Now(), Product: "wall charger", Data: map[string]any{"why": "71 °C", "n": 1}},
			{ID: "c1", Type: event.ConsentChanged, Subject: "units/u1", Time: wall.Now(), Data: map[string]any{"given": false}},
		}
		for range 2 { // what is told again is known
			require.NoError(t, db.InTx(ctx, func(ctx context.Context) error { return s.Publish(ctx, events...) }))
		}
		hook := send.NewWebhook("", s, wall, inside)
		d := notify.NewDispatcher(messages, quiet, notify.DispatcherConfig{Workers: map[notify.Channel]int{notify.Webhook: 1}, Shown: wall, Machine: wall})
		pass := func(want int) {
			t.Helper()
			n, err := d.Pass(ctx, notify.Webhook, hook, 100)
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		pass(3)
		require.Len(t, got, 3)

		// While a secret is changed both count; after a day, the new one.
		second, err := s.Rotate(ctx, "a")
		require.NoError(t, err)
		m, err := s.Try(ctx, "a")
		require.NoError(t, err)
		pass(1)
		require.Equal(t, m.ID, got[3].Headers["webhook-id"])
		got[3].Secrets = []string{first, second}
		for i := range 3 {
			got[i].Secrets = []string{first, other}
		}
		wall.Advance(25 * time.Hour)
		_, err = s.Try(ctx, "a")
		require.NoError(t, err)
		pass(1)
		got[4].Secrets = []string{} // its time is not now; the signature is counted below
		require.NotContains(t, got[4].Headers["webhook-signature"], " ")
		require.Contains(t, got[3].Headers["webhook-signature"], " v1,")

		input, err := json.Marshal(got)
		require.NoError(t, err)
		var read []struct {
			Signed                             []any
			Valid                              bool
			ID, Type, Source, Subject, Product string
			Data                               map[string]any
		}
		require.NoError(t, json.Unmarshal([]byte(node.Run(t, "standardwebhooks", verify, string(input))), &read))
		types := map[string]int{}
		for i, e := range read {
			require.True(t, e.Valid)
			require.Equal(t, "https://fettle.example", e.Source)
			types[e.Type]++
			binary := got[i].Headers["ce-id"] != ""
			switch i {
			case 3:
				require.Equal(t, []any{true, true}, e.Signed)
			case 4:
			default:
				require.Equal(t, true, e.Signed[map[bool]int{false: 0, true: 1}[binary]], "signed by its own endpoint's secret")
				require.NotEqual(t, true, e.Signed[map[bool]int{false: 1, true: 0}[binary]])
			}
			if e.Type == string(event.FindingOpened) {
				require.Equal(t, "71 °C", e.Data["why"])
				require.Equal(t, "wall charger", strings.ReplaceAll(e.Product, "%20", " "))
			}
		}
		require.Equal(t, map[string]int{string(event.FindingOpened): 2, string(event.ConsentChanged): 1, string(event.Test): 2}, types)

		// It fails for days: it is switched off, and somebody is told.
		status = http.StatusInternalServerError
		require.NoError(t, s.Publish(ctx, event.Event{ID: "c2", Type: event.ConsentChanged, Time: wall.Now(), Data: 1}))
		for range 9 {
			pass(1)
			wall.Advance(16 * time.Hour)
		}
		require.Empty(t, switchedOff)
		pass(1)
		require.Equal(t, []string{"a"}, switchedOff)
		e, err := s.Get(ctx, "a")
		require.NoError(t, err)
		require.True(t, e.Off)
		require.Contains(t, e.OffWhy, "500")
		require.NoError(t, s.Publish(ctx, event.Event{ID: "c3", Type: event.ConsentChanged, Time: wall.Now(), Data: 1}))
		e.Off = false
		e, _, err = s.Put(ctx, e)
		require.NoError(t, err)
		require.Zero(t, e.Failures)
		status = http.StatusGone
		_, err = s.Try(ctx, "a")
		require.NoError(t, err)
		wall.Advance(24 * time.Hour)
		pass(2)
		e, err = s.Get(ctx, "a")
		require.NoError(t, err)
		require.Contains(t, e.OffWhy, "410")

		// Another key of the data directory: nothing is signed with what cannot be read.
		lost, err := event.NewService(event.Config{Store: message.Endpoints(db), Messages: messages, Tx: db, Clock: wall, Machine: wall, IDs: clock.Random{}, Key: []byte("another")})
		require.NoError(t, err)
		_, _, err = lost.Sign(ctx, "b", "x", wall.Now(), nil)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		_, err = lost.Rotate(ctx, "b")
		require.NoError(t, err)
		_, _, err = lost.Sign(ctx, "b", "x", wall.Now(), nil)
		require.NoError(t, err)
		require.NoError(t, lost.Delete(ctx, "b"))
		require.Equal(t, fault.NotFound, fault.KindOf(lost.Delete(ctx, "b")))
	})
}
