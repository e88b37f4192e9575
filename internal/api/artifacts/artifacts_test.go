package artifacts_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

func image(t *testing.T, n int) (path, sum string) {
	t.Helper()
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	path = filepath.Join(t.TempDir(), "charger-2.0.0.swu")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	h := sha256.Sum256(b)
	return path, hex.EncodeToString(h[:])
}

// tuspy is Debian's client of the protocol.
const tuspy = `
import sys
from tusclient import client
url, token, path = sys.argv[1:]
c = client.TusClient(url + "/v1/uploads", headers={"Authorization": "Bearer " + token})
first = c.uploader(path, chunk_size=1 << 20, metadata={"filename": "charger.swu"})
first.upload(stop_at=2 << 20)
again = c.uploader(path, chunk_size=1 << 20, url=first.url)
assert again.offset == 2 << 20, again.offset
again.upload()
assert again.offset == again.get_file_size(), again.offset
`

func TestARealTusClientUploadsAndResumes(t *testing.T) {
	t.Parallel()
	if err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import tusclient").Run(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("Debian's python3-tuspy is wanted")
		}
		t.Skip("Debian's python3-tuspy is wanted")
	}
	e := apitest.New(t)
	path, sum := image(t, 5<<20)
	out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", tuspy, e.URL, e.Admin, path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	a := apitest.Call[wire.Artifact](e, 200, "GET", "/v1/artifacts/"+sum, nil)
	require.EqualValues(t, 5<<20, a.Size)
	require.Equal(t, "charger.swu", a.Filename)
	list := apitest.Call[wire.Page[wire.Upload]](e, 200, "GET", "/v1/uploads", nil).Items
	require.Len(t, list, 1)
	require.Equal(t, sum, list[0].SHA256)
}

// breaking cuts every piece after so many bytes, the first times.
type breaking struct {
	left, after int
	sent        atomic.Int64
}

func (b *breaking) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPatch {
		limit := int64(1 << 40)
		if b.left > 0 {
			b.left--
			limit = int64(b.after)
		}
		r.Body = io.NopCloser(&counted{r.Body, limit, &b.sent})
	}
	return http.DefaultTransport.RoundTrip(r)
}

type counted struct {
	io.Reader
	left int64
	sent *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("the line went dead")
	}
	n, err := c.Reader.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.sent.Add(int64(n))
	return n, err
}

func TestTheCommandLineGoesOnWhereItWasCut(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	path, sum := image(t, 6<<20)
	line := &breaking{left: 3, after: 1 << 20}
	var last int64
	c := &client.Client{Server: e.URL, Token: e.Admin, HTTP: http.Client{Transport: line}, Progress: func(_ string, total int64) func(int64) {
		require.EqualValues(t, 6<<20, total)
		return func(done int64) { last = done }
	}}
	got, err := c.Upload(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, sum, got)
	require.EqualValues(t, 6<<20, last)
	require.LessOrEqual(t, line.sent.Load(), int64(7<<20), "what arrived is not sent again")

	sent := line.sent.Load()
	_, err = c.Upload(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, sent, line.sent.Load(), "what is known is not sent")

	// Another run of the program goes on, too.
	other, sum := image(t, 3<<20)
	line.left, line.after = 1, 1<<20
	ctx, cancel := context.WithCancel(t.Context())
	c.Progress = func(string, int64) func(int64) {
		return func(done int64) {
			if line.left == 0 && done >= 1<<20 {
				cancel()
			}
		}
	}
	_, err = c.Upload(ctx, other)
	require.Error(t, err)
	c.Progress = nil
	sent = line.sent.Load()
	got, err = c.Upload(t.Context(), other)
	require.NoError(t, err)
	require.Equal(t, sum, got)
	require.Less(t, line.sent.Load()-sent, int64(3<<20))
}

func TestWhatIsNotTheProtocolIsRefusedWithWords(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	tus := http.Header{"Authorization": {"Bearer " + e.Admin}, "Tus-Resumable": {"1.0.0"}}
	do := func(method, path, body string, pairs ...string) (int, string, http.Header) {
		h := tus.Clone()
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] == "" {
				h.Del(pairs[i])
			} else {
				h.Set(pairs[i], pairs[i+1])
			}
		}
		req, err := http.NewRequestWithContext(t.Context(), method, e.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header = h
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer func() { _ = res.Body.Close() }()
		raw, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(raw), res.Header
	}
	status, _, h := do("OPTIONS", "/v1/uploads", "")
	require.Equal(t, 204, status)
	require.Equal(t, "1.0.0", h.Get("Tus-Version"))
	require.Equal(t, "creation,termination,expiration", h.Get("Tus-Extension"))
	const named = "filename Yy5zd3U=" // c.swu
	for title, c := range map[string]struct {
		pairs  []string
		status int
		words  string
	}{
		"no version":     {[]string{"Tus-Resumable", "", "Upload-Length", "5", "Upload-Metadata", named}, 412, "Tus-Resumable: 1.0.0"},
		"no length":      {[]string{"Upload-Metadata", named}, 422, "Upload-Length"},
		"no name":        {[]string{"Upload-Length", "5"}, 422, "filename"},
		"not base64":     {[]string{"Upload-Length", "5", "Upload-Metadata", "filename !!"}, 422, "base64"},
		"a path":         {[]string{"Upload-Length", "5", "Upload-Metadata", "filename Li4veA=="}, 422, "plain file name"},
		"a wrong hash":   {[]string{"Upload-Length", "5", "Upload-Metadata", named + ",sha256 eA=="}, 422, "64 hexadecimal digits"},
		"too long":       {[]string{"Upload-Length", "999999999999999", "Upload-Metadata", named}, 422, "bytes"},
		"no credential":  {[]string{"Authorization", "", "Upload-Length", "5", "Upload-Metadata", named}, 401, "sign in"},
		"wrong metadata": {[]string{"Upload-Length", "5", "Upload-Metadata", strings.Repeat("x", 5000)}, 422, "4096"},
	} {
		status, body, _ := do("POST", "/v1/uploads", "", c.pairs...)
		require.Equal(t, c.status, status, "%s: %s", title, body)
		require.Contains(t, body, c.words, title)
	}
	status, _, h = do("POST", "/v1/uploads", "", "Upload-Length", "5", "Upload-Metadata", named)
	require.Equal(t, 201, status)
	at := h.Get("Location")
	require.NotEmpty(t, h.Get("Upload-Expires"))
	const content = "application/offset+octet-stream"
	status, _, _ = do("PATCH", at, "hello", "Upload-Offset", "0")
	require.Equal(t, 415, status)
	status, body, h := do("PATCH", at, "llo", "Upload-Offset", "2", "Content-Type", content)
	require.Equal(t, 409, status)
	require.Equal(t, "0", h.Get("Upload-Offset"))
	require.Contains(t, body, "does not begin where")
	status, _, _ = do("PATCH", at+"x", "hello", "Upload-Offset", "0", "Content-Type", content)
	require.Equal(t, 404, status)
	status, _, h = do("PATCH", at, "he", "Upload-Offset", "0", "Content-Type", content)
	require.Equal(t, 204, status)
	require.Equal(t, "2", h.Get("Upload-Offset"))
	status, _, h = do("HEAD", at, "")
	require.Equal(t, 200, status)
	require.Equal(t, "2", h.Get("Upload-Offset"))
	require.Equal(t, "5", h.Get("Upload-Length"))
	require.Equal(t, "no-store", h.Get("Cache-Control"))
	status, _, _ = do("DELETE", at, "")
	require.Equal(t, 204, status)
	status, _, _ = do("HEAD", at, "")
	require.Equal(t, 404, status)
	require.False(t, bytes.Contains(e.Log.Bytes(), []byte("operation failed")))
}

func TestSizesOfARelease(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	status, raw, _ := e.Do("GET", "/v1/releases/unknown/sizes", "", apitest.Bearer(e.Admin))
	require.Equal(t, 404, status, "%s", raw)

	ctx := t.Context()
	require.NoError(t, e.DB.Fleet().PutProduct(ctx, fleet.Product{Name: "charger", Title: "Charger"}))
	require.NoError(t, e.DB.Fleet().PutUnits(ctx, []fleet.Unit{{ID: "C-1", Key: 1, Product: "charger", Serial: "1", State: fleet.UnitActive, CreatedAt: apitest.Start}}))
	require.NoError(t, e.DB.Fleet().SetVersions(ctx, "C-1", map[string]string{"software": "1.0.0"}, apitest.Start))
	old := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(old)
	copy(old[50_000:], make([]byte, 30_000)) // of which a part compresses
	for i, image := range [][]byte{old, append(bytes.Clone(old), "and more"...)} {
		a, err := e.Deps.Updates.PutArtifact(ctx, bytes.NewReader(image), "c.swu")
		require.NoError(t, err)
		require.NoError(t, e.Deps.Updates.Put(ctx, update.Release{
			Name: fmt.Sprintf("charger-%d", i+1), Product: "charger", Version: fmt.Sprintf("%d.0.0", i+1), Kind: update.Fix, Minutes: 1,
			Notes: map[string]string{"en": "Better."}, Artifact: "sha256:" + a.SHA256,
		}))
	}
	sizes := func() []wire.ReleaseSize {
		return apitest.Call[wire.Page[wire.ReleaseSize]](e, 200, "GET", "/v1/releases/charger-2/sizes", nil).Items
	}
	before := sizes()
	require.Len(t, before, 2)
	require.Equal(t, "waiting", before[0].State)
	require.Equal(t, before[0].Full, before[0].Size)
	for more := true; more; {
		var err error
		more, err = e.Deps.Deltas.Pass(ctx)
		require.NoError(t, err)
	}
	after := sizes()
	require.Equal(t, "1.0.0", after[0].Version)
	require.Equal(t, 1, after[0].Units)
	require.Equal(t, "ready", after[0].State)
	require.Equal(t, "dcz", after[0].Coding)
	require.EqualValues(t, len(old)+8, after[0].Full)
	require.Less(t, after[0].Size, int64(200))
	require.Equal(t, "zstd", after[1].Coding)
	require.Empty(t, after[1].Version)
}
