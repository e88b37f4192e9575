package tuf_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/trust/ceremony"
	"fettle.dev/fettle/unitkit"
)

const day = 24 * time.Hour

// attack is somebody who stands between the service and unit 1, or who took a
// key. It changes what the unit sees, and says what the unit must call it.
type attack struct {
	name string
	// do gets a unit that has checked once, honestly, before; then it may
	// tamper. It gives the error of what the unit does next.
	do   func(w *world, c *unitkit.Client) error
	want unitkit.Attack
}

func check(w *world, c *unitkit.Client) error {
	u, err := c.Check(w.t.Context())
	if err == nil && u != nil {
		return fmt.Errorf("the unit took %+v", u)
	}
	return err
}

// The attacks of the contract file, each against the real handlers, each
// refused by its name.
func TestAttacks(t *testing.T) {
	t.Parallel()
	for _, a := range []attack{
		{"arbitrary software: other bytes", otherBytes, unitkit.ErrArbitrarySoftware},
		{"arbitrary software: the director's key alone", directorAlone, unitkit.ErrArbitrarySoftware},
		{"director and image repository disagree", disagree, unitkit.ErrDisagree},
		{"rollback of the director's timestamp", rollbackTimestamp("director"), unitkit.ErrRollback},
		{"rollback of the image timestamp", rollbackTimestamp("image"), unitkit.ErrRollback},
		{"rollback of the targets under a new snapshot", rollbackTargets, unitkit.ErrRollback},
		{"rollback of the software below a confirmed counter", rollbackCounter, unitkit.ErrRollback},
		{"rollback of the root", rollbackRoot, unitkit.ErrRollback},
		{"fast-forward with a stolen timestamp key", fastForward, unitkit.ErrFastForward},
		{"indefinite freeze: nothing new from the director", freeze("director", 13*time.Hour), unitkit.ErrFreeze},
		{"indefinite freeze: nothing new from the image repository", freeze("image", 25*time.Hour), unitkit.ErrFreeze},
		{"indefinite freeze: not modified, for ever", freezeNotModified, unitkit.ErrFreeze},
		{"indefinite freeze: the unit's clock set back", freezeClock, unitkit.ErrFreeze},
		{"mix-and-match: a snapshot that was never current with the timestamp", mixSnapshot, unitkit.ErrMixAndMatch},
		{"mix-and-match: targets that were never current with the snapshot", mixTargets, unitkit.ErrMixAndMatch},
		{"endless data: a timestamp without end", endless("/tuf/director/timestamp.json"), unitkit.ErrEndlessData},
		{"endless data: a root without end", endless("/tuf/image/2.root.json"), unitkit.ErrEndlessData},
		{"endless data: an image without end", endlessImage, unitkit.ErrEndlessData},
		{"slow retrieval of metadata", slow, unitkit.ErrSlowRetrieval},
		{"slow retrieval of the image", slowImage, unitkit.ErrSlowRetrieval},
		{"wrong hardware", wrongHardware, unitkit.ErrWrongHardware},
		{"wrong component", wrongComponent, unitkit.ErrWrongHardware},
		{"wrong product", wrongProduct, unitkit.ErrWrongHardware},
		{"another unit's metadata", otherUnit, unitkit.ErrWrongUnit},
		{"stolen key: one of the root's", oneRootKey, unitkit.ErrThreshold},
		{"stolen key: one of the targets', with all of the server's", oneTargetsKey, unitkit.ErrThreshold},
		{"stolen key: the timestamp's, after it was replaced", replacedKey("image", ceremony.OnlineTimestamp), unitkit.ErrThreshold},
		{"stolen key: the snapshot's, after it was replaced", replacedSnapshot, unitkit.ErrThreshold},
		{"stolen key: the director's, after it was replaced", replacedKey("director", ceremony.OnlineDirector), unitkit.ErrThreshold},
		{"stolen key: a holder's who was removed", removedHolder, unitkit.ErrThreshold},
		{"the same key counted twice", sameKeyTwice, unitkit.ErrThreshold},
		{"root gap: a later root in place of the next", rootGap, unitkit.ErrRootGap},
		{"root gap: the next root withheld", rootWithheld, unitkit.ErrRootGap},
		{"malformed: fields that are not there", malformed, unitkit.ErrMalformed},
	} {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.unit(1, nil, func(c *unitkit.Config) {
				if a.want == unitkit.ErrSlowRetrieval { // elsewhere a busy machine shall not pass for the attacker
					c.Patience, c.MinRate = 3*time.Second, 1000
				}
			})
			u, err := c.Check(t.Context())
			require.NoError(t, err)
			require.NotNil(t, u, "before the attack all is well")
			err = a.do(w, c)
			require.ErrorIs(t, err, a.want)
			named, ok := errors.AsType[*unitkit.AttackError](err)
			require.True(t, ok)
			require.Equal(t, a.want, named.Attack)
			t.Log(named)

			// Nothing sticks: without the attacker the unit goes on.
			w.between(nil)
			if a.want == unitkit.ErrFreeze || strings.HasPrefix(a.name, "rollback of the software") || strings.HasPrefix(a.name, "wrong") {
				return // there the unit or its order is what is wrong
			}
			if a.want == unitkit.ErrDisagree || strings.HasSuffix(a.name, "the director's key alone") {
				// The thief's numbers are ahead; they end with the key.
				require.ErrorIs(t, check(w, c), unitkit.ErrRollback)
				w.renewed()
			}
			u, err = c.Check(t.Context())
			require.NoError(t, err)
			require.NotNil(t, u)
			require.Equal(t, campaigntest.Release, u.Release)
		})
	}
}

func otherBytes(w *world, c *unitkit.Client) error {
	u, err := c.Check(w.t.Context())
	require.NoError(w.t, err)
	w.between(func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/artifacts/") {
			_, _ = rw.Write([]byte("the image of version 6.6.6"))
			return true
		}
		return false
	})
	var got bytes.Buffer
	_, err = c.Fetch(w.t.Context(), u.Targets[0], &got, 0)
	return err
}

// forged is director metadata that a thief of the director's key makes for
// unit 1 from what the service would say.
func (w *world) forged(version int64, change func(t *metadata.TargetsType)) files {
	w.t.Helper()
	key := w.steal(ceremony.OnlineDirector)
	now := w.get(1, "/tuf/director/timestamp.json")
	var stamp metadata.Metadata[metadata.TimestampType]
	require.NoError(w.t, json.Unmarshal(now, &stamp))
	targets, err := ceremony.Targets(w.get(1, fmt.Sprintf("/tuf/director/%d.targets.json", stamp.Signed.Version)))
	require.NoError(w.t, err)
	if version == 0 {
		version = stamp.Signed.Version + 1
	}
	targets.Signed.Version = version
	change(&targets.Signed)
	return w.chain("director", key, key, signed(w.t, targets, key), version, targets.Signed.Expires)
}

// chain is a repository's snapshot and timestamp over targets.
func (w *world) chain(repository string, snapshotKey, timestampKey ceremony.Signer, targets []byte, version int64, expires time.Time) files {
	w.t.Helper()
	snap := metadata.Snapshot(expires)
	snap.Signed.Version = version
	var said metadata.Metadata[metadata.TargetsType]
	require.NoError(w.t, json.Unmarshal(targets, &said))
	snap.Signed.Meta["targets.json"] = meta(said.Signed.Version, targets)
	s := signed(w.t, snap, snapshotKey)
	stamp := metadata.Timestamp(expires)
	stamp.Signed.Version = version
	stamp.Signed.Meta["snapshot.json"] = meta(version, s)
	at := "/tuf/" + repository + "/"
	return files{
		at + "timestamp.json":                                     signed(w.t, stamp, timestampKey),
		fmt.Sprintf("%s%d.snapshot.json", at, version):            s,
		fmt.Sprintf("%s%d.targets.json", at, said.Signed.Version): targets,
	}
}

func meta(version int64, b []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(b)
	return &metadata.MetaFiles{Version: version, Length: int64(len(b)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

func custom(t *metadata.TargetsType) map[string]any {
	c, ok := t.UnrecognizedFields["custom"].(map[string]any)
	if !ok {
		panic("no custom part")
	}
	return c
}

func only(t *metadata.TargetsType) (string, *metadata.TargetFiles) {
	for name, f := range t.Targets {
		return name, f
	}
	panic("no target")
}

func directorAlone(w *world, c *unitkit.Client) error {
	w.between(w.forged(0, func(t *metadata.TargetsType) {
		name, f := only(t)
		delete(t.Targets, name)
		t.Targets["evil/software/evil.swu"] = f
		custom(t)["order"] = []any{"evil/software/evil.swu"}
	}).serve)
	return check(w, c)
}

func disagree(w *world, c *unitkit.Client) error {
	w.between(w.forged(0, func(t *metadata.TargetsType) {
		_, f := only(t)
		sum := sha256.Sum256([]byte("evil"))
		f.Hashes["sha256"], f.Length = sum[:], 4
	}).serve)
	return check(w, c)
}

func rollbackTimestamp(repository string) func(*world, *unitkit.Client) error {
	return func(w *world, c *unitkit.Client) error {
		path := "/tuf/" + repository + "/timestamp.json"
		old := w.get(1, path)
		w.Clock.Advance(13 * time.Hour) // each is made anew
		require.NotEqual(w.t, old, w.get(1, path))
		require.NoError(w.t, func() error { _, err := c.Check(w.t.Context()); return err }())
		w.Clock.Advance(-2 * time.Hour) // so that the old one has not expired
		w.between(files{path: old}.serve)
		defer w.Clock.Advance(2 * time.Hour)
		return check(w, c)
	}
}

// A thief of snapshot and timestamp keys shows targets that were replaced.
func rollbackTargets(w *world, c *unitkit.Client) error {
	old := w.get(1, "/tuf/image/1.targets.json")
	w.release(update.Release{Name: "charger-2.1.0", Version: "2.1.0"}, "newer")
	w.signTargets(w.alice, w.bob)
	require.NoError(w.t, func() error { _, err := c.Check(w.t.Context()); return err }())
	w.between(w.chain("image", w.steal(ceremony.OnlineSnapshot), w.steal(ceremony.OnlineTimestamp), old, 9, w.Clock.Now().Add(day)).serve)
	return check(w, c)
}

func rollbackCounter(w *world, c *unitkit.Client) error {
	u, err := c.Check(w.t.Context())
	require.NoError(w.t, err)
	s := unitkit.MemoryStore()
	require.NoError(w.t, s.Save("state.json", fmt.Appendf(nil, `{"counters":{"software":%d}}`, u.Targets[0].Counter+1)))
	return check(w, w.unit(1, s))
}

func rollbackRoot(w *world, c *unitkit.Client) error {
	w.rotate(ceremony.Rotation{}, w.alice, w.bob)
	require.NoError(w.t, func() error { _, err := c.Check(w.t.Context()); return err }())
	old := w.root("image", 2)
	w.rotate(ceremony.Rotation{}, w.alice, w.bob)
	w.between(files{"/tuf/image/3.root.json": old}.serve)
	return check(w, c)
}

func fastForward(w *world, c *unitkit.Client) error {
	w.between(w.forged(1<<62, func(*metadata.TargetsType) {}).serve)
	return check(w, c)
}

func freeze(repository string, after time.Duration) func(*world, *unitkit.Client) error {
	return func(w *world, c *unitkit.Client) error {
		path := "/tuf/" + repository + "/timestamp.json"
		old := w.get(1, path)
		w.Clock.Advance(after)
		w.between(files{path: old}.serve)
		return check(w, c)
	}
}

func freezeNotModified(w *world, c *unitkit.Client) error {
	w.Clock.Advance(13 * time.Hour)
	w.between(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/tuf/director/timestamp.json" {
			rw.WriteHeader(http.StatusNotModified)
			return true
		}
		return false
	})
	return check(w, c)
}

// Whoever can set the unit's clock back cannot make it take what has expired:
// its time does not go below what was signed for it last.
func freezeClock(w *world, _ *unitkit.Client) error {
	old := files{}
	for _, f := range []string{"timestamp.json"} {
		old["/tuf/image/"+f] = w.get(1, "/tuf/image/"+f)
	}
	now := w.Clock.Now()
	s := unitkit.MemoryStore()
	c := w.unit(1, s, func(c *unitkit.Config) { c.Now = func() time.Time { return now } })
	w.Clock.Advance(30 * time.Hour)
	now = w.Clock.Now()
	require.NoError(w.t, func() error { _, err := c.Check(w.t.Context()); return err }())
	now = now.Add(-30 * time.Hour)
	// A unit that forgot the image repository, and not the time.
	require.NoError(w.t, s.Delete("image/timestamp.json"))
	require.NoError(w.t, s.Delete("image/snapshot.json"))
	w.between(old.serve)
	return check(w, c)
}

func mixSnapshot(w *world, c *unitkit.Client) error {
	old := w.get(1, "/tuf/image/1.snapshot.json")
	w.release(update.Release{Name: "charger-2.1.0", Version: "2.1.0"}, "newer")
	w.signTargets(w.alice, w.bob)
	w.between(files{"/tuf/image/2.snapshot.json": old}.serve)
	return check(w, c)
}

func mixTargets(w *world, c *unitkit.Client) error {
	old := w.get(1, "/tuf/image/1.targets.json")
	w.release(update.Release{Name: "charger-2.1.0", Version: "2.1.0"}, "newer!")
	w.signTargets(w.alice, w.bob)
	w.between(files{"/tuf/image/2.targets.json": old}.serve)
	return check(w, c)
}

func endless(path string) func(*world, *unitkit.Client) error {
	return func(w *world, c *unitkit.Client) error {
		w.Clock.Advance(7 * time.Hour) // the unit's timestamp is due to be made anew
		w.between(func(rw http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != path {
				return false
			}
			for range 1 << 16 {
				if _, err := rw.Write(bytes.Repeat([]byte("{"), 4096)); err != nil {
					break
				}
			}
			return true
		})
		return check(w, c)
	}
}

func endlessImage(w *world, c *unitkit.Client) error {
	u, err := c.Check(w.t.Context())
	require.NoError(w.t, err)
	w.between(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/artifacts/") {
			return false
		}
		for range 1 << 16 {
			if _, err := rw.Write([]byte("the image of version 2.0.0")); err != nil {
				break
			}
		}
		return true
	})
	var got bytes.Buffer
	_, err = c.Fetch(w.t.Context(), u.Targets[0], &got, 0)
	require.LessOrEqual(w.t, got.Len(), int(u.Targets[0].Length), "not a byte more is written")
	return err
}

// trickle sends a byte now and then, until the client is gone.
func trickle(rw http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := rw.Write([]byte(" ")); err != nil {
			return
		}
		_ = http.NewResponseController(rw).Flush()
		time.Sleep(20 * time.Millisecond)
	}
}

func slow(w *world, c *unitkit.Client) error {
	w.Clock.Advance(7 * time.Hour)
	w.between(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/tuf/director/timestamp.json" {
			return false
		}
		trickle(rw, r)
		return true
	})
	return check(w, c)
}

func slowImage(w *world, c *unitkit.Client) error {
	u, err := c.Check(w.t.Context())
	require.NoError(w.t, err)
	u.Targets[0].Length = 1 << 30 // a large one
	w.between(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/artifacts/") {
			return false
		}
		trickle(rw, r)
		return true
	})
	var got bytes.Buffer
	_, err = c.Fetch(w.t.Context(), u.Targets[0], &got, 0)
	return err
}

// A mistaken service: it offers what does not fit.
func wrongHardware(w *world, _ *unitkit.Client) error {
	w.release(update.Release{Name: "charger-2.2.0", Version: "2.2.0", Hardware: []string{"B"}}, "for B")
	w.signTargets(w.alice, w.bob)
	w.offer(2, "charger-2.2.0", time.Time{})
	return check(w, w.unit(2, nil, func(c *unitkit.Config) {
		c.Components = func() map[string]unitkit.Component {
			return map[string]unitkit.Component{"software": {Hardware: "A", Version: "1.0.0"}}
		}
	}))
}

func wrongComponent(w *world, _ *unitkit.Client) error {
	return check(w, w.unit(1, nil, func(c *unitkit.Config) {
		c.Components = func() map[string]unitkit.Component {
			return map[string]unitkit.Component{"radio": {Hardware: "B", Version: "1.0.0"}}
		}
	}))
}

func wrongProduct(w *world, _ *unitkit.Client) error {
	return check(w, w.unit(1, nil, func(c *unitkit.Config) { c.Product = "bicycle" }))
}

// Unit 1 is shown all that the service says to unit 2.
func otherUnit(w *world, c *unitkit.Client) error {
	w.offer(2, campaigntest.Release, time.Time{})
	other := campaigntest.UnitID(2)
	w.Clock.Advance(time.Second)
	w.between(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/tuf/director/") {
			return false
		}
		r.SetBasicAuth(other, "token of "+other)
		r.Header.Del("If-None-Match")
		w.real.ServeHTTP(rw, r)
		return true
	})
	return check(w, c)
}

// forgedRoot is the next image root with whatever change, signed by some.
func (w *world) forgedRoot(change func(*metadata.RootType), by ...ceremony.Signer) files {
	w.t.Helper()
	root, err := ceremony.Root(w.root("image", 1))
	require.NoError(w.t, err)
	root.Signed.Version++
	change(&root.Signed)
	return files{"/tuf/image/2.root.json": signed(w.t, root, by...)}
}

func oneRootKey(w *world, c *unitkit.Client) error {
	mallory := newHolder(w.t, "mallory", "root", "targets")
	w.between(w.forgedRoot(func(r *metadata.RootType) {
		for _, role := range []string{"root", "targets"} {
			require.NoError(w.t, r.AddKey(mallory.file.Public, role))
		}
	}, w.alice.signer, mallory.signer).serve)
	return check(w, c)
}

// forgedTargets adds software to the image repository with all of the server's
// keys and those of some holders.
func (w *world) forgedTargets(by ...ceremony.Signer) files {
	w.t.Helper()
	targets, err := ceremony.Targets(w.get(1, "/tuf/image/1.targets.json"))
	require.NoError(w.t, err)
	targets.Signed.Version = 2
	_, f := only(&targets.Signed)
	targets.Signed.Targets["evil/software/evil.swu"] = f
	return w.chain("image", w.steal(ceremony.OnlineSnapshot), w.steal(ceremony.OnlineTimestamp), signed(w.t, targets, by...), 9, w.Clock.Now().Add(day))
}

func oneTargetsKey(w *world, c *unitkit.Client) error {
	w.between(w.forgedTargets(w.alice.signer).serve)
	return check(w, c)
}

func sameKeyTwice(w *world, c *unitkit.Client) error {
	f := w.forgedTargets(w.alice.signer)
	path := "/tuf/image/2.targets.json"
	m, err := ceremony.Targets(f[path])
	require.NoError(w.t, err)
	again := m.Signatures[0]
	again.KeyID = w.bob.signer.ID // under another's name
	m.Signatures = append(m.Signatures, again)
	raw, err := m.ToBytes(false)
	require.NoError(w.t, err)
	w.between(w.chain("image", w.steal(ceremony.OnlineSnapshot), w.steal(ceremony.OnlineTimestamp), raw, 9, w.Clock.Now().Add(day)).serve)
	return check(w, c)
}

// renewed replaces the server's keys, as after they were stolen.
func (w *world) renewed() {
	w.t.Helper()
	require.NoError(w.t, w.trust.RenewOnline(w.t.Context()))
	w.rotate(ceremony.Rotation{}, w.bob, w.carol)
}

func replacedKey(repository, name string) func(*world, *unitkit.Client) error {
	return func(w *world, c *unitkit.Client) error {
		key := w.steal(name)
		w.renewed()
		path := "/tuf/" + repository + "/timestamp.json"
		var stamp metadata.Metadata[metadata.TimestampType]
		require.NoError(w.t, json.Unmarshal(w.get(1, path), &stamp))
		stamp.Signed.Version++
		w.between(files{path: signed(w.t, &stamp, key)}.serve)
		return check(w, c)
	}
}

func replacedSnapshot(w *world, c *unitkit.Client) error {
	key := w.steal(ceremony.OnlineSnapshot)
	w.renewed()
	w.between(w.chain("image", key, w.steal(ceremony.OnlineTimestamp), w.get(1, "/tuf/image/1.targets.json"), 9, w.Clock.Now().Add(day)).serve)
	return check(w, c)
}

func removedHolder(w *world, c *unitkit.Client) error {
	dave := newHolder(w.t, "dave", "root", "targets")
	w.rotate(ceremony.Rotation{Remove: []string{"alice"}, Add: []ceremony.KeyFile{dave.file}}, w.bob, w.carol)
	// Alice's thief has bob's help, and all of the server's keys.
	old, err := ceremony.Targets(w.get(1, "/tuf/image/2.targets.json"))
	require.NoError(w.t, err)
	old.Signed.Version = 3
	raw := signed(w.t, old, w.alice.signer, w.bob.signer)
	w.between(w.chain("image", w.steal(ceremony.OnlineSnapshot), w.steal(ceremony.OnlineTimestamp), raw, 9, w.Clock.Now().Add(day)).serve)
	return check(w, c)
}

func rootGap(w *world, c *unitkit.Client) error {
	w.rotate(ceremony.Rotation{}, w.alice, w.bob)
	w.rotate(ceremony.Rotation{}, w.alice, w.bob)
	w.between(files{"/tuf/image/2.root.json": w.root("image", 3)}.serve)
	return check(w, c)
}

func rootWithheld(w *world, c *unitkit.Client) error {
	w.renewed()
	w.rotate(ceremony.Rotation{}, w.alice, w.bob)
	w.between(func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/2.root.json") {
			http.NotFound(rw, r)
			return true
		}
		return false
	})
	return check(w, c)
}

func malformed(w *world, c *unitkit.Client) error {
	key := w.steal(ceremony.OnlineDirector)
	stamp := metadata.Timestamp(w.Clock.Now().Add(day))
	stamp.Signed.Version = w.Clock.Now().UnixMilli() + 5
	stamp.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": nil}
	w.between(files{"/tuf/director/timestamp.json": signed(w.t, stamp, key)}.serve)
	return check(w, c)
}
