package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/sim/client"
	"fettle.dev/fettle/sim/mailbox"
	"fettle.dev/fettle/sim/mqttc"
)

// The three units of the loop: one with the fault, one without, one whose
// owner has not consented.
const (
	hot    = "WC-000001"
	cool   = "WC-000002"
	unseen = "WC-000003"
)

// post office keeps the sign-in links that owners get.
type postOffice struct {
	address string
	mu      sync.Mutex
	links   map[string]string // newest by address
	mails   []mailbox.Mail
}

func openPostOffice(t *testing.T) *postOffice {
	t.Helper()
	o := &postOffice{links: map[string]string{}}
	srv, err := mailbox.Listen(t.Context(), "127.0.0.1:0", func(m mailbox.Mail) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.mails = append(o.mails, m)
		if token := m.Token(); token != "" {
			o.links[m.To] = token
		}
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = srv.Close() })
	o.address = "smtp://" + srv.Addr()
	return o
}

func (o *postOffice) link(to string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.links[to]
}

// publish sends one message as a unit and waits for its PUBACK.
func (s *server) publish(id, token, topic string, payload any) {
	s.t.Helper()
	raw, err := json.Marshal(payload)
	require.NoError(s.t, err)
	acked := make(chan struct{}, 1)
	c, err := mqttc.Dial(s.t.Context(), mqttc.Options{Addr: s.mqtt, UnitID: id, Token: token}, acknowledged(acked))
	require.NoError(s.t, err)
	defer c.Close()
	require.NoError(s.t, c.Write(mqttc.AppendPublish(nil, topic, 1, false, raw)))
	select {
	case <-acked:
	case <-c.Done():
		s.t.Fatalf("%s: the connection ended before PUBACK", id)
	case <-time.After(patience):
		s.t.Fatalf("%s: no PUBACK", id)
	}
}

type acknowledged chan struct{}

func (a acknowledged) Acked(uint16)           { a <- struct{}{} }
func (a acknowledged) Message(string, []byte) {}
func (a acknowledged) Closed(error)           {}

// charge is telemetry of ten hours of charging, a row every two minutes.
func charge(from time.Time, plug float64) (rows []map[string]any) {
	for n := range 300 {
		rows = append(rows, map[string]any{
			"ts":     from.Add(time.Duration(2*n) * time.Minute).UnixMilli(),
			"values": map[string]any{"charging": true, "current": 16.5, "plug_temperature": plug + float64(n%3)},
		})
	}
	return rows
}

type findings struct {
	Items []struct {
		ID, UnitID string
		Detector   struct {
			Name    string
			Version int
		}
		Onset time.Time
	}
}

// watched declares the fleet, lets it report, and gives the units' tokens and
// the id of the finding that its detector opens.
func (s *server) watched() (tokens map[string]string, finding string) {
	s.t.Helper()
	tokens = s.units([]string{hot, cool, unseen}, unseen)
	from := time.Now().Add(-12 * time.Hour).Truncate(time.Minute)
	for id, plug := range map[string]float64{hot: 95, cool: 45, unseen: 95} {
		s.publish(id, tokens[id], "fettle/v1/attributes", map[string]any{"versions": map[string]string{"software": "1.0.0"}})
		s.publish(id, tokens[id], "fettle/v1/telemetry", charge(from, plug))
	}
	var f findings
	until(s.t, 20*time.Second, "a finding", func() bool {
		s.get("/v1/findings?product=wall-charger", &f)
		return len(f.Items) > 0
	})
	require.Len(s.t, f.Items, 1, "one fault, one finding")
	require.Equal(s.t, hot, f.Items[0].UnitID)
	for _, id := range []string{hot, cool} {
		a := s.accounting(id)
		require.EqualValues(s.t, 900, a.Stored, "%+v", a)
		require.EqualValues(s.t, 900, a.Acknowledged, "%+v", a)
	}
	a := s.accounting(unseen)
	require.EqualValues(s.t, 300, a.Stored, "charging is necessary for the service: %+v", a)
	require.EqualValues(s.t, 600, a.NotConsented, "%+v", a)
	require.Empty(s.t, s.series(unseen, "current", from, from.Add(10*time.Hour), 10))
	return tokens, f.Items[0].ID
}

// remedied freezes the cohort of a finding and starts the campaign on it.
func (s *server) remedied(finding string) {
	s.t.Helper()
	s.fettle("cohort", "create", "--finding", finding, "--name", "hot-adapters")
	var cohorts struct {
		Items []struct {
			ID                    string
			In, Out, NotJudgeable int
		}
	}
	s.get("/v1/cohorts", &cohorts)
	require.Len(s.t, cohorts.Items, 1)
	require.Equal(s.t, [3]int{1, 1, 1}, [3]int{cohorts.Items[0].In, cohorts.Items[0].Out, cohorts.Items[0].NotJudgeable})
	s.fettle("apply", "-f", "e2e/testdata/charger/remedy.yaml")
	s.fettle("campaign", "start", "adapter-overheat", "--yes")
}

// task is the state of the hot unit's task.
func (s *server) task() (state string) {
	s.t.Helper()
	var out struct {
		Items []struct{ UnitID, State string }
	}
	s.get("/v1/campaigns/adapter-overheat/tasks", &out)
	for _, i := range out.Items {
		if i.UnitID == hot {
			state = i.State
		}
	}
	return state
}

// accept is the owner of the hot unit: asks for a link, clicks, starts now.
func (s *server) accept(mails *postOffice) {
	s.t.Helper()
	s.acceptAs(mails, strings.ToLower(hot)+"@example.com")
}

// install is the update client of the hot unit.
func (s *server) install(token string) {
	s.t.Helper()
	ddi := client.DDI{HTTP: client.HTTP(4), Base: s.url(""), UnitID: hot, Token: token}
	ctx := s.t.Context()
	var href string
	until(s.t, 20*time.Second, "the deployment", func() bool {
		p, err := ddi.Poll(ctx)
		href = p.Deployment
		return err == nil && href != ""
	})
	dep, err := ddi.Deployment(ctx, href)
	require.NoError(s.t, err)
	require.Equal(s.t, "2.0.0", dep.Version)
	require.NoError(s.t, ddi.Fetch(ctx, dep), "the bytes are those announced")
	require.NoError(s.t, ddi.Feedback(ctx, dep.ID, "proceeding", "none", time.Now()))
	require.NoError(s.t, ddi.Feedback(ctx, dep.ID, "closed", "success", time.Now()))
	until(s.t, 20*time.Second, "a claim of success is not the new version", func() bool { return s.task() == "claimed" })
	s.publish(hot, token, "fettle/v1/attributes", map[string]any{"versions": map[string]string{"software": "2.0.0"}})
	until(s.t, 20*time.Second, "installed", func() bool { return s.task() == "verifying" })
}

// notOffered makes sure that the unit does not see the deployment before its owner's time.
func (s *server) notOffered(token string) {
	s.t.Helper()
	ddi := client.DDI{HTTP: client.HTTP(4), Base: s.url(""), UnitID: hot, Token: token}
	until(s.t, 20*time.Second, "offered", func() bool { return s.task() == "offered" })
	p, err := ddi.Poll(s.t.Context())
	require.NoError(s.t, err)
	require.Empty(s.t, p.Deployment)
	raw, err := json.Marshal(map[string]any{"choice": "now"})
	require.NoError(s.t, err)
	r, err := http.Post(s.url("/owner/v1/updates/1"), "application/json", strings.NewReader(string(raw)))
	require.NoError(s.t, err)
	_ = r.Body.Close()
	require.Equal(s.t, 401, r.StatusCode, "nobody chooses for an owner")
}
