package api

import (
	"flag"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewrite = flag.Bool("update", false, "rewrite api/openapi.yaml and api/schema")

const golden = "../../api/openapi.yaml"

// The description in the repository is what the types say; clients are
// generated from it. Run with -update after a change.
func TestOpenAPIIsUpToDate(t *testing.T) {
	t.Parallel()
	s := newServer(Deps{}, http.NewServeMux())
	got, err := s.API.OpenAPI().YAML()
	require.NoError(t, err)
	if *rewrite {
		require.NoError(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "api/openapi.yaml is out of date: go test ./internal/api -update")
}
