package link_test

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update/link"
)

var sum = strings.Repeat("ab", 32)

func signer(t *testing.T, c clock.Clock, key byte) *link.Signer {
	t.Helper()
	s, err := link.New(bytes.Repeat([]byte{key}, link.KeySize), c)
	require.NoError(t, err)
	return s
}

func parts(t *testing.T, path string) (sha256, filename string, q url.Values) {
	t.Helper()
	u, err := url.Parse(path)
	require.NoError(t, err)
	f := strings.Split(strings.TrimPrefix(u.Path, link.Prefix), "/")
	require.Len(t, f, 2, path)
	return f[0], f[1], u.Query()
}

func code(t *testing.T, err error) link.Code {
	t.Helper()
	var refused *link.RefusedError
	require.ErrorAs(t, err, &refused)
	require.NotContains(t, err.Error(), "s=")
	return refused.Code
}

func TestAnAddressIsGoodForWhatItSays(t *testing.T) {
	t.Parallel()
	clk := clock.NewManual(time.Date(2014, 3, 3, 12, 0, 0, 0, time.UTC))
	s := signer(t, clk, 1)
	path := s.Path(link.Claims{Assignment: 17, SHA256: sum, Filename: "charger 2.0+x.swu"})
	sha, name, q := parts(t, path)
	got, err := s.Check(sha, name, q)
	require.NoError(t, err)
	require.Equal(t, int64(17), got.Assignment)
	require.Equal(t, sum, got.SHA256)
	require.Equal(t, "charger 2.0+x.swu", got.Filename)
	require.False(t, got.Ahead)
	require.True(t, got.Expires.Equal(clk.Now().Add(link.Life)))

	ahead, err := s.Check(parts(t, s.Path(link.Claims{Assignment: 17, SHA256: sum, Filename: "a", Ahead: true})))
	require.NoError(t, err)
	require.True(t, ahead.Ahead)

	clk.Advance(link.Life - time.Second)
	_, err = s.Check(sha, name, q)
	require.NoError(t, err)
	clk.Advance(time.Second)
	_, err = s.Check(sha, name, q)
	require.Equal(t, link.Expired, code(t, err))
	require.Equal(t, fault.Denied, fault.KindOf(err))
}

func TestWhatWasNotSignedIsForged(t *testing.T) {
	t.Parallel()
	clk := clock.NewManual(time.Date(2014, 3, 3, 12, 0, 0, 0, time.UTC))
	s := signer(t, clk, 1)
	sha, name, good := parts(t, s.Path(link.Claims{Assignment: 17, SHA256: sum, Filename: "a.swu"}))
	with := func(pairs ...string) url.Values {
		q := url.Values{}
		for k, v := range good {
			q[k] = append([]string(nil), v...)
		}
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] == "" {
				q.Del(pairs[i])
			} else {
				q.Set(pairs[i], pairs[i+1])
			}
		}
		return q
	}
	twice := with()
	twice.Add("a", "18")
	for title, c := range map[string]struct {
		sha, name string
		q         url.Values
	}{
		"another assignment":   {sha, name, with("a", "18")},
		"nobody's":             {sha, name, with("a", "")},
		"the number otherwise": {sha, name, with("a", "017")},
		"negative":             {sha, name, with("a", "-17")},
		"a later expiry":       {sha, name, with("e", "9999999999")},
		"an endless expiry":    {sha, name, with("e", "9223372036854775807")},
		"no expiry":            {sha, name, with("e", "")},
		"before the time":      {sha, name, with("d", "1")},
		"another file":         {strings.Repeat("cd", 32), name, with()},
		"another name":         {sha, "b.swu", with()},
		"a path as name":       {sha, "../a.swu", with()},
		"no signature":         {sha, name, with("s", "")},
		"another signature":    {sha, name, with("s", strings.Repeat("A", 43))},
		"a short signature":    {sha, name, with("s", good.Get("s")[:20])},
		"not a signature":      {sha, name, with("s", "%%%")},
		"said twice":           {sha, name, twice},
		"more":                 {sha, name, with("x", "1")},
	} {
		_, err := s.Check(c.sha, c.name, c.q)
		if title == "the number otherwise" { // 017 is 17, and what 17 is signed for
			require.NoError(t, err, title)
			continue
		}
		require.Equal(t, link.Forged, code(t, err), title)
		require.Equal(t, fault.Denied, fault.KindOf(err), title)
	}
	_, err := signer(t, clk, 2).Check(sha, name, good)
	require.Equal(t, link.Forged, code(t, err), "another service's key")
	_, err = link.New([]byte("short"), clk)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

// A cache sees one address a file for a while, and no address for longer than
// EdgeLife.
func TestAddressesForCaches(t *testing.T) {
	t.Parallel()
	start := time.Date(2014, 3, 3, 12, 0, 0, 0, time.UTC)
	clk := clock.NewManual(start)
	s := signer(t, clk, 1)
	seen := map[string]bool{}
	for clk.Now().Before(start.Add(time.Hour)) {
		path := s.Edge(sum, "a.swu")
		seen[path] = true
		c, err := s.Check(parts(t, path))
		require.NoError(t, err)
		require.Zero(t, c.Assignment)
		left := c.Expires.Sub(clk.Now())
		require.LessOrEqual(t, left, link.EdgeLife)
		require.GreaterOrEqual(t, left, link.EdgeLife/2)
		clk.Advance(7 * time.Second)
	}
	require.LessOrEqual(t, len(seen), 13)
}

func FuzzCheck(f *testing.F) {
	clk := clock.NewManual(time.Date(2014, 3, 3, 12, 0, 0, 0, time.UTC))
	s, err := link.New(make([]byte, link.KeySize), clk)
	require.NoError(f, err)
	good := s.Path(link.Claims{Assignment: 17, SHA256: sum, Filename: "a.swu"})
	_, query, _ := strings.Cut(good, "?")
	f.Add(sum, "a.swu", query)
	f.Add("", "..", "a=1&e=1&s=")
	f.Fuzz(func(t *testing.T, sha, name, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		c, err := s.Check(sha, name, q)
		if err == nil { // only what says the same as what was signed
			require.Equal(t, sum, sha)
			require.Equal(t, "a.swu", name)
			require.Equal(t, int64(17), c.Assignment)
		}
	})
}
