package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/unitkit"
	"fettle.dev/fettle/unitkit/delta"
)

// compress makes a frame of to, with from as its raw dictionary.
func compress(t *testing.T, from, to []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	options := []zstd.EOption{zstd.WithWindowSize(1 << 20)}
	if from != nil {
		options = append(options, zstd.WithEncoderDictRaw(0, from))
	}
	z, err := zstd.NewWriter(&b, options...)
	require.NoError(t, err)
	_, err = z.Write(to)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

func TestDeltas(t *testing.T) {
	t.Parallel()
	var old []byte
	for i := range 5000 {
		old = fmt.Appendf(old, "line %d\n", i*i)
	}
	next := append(append([]byte("new\n"), old[:30_000]...), old[30_100:]...)
	is, want := sha256.Sum256(old), sha256.Sum256(next)
	target := unitkit.Target{Component: "app", Version: "2", Filename: "app.bin", Length: int64(len(next)), SHA256: hex.EncodeToString(want[:])}
	for name, c := range map[string]struct {
		coding string
		body   []byte
		most   size
		err    string
	}{
		"a delta":          {"dcz", append(delta.Header(is), compress(t, old, next)...), 0, ""},
		"compressed alone": {"zstd", compress(t, nil, next), 0, ""},
		"the whole":        {"", next, 0, "the server has none"},
		"of another file":  {"dcz", append(delta.Header(want), compress(t, next, next)...), 0, "another image"},
		"damaged":          {"dcz", append(delta.Header(is), 1, 2, 3), 0, "damaged"},
		"a larger file":    {"dcz", append(delta.Header(is), compress(t, old, next)...), 1000, "the server has none"},
	} {
		asked := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				asked++
			}
			assert.Equal(t, "/tuf/targets/"+target.SHA256+"/app.bin", r.URL.Path)
			assert.Equal(t, "TargetToken fut_x", r.Header.Get("Authorization"))
			assert.Equal(t, ":"+base64.StdEncoding.EncodeToString(is[:])+":", r.Header.Get("Available-Dictionary"))
			assert.Equal(t, "dcz, zstd", r.Header.Get("Accept-Encoding"))
			if c.coding != "" {
				w.Header().Set("Content-Encoding", c.coding)
			}
			_, _ = w.Write(c.body)
		}))
		t.Cleanup(server.Close)
		a := &agent{
			c: &config{Server: server.URL, Delta: c.most, Components: map[string]component{
				"app": {File: &filePart{Path: write(t, filepath.Join(t.TempDir(), "app"), string(old), 0o600)}},
			}},
			id: identity{"u", "fut_x"}, http: server.Client(), log: slog.New(slog.DiscardHandler),
		}
		var out bytes.Buffer
		err := a.delta(t.Context(), target, &out)
		if c.err != "" {
			require.ErrorContains(t, err, c.err, name)
			continue
		}
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(next, out.Bytes()), name)
		require.NoError(t, a.delta(t.Context(), target, &bytes.Buffer{}))
		require.ErrorIs(t, a.delta(t.Context(), target, &bytes.Buffer{}), errNoDelta, "the whole can be resumed: a delta is begun twice at most")
		require.Equal(t, 2, asked)
	}
}
