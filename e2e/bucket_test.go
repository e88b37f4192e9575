package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/s3"
	"fettle.dev/fettle/unitkit/delta"
)

// Artifacts in a bucket of a real S3 server: an upload whose server is killed
// goes on; the delta between two versions is made from the bucket and into it;
// a unit fetches the image whole, from the middle, in several parts, and as a
// delta that gives the image. No copy of an image stays on the service's disk.
func TestArtifactsInABucket(t *testing.T) {
	t.Parallel()
	throughABucket(t, 8<<20)
}

func TestSoakALargeImageInABucket(t *testing.T) {
	if os.Getenv("FETTLE_SOAK") == "" {
		t.Skip("FETTLE_SOAK is not set: minutes, and 5 GB of disk")
	}
	throughABucket(t, 1<<30)
}

func throughABucket(t *testing.T, size int) {
	t.Helper()
	const unit, token = "bench-1", "a token of the bench"
	s := &server{t: t, dir: t.TempDir(), http: freeAddress(t), mqtt: freeAddress(t), args: []string{
		"--artifacts", s3.Start(t).Bucket(t, "artifacts"), "--hawkbit-api", "--hawkbit-bench-login", "admin:admin", "--hawkbit-product", "wall-charger",
	}}
	s.serverEnv = []string{"AWS_ACCESS_KEY_ID=" + s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3.SecretKey}
	s.start()
	s.signIn()
	s.units([]string{"WC-1"})
	tool := &hawkbitTool{s: s, user: "admin", password: "admin"}
	tool.post("targets", []any{map[string]string{"controllerId": unit, "name": unit, "securityToken": token}}, &[]any{})
	s.publish(unit, token, "fettle/v1/attributes", map[string]any{"versions": map[string]string{"software": "1.0.0"}})
	until(t, 30*time.Second, "the unit's version", func() bool { return s.version(unit) == "1.0.0" })

	// Two versions that differ in little. The second upload loses its server.
	dir := t.TempDir()
	old := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(old)
	image := bytes.Clone(old)
	copy(image[size/2:], "a little different in the middle")
	for i, b := range [][]byte{old, image} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("v%d.swu", i+1)), b, 0o600))
	}
	s.fettle("artifact", "put", filepath.Join(dir, "v1.swu"))
	before := s.memory("VmRSS")
	put := make(chan error, 1)
	go func() {
		_, errs, err := s.try("artifact", "put", filepath.Join(dir, "v2.swu"))
		if err != nil {
			err = fmt.Errorf("%w: %s", err, errs)
		}
		put <- err
	}()
	require.Eventually(t, func() bool { return s.arrived() > 0 || len(put) > 0 }, time.Minute, time.Millisecond)
	s.kill()
	s.start()
	require.NoError(t, <-put)
	for i := range 2 {
		declareRelease(t, dir, i+1)
	}
	s.fettle("apply", "-f", dir)
	var sizes struct {
		Items []struct {
			Coding, State string
			Full, Size    int64
		}
	}
	var patch int64
	until(t, 10*time.Minute, "the delta", func() bool {
		s.get("/v1/releases/charger-2/sizes", &sizes)
		for _, row := range sizes.Items {
			if row.State == "ready" && row.Coding == "dcz" {
				patch = row.Size
			}
		}
		return patch > 0
	})
	require.Less(t, patch, int64(size/100))

	// What the unit is shown.
	tool.give(unit, "2.0.0", "v2.swu", image, nil)
	get := func(url string, header ...string) (*http.Response, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
		require.NoError(t, err)
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res, b
	}
	type href struct{ Href string }
	var poll struct {
		Links map[string]href `json:"_links"`
	}
	_, b := get(s.url("/DEFAULT/controller/v1/"+unit), "Authorization", "TargetToken "+token)
	require.NoError(t, json.Unmarshal(b, &poll))
	_, b = get(poll.Links["deploymentBase"].Href, "Authorization", "TargetToken "+token)
	var deployment struct {
		Deployment struct {
			Chunks []struct {
				Artifacts []struct {
					Size  int64
					Links map[string]href `json:"_links"`
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal(b, &deployment))
	require.EqualValues(t, size, deployment.Deployment.Chunks[0].Artifacts[0].Size)
	url := deployment.Deployment.Chunks[0].Artifacts[0].Links["download"].Href

	res, b := get(url)
	require.Equal(t, 200, res.StatusCode)
	require.True(t, bytes.Equal(image, b), "whole")
	res, b = get(url, "Range", fmt.Sprintf("bytes=%d-", size/3))
	require.Equal(t, 206, res.StatusCode)
	require.True(t, bytes.Equal(image[size/3:], b), "from the middle on")
	res, b = get(url, "Range", "bytes=5-9,100-199")
	require.Equal(t, 206, res.StatusCode)
	_, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	require.NoError(t, err)
	parts := multipart.NewReader(bytes.NewReader(b), params["boundary"])
	for _, want := range [][]byte{image[5:10], image[100:200]} {
		part, err := parts.NextPart()
		require.NoError(t, err)
		got, err := io.ReadAll(part)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	has := sha256.Sum256(old)
	res, b = get(url, "Accept-Encoding", "dcz", "Available-Dictionary", ":"+base64.StdEncoding.EncodeToString(has[:])+":", "Delta-Window", strconv.Itoa(2*size))
	require.Equal(t, "dcz", res.Header.Get("Content-Encoding"))
	require.Len(t, b, int(patch))
	var applied bytes.Buffer
	require.NoError(t, delta.Apply(&applied, bytes.NewReader(b), old, delta.Want{Length: int64(size), Window: uint64(2 * size), SHA256: fmt.Sprintf("%x", sha256.Sum256(image))}))
	require.True(t, bytes.Equal(image, applied.Bytes()), "by the delta")

	require.NoError(t, filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/stream/") {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() >= int64(size) {
			t.Errorf("%s is left on the disk", path)
		}
		return err
	}))
	t.Logf("%d MiB images in a bucket; server: %d MiB before, %d MiB at most", size>>20, before>>10, s.memory("VmHWM")>>10)
	s.stop()
}
