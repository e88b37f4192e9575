package web

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func built() fstest.MapFS {
	return fstest.MapFS{
		"console/index.html":        {Data: []byte("<html>console")},
		"console/assets/main-1a.js": {Data: []byte("console.js")},
		"portal/index.html":         {Data: []byte("<html>portal")},
		"portal/assets/main-2b.css": {Data: []byte("portal.css")},
		"portal/assets/mark-3c.svg": {Data: []byte("<svg/>")},
	}
}

func get(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPagesAnswerEveryAddressOfTheirRouters(t *testing.T) {
	t.Parallel()
	h := newPages(built())
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/console/", 200, "<html>console"},
		{"/console/units/WC-000123", 200, "<html>console"},
		{"/console/assets/main-1a.js", 200, "console.js"},
		{"/console/assets/main-of-an-older-build.js", 404, ""},
		{"/my/", 200, "<html>portal"},
		{"/my/sign-in", 200, "<html>portal"},
		{"/my/assets/main-2b.css", 200, "portal.css"},
		{"/", 302, ""},
		{"/my", 302, ""},
		{"/console", 302, ""},
		{"/elsewhere", 404, ""},
	} {
		w := get(h, c.path)
		require.Equal(t, c.status, w.Code, c.path)
		if c.body != "" {
			require.Equal(t, c.body, w.Body.String(), c.path)
		}
	}
	require.Equal(t, "/my/", get(h, "/").Header().Get("Location"))
}

func TestPagesAreCachedByNameAndGuarded(t *testing.T) {
	t.Parallel()
	h := newPages(built())
	asset := get(h, "/console/assets/main-1a.js")
	require.Contains(t, asset.Header().Get("Cache-Control"), "immutable")
	require.Contains(t, asset.Header().Get("Content-Type"), "javascript")
	page := get(h, "/console/")
	require.Equal(t, "no-cache", page.Header().Get("Cache-Control"))
	require.Contains(t, page.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'")
	require.Equal(t, "nosniff", page.Header().Get("X-Content-Type-Options"))

	again := get(h, "/console/", "If-None-Match", page.Header().Get("ETag"))
	require.Equal(t, http.StatusNotModified, again.Code)

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/console/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

func TestPagesAreCompressed(t *testing.T) {
	t.Parallel()
	w := get(newPages(built()), "/my/", "Accept-Encoding", "gzip")
	require.Equal(t, "gzip", w.Header().Get("Content-Encoding"))
	z, err := gzip.NewReader(w.Body)
	require.NoError(t, err)
	body, err := io.ReadAll(z)
	require.NoError(t, err)
	require.Equal(t, "<html>portal", string(body))
}

func TestWithoutABuildThePagesSayHowToBuild(t *testing.T) {
	t.Parallel()
	for _, fs := range []fstest.MapFS{{".gitkeep": {}}, {"console/index.html": {}}} {
		w := get(newPages(fs), "/my/")
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Contains(t, w.Body.String(), "make build")
	}
	require.NotNil(t, Handler())
}
