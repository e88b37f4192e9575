package ceremony_test

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update/trust/ceremony"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func key(tb testing.TB, name string, roles ...string) (ceremony.KeyFile, ceremony.Signer) {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(tb, err)
	s, err := ceremony.NewSigner(private)
	require.NoError(tb, err)
	s.Name = name
	return ceremony.KeyFile{Format: ceremony.KeyFormat, Name: name, Roles: roles, Public: s.Public}, s
}

func bundle(tb testing.TB) *ceremony.Bundle {
	tb.Helper()
	b := &ceremony.Bundle{Format: ceremony.Format, Server: "http://test", Made: now, Online: map[string]*metadata.Key{}}
	for _, name := range ceremony.OnlineKeys {
		_, s := key(tb, name)
		b.Online[name] = s.Public
	}
	return b
}

// A key file opens with its own passphrase, and with nothing else.
func TestKeyFile(t *testing.T) {
	t.Parallel()
	k, err := ceremony.Generate("alice", ceremony.OfflineRoles, []byte("correct horse battery"))
	require.NoError(t, err)
	raw, err := json.Marshal(k)
	require.NoError(t, err)
	read, err := ceremony.ReadKey(raw)
	require.NoError(t, err)
	s, err := read.Signer([]byte("correct horse battery"))
	require.NoError(t, err)
	require.Equal(t, k.ID(), s.ID)
	_, err = read.Signer([]byte("correct horse batter"))
	require.Equal(t, fault.Denied, fault.KindOf(err))
	require.NotContains(t, err.Error(), "horse")
	_, err = read.PublicPart().Signer([]byte("correct horse battery"))
	require.ErrorContains(t, err, "alice.pub")

	other, _ := key(t, "bob", "root")
	read.Public = other.Public // somebody exchanged it
	_, err = read.Signer([]byte("correct horse battery"))
	require.ErrorContains(t, err, "do not belong together")
}

// Roots keep offline keys apart from the server's, and need two holders.
func TestUnsafeRootsAreRefused(t *testing.T) {
	t.Parallel()
	alice, _ := key(t, "alice", "root", "targets")
	bob, _ := key(t, "bob", "root", "targets")
	only, _ := key(t, "carol", "targets")
	another, _ := key(t, "alice", "root", "targets")
	b := bundle(t)
	server := alice
	server.Public, server.Name = b.Online[ceremony.OnlineSnapshot], "server"
	for _, x := range []struct {
		name      string
		keys      []ceremony.KeyFile
		threshold int
		want      string
	}{
		{"threshold of one", []ceremony.KeyFile{alice, bob}, 1, "at least 2"},
		{"too few keys", []ceremony.KeyFile{alice, bob}, 3, "at least as many keys"},
		{"too few keys of the root", []ceremony.KeyFile{alice, only}, 2, "image.root"},
		{"the same key twice", []ceremony.KeyFile{alice, alice}, 2, "the key of alice is there already"},
		{"two keys of one name", []ceremony.KeyFile{alice, another}, 2, "two keys have the name alice"},
		{"the server's own key", []ceremony.KeyFile{alice, server}, 2, "no key that the server holds"},
	} {
		err := b.Create(x.keys, x.threshold, now.AddDate(1, 0, 0))
		require.ErrorContains(t, err, x.want, x.name)
	}
	require.NoError(t, b.Create([]ceremony.KeyFile{alice, bob}, 2, now.AddDate(1, 0, 0)))
}

// What a signer is shown is what is signed; what the file says is trusted is
// believed only as far as the signer's own root vouches for it.
func TestDescribe(t *testing.T) {
	t.Parallel()
	alice, a := key(t, "alice", "root", "targets")
	bob, bs := key(t, "bob", "root", "targets")
	b := bundle(t)
	require.NoError(t, b.Create([]ceremony.KeyFile{alice, bob}, 2, now.AddDate(1, 0, 0)))
	_, err := b.Sign(a)
	require.NoError(t, err)
	_, err = b.Sign(bs)
	require.NoError(t, err)
	require.NoError(t, b.Check())
	root, err := ceremony.Root(b.Documents[0].Metadata)
	require.NoError(t, err)

	text := json.RawMessage(`{"product":"p","component":"c","version":"1","releaseCounter":3}`)
	targets := metadata.Targets(now.AddDate(1, 0, 0))
	targets.Signed.Targets["r/c/old"] = &metadata.TargetFiles{Length: 1, Hashes: metadata.Hashes{"sha256": make([]byte, 32)}, Custom: &text}
	old, err := targets.ToBytes(false)
	require.NoError(t, err)
	targets.Signed.Version = 2
	targets.Signed.Targets["r/c/new"] = targets.Signed.Targets["r/c/old"]
	raw, err := targets.ToBytes(false)
	require.NoError(t, err)
	x := bundle(t)
	x.Trusted = ceremony.Trusted{ImageRoot: b.Documents[0].Metadata, DirectorRoot: b.Documents[1].Metadata, Targets: old}
	x.Documents = []ceremony.Document{{Repository: "image", Role: "targets", Metadata: raw}}

	require.Nil(t, x.TrustedTargets(root), "nobody signed what the file says is in force")
	lines, err := x.Describe(root)
	require.NoError(t, err)
	require.Len(t, lines, 3, "all is listed: %s", lines)
	signed, err := ceremony.Targets(old)
	require.NoError(t, err)
	require.NoError(t, ceremony.SignOver(a, signed))
	require.NoError(t, ceremony.SignOver(bs, signed))
	x.Trusted.Targets, err = signed.ToBytes(false)
	require.NoError(t, err)
	lines, err = x.Describe(root)
	require.NoError(t, err)
	require.Contains(t, strings.Join(lines, "\n"), "+ r/c/new: p c version 1, any hardware, counter 3, 1 bytes")
	require.Contains(t, lines[len(lines)-1], "and 1 that you have signed before")
}

// A root that calls a thief's key by a holder's name shows that it is another
// key; words in a file cannot move the cursor of whoever reads them.
func TestDescribeShowsKeysNotOnlyNames(t *testing.T) {
	t.Parallel()
	alice, _ := key(t, "alice", "root", "targets")
	bob, _ := key(t, "bob", "root", "targets")
	thief, _ := key(t, "bob", "root", "targets")
	before, after := bundle(t), bundle(t)
	after.Online = before.Online
	require.NoError(t, before.Create([]ceremony.KeyFile{alice, bob}, 2, now.AddDate(1, 0, 0)))
	require.NoError(t, after.Create([]ceremony.KeyFile{alice, thief}, 2, now.AddDate(1, 0, 0)))
	root, err := ceremony.Root(before.Documents[0].Metadata)
	require.NoError(t, err)
	lines, err := after.Describe(root)
	require.NoError(t, err)
	for _, want := range []string{"    key " + alice.ID() + " of alice", "  + key " + thief.ID() + " of bob", "  - key " + bob.ID() + " of bob"} {
		n := 0
		for _, line := range lines {
			if line == want {
				n++
			}
		}
		require.Equal(t, 2, n, "%s in the image root and the director's: %s", want, lines)
	}

	targets := metadata.Targets(now.AddDate(1, 0, 0))
	text := json.RawMessage(`{"product":"p","version":"1\u001b[2K\n  nothing"}`)
	targets.Signed.Targets["r/c/f"] = &metadata.TargetFiles{Length: 1, Hashes: metadata.Hashes{"sha256": make([]byte, 32)}, Custom: &text}
	raw, err := targets.ToBytes(false)
	require.NoError(t, err)
	after.Documents = []ceremony.Document{{Repository: "image", Role: "targets", Metadata: raw}}
	lines, err = after.Describe(nil)
	require.NoError(t, err)
	require.NotContains(t, strings.Join(lines, ""), "\x1b")
	require.NotContains(t, strings.Join(lines, ""), "\n")
	require.Contains(t, lines[1], `version 1\x1b[2K\n  nothing`)
}

// Whatever stands in a file, it is refused or read, and then everything can be
// asked of it.
func FuzzBundle(f *testing.F) {
	alice, a := key(f, "alice", "root", "targets")
	bob, _ := key(f, "bob", "root", "targets")
	b := bundle(f)
	require.NoError(f, b.Create([]ceremony.KeyFile{alice, bob}, 2, now.AddDate(1, 0, 0)))
	_, err := b.Sign(a)
	require.NoError(f, err)
	raw, err := json.Marshal(b)
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte(`{"format":"fettle-trust/1","documents":[{"repository":"image","role":"targets","metadata":{"signed":{"_type":"targets"},"signatures":[]}}]}`))
	f.Add([]byte(`{"format":"fettle-trust/1","trusted":{"imageRoot":{"signed":{"_type":"root","roles":{"root":null}}}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := ceremony.ReadBundle(raw)
		if err != nil {
			return
		}
		_, _ = b.Describe(nil)
		_, _ = b.Needs()
		_ = b.Check()
		other, err := ceremony.ReadBundle(raw)
		require.NoError(t, err)
		require.NoError(t, b.Merge(other), "with itself")
		_, _ = b.Sign(a)
		_ = b.Rotate(ceremony.Rotation{Expires: now, TargetsExpire: now, Add: []ceremony.KeyFile{alice}})
	})
}

func FuzzKey(f *testing.F) {
	k, _ := key(f, "alice", ceremony.OfflineRoles...)
	raw, err := json.Marshal(k)
	require.NoError(f, err)
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		k, err := ceremony.ReadKey(raw)
		if err == nil {
			require.NotEmpty(t, k.ID())
		}
	})
}
