package devicetest

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// Answer sends a request to a door and reads all of what it answers.
func Answer(tb testing.TB, req *http.Request) (*http.Response, string) {
	tb.Helper()
	resp, err := http.DefaultClient.Do(req) //nolint:gosec // a test asks its own server
	require.NoError(tb, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	require.NoError(tb, err)
	return resp, string(b)
}
