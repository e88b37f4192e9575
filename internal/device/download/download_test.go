package download_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/blob"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/device/download"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/delta"
	"fettle.dev/fettle/internal/update/link"
	unit "fettle.dev/fettle/unitkit/delta"
)

// world is a fleet whose images are fetched at the door, from a directory.
type world struct {
	*campaigntest.World
	t       *testing.T
	links   *link.Signer
	door    *httptest.Server
	metrics *prometheus.Registry
	log     lockedBuffer
	image   []byte
	file    update.Artifact
	shares  atomic.Pointer[[]download.Share]
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t *testing.T, units, size int, change func(*download.Config)) *world {
	t.Helper()
	w := &world{World: campaigntest.New(t, sqldbtest.SQLite(t), units), t: t, metrics: prometheus.NewRegistry()}
	blobs, err := blob.Open(t.Context(), t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { _ = blobs.Close() })
	w.image = bytes.Repeat([]byte("sixteen bytes  \n"), size/16+1)[:size]
	sum := sha256.Sum256(w.image)
	require.NoError(t, blobs.Put(t.Context(), hex.EncodeToString(sum[:]), bytes.NewReader(w.image)))
	w.file, err = w.Updates.PutArtifact(t.Context(), bytes.NewReader(w.image), "image.swu")
	require.NoError(t, err)
	r, err := w.Updates.Release(t.Context(), campaigntest.Release)
	require.NoError(t, err)
	r.Artifact = "sha256:" + w.file.SHA256
	require.NoError(t, w.Updates.Put(t.Context(), r))
	w.links, err = link.New(make([]byte, link.KeySize), w.Clock)
	require.NoError(t, err)
	w.shares.Store(&[]download.Share{})
	c := download.Config{
		Updates: w.Updates, Blobs: blobs, Links: w.links, Clock: w.Clock, Metrics: w.metrics,
		Log: slog.New(slog.NewTextHandler(&w.log, nil)), Recheck: time.Millisecond,
		Shares: func(context.Context, update.Assignment, string) ([]download.Share, error) {
			return *w.shares.Load(), nil
		},
	}
	if change != nil {
		change(&c)
	}
	w.door = httptest.NewServer(download.New(c))
	t.Cleanup(w.door.Close)
	return w
}

// offered is an assignment that the unit may fetch now, and its address.
func (w *world) offered(n int) (a update.Assignment, path string) {
	w.t.Helper()
	a, err := w.Updates.Assign(w.t.Context(), campaigntest.UnitID(n), campaigntest.Release, fmt.Sprint("task-", n))
	require.NoError(w.t, err)
	a, err = w.Updates.Offer(w.t.Context(), a.ID, w.Clock.Now())
	require.NoError(w.t, err)
	return a, w.path(a, false)
}

func (w *world) path(a update.Assignment, ahead bool) string {
	return w.links.Path(link.Claims{Assignment: a.ID, SHA256: w.file.SHA256, Filename: w.file.Filename, Ahead: ahead})
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (w *world) do(method, path string, header ...string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.door.URL+path, nil)
	require.NoError(w.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(req)
	require.NoError(w.t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return answer{res.StatusCode, res.Header, b}
}

func (w *world) state(id int64) update.AssignmentState {
	w.t.Helper()
	a, err := w.Updates.Assignment(w.t.Context(), id)
	require.NoError(w.t, err)
	return a.State
}

func (w *world) refused(code link.Code) float64 {
	w.t.Helper()
	families, err := w.metrics.Gather()
	require.NoError(w.t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "fettle_download_refused_total" && m.GetLabel()[0].GetValue() == string(code) {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

func TestAFileIsFetchedWholeAndInParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1_000_000, nil)
	a, path := w.offered(1)
	head := w.do(http.MethodHead, path)
	require.Equal(t, 200, head.status)
	require.Equal(t, "1000000", head.header.Get("Content-Length"))
	require.Equal(t, "bytes", head.header.Get("Accept-Ranges"))
	require.Equal(t, `"`+w.file.SHA256+`"`, head.header.Get("ETag"))
	require.Equal(t, "private, no-store", head.header.Get("Cache-Control"), "what a withdrawal ends must not be kept anywhere")
	require.Equal(t, update.Offered, w.state(a.ID), "a HEAD begins nothing")

	all := w.do(http.MethodGet, path)
	require.Equal(t, 200, all.status)
	require.True(t, bytes.Equal(w.image, all.body))
	require.True(t, strings.HasPrefix(all.header.Get("Repr-Digest"), "sha-256=:"))
	require.Equal(t, update.Running, w.state(a.ID))

	rest := w.do(http.MethodGet, path, "Range", "bytes=999990-")
	require.Equal(t, 206, rest.status)
	require.Equal(t, "bytes 999990-999999/1000000", rest.header.Get("Content-Range"))
	require.Equal(t, w.image[999_990:], rest.body)
	require.Equal(t, 206, w.do(http.MethodGet, path, "Range", "bytes=1-2", "If-Range", head.header.Get("ETag")).status)
	require.Equal(t, 200, w.do(http.MethodGet, path, "Range", "bytes=1-2", "If-Range", `"other"`).status)
	require.Equal(t, 304, w.do(http.MethodGet, path, "If-None-Match", head.header.Get("ETag")).status)
	require.Equal(t, 416, w.do(http.MethodGet, path, "Range", "bytes=1000000-").status)
	require.Equal(t, 405, w.do(http.MethodPut, path).status)

	// SWUpdate's delta handler asks for many pieces in one request.
	many := w.do(http.MethodGet, path, "Range", "bytes=0-15,500000-500031,-16")
	require.Equal(t, 206, many.status)
	kind, params, err := mime.ParseMediaType(many.header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/byteranges", kind)
	parts := multipart.NewReader(bytes.NewReader(many.body), params["boundary"])
	for _, want := range []struct {
		at   string
		body []byte
	}{
		{"bytes 0-15/1000000", w.image[:16]},
		{"bytes 500000-500031/1000000", w.image[500_000:500_032]},
		{"bytes 999984-999999/1000000", w.image[999_984:]},
	} {
		p, err := parts.NextRawPart()
		require.NoError(t, err)
		require.Equal(t, want.at, p.Header.Get("Content-Range"))
		got, err := io.ReadAll(p)
		require.NoError(t, err)
		require.Equal(t, want.body, got)
	}
	_, err = parts.NextRawPart()
	require.ErrorIs(t, err, io.EOF)
}

func TestAWithdrawalEndsTheAddress(t *testing.T) {
	t.Parallel()
	end := map[string]func(w *world, id int64) error{
		"withheld": func(w *world, id int64) error { _, err := w.Updates.Withhold(t.Context(), id); return err },
		"postponed": func(w *world, id int64) error {
			_, err := w.Updates.Offer(t.Context(), id, w.Clock.Now().Add(time.Hour))
			return err
		},
		"canceled": func(w *world, id int64) error { _, err := w.Updates.Cancel(t.Context(), id); return err },
		"claimed": func(w *world, id int64) error {
			_, err := w.Updates.Feedback(t.Context(), campaigntest.UnitID(1), id, update.Feedback{State: update.Claimed})
			return err
		},
	}
	for name, end := range end {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1, 5000, nil)
			a, path := w.offered(1)
			require.Equal(t, 200, w.do(http.MethodHead, path).status)
			require.NoError(t, end(w, a.ID))
			for _, method := range []string{http.MethodHead, http.MethodGet} {
				got := w.do(method, path, "Range", "bytes=100-")
				require.Equal(t, 410, got.status)
				require.Equal(t, "no-store", got.header.Get("Cache-Control"))
			}
			require.Contains(t, string(w.do(http.MethodGet, path).body), `"code":"link-withdrawn"`)
			require.InDelta(t, 3, w.refused(link.Withdrawn), 0)
			require.Contains(t, w.log.String(), "reason=link-withdrawn")
			_, signature, _ := strings.Cut(path, "&s=")
			require.NotContains(t, w.log.String(), signature, "what is logged opens nothing")
		})
	}
}

// What is under way when an update is withdrawn does not go on to its end.
func TestAWithdrawalCutsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 64<<20, nil)
	w.shares.Store(&[]download.Share{{Name: "slow", Rate: 1 << 20}})
	a, path := w.offered(1)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.door.URL+path, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	_, err = io.ReadFull(res.Body, make([]byte, 1000))
	require.NoError(t, err)
	_, err = w.Updates.Cancel(t.Context(), a.ID)
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, res.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "a cut download must not look whole")
	require.Less(t, n, int64(60<<20))
	require.Eventually(t, func() bool { return w.refused(link.Withdrawn) == 1 }, time.Minute, 5*time.Millisecond)
}

func TestForgedAndExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 5000, nil)
	a, path := w.offered(1)
	b, _ := w.offered(2)
	forge := func(from, to string) string { return strings.Replace(path, from, to, 1) }
	forged := []string{
		forge(fmt.Sprint("a=", a.ID), fmt.Sprint("a=", b.ID)),
		forge("image.swu", "other.swu"),
		forge("image.swu", "..%2f..%2fetc%2fpasswd"),
		forge("image.swu", "%2e%2e%2fkey"),
		forge("&s=", "&s=A"),
		forge(w.file.SHA256, strings.Repeat("0", 64)),
		w.links.Edge(w.file.SHA256, w.file.Filename), // there is no cache here
	}
	for _, path := range forged {
		got := w.do(http.MethodGet, path)
		require.Equal(t, 403, got.status, path)
		require.Contains(t, string(got.body), `"code":"link-forged"`, path)
	}
	require.InDelta(t, len(forged), w.refused(link.Forged), 0)
	for _, path := range []string{"/artifacts/", "/artifacts/" + w.file.SHA256, "/artifacts/" + w.file.SHA256 + "/", "/artifacts/http://example.com/x/y"} {
		require.Contains(t, []int{404, 301, 307}, w.do(http.MethodGet, path).status, path)
	}
	w.Clock.Advance(link.Life)
	got := w.do(http.MethodGet, path)
	require.Equal(t, 403, got.status)
	require.Contains(t, string(got.body), `"code":"link-expired"`)
	require.Equal(t, update.Offered, w.state(a.ID))
	require.Equal(t, update.Offered, w.state(b.ID))
}

// A client that keeps its owner's time itself may fetch before it, and has not
// begun by that.
func TestAhead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 5000, nil)
	a, _ := w.offered(1)
	_, err := w.Updates.Offer(t.Context(), a.ID, w.Clock.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, 410, w.do(http.MethodGet, w.path(a, false)).status)
	got := w.do(http.MethodGet, w.path(a, true))
	require.Equal(t, 200, got.status)
	require.True(t, bytes.Equal(w.image, got.body))
	require.Equal(t, update.Offered, w.state(a.ID))
	_, err = w.Updates.Withhold(t.Context(), a.ID)
	require.NoError(t, err)
	require.Equal(t, 410, w.do(http.MethodGet, w.path(a, true)).status)
}

// Before a cache, a unit is sent on to it; what the cache is given may be kept
// for minutes, and the unit's own address dies as ever.
func TestACacheInFront(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 5000, func(c *download.Config) { c.CDN = "https://cdn.example.com" })
	a, path := w.offered(1)
	got := w.do(http.MethodGet, path)
	require.Equal(t, 302, got.status)
	require.Equal(t, "private, no-store", got.header.Get("Cache-Control"))
	at := got.header.Get("Location")
	require.True(t, strings.HasPrefix(at, "https://cdn.example.com/artifacts/"+w.file.SHA256+"/image.swu?e="), at)
	require.Equal(t, update.Running, w.state(a.ID))
	edge := strings.TrimPrefix(at, "https://cdn.example.com")
	filled := w.do(http.MethodGet, edge)
	require.Equal(t, 200, filled.status)
	require.True(t, bytes.Equal(w.image, filled.body))
	require.Equal(t, "public, immutable, max-age=600", filled.header.Get("Cache-Control"))
	_, err := w.Updates.Cancel(t.Context(), a.ID)
	require.NoError(t, err)
	require.Equal(t, 410, w.do(http.MethodGet, path).status)
	w.Clock.Advance(link.EdgeLife)
	require.Equal(t, 403, w.do(http.MethodGet, edge).status)
}

// Downloads that share a rate take no more than it together, and each the same.
func TestASharedRateIsPartedEvenly(t *testing.T) {
	t.Parallel()
	const rate = 400_000 // bytes a second
	w := newWorld(t, 4, 1<<20, nil)
	w.shares.Store(&[]download.Share{{Name: "campaign", Rate: rate}, {Name: "site", Rate: 10 * rate}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got [4]atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for i := range got {
		_, path := w.offered(i + 1)
		wg.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.door.URL+path, nil)
			if err != nil {
				t.Error(err)
				return
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = res.Body.Close() }()
			buf := make([]byte, 4096)
			for {
				n, err := res.Body.Read(buf)
				got[i].Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
	var early [4]int64
	sum := func() (total, least, most int64) {
		least = 1 << 40
		for i := range got {
			n := got[i].Load() - early[i]
			total, least, most = total+n, min(least, n), max(most, n)
		}
		return total, least, most
	}
	require.Eventually(t, func() bool { _, least, _ := sum(); return least > 0 }, time.Minute, 5*time.Millisecond, "none waits for long")
	for i := range got { // who came first had it alone for a moment
		early[i] = got[i].Load()
	}
	require.Eventually(t, func() bool { n, _, _ := sum(); return n > 4*rate }, time.Minute, 10*time.Millisecond)
	_, least, most := sum()
	// Each turn is an eighth of the rate; a reader that the machine holds up may not have seen its newest.
	require.LessOrEqual(t, most, 2*least, "none gets twice what another does")
	clear(early[:])
	total, _, _ := sum()
	require.LessOrEqual(t, float64(total), rate*(time.Since(start).Seconds()+0.5), "no more than the rate and what may burst")

	// A rate that is taken away ends the wait at once.
	w.shares.Store(&[]download.Share{})
	wg.Wait()
	for i := range got {
		require.EqualValues(t, 1<<20, got[i].Load())
	}
}

// kept is deltas by what they turn into what.
type kept map[[2]string]delta.Delta

func (k kept) Ready(_ context.Context, to, from string, window int64) (delta.Delta, error) {
	d, ok := k[[2]string{to, from}]
	if !ok || d.Window > window {
		return d, fault.New(fault.NotFound, "none")
	}
	return d, nil
}

func (k kept) BySHA256(_ context.Context, sha256 string) (delta.Delta, error) {
	for _, d := range k {
		if d.SHA256 == sha256 {
			return d, nil
		}
	}
	return delta.Delta{}, fault.New(fault.NotFound, "none")
}

func TestAClientThatSaysWhatItHasGetsADelta(t *testing.T) {
	t.Parallel()
	deltas := kept{}
	var blobs download.Blobs
	w := newWorld(t, 1, 1_000_000, func(c *download.Config) { c.Deltas, blobs = deltas, c.Blobs })
	old := bytes.Replace(w.image, []byte("sixteen bytes"), []byte("other   bytes"), 5)
	write := func(name string, b []byte) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		_, err = f.Write(b)
		require.NoError(t, err)
		return f
	}
	add := func(from *os.File) (sum [32]byte, patch []byte) {
		var b bytes.Buffer
		made, err := delta.Make(t.Context(), &b, from, write("to", w.image), nil)
		require.NoError(t, err)
		d := delta.Delta{To: w.file.SHA256, State: delta.Ready, SHA256: made.SHA256, Size: made.Size, Window: made.Window, At: w.Clock.Now()}
		if from != nil {
			sum = sha256.Sum256(old)
			d.From = hex.EncodeToString(sum[:])
		}
		deltas[[2]string{d.To, d.From}] = d
		require.NoError(t, blobs.(*blob.Blobs).Put(t.Context(), made.SHA256, bytes.NewReader(b.Bytes())))
		return sum, b.Bytes()
	}
	sum, patch := add(write("from", old))
	has := ":" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	_, path := w.offered(1)

	got := w.do(http.MethodGet, path, "Accept-Encoding", "zstd, dcz", "Available-Dictionary", has)
	require.Equal(t, 200, got.status)
	require.Equal(t, "dcz", got.header.Get("Content-Encoding"))
	require.Equal(t, fmt.Sprint(len(patch)), got.header.Get("Content-Length"))
	require.Contains(t, got.header.Get("Vary"), "Available-Dictionary")
	require.Equal(t, patch, got.body)
	var image bytes.Buffer
	require.NoError(t, unit.Apply(&image, bytes.NewReader(got.body), old, unit.Want{Length: w.file.Size, SHA256: w.file.SHA256}))
	require.True(t, bytes.Equal(w.image, image.Bytes()))

	rest := w.do(http.MethodGet, path, "Accept-Encoding", "dcz", "Available-Dictionary", has, "Range", "bytes=100-", "If-Range", got.header.Get("ETag"))
	require.Equal(t, 206, rest.status)
	require.Equal(t, patch[100:], rest.body)

	// What is asked for otherwise is the image, as it is.
	for title, header := range map[string][]string{
		"a stock client":        {"Accept-Encoding", "gzip, zstd"},
		"no delta wanted":       {"Accept-Encoding", "dcz;q=0", "Available-Dictionary", has},
		"another old image":     {"Accept-Encoding", "dcz", "Available-Dictionary", ":" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":"},
		"none":                  {"Accept-Encoding", "dcz"},
		"not a hash":            {"Accept-Encoding", "dcz", "Available-Dictionary", ":%%:"},
		"less memory than that": {"Accept-Encoding", "dcz", "Available-Dictionary", has, "Delta-Window", "1024"},
	} {
		got := w.do(http.MethodGet, path, header...)
		require.Equal(t, 200, got.status, title)
		require.Empty(t, got.header.Get("Content-Encoding"), title)
		require.True(t, bytes.Equal(w.image, got.body), title)
	}
	_, alone := add(nil)
	got = w.do(http.MethodGet, path, "Accept-Encoding", "zstd, dcz")
	require.Equal(t, "zstd", got.header.Get("Content-Encoding"))
	require.Equal(t, alone, got.body)
	got = w.do(http.MethodGet, path, "Accept-Encoding", "zstd")
	require.Empty(t, got.header.Get("Content-Encoding"), "a client that keeps what it gets has not asked for a coded image")
}

// Bytes that are gone from the store are no endless wait and no half answer.
func TestAFileThatIsGone(t *testing.T) {
	t.Parallel()
	var dir string
	w := newWorld(t, 1, 5000, func(c *download.Config) {
		dir = t.TempDir()
		b, err := blob.Open(t.Context(), dir)
		require.NoError(t, err)
		c.Blobs = b
	})
	_, path := w.offered(1)
	got := w.do(http.MethodGet, path)
	require.Equal(t, 404, got.status)
	require.Contains(t, string(got.body), "artifact-missing")
	require.NoFileExists(t, filepath.Join(dir, w.file.SHA256))
	require.DirExists(t, dir)
	_, err := os.Stat(dir)
	require.NoError(t, err)
}
