package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/consent"
)

func actions(a wire.Applied) (out []string) {
	for _, c := range a.Changes {
		out = append(out, c.Name+" "+c.Action)
	}
	return out
}

func TestApplyIsIdempotentAndShowsWhatChanges(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		files := []string{apitest.Detector, apitest.UnitFile("WC-1", "B1", "ada@example.org", "care"), apitest.Product} // in any order
		require.Equal(t, []string{"plug-overheat created", "WC-1 created", "wall-charger created"}, actions(e.Apply(files...)))
		require.Contains(t, e.Hooks, "product wall-charger")
		require.Contains(t, e.Hooks, "detectors")
		require.Contains(t, e.Hooks, "units")
		require.Contains(t, e.Hooks, "consents")
		require.Equal(t, []string{"plug-overheat unchanged", "WC-1 unchanged", "wall-charger unchanged"}, actions(e.Apply(files...)))

		hotter := strings.Replace(apitest.Product, "max: 70", "max: 75", 1)
		dry := apitest.Call[wire.Applied](e, 200, "POST", "/v1/apply", wire.Apply{Documents: apitest.Documents(e, hotter), DryRun: true})
		require.True(t, dry.DryRun)
		require.Equal(t, "- tolerances[0].bands[0].max: 70\n+ tolerances[0].bands[0].max: 75\n", dry.Changes[0].Diff)
		p, err := e.DB.Fleet().Product(t.Context(), "wall-charger")
		require.NoError(t, err)
		require.InDelta(t, 70, *p.Tolerances[0].Bands[0].Max, 0, "a dry run changes nothing")

		e.Apply(hotter)
		d, err := e.DB.Condition().Detector(t.Context(), "plug-overheat", 0)
		require.NoError(t, err)
		require.Equal(t, 2, d.Version, "a changed tolerance makes a new version of the detector")

		for _, kind := range []string{"product", "unit", "detector"} {
			list := apitest.Call[wire.Page[wire.Document]](e, 200, "GET", "/v1/declared/"+kind, nil)
			require.Len(t, list.Items, 1)
			again := apitest.Call[wire.Applied](e, 200, "POST", "/v1/apply", wire.Apply{Documents: list.Items})
			require.Equal(t, "unchanged", again.Changes[0].Action, "what is got can be applied: %s", again.Changes[0].Diff)
		}
	})
}

func TestApplyIsAllOrNothing(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		bad := strings.Replace(apitest.Detector, "severity: critical", "severity: dreadful", 1)
		bad = strings.Replace(bad, "hold: 10m", "hold: 10m\n  exposrue: x", 1)
		refused := e.Refused(apitest.Product, bad, strings.Replace(apitest.UnitFile("WC-1", "B1", ""), "wall-charger", "toaster", 1))
		require.NotEmpty(t, refused)
		require.Regexp(t, `^body\.documents\[1\]\.spec\.exposrue: expected one of the fields product, title, .*, maximum.*, got "exposrue" \(did you mean exposure\?\)$`, refused[0])
		require.Equal(t, []string{
			"body.documents[1].spec.severity: expected warning, minor, major or critical, got \"dreadful\"",
			"body.documents[2].spec.product: expected the name of a product, got \"toaster\"",
		}, refused[1:])
		list := apitest.Call[wire.Page[wire.Document]](e, 200, "GET", "/v1/declared/product", nil)
		require.Empty(t, list.Items)
		require.Empty(t, e.Hooks)
	})
}

func TestMistakesOfEachKind(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", ""))
		replaced := func(text, from, to string) string {
			require.Contains(t, text, from)
			return strings.Replace(text, from, to, 1)
		}
		for name, c := range map[string]struct {
			file string
			want string
		}{
			"unit of measure": {replaced(apitest.Product, "unit: Cel", "unit: C"), `body.documents[0].spec.signals[1].unit: expected a unit of temperature: did you mean Cel`},
			"CEL":             {replaced(apitest.Product, "current >= 16.0", "currant >= 16.0"), "body.documents[0].spec.tolerances[0].bands[0].when: expected a signal of product wall-charger"},
			"CEL type":        {replaced(apitest.Product, "when: current >= 16.0", "when: current"), "body.documents[0].spec.tolerances[0].bands[0].when: expected an expression that is true or false"},
			"type of history": {replaced(apitest.Product, "{name: charging, type: boolean", "{name: charging, type: text"), "body.documents[0].spec.signals[2].type: expected boolean, as it is already"},
			"serial taken":    {replaced(apitest.UnitFile("WC-9", "B1", ""), `serial: "9"`, `serial: "1"`), "body.documents[0].spec.serial: expected a serial that no other unit of the product has (it is WC-1's), got 1"},
			"owner":           {apitest.UnitFile("WC-9", "B1", "nobody"), `body.documents[0].spec.owner.email: expected an email address, as ada@example.org, got "nobody"`},
			"consent":         {apitest.UnitFile("WC-9", "B1", "", "operation"), `body.documents[0].spec.consents[0]: expected a purpose whose basis is consent, got "operation"`},
			"tolerance":       {replaced(apitest.Detector, "tolerance: plug", "tolerance: plugs"), "body.documents[0].spec.tolerance: expected a tolerance of product wall-charger (plug), got plugs"},
			"artifact":        {apitest.ReleaseFile(strings.Repeat("0", 64)), "body.documents[0].spec.artifact: expected an artifact that has been uploaded"},
			"campaign":        {apitest.CampaignFile, "body.documents[0].spec.release: expected the name of a release, got charger-2.0.0"},
		} {
			t.Run(name, func(t *testing.T) {
				wrong := strings.Join(e.Refused(c.file), "\n")
				require.Contains(t, wrong, c.want)
			})
		}
	})
}

func TestApplyRefusesWhatIsNoDocument(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		for body, want := range map[string]int{
			`{"documents":[{"apiVersion":"fettle.dev/v2","kind":"Product","metadata":{"name":"x"},"spec":{}}]}`:  422,
			`{"documents":[{"apiVersion":"fettle.dev/v1","kind":"Gadget","metadata":{"name":"x"},"spec":{}}]}`:   422,
			`{"documents":[{"apiVersion":"fettle.dev/v1","kind":"Product","metadata":{"name":"X!"},"spec":{}}]}`: 422,
			`{"documents":[{"apiVersion":"fettle.dev/v1","kind":"Product","metadata":{"name":"x"}}]}`:            422,
			`{"documents":[{"apiVersion":"fettle.dev/v1","kind":"Product","metadata":{"name":"x"},"spec":[]}]}`:  422,
			`{`: 422,
		} {
			status, raw, _ := e.Do("POST", "/v1/apply", body, apitest.Bearer(e.Admin))
			require.Equal(t, want, status, "%s: %s", body, raw)
		}
		status, _, _ := e.Do("POST", "/v1/apply", `{"documents":[`+strings.Repeat(" ", 65<<20)+`]}`, apitest.Bearer(e.Admin))
		require.Equal(t, http.StatusRequestEntityTooLarge, status)
	})
}

// A change that would break what stands outside the files is refused.
func TestProductMustStillFitItsDetectors(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		e.Apply(apitest.Product, apitest.Detector)
		without := apitest.Product[:strings.Index(apitest.Product, "  tolerances:")]
		wrong := e.Refused(without)
		require.Len(t, wrong, 1)
		require.Contains(t, wrong[0], "a product that detector plug-overheat, which is not among these documents, still fits")
	})
}

func TestWhatIsUsedIsNotDeleted(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		e.Apply(apitest.Product, apitest.Detector, apitest.UnitFile("WC-1", "B1", ""))
		status, raw, _ := e.Do("DELETE", "/v1/declared/product/wall-charger", nil, apitest.Bearer(e.Admin))
		require.Equal(t, 409, status)
		require.Contains(t, string(raw), "product wall-charger is used by 1 units, detector plug-overheat")
		for _, path := range []string{"detector/plug-overheat", "unit/WC-1", "product/wall-charger"} {
			apitest.Call[struct{}](e, 204, "DELETE", "/v1/declared/"+path, nil)
			apitest.Call[struct{}](e, 404, "GET", "/v1/declared/"+path, nil)
			apitest.Call[struct{}](e, 404, "DELETE", "/v1/declared/"+path, nil)
		}
	})
}

// A file never overrules an owner, and a new owner starts without consents.
func TestConsentsOfFiles(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", "ada@example.org", "care"))
		given := func() bool {
			m, err := e.DB.Consent().Mask(t.Context(), "WC-1")
			require.NoError(t, err)
			return m["care"]
		}
		require.True(t, given())
		choices, err := e.DB.Consent().Choices(t.Context(), "WC-1")
		require.NoError(t, err)
		require.Len(t, choices, 1)
		require.Equal(t, consent.ByImport, choices[0].By)

		ada := e.OwnerSession("ada@example.org")
		status, raw, _ := e.Do("PUT", "/owner/v1/units/WC-1/consents/care", wire.ConsentChoice{Given: false}, e.As(wire.OwnerCookie, ada))
		require.Equal(t, 200, status, "%s", raw)
		require.False(t, given())
		require.Equal(t, []string{"WC-1 unchanged"}, actions(e.Apply(apitest.UnitFile("WC-1", "B1", "ada@example.org", "care"))))
		require.False(t, given(), "what an owner chose stands")

		status, _, _ = e.Do("PUT", "/owner/v1/units/WC-1/consents/care", wire.ConsentChoice{Given: true}, e.As(wire.OwnerCookie, ada))
		require.Equal(t, 200, status)
		e.Apply(apitest.UnitFile("WC-1", "B1", "bob@example.org"))
		require.False(t, given(), "another owner has not agreed to anything")
		status, _, _ = e.Do("GET", "/owner/v1/units/WC-1", nil, e.As(wire.OwnerCookie, ada))
		require.Equal(t, 404, status, "the unit is not hers any more")
	})
}

// The demo's whole fleet goes through one request.
func TestApplyInBulk(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	e.Apply(apitest.Product)
	const n = 5_000
	docs := make([]wire.Document, 0, n)
	for i := range n {
		docs = append(docs, wire.Document{
			APIVersion: declare.APIVersion, Kind: declare.Unit, Metadata: declare.Metadata{Name: fmt.Sprintf("WC-%06d", i)},
			Spec: wire.Spec(fmt.Sprintf(`{"product":"wall-charger","serial":"%06d","batch":"B%d","owner":{"email":"o%d@example.org"},"consents":["care"]}`, i, i%40, i)),
		})
	}
	began := time.Now()
	out := apitest.Call[wire.Applied](e, 200, "POST", "/v1/apply", wire.Apply{Documents: docs})
	require.Len(t, out.Changes, n)
	t.Logf("%d units in %v", n, time.Since(began))
	began = time.Now()
	out = apitest.Call[wire.Applied](e, 200, "POST", "/v1/apply", wire.Apply{Documents: docs})
	require.Equal(t, "unchanged", out.Changes[n-1].Action)
	t.Logf("again in %v", time.Since(began))
	count, seen := 0, ""
	for {
		p := apitest.Call[wire.Page[wire.Unit]](e, 200, "GET", "/v1/units?limit=1000&batch=B7&after="+seen, nil)
		if count += len(p.Items); p.Next == "" {
			break
		}
		seen = p.Next
	}
	require.Equal(t, n/40, count)
}
