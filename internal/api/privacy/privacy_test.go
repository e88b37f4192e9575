package privacy_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"fettle.dev/fettle/internal/audit/chain"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	api "fettle.dev/fettle/internal/api/privacy"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/privacy"
)

// Who looked at an owner's data stands in the trail, and the owner sees it.
func TestWhoLookedAndWhatChanged(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", "ada@example.org", "care"), apitest.UnitFile("WC-2", "B1", "bob@example.org"))
		ada := owner(e, "ada@example.org")
		mine := func() []api.LookAtMine {
			return as[wire.Page[api.LookAtMine]](e, ada, 200, "GET", "/owner/v1/looks", nil).Items
		}
		require.Empty(t, mine(), "nobody has looked yet, and her own look is hers")
		apitest.Call[wire.UnitDetail](e, 200, "GET", "/v1/units/WC-1", nil)
		apitest.Call[wire.UnitDetail](e, 200, "GET", "/v1/units/WC-1", nil)
		apitest.Call[wire.UnitDetail](e, 200, "GET", "/v1/units/WC-2", nil)
		apitest.Call[wire.List[wire.LatestValue]](e, 200, "GET", "/v1/units/WC-1/latest", nil)
		list := mine()
		require.Len(t, list, 2, "%+v", list)
		require.Equal(t, audit.DataMeasurements, list[0].Data)
		require.Equal(t, audit.DataContact, list[1].Data)
		require.Equal(t, "WC-1", list[1].UnitID)
		require.Equal(t, audit.Operator, list[1].Party)
		require.Equal(t, "A unit", list[1].Why)
		raw, err := json.Marshal(list)
		require.NoError(t, err)
		require.NotContains(t, string(raw), "operator@", "the owner sees the role, not the person")

		e.Store("WC-1", apitest.Hour(0, 1, 16, 60)...)
		// A product's export concerns everyone with a unit of it.
		text(e, "/v1/products/wall-charger/export")
		require.True(t, mine()[0].All)

		// An operator's change of the unit.
		apitest.Call[wire.Unit](e, 200, "POST", "/v1/units/WC-1/revoke", nil)
		require.Equal(t, "change", mine()[0].Kind)
		require.Equal(t, "revokeUnit", mine()[0].Operation)

		all := apitest.Call[wire.Page[api.AuditEntry]](e, 200, "GET", "/v1/audit", nil).Items
		require.Equal(t, "revokeUnit", all[0].Operation)
		require.Equal(t, "operator@localhost", all[0].ActorName)
		require.Equal(t, "units/WC-1/revoke", all[0].Object)
		require.NotEmpty(t, all[0].From)
		applied := apitest.Call[wire.Page[api.AuditEntry]](e, 200, "GET", "/v1/audit?operation=apply", nil).Items
		require.Len(t, applied, 1)
		require.Contains(t, applied[0].Changed, "created Unit/WC-1")
		hers := apitest.Call[wire.Page[api.AuditEntry]](e, 200, "GET", "/v1/audit?person=ada@example.org&kind=look", nil).Items
		require.Len(t, hers, 3, "and that somebody looked her up in the trail")
		require.Len(t, apitest.Call[wire.Page[api.AuditEntry]](e, 200, "GET", "/v1/audit?object=units/WC-1", nil).Items, 3)
		require.Empty(t, apitest.Call[wire.Page[api.AuditEntry]](e, 200, "GET", "/v1/audit?person=nobody@example.org", nil).Items)
		first := apitest.Call[wire.Page[api.AuditEntry]](e, 200, "GET", "/v1/audit?limit=2", nil)
		second := apitest.Call[wire.Page[api.AuditEntry]](e, 200, "GET", "/v1/audit?limit=2&after="+first.Next, nil)
		require.NotEqual(t, first.Items[1].ID, second.Items[0].ID)

		// A change that failed, and one that was refused.
		apitest.Call[struct{}](e, 404, "POST", "/v1/units/WC-9/revoke", nil)
		failed := apitest.Call[wire.Page[api.AuditEntry]](e, 200, "GET", "/v1/audit?limit=1", nil).Items[0]
		require.Equal(t, audit.Failed, failed.Outcome)
		require.Equal(t, 404, failed.Status)
		r, err := http.NewRequestWithContext(t.Context(), "GET", e.URL+"/v1/tokens", http.NoBody)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer fet_wrong")
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		denied := apitest.Call[wire.Page[api.AuditEntry]](e, 200, "GET", "/v1/audit?kind=denied", nil).Items
		require.Len(t, denied, 1)
		require.Equal(t, 401, denied[0].Status)

		head := apitest.Call[audit.Head](e, 200, "GET", "/v1/audit/head", nil)
		verdict := apitest.Call[api.AuditVerdict](e, 200, "GET", "/v1/audit/verify?head="+head.String(), nil)
		require.True(t, verdict.Whole, verdict.Why)
		c := audit.From(audit.Head{})
		exported := text(e, "/v1/audit/export")
		require.NoError(t, chain.Read(strings.NewReader(exported), func(rec audit.Record) error {
			_, err := c.Next(rec)
			return err
		}))
		require.GreaterOrEqual(t, c.Seq, head.Seq)
		table := bufio.NewScanner(strings.NewReader(text(e, "/v1/audit/export?format=csv")))
		require.True(t, table.Scan())
		require.Equal(t, strings.Join(audit.Columns, ","), table.Text())

		_, err = e.DB.Exec(t.Context(), `UPDATE audit_entry SET entry = REPLACE(entry, 'revokeUnit', 'retireUnit')`)
		require.NoError(t, err)
		verdict = apitest.Call[api.AuditVerdict](e, 200, "GET", "/v1/audit/verify", nil)
		require.False(t, verdict.Whole)
		require.NotZero(t, verdict.Broken)
		require.Contains(t, verdict.Why, "was changed")
	})
}

func TestRightsAreAskedForAndAnswered(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", "ada@example.org", "care"), apitest.UnitFile("WC-2", "B1", "bob@example.org"))
		ada := owner(e, "ada@example.org")
		ask := func(status int, body map[string]any) privacy.Request {
			return as[privacy.Request](e, ada, status, "POST", "/owner/v1/rights/requests", body)
		}
		r := ask(201, map[string]any{"kind": "restriction", "unitId": "WC-1", "text": "I contest what it says."})
		require.Equal(t, privacy.Due(r.At), r.DueAt)
		ask(201, map[string]any{"kind": "objection", "purpose": "care"})
		ask(201, map[string]any{"kind": "access"})
		ask(422, map[string]any{"kind": "objection"})
		ask(422, map[string]any{"kind": "objection", "purpose": "nothing"})
		ask(404, map[string]any{"kind": "restriction", "unitId": "WC-2"})
		rights := as[api.Rights](e, ada, 200, "GET", "/owner/v1/rights", nil)
		require.Len(t, rights.Requests, 3)
		require.Len(t, rights.Limits, 2)

		queue := apitest.Call[wire.Page[api.Asked]](e, 200, "GET", "/v1/privacy/requests?state=open", nil).Items
		require.Len(t, queue, 3)
		require.Equal(t, "ada@example.org", queue[0].Person.Email)
		answer := "/v1/privacy/requests/" + r.ID + "/answer"
		apitest.Call[struct{}](e, 422, "POST", answer, map[string]any{"state": "done", "text": ""})
		longer := apitest.Call[api.Asked](e, 200, "POST", answer, map[string]any{"state": "open", "extend": true, "text": "many requests"})
		require.Equal(t, privacy.Extended(r.At), longer.DueAt)
		apitest.Call[struct{}](e, 409, "POST", answer, map[string]any{"state": "open", "extend": true, "text": "more"})
		done := apitest.Call[api.Asked](e, 200, "POST", answer, map[string]any{"state": "refused", "text": "it is right; you may complain to the authority"})
		require.Equal(t, privacy.Refused, done.State)
		apitest.Call[struct{}](e, 409, "POST", answer, map[string]any{"state": "done", "text": "x"})
		require.Len(t, as[api.Rights](e, ada, 200, "GET", "/owner/v1/rights", nil).Limits, 1, "a restriction that is refused is lifted")
		as[struct{}](e, ada, 204, "DELETE", "/owner/v1/rights/limits?purpose=care", nil)
		as[struct{}](e, ada, 404, "DELETE", "/owner/v1/rights/limits?purpose=care", nil)

		p := apitest.Call[api.DataSubject](e, 200, "GET", "/v1/privacy/person?email=ADA@example.org", nil)
		require.Equal(t, []string{"WC-1"}, p.Units)
		apitest.Call[struct{}](e, 404, "GET", "/v1/privacy/person?email=x@example.org", nil)
		apitest.Call[struct{}](e, 422, "POST", "/v1/owners/"+p.ID+"/erase", map[string]any{"email": "bob@example.org"})
		begun := apitest.Call[api.Erasing](e, 202, "POST", "/v1/owners/"+p.ID+"/erase", map[string]any{"email": "ada@example.org"})
		require.Equal(t, privacy.Proof("Ada@example.org ", begun.Secret), begun.Receipt.Proof)
		require.Equal(t, privacy.StepStop, begun.Receipt.Step)
		apitest.Call[struct{}](e, 409, "POST", "/v1/owners/"+p.ID+"/erase", map[string]any{"email": "ada@example.org"})
		as[struct{}](e, ada, 422, "POST", "/owner/v1/erasure", map[string]any{"email": "bob@example.org"})
		require.Len(t, apitest.Call[wire.Page[privacy.ErasureReceipt]](e, 200, "GET", "/v1/privacy/erasures", nil).Items, 1)
		got, err := http.Get(e.URL + "/owner/v1/erasures/" + begun.Receipt.ID)
		require.NoError(t, err)
		receipt, err := io.ReadAll(got.Body)
		require.NoError(t, err)
		require.NoError(t, got.Body.Close())
		require.Equal(t, 200, got.StatusCode)
		require.NotContains(t, string(receipt), "ada@")
		require.NotContains(t, string(receipt), p.ID)
		for _, entry := range apitest.Call[wire.Page[api.AuditEntry]](e, 200, "GET", "/v1/audit?limit=200", nil).Items {
			raw, err := json.Marshal(entry)
			require.NoError(t, err)
			require.NotContains(t, string(raw), p.ID, "the trail names people by an alias alone")
			require.NotContains(t, string(raw), "ada@example.org")
		}
	})
}

// owner signs somebody in by the link that they were mailed.
func owner(e *apitest.Env, email string) func(*http.Request) {
	e.T.Helper()
	return e.As(wire.OwnerCookie, e.OwnerSession(email))
}

// as calls an operation as an owner.
func as[T any](e *apitest.Env, who func(*http.Request), want int, method, path string, body any) (out T) {
	e.T.Helper()
	status, answer, _ := e.Do(method, path, body, who)
	require.Equal(e.T, want, status, "%s %s: %s", method, path, answer)
	if len(answer) > 0 {
		require.NoError(e.T, json.Unmarshal(answer, &out))
	}
	return out
}

func text(e *apitest.Env, path string) string {
	e.T.Helper()
	status, answer, _ := e.Do("GET", path, nil, apitest.Bearer(e.Admin))
	require.Equal(e.T, 200, status, "%s", answer)
	return string(answer)
}
