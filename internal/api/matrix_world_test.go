package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/maintenance"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/sqldb/trial"
	"fettle.dev/fettle/internal/sqldb/wear"
)

// matrixWorld is what the matrix is asked of: two of everything. "own" is of
// product wall-charger in region north, unit WC-1, owned by Ada and driven by
// Dan; "other" is of product heater in region south, unit HT-1, owned by Eve.
type matrixWorld struct {
	*apitest.Env
	unitToken, appToken string
	sessions, tokens    map[string]string
	things              map[string]map[string]string // by side and what
	// Operations, by id: whose things are nobody's in particular; that list, and
	// so may answer with nothing; that are about a product whatever the region.
	shared, lists, ofProduct map[string]bool
}

// part says what of the world stands for a part of a path, by the path up to it.
var part = map[string]string{
	"/v1/units/{id}": "unit", "/v1/trust/units/{id}": "unit", "/v1/releases/{name}/units/{unit}": "unit",
	"/v1/findings/{id}": "finding", "/v1/cohorts/{id}": "cohort", "/v1/detectors/{name}": "detector", "/v1/releases/{name}": "release",
	"/v1/campaigns/{name}": "campaign", "/v1/backtests/{id}": "backtest", "/v1/claims/{id}": "claim", "/v1/claim-tokens/{id}": "claim token",
	"/v1/maintenance/{id}": "maintenance", "/v1/prognoses/{name}": "prognosis", "/v1/products/{name}": "product", "/v1/products/{name}/notices/{version}": "name", "/v1/trust/products/{name}": "product",
	"/v1/artifacts/{sha256}": "artifact", "/v1/assignments/{id}": "assignment", "/v1/declared/{kind}": "kind", "/v1/declared/{kind}/{name}": "unit",
	"/v1/operators/{id}": "operator", "/v1/operators/{id}/sessions/{session}": "session", "/v1/sessions/{id}": "session", "/v1/tokens/{id}": "token",
	"/v1/approvals/{id}": "approval", "/v1/uploads/{id}": "upload", "/v1/notify/routes/{name}": "name", "/v1/trust/roots/{repository}": "repository",
	"/v1/owners/{id}": "owner", "/v1/passkeys/{id}": "unknown", "/v1/identities/{id}": "unknown", "/v1/sign-in/oidc/{provider}": "unknown",
	"/v1/calls/{id}": "unknown", "/v1/letter-batches/{id}": "unknown", "/v1/letters/{id}": "unknown", "/v1/messages/{id}": "unknown",
	"/v1/privacy/requests/{id}": "unknown", "/v1/tips/{name}": "unknown", "/v1/webhooks/{name}": "name", "/v1/webhooks/{name}/messages/{id}": "unknown",

	"/owner/v1/units/{id}": "unit", "/owner/v1/units/{id}/findings/{finding}": "finding", "/owner/v1/units/{id}/consents/{purpose}": "purpose",
	"/owner/v1/units/{id}/drivers/{person}": "driver", "/owner/v1/updates/{id}": "task", "/owner/v1/apps/{id}": "app",
	"/owner/v1/sessions/{id}": "owner session", "/owner/v1/passkeys/{id}": "unknown", "/owner/v1/identities/{id}": "unknown", "/owner/v1/sign-in/oidc/{provider}": "unknown",
	"/owner/v1/invitations/{id}": "unknown", "/owner/v1/erasures/{id}": "unknown", "/owner/v1/messages/{id}": "unknown", "/owner/v1/notices/{id}": "unknown",
	"/owner/v1/exports/{id}": "unknown", "/owner/v1/receipts/{id}": "unknown", "/v1/gatekeepers/{name}": "name", "/owner/v1/shares/{id}": "unknown", "/v1/products/{name}/texts/{lang}": "unknown",
	"/owner/v1/push/{id}": "unknown", "/owner/v1/tips/{id}": "unknown",
}

// anyone are the routes that ask nobody who they are.
var anyone = func() map[string]bool {
	out := map[string]bool{}
	for _, route := range []string{
		"POST /v1/sign-in", "POST /v1/sign-in/link", "POST /v1/sign-in/password", "POST /v1/sign-in/code", "POST /v1/sign-in/enrol", "POST /v1/sign-in/enrolled",
		"POST /owner/v1/sign-in", "POST /owner/v1/sign-in/link", "POST /owner/v1/claims/look", "POST /owner/v1/claims/link", "POST /owner/v1/claims/confirm",
		"POST /owner/v1/invitations/look", "POST /owner/v1/invitations/answer", "POST /owner/v1/account/email/confirm", "GET /owner/v1/erasures/{id}",
	} {
		out[route] = true
	}
	for _, base := range []string{"/v1", "/owner/v1"} {
		for _, route := range []string{"GET %s/sign-in/ways", "POST %s/sign-in/passkey", "POST %s/sign-in/passkey/begin", "GET %s/sign-in/oidc/{provider}", "GET %s/sign-in/oidc/{provider}/callback"} {
			out[fmt.Sprintf(route, base)] = true
		}
	}
	return out
}()

// nobodys are words of a path that name nothing of anybody.
var nobodys = map[string]bool{"unknown": true, "kind": true, "name": true, "repository": true}

// fill puts things of a side into a route's path; about reports whether it
// names any. It is not ok for a part that nobody has said anything about.
func (w *matrixWorld) fill(r route, side string) (path string, about, ok bool) {
	path = r.path
	for {
		i := strings.Index(path, "{")
		if i < 0 {
			break
		}
		j := i + strings.Index(path[i:], "}") + 1
		// The part is known by the route's own path up to it.
		n := strings.Count(path[:i], "/")
		known := strings.Join(strings.Split(r.path, "/")[:n+1], "/")
		what, said := part[known]
		if !said {
			return "", false, false
		}
		value := w.things[side][what]
		if value == "" {
			value = "unknown-" + side
		}
		about = about || !nobodys[what]
		path = path[:i] + url.PathEscape(value) + path[j:]
	}
	query := r.query
	if q, special := queries[r.id]; special {
		query = "&" + w.with(q, side)
		about = about || strings.Contains(q, "{")
	}
	if query != "" {
		path += "?" + query[1:]
	}
	return path, about || strings.Contains(bodies[r.id], "{{"), true
}

// queries and bodies are those that a least value of the description does not
// do for; {{what}} is a thing of the side.
var queries = map[string]string{
	"listMembers": "list=in", "getAccounting": "product={{product}}", "getSeries": "signal=current&from=2014-01-06T00:00:00Z&to=2014-01-07T00:00:00Z",
	"getMySeries":  "signal=current&from=2014-01-06T00:00:00Z&to=2014-01-07T00:00:00Z",
	"comparePeers": "detector={{detector}}&from=2014-01-06T00:00:00Z&to=2014-01-07T00:00:00Z",
	"findPerson":   "email={{email}}", "uploadArtifact": "filename=x.swu",
	"listFindings": "unit={{unit}}", "listMaintenance": "unit={{unit}}", "getPartLife": "part=plug",
}

var bodies = map[string]string{
	"putMyPreferences": `{"language": "de"}`,
	"shareData":        `{"recipient": "A garage", "contact": "garage@example.org", "until": "{{soon}}"}`,
	"invite":           `{"email": "friend@example.org", "kind": "drive"}`,
	"erasePerson":      `{"email": "{{email}}"}`,
	"shelveFinding":    `{"until": "{{soon}}"}`,
	"addMaintenance":   `{"records": [{"unitId": "{{unit}}", "at": "2014-01-06T00:00:00Z", "part": "plug", "kind": "replacement", "reason": "failed"}]}`,
	"createCohort":     `{"definition": {"name": "c", "product": "{{product}}", "attributes": {"batch": ["B1"]}}}`,
	"apply":            `{"documents": [{"apiVersion": "fettle.dev/v1", "kind": "Unit", "metadata": {"name": "{{unit}}"}, "spec": {"product": "{{product}}", "serial": "{{serial}}", "region": "{{region}}"}}]}`,
	"issueUnitTokens":  `{"units": ["{{unit}}"]}`,
	"issueUnitCodes":   `{"units": ["{{unit}}"]}`,
	"createBacktest":   `{"name": "{{detector}}", "detector": {"product": "{{product}}", "title": "t", "type": "tolerance", "severity": "critical", "purpose": "care", "tolerance": "plug", "hold": "10m", "exposure": "current >= 16.0"}}`,
	"createClaimToken": `{"maxUses": 1, "expires": "24h"}`,
	"createToken":      `{"name": "t", "scope": "read"}`,
	"inviteOperator":   `{"email": "new@example.org", "role": "viewer"}`,
	"setPassword":      `{"password": "four words that nobody knows"}`,
	"assessFinding":    `{"assessment": "confirmed"}`,
	"commentFinding":   `{"text": "seen"}`,
	"putConsent":       `{"given": false}`,
	"putRoute":         `{"channel": "mail", "to": "ops@example.org"}`,
	"changeOperator":   `{"name": "New name"}`,
	"putWebhook":       `{"url": "https://example.org/hook", "types": ["finding.opened"]}`,
	"withdrawRelease":  `{"why": "it burns"}`,
	"signInOperator":   `{"token": "fel_unknown"}`,
	"signInOwner":      `{"token": "fel_unknown"}`,
	"askOperatorLink":  `{"email": "nobody@example.org"}`,
	"askOwnerLink":     `{"email": "nobody@example.org"}`,
	"checkPassword":    `{"email": "nobody@example.org", "password": "not right at all"}`,
	"changeAccount":    `{"name": "Ada"}`,
	"createApp":        `{"name": "my app", "scope": "read"}`,
	"rejectClaim":      `{"why": "not ours"}`,
	"permitDriver":     `{"mayUpdate": true}`,
	"eraseMe":          `{}`,
	"previewTemplate":  `{}`,
	"putContact":       `{}`,
	"putMyContact":     `{}`,
	"makeLetterBatch":  `{}`,
	"askForRight":      `{}`,
	"cancelCampaign":   `{"why": "no"}`,
	"chooseUpdate":     `{"choice": "now"}`,
	"confirmEmail":     `{"token": "unknown"}`,
	"answerInvitation": `{"accept": true}`,
	"switchMyTip":      `{"tip": "t", "on": true}`,
	"prove":            `{"code": "000000"}`,
	"publishNotice":    `{"after": "none", "title": "T", "notice": {"version": "1", "controller": {"name": "M", "contact": "m@example.org"}, "texts": {"en": {"title": "T", "text": "T"}}}, "purposes": [], "signals": []}`,
}

func (w *matrixWorld) with(text, side string) string {
	for what, value := range w.things[side] {
		text = strings.ReplaceAll(text, "{{"+what+"}}", value)
	}
	return text
}

func (w *matrixWorld) bodyOf(r route, side string) string {
	if b, ok := bodies[r.id]; ok {
		return w.with(b, side)
	}
	return r.body
}

const heater = `apiVersion: fettle.dev/v1
kind: Product
metadata: {name: heater}
spec:
  title: Heater
  purposes: [{name: care, title: Care, description: To find faults before they bother you., basis: consent}]
  signals: [{name: current, type: number, unit: A, purposes: [care], retention: 90d, description: Current.}]
  tolerances: [{name: plug, signal: current, bands: [{max: 50}]}]
---
apiVersion: fettle.dev/v1
kind: Detector
metadata: {name: heater-hot}
spec: {product: heater, title: Too hot, type: tolerance, severity: critical, purpose: care, tolerance: plug, hold: 10m, exposure: current >= 16.0}
`

func seedMatrix(t *testing.T) *matrixWorld {
	t.Helper()
	ctx := t.Context()
	e := apitest.New(t)
	d := e.Deps
	w := &matrixWorld{Env: e, sessions: map[string]string{}, tokens: map[string]string{}, things: map[string]map[string]string{"own": {}, "other": {}}, shared: map[string]bool{}, lists: map[string]bool{}, ofProduct: map[string]bool{}}
	unit := func(id, product, region, owner string) string {
		return fmt.Sprintf("apiVersion: fettle.dev/v1\nkind: Unit\nmetadata: {name: %s}\nspec: {product: %s, serial: %q, region: %s, owner: {email: %s}, consents: [care]}\n", id, product, id[3:], region, owner)
	}
	e.Apply(apitest.Product, apitest.Detector, heater, unit("WC-1", "wall-charger", "north", "ada@example.org"), unit("HT-1", "heater", "south", "eve@example.org"))
	for i, side := range []string{"own", "other"} {
		product, unitID, detector, region, email := "wall-charger", "WC-1", "plug-overheat", "north", "ada@example.org"
		if side == "other" {
			product, unitID, detector, region, email = "heater", "HT-1", "heater-hot", "south", "eve@example.org"
		}
		th := w.things[side]
		th["product"], th["unit"], th["detector"], th["region"], th["email"], th["kind"], th["purpose"], th["name"], th["repository"] =
			product, unitID, detector, region, email, "unit", "care", "a-name", "image"
		th["serial"], th["soon"] = unitID[3:], time.Now().Add(30*24*time.Hour).UTC().Format(time.RFC3339)
		u, err := d.Fleet.Unit(ctx, unitID)
		require.NoError(t, err)
		th["owner"] = u.OwnerID
		det, err := d.Condition.Detector(ctx, detector, 0)
		require.NoError(t, err)

		th["finding"] = "finding-" + side
		require.NoError(t, e.DB.Condition().Commit(ctx, fmt.Sprint(i), 1, []condition.Finding{{
			ID: th["finding"], Detector: det.Ref(), Severity: condition.Critical, UnitID: unitID, UnitKey: u.Key, Product: product, State: condition.Open,
			Onset: apitest.Start, OpenedAt: apitest.Start, SeenAt: apitest.Start, LastAt: apitest.Start, Why: "too hot", Units: 1,
		}}, nil))
		th["cohort"] = "cohort-" + side
		require.NoError(t, e.DB.Cohort().PutSnapshot(ctx, cohort.Snapshot{ID: th["cohort"], Definition: cohort.Definition{Name: "hot-" + side, Product: product}, At: apitest.Start, State: "ready", Done: 1}))
		require.NoError(t, e.DB.Cohort().PutMembers(ctx, th["cohort"], []cohort.Member{{UnitID: unitID, UnitKey: u.Key, List: cohort.In, Code: "evidence", Reason: "r"}}))

		status, raw, _ := e.Do(http.MethodPost, "/v1/artifacts?filename="+side+".swu", "bytes of "+side, func(r *http.Request) {
			apitest.Bearer(e.Admin)(r)
			r.Header.Set("Content-Type", "application/octet-stream")
		})
		require.Equal(t, http.StatusCreated, status, "%s", raw)
		th["artifact"] = strings.SplitN(strings.SplitN(string(raw), `"sha256":"`, 2)[1], `"`, 2)[0]
		th["release"], th["campaign"] = "release-"+side, "campaign-"+side
		e.Apply(fmt.Sprintf("apiVersion: fettle.dev/v1\nkind: Release\nmetadata: {name: %s}\nspec: {product: %s, version: 2.0.0, kind: safety, minutes: 45, notes: {en: n}, artifact: \"sha256:%s\"}\n", th["release"], product, th["artifact"]),
			fmt.Sprintf("apiVersion: fettle.dev/v1\nkind: Campaign\nmetadata: {name: %s}\nspec:\n  product: %s\n  kind: safety\n  title: {en: T}\n  reason: {en: R}\n  cohort: hot-%s\n  release: %s\n  detector: %s\n  waves: [{name: all}]\n  gate: {soak: 1h, verified: 0.9, failed: 0.1, relapsed: 0.1}\n  exposure: 2h\n  deadline: 14d\n", th["campaign"], product, side, th["release"], detector))

		th["backtest"] = "backtest-" + side
		job := backtest.Job{ID: th["backtest"], Request: backtest.Request{Detector: det.Ref(), Spec: det}, At: apitest.Start, State: backtest.Waiting}
		require.NoError(t, trial.New(e.DB).PutJob(ctx, job))
		job.EndedAt, job.State, job.Why = apitest.Start, backtest.Failed, "no"
		require.NoError(t, trial.New(e.DB).Finish(ctx, job, nil))
		th["maintenance"] = "maintenance-" + side
		_, err = wear.Maintenance(e.DB).Add(ctx, []maintenance.Record{{ID: th["maintenance"], UnitID: unitID, At: apitest.Start, Part: "plug", Kind: maintenance.Replacement, Reason: maintenance.Failed, By: "x", EnteredAt: apitest.Start}})
		require.NoError(t, err)
		th["prognosis"] = detector
		require.NoError(t, wear.Prognosis(e.DB).PutStatus(ctx, prognosis.Status{Detector: detector, Product: product}))
		secret, token, err := d.Provisioning.CreateClaimToken(ctx, product, 5, e.Clock.Now().Add(24*time.Hour), "x")
		require.NoError(t, err)
		th["claim token"] = token.ID
		made, err := d.Provisioning.Enroll(ctx, fleet.EnrolRequest{ClaimToken: secret, Serial: "new-" + side, Token: fleet.NewSecret(fleet.UnitTokenPrefix), RemoteAddress: "192.0.2.7"})
		require.NoError(t, err)
		th["claim"] = made.ID

		link, _, err := e.Deps.Access.Invite(ctx, access.Operator{Email: "target-" + side + "@example.org", Role: access.Viewer})
		require.NoError(t, err)
		th["operator"] = link.ID
		s, _, err := d.Access.Open(ctx, access.PartyOperator, link.ID, access.ByPasskey, access.Caller{})
		require.NoError(t, err)
		th["session"] = s.ID
		tok, _, err := d.Access.CreateAPIToken(ctx, access.NewToken{OperatorID: link.ID, Name: "t", Scope: access.ScopeRead})
		require.NoError(t, err)
		th["token"] = tok.ID
		asked, err := d.Access.Ask(ctx, access.Who{ID: link.ID, Email: link.Email}, access.StartCampaign, th["campaign"], product, "digest", "")
		require.NoError(t, err)
		th["approval"] = asked.ID
	}
	w.people(t)
	w.shared["getArtifact"] = true // who knows the SHA-256 has the bytes
	for _, id := range []string{"listFindings", "listMaintenance", "listClaimTokens", "listTasks", "listReleaseUnits", "getAccounting"} {
		w.lists[id] = true
	}
	for _, id := range []string{"getDetector", "getRelease", "listReleaseSizes", "getDatasheet", "listNoticeVersions", "consentRates"} {
		w.ofProduct[id] = true
	}
	return w
}

// people signs everybody in.
func (w *matrixWorld) people(t *testing.T) {
	t.Helper()
	ctx, d := t.Context(), w.Deps
	issued := apitest.Call[wire.UnitToken](w.Env, http.StatusOK, http.MethodPost, "/v1/units/WC-1/token", nil)
	w.unitToken = issued.Token
	dan, err := d.Fleet.PutOwner(ctx, fleet.Owner{ID: "owner-dan", Email: "dan@example.org", Locale: "en", TimeZone: "UTC"})
	require.NoError(t, err)
	ada := w.things["own"]["owner"]
	offer, err := d.People.Invite(ctx, ada, "WC-1", people.Invitation{Email: dan.Email, Kind: people.ToDrive})
	require.NoError(t, err)
	_, err = d.People.Answer(ctx, dan.ID, offer.ID, true)
	require.NoError(t, err)
	w.things["own"]["driver"], w.things["other"]["driver"] = dan.ID, dan.ID
	for name, id := range map[string]string{"ada": ada, "dan": dan.ID, "eve": w.things["other"]["owner"]} {
		s, secret, err := d.Access.Open(ctx, access.PartyOwner, id, access.ByLink, access.Caller{})
		require.NoError(t, err)
		w.sessions[name] = secret
		if name == "eve" {
			w.things["other"]["owner session"] = s.ID
		}
	}
	s, _, err := d.Access.Open(ctx, access.PartyOwner, ada, access.ByLink, access.Caller{})
	require.NoError(t, err)
	w.things["own"]["owner session"] = s.ID
	app, secret, err := d.People.CreateToken(ctx, ada, "app", people.ScopeAct, nil, time.Time{})
	require.NoError(t, err)
	w.appToken, w.things["own"]["app"] = secret, app.ID
	other, _, err := d.People.CreateToken(ctx, w.things["other"]["owner"], "app", people.ScopeAct, nil, time.Time{})
	require.NoError(t, err)
	w.things["other"]["app"] = other.ID

	short := map[access.Role]string{
		access.Viewer: "vie", access.ServiceAgent: "age", access.Engineer: "eng", access.ReleaseManager: "rel", access.PrivacyOfficer: "prv", access.Admin: "adm",
	}
	token := func(name, operatorID string, scope access.Scope) {
		_, secret, err := d.Access.CreateAPIToken(ctx, access.NewToken{OperatorID: operatorID, Name: name, Scope: scope})
		require.NoError(t, err)
		w.tokens[name] = secret
	}
	for bound, sight := range map[string]fleet.Sight{"": {}, "p": {Products: []string{"wall-charger"}}, "r": {Regions: []string{"north"}}} {
		for role, name := range short {
			if role == access.Admin && bound != "" {
				continue
			}
			o, _, err := d.Access.Invite(ctx, access.Operator{Email: name + bound + "@example.org", Role: role, Products: sight.Products, Regions: sight.Regions})
			require.NoError(t, err)
			_, secret, err := d.Access.Open(ctx, access.PartyOperator, o.ID, access.ByPasskey, access.Caller{})
			require.NoError(t, err)
			w.sessions[name+bound] = secret
			switch name + bound {
			case "vie":
				token("tvi", o.ID, access.ScopeAdmin)
			case "adm":
				token("tre", o.ID, access.ScopeRead)
				token("twr", o.ID, access.ScopeWrite)
				token("tad", o.ID, access.ScopeAdmin)
				token("thb", o.ID, access.ScopeHawkbit)
			}
		}
	}
}
