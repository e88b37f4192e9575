package unitkit

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Both stores keep, replace and forget; the one on disk is its user's alone.
func TestStores(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	disk, err := DirStore(dir)
	require.NoError(t, err)
	for _, s := range []Store{disk, MemoryStore()} {
		_, err := s.Load("image/root.json")
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NoError(t, s.Save("image/root.json", []byte("one")))
		require.NoError(t, s.Save("image/root.json", []byte("two")))
		b, err := s.Load("image/root.json")
		require.NoError(t, err)
		require.Equal(t, "two", string(b))
		require.NoError(t, s.Delete("image/root.json"))
		require.NoError(t, s.Delete("image/root.json"), "twice")
		_, err = s.Load("image/root.json")
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	require.NoError(t, disk.Save("report.key", []byte("secret")))
	info, err := os.Stat(filepath.Join(dir, "report.key"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing half written is left")
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Config{Server: "https://x", UnitID: "u", Components: func() map[string]Component { return nil }, Store: MemoryStore()}
	for want, change := range map[string]func(*Config){
		"server":         func(c *Config) { c.Server = "x" },
		"want http":      func(c *Config) { c.Server = "ftp://x" },
		"the unit's id":  func(c *Config) { c.UnitID = "" },
		"components":     func(c *Config) { c.Components = nil },
		"neither":        func(c *Config) { c.Store = nil },
		"the image root": func(*Config) {},
		"cannot be read": func(c *Config) {
			c.Store = MemoryStore()
			require.NoError(t, c.Store.Save(stateFile, []byte("{")))
		},
	} {
		c := good
		change(&c)
		_, err := New(c)
		require.ErrorContains(t, err, want)
	}
}

// The credential goes to the server and nowhere else.
func TestCredentialStaysHome(t *testing.T) {
	t.Parallel()
	strange := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other server was asked: %s, with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer strange.Close()
	c := &Client{config: Config{Server: "http://home.example", UnitID: "u", Token: "t"}, http: strange.Client()}
	for _, path := range []string{strange.URL + "/x", "//" + strings.TrimPrefix(strange.URL, "http://") + "/x", "http://home.example.evil/x", "x", ""} {
		_, err := c.do(t.Context(), http.MethodGet, path, nil, nil)
		require.ErrorContains(t, err, "is not on the server", path)
	}
}

func TestParseSleep(t *testing.T) {
	t.Parallel()
	d, err := parseSleep("01:02:03")
	require.NoError(t, err)
	require.Equal(t, time.Hour+2*time.Minute+3*time.Second, d)
	for _, s := range []string{"", "1:2", "a:b:c", "-1:00:00", "00:00:00:00"} {
		_, err := parseSleep(s)
		require.Error(t, err, s)
	}
}

// A report opens with the key that signed it, and with nothing changed.
func TestSignedReport(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	s, err := SignReport(VersionReport{Unit: "u", Sequence: 7, Versions: map[string]string{"software": "2"}}, key)
	require.NoError(t, err)
	r, err := s.Open()
	require.NoError(t, err)
	require.EqualValues(t, 7, r.Sequence)
	s.Signed = []byte(strings.Replace(string(s.Signed), `"2"`, `"3"`, 1))
	_, err = s.Open()
	require.ErrorIs(t, err, ErrReportSignature)
}

// Whatever a server answers, it is refused or taken, and the unit goes on.
func FuzzAnswers(f *testing.F) {
	root := metadata.Root(time.Now().Add(time.Hour))
	raw, err := root.ToBytes(false)
	require.NoError(f, err)
	stamp, err := metadata.Timestamp(time.Now().Add(time.Hour)).ToBytes(false)
	require.NoError(f, err)
	f.Add(raw, stamp)
	f.Add([]byte(`{"signed":{"_type":"root","roles":{"root":null}},"signatures":[]}`), []byte(`{"signed":{"_type":"timestamp","meta":{"snapshot.json":null}}}`))
	f.Add([]byte(`{"config":{"polling":{"sleep":"00:00:30"}},"_links":{"cancelAction":{"href":"/x"}}}`), []byte(`{"cancelAction":{"stopId":"4"}}`))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		store := MemoryStore()
		r := repository{name: "image", factory: raw, store: store, forget: func() error { return nil }}
		n := 0
		r.get = func(context.Context, string, string, int64) ([]byte, string, error) {
			if n++; n%2 == 1 {
				return one, "", nil
			}
			return two, "", nil
		}
		_, _ = r.refresh(t.Context(), time.Now())
		r.factory = one
		_, _ = r.refresh(t.Context(), time.Now())
		var targets metadata.TargetsType
		if json.Unmarshal(one, &targets) == nil {
			_, _ = directed(&targets, "u")
			for name, file := range targets.Targets {
				_, _ = target(name, file)
			}
		}
		c := &Client{config: Config{Server: "http://h", Components: func() map[string]Component { return nil }}, http: &http.Client{Transport: answers{one, two, &n}}}
		u, err := c.poll(t.Context())
		require.True(t, err != nil || u == nil || u.Cancel && u.Action > 0)
	})
}

// answers is a server with two answers.
type answers struct {
	one, two []byte
	n        *int
}

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	if *a.n++; *a.n > 10 {
		return nil, errors.New("enough")
	}
	if *a.n%2 == 1 {
		_, _ = rec.Write(a.one)
	} else {
		_, _ = rec.Write(a.two)
	}
	return rec.Result(), nil
}

// The bytes may lie elsewhere: the credential does not go there, and what must
// stay encrypted does not leave encryption.
func TestRedirects(t *testing.T) {
	t.Parallel()
	asked := ""
	cache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("Authorization")
		_, _ = w.Write([]byte("hello"))
	}))
	defer cache.Close()
	elsewhere := strings.Replace(cache.URL, "127.0.0.1", "localhost", 1)
	serve := func(encrypted bool) *httptest.Server {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
		})
		if encrypted {
			return httptest.NewTLSServer(h)
		}
		return httptest.NewServer(h)
	}
	target := Target{Filename: "hello", Length: 5, SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}
	for _, encrypted := range []bool{false, true} {
		home := serve(encrypted)
		defer home.Close()
		stubborn := home.Client()
		stubborn.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		c := &Client{config: Config{Server: home.URL, UnitID: "u", Token: "t"}, http: stubborn}
		_, err := c.Fetch(t.Context(), target, &strings.Builder{}, 0)
		status, ok := errors.AsType[*StatusError](err)
		require.True(t, ok, "a redirect that is not followed is no success")
		require.Equal(t, http.StatusTemporaryRedirect, status.Code)
		stubborn.CheckRedirect = follow
		var got strings.Builder
		_, err = c.Fetch(t.Context(), target, &got, 0)
		if encrypted {
			require.ErrorContains(t, err, "from https to http")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, "hello", got.String())
		require.Empty(t, asked)
	}
}
