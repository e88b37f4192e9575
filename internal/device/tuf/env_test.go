package tuf_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/ddi"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/device/download"
	"fettle.dev/fettle/internal/device/tuf"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	store "fettle.dev/fettle/internal/sqldb/trust"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/link"
	"fettle.dev/fettle/internal/update/trust"
	"fettle.dev/fettle/internal/update/trust/ceremony"
	"fettle.dev/fettle/unitkit"
)

// units knows the token of each unit: "token of <unit>".
type units struct{}

func (units) Token(_ context.Context, unitID, token string) (device.Identity, error) {
	if token != "token of "+unitID {
		return device.Identity{}, device.ErrCredential
	}
	return device.Identity{UnitID: unitID, Product: campaigntest.Product}, nil
}

func (units) TokenAlone(context.Context, string) (device.Identity, error) {
	return device.Identity{}, device.ErrCredential
}

func (units) Certificate(context.Context, *x509.Certificate) (device.Identity, error) {
	return device.Identity{}, device.ErrCredential
}

func (u units) Poll(ctx context.Context, unitID, token string, _ netip.Addr) (device.Identity, error) {
	return u.Token(ctx, unitID, token)
}
func (units) Contact(device.Identity) {}
func (units) Listening(string) bool   { return true }

// Desired is nothing: what owners permit is not tried here.
func (units) Desired(context.Context, device.Identity) (device.Desired, error) {
	return device.Desired{}, nil
}

func (units) Told(string, time.Duration) {}

func (units) Vouched(context.Context, string) (device.Identity, error) {
	return device.Identity{}, device.ErrCredential
}

// holder is somebody with an offline key. (Sealing it in a file is package
// ceremony's own test: scrypt takes its time.)
type holder struct {
	file   ceremony.KeyFile
	signer ceremony.Signer
}

func newHolder(tb testing.TB, name string, roles ...string) holder {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(tb, err)
	s, err := ceremony.NewSigner(private)
	require.NoError(tb, err)
	s.Name = name
	return holder{ceremony.KeyFile{Format: ceremony.KeyFormat, Name: name, Roles: roles, Public: s.Public}, s}
}

// world is a service with roots of trust, and whoever stands before it.
type world struct {
	*campaigntest.World
	t      testing.TB
	trust  *trust.Service
	store  trust.Store
	seal   []byte
	real   http.Handler // the service
	door   http.Handler // its door of metadata
	links  *link.Signer
	server *httptest.Server

	alice, bob, carol holder

	mu       sync.Mutex
	tamper   func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	refused  []string
	versions map[string]map[string]string // proven, by unit
}

// newWorld is a service whose roots alice, bob and carol have made, any two of
// whom suffice; the release of campaigntest is signed and offered to unit 1.
func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := bareWorld(tb)
	w.createRoots(w.alice, w.bob, w.carol)
	require.NoError(tb, w.trust.Require(tb.Context(), campaigntest.Product, "test"))
	w.signTargets(w.alice, w.carol)
	w.offer(1, campaigntest.Release, time.Time{})
	return w
}

func bareWorld(tb testing.TB) *world {
	tb.Helper()
	db := sqldbtest.SQLite(tb)
	w := &world{
		World: campaigntest.New(tb, db, 3), t: tb, store: store.New(db), seal: bytes.Repeat([]byte{7}, trust.SealSize),
		versions: map[string]map[string]string{},
	}
	w.alice, w.bob, w.carol = newHolder(tb, "alice", "root", "targets"), newHolder(tb, "bob", "root", "targets"), newHolder(tb, "carol", "root", "targets")
	links, err := link.New(make([]byte, link.KeySize), w.Clock)
	require.NoError(tb, err)
	w.links = links
	w.open(db)
	quiet := slog.New(slog.DiscardHandler)
	mux := http.NewServeMux()
	mux.Handle(ddi.Prefix, ddi.New(ddi.Config{Updates: w.Updates, Units: units{}, Links: links, Log: quiet}))
	mux.Handle(link.Prefix, download.New(download.Config{Updates: w.Updates, Blobs: w.Blobs, Links: links, Clock: w.Clock, Log: quiet}))
	mux.HandleFunc(tuf.Prefix, func(rw http.ResponseWriter, r *http.Request) { w.door.ServeHTTP(rw, r) })
	w.real = mux
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		tamper := w.tamper
		w.mu.Unlock()
		if tamper == nil || !tamper(rw, r) {
			mux.ServeHTTP(rw, r)
		}
	}))
	tb.Cleanup(w.server.Close)
	return w
}

// open starts the service, anew if it ran before.
func (w *world) open(db *sqldb.DB) {
	w.t.Helper()
	var err error
	w.trust, err = trust.NewService(w.t.Context(), trust.Config{
		Store: w.store, Releases: db.Update(), Tx: db, Clock: w.Clock, Log: slog.New(slog.DiscardHandler), Server: "http://test", Seal: w.seal,
		Versions: func(_ context.Context, unitID string, versions map[string]string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.versions[unitID] = versions
			return nil
		},
		Refused: func(name string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.refused = append(w.refused, name)
		},
	})
	require.NoError(w.t, err)
	w.trust.Assign(w.Updates)
	w.door = tuf.New(door.New(nil, units{}, door.Config{}, nil), tuf.Config{Trust: w.trust, Contacts: units{}, Address: w.address(w.links)})
}

func (w *world) address(links *link.Signer) func(context.Context, string, string, string) (string, error) {
	return func(ctx context.Context, unitID, sha256, filename string) (string, error) {
		a, _, err := w.Updates.Directed(ctx, unitID)
		if err != nil {
			return "", err
		}
		if a.ID == 0 {
			return "", fault.New(fault.NotFound, "the unit has nothing to fetch")
		}
		if _, _, err := w.Updates.Fetch(ctx, a.ID, sha256, true); err != nil {
			return "", err
		}
		return links.Path(link.Claims{Assignment: a.ID, SHA256: sha256, Filename: filename, Ahead: true}), nil
	}
}

func (w *world) between(fn func(rw http.ResponseWriter, r *http.Request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tamper = fn
}

func (w *world) export() *ceremony.Bundle {
	w.t.Helper()
	b, err := w.trust.Export(w.t.Context(), 0)
	require.NoError(w.t, err)
	// As it would be read from a file.
	raw, err := json.Marshal(b)
	require.NoError(w.t, err)
	b, err = ceremony.ReadBundle(raw)
	require.NoError(w.t, err)
	return b
}

func (w *world) sign(b *ceremony.Bundle, by ...holder) {
	w.t.Helper()
	for _, h := range by {
		_, err := b.Sign(h.signer)
		require.NoError(w.t, err)
	}
}

func (w *world) bring(b *ceremony.Bundle) {
	w.t.Helper()
	_, err := w.trust.Import(w.t.Context(), b)
	require.NoError(w.t, err)
}

func (w *world) createRoots(holders ...holder) {
	w.t.Helper()
	files := make([]ceremony.KeyFile, len(holders))
	for i, h := range holders {
		files[i] = h.file
	}
	b := w.export()
	require.NoError(w.t, b.Create(files, 2, w.Clock.Now().AddDate(2, 0, 0)))
	w.sign(b, holders[:2]...)
	w.bring(b)
}

func (w *world) signTargets(by ...holder) {
	w.t.Helper()
	b := w.export()
	require.Len(w.t, b.Documents, 1)
	w.sign(b, by...)
	w.bring(b)
}

// rotate makes, signs and imports the next roots.
func (w *world) rotate(r ceremony.Rotation, by ...holder) {
	w.t.Helper()
	r.Expires, r.TargetsExpire = w.Clock.Now().AddDate(2, 0, 0), w.Clock.Now().AddDate(1, 0, 0)
	b := w.export()
	require.NoError(w.t, b.Rotate(r))
	w.sign(b, by...)
	w.bring(b)
}

// offer assigns a release to a unit and offers it.
func (w *world) offer(n int, release string, notBefore time.Time) update.Assignment {
	w.t.Helper()
	a, err := w.Updates.Assign(w.t.Context(), campaigntest.UnitID(n), release, release+campaigntest.UnitID(n))
	require.NoError(w.t, err)
	a, err = w.Updates.Offer(w.t.Context(), a.ID, notBefore)
	require.NoError(w.t, err)
	return a
}

// release puts another release with an image of its own.
func (w *world) release(r update.Release, image string) {
	w.t.Helper()
	a, err := w.Updates.PutArtifact(w.t.Context(), bytes.NewReader([]byte(image)), r.Name+".swu")
	require.NoError(w.t, err)
	r.Product, r.Kind, r.Minutes, r.Notes, r.Artifact = campaigntest.Product, update.Fix, 5, map[string]string{"en": "Better."}, "sha256:"+a.SHA256
	require.NoError(w.t, w.Updates.Put(w.t.Context(), r))
}

// root is what a unit is made with.
func (w *world) root(repository string, version int64) []byte {
	w.t.Helper()
	b, err := w.trust.Root(w.t.Context(), repository, version)
	require.NoError(w.t, err)
	return b
}

// unit is a unit's client; it remembers in s.
func (w *world) unit(n int, s unitkit.Store, change ...func(*unitkit.Config)) *unitkit.Client {
	w.t.Helper()
	if s == nil {
		s = unitkit.MemoryStore()
	}
	id := campaigntest.UnitID(n)
	c := unitkit.Config{
		Server: w.server.URL, UnitID: id, Token: "token of " + id, Product: campaigntest.Product, Store: s, Now: w.Clock.Now, HTTP: w.server.Client(),
		ImageRoot: w.root("image", 1), DirectorRoot: w.root("director", 1),
		Components: func() map[string]unitkit.Component {
			return map[string]unitkit.Component{"software": {Hardware: "B", Version: "1.0.0"}}
		},
	}
	for _, fn := range change {
		fn(&c)
	}
	client, err := unitkit.New(c)
	require.NoError(w.t, err)
	return client
}

// get is a file as the service gives it to a unit at this moment.
func (w *world) get(n int, path string) []byte {
	w.t.Helper()
	id := campaigntest.UnitID(n)
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, path, nil)
	r.SetBasicAuth(id, "token of "+id)
	rec := httptest.NewRecorder()
	w.real.ServeHTTP(rec, r)
	require.Equal(w.t, http.StatusOK, rec.Code, "%s: %s", path, rec.Body.String())
	return rec.Body.Bytes()
}

// steal opens one of the server's keys, as whoever has its records and its
// data directory can.
func (w *world) steal(name string) ceremony.Signer {
	w.t.Helper()
	keys, err := w.store.Keys(w.t.Context())
	require.NoError(w.t, err)
	for _, k := range keys {
		if k.Name != name || k.Next {
			continue
		}
		block, err := aes.NewCipher(w.seal)
		require.NoError(w.t, err)
		a, err := cipher.NewGCM(block)
		require.NoError(w.t, err)
		seed, err := a.Open(nil, k.Sealed[:a.NonceSize()], k.Sealed[a.NonceSize():], []byte(name))
		require.NoError(w.t, err)
		s, err := ceremony.NewSigner(ed25519.NewKeyFromSeed(seed))
		require.NoError(w.t, err)
		return s
	}
	w.t.Fatalf("no key %s", name)
	return ceremony.Signer{}
}

// files is a repository that an attacker made, by path.
type files map[string][]byte

func (f files) serve(rw http.ResponseWriter, r *http.Request) bool {
	b, ok := f[r.URL.Path]
	if ok {
		_, _ = rw.Write(b)
	}
	return ok
}

func signed[T metadata.Roles](tb testing.TB, m *metadata.Metadata[T], by ...ceremony.Signer) []byte {
	tb.Helper()
	m.ClearSignatures()
	for _, s := range by {
		require.NoError(tb, ceremony.SignOver(s, m))
	}
	b, err := m.ToBytes(false)
	require.NoError(tb, err)
	return b
}
