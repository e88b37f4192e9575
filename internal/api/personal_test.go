package api_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api"
	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/frame"
)

// ofPeople are names of fields that lead to a person.
var ofPeople = []string{"unitId", "ownerId", "owner", "recipient"}

// impersonal are the routes that have such a field and are no look at personal
// data, with the reason.
var impersonal = map[string]string{
	"getAccounting":        "numbers of messages by unit; who looks at one unit is entered there",
	"getUnitAccounting":    "numbers of messages",
	"listRisks":            "a list of units without their owners; who looks at one is entered there",
	"listFindings":         "a list of units without their owners; who looks at one is entered there",
	"listMaintenance":      "work on things, as the maker enters it",
	"listBacktestFindings": "a trial over many units without their owners",
	"listBacktestUnits":    "a trial over many units without their owners",
	"listMembers":          "units of a cohort, without their owners",
	"listReleaseUnits":     "versions of things",
	"listDrift":            "settings of things",
	"listClaims":           "units that ask to be let in, before anybody owns them",
	"listUnitCodes":        "codes of things",
	"getDetector":          "the owner of a detector is an operator",
	"getShared":            "asked by whom the owner shares it with; each use is shown to the owner",
	"listWebhookMessages":  "ids alone: what was sent is shown without its content",
}

// A route that shows what belongs to a person says so to the audit trail
// (frame.Route.Personal), or stands above with the reason why it need not. It is
// derived from the description of the API: a new route that says neither fails.
func TestWhoeverShowsPersonalDataSaysSo(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	api.New(apitest.New(t).Deps).ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/openapi.yaml", nil))
	require.Equal(t, http.StatusOK, rec.Code)
	var doc struct {
		Paths      map[string]map[string]map[string]any `yaml:"paths"`
		Components struct {
			Schemas map[string]any `yaml:"schemas"`
		} `yaml:"components"`
	}
	require.NoError(t, yaml.Unmarshal(rec.Body.Bytes(), &doc))
	var fields func(v any, seen, out map[string]bool)
	fields = func(v any, seen, out map[string]bool) {
		switch v := v.(type) {
		case map[string]any:
			ref, _ := v["$ref"].(string)
			if name := ref[strings.LastIndex(ref, "/")+1:]; name != "" && !seen[name] {
				seen[name] = true
				fields(doc.Components.Schemas[name], seen, out)
			}
			properties, _ := v["properties"].(map[string]any)
			for name := range properties {
				out[name] = true
			}
			for _, inner := range v {
				fields(inner, seen, out)
			}
		case []any:
			for _, inner := range v {
				fields(inner, seen, out)
			}
		}
	}
	said, excused := 0, map[string]bool{}
	for path, operations := range doc.Paths {
		op := operations["get"] // what changes something is entered anyhow
		if op == nil || strings.HasPrefix(path, "/owner/") {
			continue // owners read their own
		}
		if op[frame.PersonalData] != nil {
			said++
			continue
		}
		out := map[string]bool{}
		fields(op["responses"], map[string]bool{}, out)
		shown := slices.DeleteFunc(slices.Sorted(maps.Keys(out)), func(name string) bool { return !slices.Contains(ofPeople, name) })
		id, _ := op["operationId"].(string)
		if len(shown) == 0 {
			continue
		}
		if impersonal[id] == "" {
			t.Errorf("GET %s (%s) shows %v: set Personal of its route and say whose by audit.Looked, or give the reason in impersonal", path, id, shown)
		}
		excused[id] = true
	}
	require.Greater(t, said, 20, "the description says what is personal")
	for id := range impersonal {
		if !excused[id] {
			t.Errorf("%s is excused in impersonal and has no need of it", id)
		}
	}
}
