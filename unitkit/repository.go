package unitkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// The most bytes that metadata may have, the most roots followed at once, and
// the highest version number there can be (of metadata numbered by the
// millisecond, the year 5138): what exceeds it is refused as ErrFastForward
// before it is kept.
const (
	maxRoot      = 512 << 10
	maxTimestamp = 16 << 10
	maxSnapshot  = 2 << 20
	maxTargets   = 8 << 20
	maxRotations = 256
	maxVersion   = 100_000_000_000_000
)

// repository is one of the two sets of metadata: the client's workflow of the
// TUF specification, section 5, on go-tuf's checks. It keeps roots as they are
// verified, and the rest only once all of it is, and the caller found it to be
// for this unit: else whoever shows one unit the timestamp of another would
// have it refuse its own.
type repository struct {
	name    string // image or director
	factory []byte // the root that the unit was made with
	store   Store
	get     func(ctx context.Context, path, tag string, limit int64) ([]byte, string, error)
	tag     string // of the timestamp that is kept
	newer   []kept // verified, to be kept
	newTag  string
	forget  func() error // undoes what a stolen online key may have pushed forward
}

type kept struct {
	role string
	body []byte
}

// keep keeps what refresh has verified, the timestamp first: cut between two,
// what is missing is fetched again.
func (r *repository) keep() error {
	for _, k := range r.newer {
		if err := r.store.Save(r.file(k.role), k.body); err != nil {
			return err
		}
		if k.role == metadata.TIMESTAMP {
			r.tag = r.newTag
		}
	}
	r.newer = nil
	return nil
}

func (r *repository) file(role string) string { return r.name + "/" + role + ".json" }

func (r *repository) load(role string) ([]byte, error) {
	b, err := r.store.Load(r.file(role))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (r *repository) refused(a Attack, role string, err error) error {
	if e, ok := errors.AsType[*AttackError](err); ok { // while it was fetched
		return &AttackError{e.Attack, r.name, role, e.Err}
	}
	return &AttackError{a, r.name, role, err}
}

// fetch gets a file of the repository; what the network refuses stays an
// ordinary error.
func (r *repository) fetch(ctx context.Context, role, file string, limit int64) ([]byte, error) {
	b, _, err := r.fetchNewer(ctx, role, file, "", limit)
	return b, err
}

func (r *repository) fetchNewer(ctx context.Context, role, file, tag string, limit int64) ([]byte, string, error) {
	b, tag, err := r.get(ctx, "/tuf/"+r.name+"/"+file, tag, limit)
	if e, ok := errors.AsType[*AttackError](err); ok {
		return nil, "", r.refused(e.Attack, role, err)
	}
	return b, tag, err
}

// refresh brings the repository up to date at a time and gives its targets.
func (r *repository) refresh(ctx context.Context, now time.Time) (tm *trustedmetadata.TrustedMetadata, err error) {
	role := metadata.ROOT
	defer func() {
		// go-tuf takes for granted that fields of signed metadata are there.
		if p := recover(); p != nil {
			tm, err = nil, r.refused(ErrMalformed, role, fmt.Errorf("%v", p))
		}
	}()
	if tm, err = r.trusted(); err != nil {
		return nil, err
	}
	tm.RefTime, r.newer = now, nil
	if err := r.roots(ctx, tm); err != nil {
		return nil, err
	}
	role = metadata.TIMESTAMP
	if err := r.timestamp(ctx, tm); err != nil {
		return nil, err
	}
	role = metadata.SNAPSHOT
	if err := r.snapshot(ctx, tm); err != nil {
		return nil, err
	}
	role = metadata.TARGETS
	return tm, r.targets(ctx, tm)
}

// trusted begins with the newest root that the unit knows of.
func (r *repository) trusted() (*trustedmetadata.TrustedMetadata, error) {
	made, err := trustedmetadata.New(r.factory)
	if err != nil {
		return nil, fmt.Errorf("the %s root that the unit was made with: %w", r.name, err)
	}
	old, err := r.load(metadata.ROOT)
	if err != nil || old == nil {
		return made, err
	}
	if tm, err := trustedmetadata.New(old); err == nil && tm.Root.Signed.Version >= made.Root.Signed.Version {
		return tm, nil
	}
	return made, nil // what was kept is damaged, or the unit was given a newer one
}

// roots follows the chain of roots, each signed by the one before (5.3).
func (r *repository) roots(ctx context.Context, tm *trustedmetadata.TrustedMetadata) error {
	for range maxRotations {
		next := tm.Root.Signed.Version + 1
		b, err := r.fetch(ctx, metadata.ROOT, strconv.FormatInt(next, 10)+".root.json", maxRoot)
		if notFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		old := tm.Root
		if _, err := tm.UpdateRoot(b); err != nil {
			got := version(b)
			switch {
			case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
				return r.refused(ErrThreshold, metadata.ROOT, err)
			case got > next:
				return r.refused(ErrRootGap, metadata.ROOT, err)
			case got > 0 && got < next:
				return r.refused(ErrRollback, metadata.ROOT, err)
			}
			return r.refused(ErrMalformed, metadata.ROOT, err)
		}
		// 5.3.11: whoever had the old keys may have pushed the versions forward.
		if !sameKeys(old, tm.Root, metadata.TIMESTAMP) || !sameKeys(old, tm.Root, metadata.SNAPSHOT) || !sameKeys(old, tm.Root, metadata.TARGETS) {
			if err := errors.Join(r.store.Delete(r.file(metadata.TIMESTAMP)), r.store.Delete(r.file(metadata.SNAPSHOT)), r.forget()); err != nil {
				return err
			}
		}
		if err := r.store.Save(r.file(metadata.ROOT), b); err != nil {
			return err
		}
	}
	return r.refused(ErrEndlessData, metadata.ROOT, fmt.Errorf("more than %d roots at once", maxRotations))
}

func sameKeys(a, b *metadata.Metadata[metadata.RootType], role string) bool {
	x, y := a.Signed.Roles[role], b.Signed.Roles[role]
	if x == nil || y == nil {
		return x == y
	}
	return x.Threshold == y.Threshold && slices.Equal(slices.Sorted(slices.Values(x.KeyIDs)), slices.Sorted(slices.Values(y.KeyIDs)))
}

// version is what a file says of itself, not verified; 0: nothing.
func version(b []byte) int64 {
	var m struct {
		Signed struct {
			Version int64 `json:"version"`
		} `json:"signed"`
	}
	if json.Unmarshal(b, &m) != nil {
		return 0
	}
	return m.Signed.Version
}

// named gives go-tuf's refusal of a role's file the attack's name.
func (r *repository) named(role string, err error) error {
	switch {
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
		return r.refused(ErrThreshold, role, err)
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		return r.refused(ErrFreeze, role, err)
	case errors.Is(err, &metadata.ErrBadVersionNumber{}):
		return r.refused(ErrRollback, role, err)
	case errors.Is(err, &metadata.ErrLengthOrHashMismatch{}):
		return r.refused(ErrMixAndMatch, role, err)
	}
	return r.refused(ErrMalformed, role, err)
}

// timestamp fetches the newest one (5.4). What was verified before counts
// against rollback also when it has expired.
func (r *repository) timestamp(ctx context.Context, tm *trustedmetadata.TrustedMetadata) error {
	if tm.Root.Signed.IsExpired(tm.RefTime) {
		return r.refused(ErrFreeze, metadata.ROOT, fmt.Errorf("expired at %s, and no newer one is shown", tm.Root.Signed.Expires.Format(time.RFC3339)))
	}
	old, err := r.load(metadata.TIMESTAMP)
	if err != nil {
		return err
	}
	if old != nil {
		_, _ = tm.UpdateTimestamp(old) // of other keys or expired: go-tuf has it loaded where it still counts
	}
	if tm.Timestamp == nil {
		r.tag = ""
	}
	b, tag, err := r.fetchNewer(ctx, metadata.TIMESTAMP, "timestamp.json", r.tag, maxTimestamp)
	if err != nil {
		return err
	}
	if b == nil {
		return nil // what is kept is the newest, says who may lie: it still expires
	}
	var said metadata.Metadata[metadata.TimestampType]
	if err := json.Unmarshal(b, &said); err != nil {
		return r.refused(ErrMalformed, metadata.TIMESTAMP, err)
	}
	snapshot := said.Signed.Meta["snapshot.json"]
	if snapshot == nil {
		return r.refused(ErrMalformed, metadata.TIMESTAMP, errors.New("it names no snapshot"))
	}
	_, err = tm.UpdateTimestamp(b)
	switch {
	case errors.Is(err, &metadata.ErrEqualVersionNumber{}):
		return nil // the one kept, be it expired: the snapshot will not do then
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
		return r.gap(ctx, tm, err)
	case err != nil:
		return r.named(metadata.TIMESTAMP, err)
	case max(said.Signed.Version, snapshot.Version) > maxVersion:
		return r.refused(ErrFastForward, metadata.TIMESTAMP, fmt.Errorf("version %d", max(said.Signed.Version, snapshot.Version)))
	}
	r.newer, r.newTag = append(r.newer, kept{metadata.TIMESTAMP, b}), tag
	return nil
}

// gap tells a timestamp by keys that no root names yet from one by keys of a
// root that was withheld: then a later root is there.
func (r *repository) gap(ctx context.Context, tm *trustedmetadata.TrustedMetadata, because error) error {
	after := tm.Root.Signed.Version + 2
	b, err := r.fetch(ctx, metadata.ROOT, strconv.FormatInt(after, 10)+".root.json", maxRoot)
	if err == nil && version(b) == after {
		return r.refused(ErrRootGap, metadata.ROOT, fmt.Errorf("root %d is there and %d is not: %w", after, after-1, because))
	}
	return r.refused(ErrThreshold, metadata.TIMESTAMP, because)
}

// snapshot takes the one that the timestamp names (5.5).
func (r *repository) snapshot(ctx context.Context, tm *trustedmetadata.TrustedMetadata) error {
	old, err := r.load(metadata.SNAPSHOT)
	if err != nil {
		return err
	}
	if old != nil {
		if _, err := tm.UpdateSnapshot(old, true); err == nil {
			return nil
		}
	}
	want := tm.Timestamp.Signed.Meta["snapshot.json"]
	limit := int64(maxSnapshot)
	if want.Length > 0 {
		limit = min(limit, want.Length)
	}
	b, err := r.fetch(ctx, metadata.SNAPSHOT, strconv.FormatInt(want.Version, 10)+".snapshot.json", limit)
	if err != nil {
		return err
	}
	var said metadata.Metadata[metadata.SnapshotType]
	if err := json.Unmarshal(b, &said); err != nil {
		return r.refused(ErrMalformed, metadata.SNAPSHOT, err)
	}
	for name, file := range said.Signed.Meta {
		if file == nil {
			return r.refused(ErrMalformed, metadata.SNAPSHOT, fmt.Errorf("nothing about %s", name))
		}
	}
	if said.Signed.Meta["targets.json"] == nil {
		return r.refused(ErrMalformed, metadata.SNAPSHOT, errors.New("it names no targets"))
	}
	if _, err := tm.UpdateSnapshot(b, false); err != nil {
		if errors.Is(err, &metadata.ErrBadVersionNumber{}) && said.Signed.Version != want.Version {
			return r.refused(ErrMixAndMatch, metadata.SNAPSHOT, err)
		}
		return r.named(metadata.SNAPSHOT, err)
	}
	if v := said.Signed.Meta["targets.json"].Version; v > maxVersion {
		return r.refused(ErrFastForward, metadata.SNAPSHOT, fmt.Errorf("version %d of the targets", v))
	}
	r.newer = append(r.newer, kept{metadata.SNAPSHOT, b})
	return nil
}

// targets takes the one that the snapshot names (5.6). There are no
// delegations: what the targets role has not signed itself is not there.
func (r *repository) targets(ctx context.Context, tm *trustedmetadata.TrustedMetadata) error {
	old, err := r.load(metadata.TARGETS)
	if err != nil {
		return err
	}
	if old != nil {
		_, err := tm.UpdateTargets(old)
		if err == nil {
			return nil
		}
		if errors.Is(err, &metadata.ErrExpiredMetadata{}) && tm.Snapshot.Signed.Meta["targets.json"].Version == version(old) {
			return r.named(metadata.TARGETS, err)
		}
	}
	want := tm.Snapshot.Signed.Meta["targets.json"]
	limit := int64(maxTargets)
	if want.Length > 0 {
		limit = min(limit, want.Length)
	}
	b, err := r.fetch(ctx, metadata.TARGETS, strconv.FormatInt(want.Version, 10)+".targets.json", limit)
	if err != nil {
		return err
	}
	if _, err := tm.UpdateTargets(b); err != nil {
		if errors.Is(err, &metadata.ErrBadVersionNumber{}) {
			return r.refused(ErrMixAndMatch, metadata.TARGETS, err)
		}
		return r.named(metadata.TARGETS, err)
	}
	r.newer = append(r.newer, kept{metadata.TARGETS, b})
	return nil
}
