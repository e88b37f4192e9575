package api

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/ownerapi"
)

const ownerGolden = "../../api/owner.yaml"

// The owners' description is what makers build apps from: it holds all that
// owners may do, nothing of the operators', and leaves no word open.
func TestOwnerAPIIsDescribedWhole(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	s := newServer(Deps{}, mux)
	got, err := ownerapi.YAML(s.API.OpenAPI())
	require.NoError(t, err)
	if *rewrite {
		require.NoError(t, os.WriteFile(ownerGolden, got, 0o644))
	}
	want, err := os.ReadFile(ownerGolden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "api/owner.yaml is out of date: go test ./internal/api -update")
	require.NotContains(t, string(got), "\n  /v1/")

	doc, err := ownerapi.Describe(s.API.OpenAPI())
	require.NoError(t, err)
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	require.NotContains(t, schemas, "Campaign", "an operators' schema")
	for name, schema := range schemas {
		require.NotNil(t, schema, "schema %s is referred to and not there", name)
	}
	operations, apps := 0, 0
	for path, item := range doc["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			op, ok := op.(map[string]any)
			if !ok {
				continue
			}
			operations++
			for _, field := range []string{"operationId", "summary", "description"} {
				require.NotEmpty(t, op[field], "%s %s has no %s", method, path, field)
			}
			params, _ := op["parameters"].([]any)
			for _, p := range params {
				require.NotEmpty(t, p.(map[string]any)["description"], "%s %s: %v", method, path, p)
			}
			ways, _ := op["security"].([]any)
			for _, w := range ways {
				if _, ok := w.(map[string]any)["app"]; ok {
					apps++
				}
			}
		}
	}
	require.Greater(t, operations, 15)
	require.Greater(t, apps, 10, "operations that an app's token opens")

	for path, says := range map[string]string{"/owner/v1/": "What was found on a unit", "/owner/v1/openapi.yaml": "getMyUnit", "/owner/v1/openapi.json": `"openapi":"3.1.0"`} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		require.Equal(t, http.StatusOK, w.Code, path)
		require.Contains(t, w.Body.String(), says, path)
	}
}
