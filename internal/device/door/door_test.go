package door_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/device/door"
)

type rig struct {
	*devicetest.House
	srv  *httptest.Server
	unit string
}

// newRig is a door that answers with the length of what it was sent.
func newRig(tb testing.TB, cfg door.Config) *rig {
	tb.Helper()
	h := devicetest.New(tb, nil)
	d := door.New(h.Gateway, h.Gateway, cfg, nil)
	srv := httptest.NewServer(d.Unit(func(w http.ResponseWriter, r *http.Request, _ device.Identity) {
		b, err := d.Body(w, r)
		if err != nil {
			d.Fail(w, r, err)
			return
		}
		defer b.Free()
		fmt.Fprintf(w, "%d %.20s", len(b.Bytes), b.Bytes)
	}, d.Fail, nil))
	tb.Cleanup(srv.Close)
	return &rig{h, srv, h.Units(1)[0]}
}

func (r *rig) post(tb testing.TB, body io.Reader, encoding string) (*http.Response, string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, r.srv.URL, body)
	require.NoError(tb, err)
	req.SetBasicAuth(r.unit, r.Token(r.unit))
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	return devicetest.Answer(tb, req)
}

func gzipped(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	require.NoError(tb, err)
	require.NoError(tb, z.Close())
	return out.Bytes()
}

func zstded(tb testing.TB, b []byte, o ...zstd.EOption) []byte {
	tb.Helper()
	z, err := zstd.NewWriter(nil, o...)
	require.NoError(tb, err)
	return z.EncodeAll(b, nil)
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	r := newRig(t, door.Config{MaxBody: limit})
	small, most, more := []byte("hello"), bytes.Repeat([]byte("a"), limit), bytes.Repeat([]byte("a"), limit+1)
	for _, c := range []struct {
		body     []byte
		encoding string
		status   int
		answer   string
	}{
		{nil, "", 200, "0 "},
		{small, "", 200, "5 hello"},
		{small, "identity", 200, "5 hello"},
		{gzipped(t, small), "gzip", 200, "5 hello"},
		{gzipped(t, small), "X-GZIP", 200, "5 hello"},
		{append(gzipped(t, small), gzipped(t, small)...), "gzip", 200, "10 hellohello"},
		{zstded(t, small), "zstd", 200, "5 hello"},
		{append(zstded(t, small), zstded(t, small)...), "zstd", 200, "10 hellohello"},
		{most, "", 200, "1048576 aaa"},
		{gzipped(t, most), "gzip", 200, "1048576 aaa"},
		{zstded(t, most), "zstd", 200, "1048576 aaa"},
		{more, "", 413, "at most 1048576 bytes"},
		{gzipped(t, more), "gzip", 413, "at most"},
		{zstded(t, more), "zstd", 413, "at most"},
		{most, "gzip", 400, "not gzip"},
		{most, "zstd", 400, "not zstd"},
		{gzipped(t, small)[:20], "gzip", 400, "damaged gzip"},
		{zstded(t, most)[:20], "zstd", 400, "damaged zstd"},
		{small, "br", 415, "gzip, zstd and none are"},
		{gzipped(t, gzipped(t, small)), "gzip, gzip", 415, "not known"},
	} {
		resp, got := r.post(t, bytes.NewReader(c.body), c.encoding)
		require.Equal(t, c.status, resp.StatusCode, "%s %s", c.encoding, got)
		require.Contains(t, got, c.answer)
		if c.status == 415 {
			require.Equal(t, "gzip, zstd", resp.Header.Get("Accept-Encoding"))
		}
		// Chunked, no length said.
		resp, _ = r.post(t, io.MultiReader(bytes.NewReader(c.body)), c.encoding)
		require.Equal(t, c.status, resp.StatusCode)
	}
}

// Bombs: 8 MiB of zeros in a few KB, also in frames that do not say their
// length, and a frame with a window of 128 MiB.
func TestBombs(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Config{MaxBody: 1 << 20})
	zeros := make([]byte, 8<<20)
	var stream bytes.Buffer
	z, err := zstd.NewWriter(&stream)
	require.NoError(t, err)
	_, err = z.Write(zeros)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for name, c := range map[string]struct {
		body     []byte
		encoding string
	}{
		"gzip": {gzipped(t, zeros), "gzip"}, "zstd": {zstded(t, zeros), "zstd"}, "zstd stream": {stream.Bytes(), "zstd"},
		"window": {[]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00}, "zstd"},
	} {
		resp, got := r.post(t, bytes.NewReader(c.body), c.encoding)
		require.Equal(t, 413, resp.StatusCode, "%s: %s", name, got)
	}
}

// The tools that people have: gzip and zstd of Debian, and curl.
func TestTools(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Config{})
	for _, tool := range []string{"gzip", "zstd"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is missing: make deps", tool)
			}
			t.Skipf("%s is not installed", tool)
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `printf 'hello from a tool' | `+tool+` -c | curl -sS -u "$UNIT" -H "Content-Encoding: `+tool+`" --data-binary @- "$URL"`)
		cmd.Env = append(cmd.Environ(), "UNIT="+r.unit+":"+r.Token(r.unit), "URL="+r.srv.URL)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Equal(t, "17 hello from a tool", string(out))
	}
}

// Whoever announces much, or sends a byte a second, holds little and not for long.
func TestSlowAndLarge(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Config{MaxBody: 1 << 20, ReadBody: 300 * time.Millisecond, Room: 50 * time.Millisecond, Memory: 2 << 20})
	open := func(head string) net.Conn {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.srv.URL, "http://"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		req, err := http.NewRequest(http.MethodPost, r.srv.URL, nil)
		require.NoError(t, err)
		req.SetBasicAuth(r.unit, r.Token(r.unit))
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n%s\r\n\r\n", req.Header.Get("Authorization"), head)
		return c
	}
	answer := func(c net.Conn) string {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(30*time.Second)))
		b := make([]byte, 1024)
		n, err := c.Read(b)
		require.NoError(t, err)
		return string(b[:n])
	}
	require.Contains(t, answer(open("Content-Length: 268435456")), "413 ")
	slow := open("Content-Length: 1000")
	_, err := slow.Write([]byte("x"))
	require.NoError(t, err)
	require.Contains(t, answer(slow), "408 ")
}

// When what all requests together hold is full, more is refused, and taken later.
func TestMemoryIsShared(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Config{MaxBody: 1 << 20, Memory: 2 << 20, Room: 2 * time.Second, Concurrent: 100}) // the two large ones wait for a small one that is under way
	hold, release := io.Pipe()
	done := make(chan int, 2)
	for range 2 {
		body := io.MultiReader(bytes.NewReader(make([]byte, 600<<10)), hold)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.srv.URL, body)
		require.NoError(t, err)
		req.SetBasicAuth(r.unit, r.Token(r.unit))
		go func() {
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				done <- 0
				return
			}
			_ = resp.Body.Close()
			done <- resp.StatusCode
		}()
	}
	require.Eventually(t, func() bool {
		resp, _ := r.post(t, strings.NewReader("x"), "")
		return resp.StatusCode == 429 && resp.Header.Get("Retry-After") != ""
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, release.Close())
	require.Equal(t, 200, <-done)
	require.Equal(t, 200, <-done)
	resp, _ := r.post(t, strings.NewReader("x"), "")
	require.Equal(t, 200, resp.StatusCode)
}

// A client that reads nothing before it has sent everything hears why a body
// that is somewhat too large was refused.
func TestTooLargeIsHeard(t *testing.T) {
	t.Parallel()
	const limit = 4 << 20
	r := newRig(t, door.Config{MaxBody: limit})
	nc, err := net.Dial("tcp", r.srv.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = nc.Close() }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.srv.URL, bytes.NewReader(make([]byte, 4*limit)))
	require.NoError(t, err)
	request.SetBasicAuth(r.unit, r.Token(r.unit))
	require.NoError(t, request.Write(nc), "all of it is sent")
	resp, err := http.ReadResponse(bufio.NewReader(nc), request)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
}
