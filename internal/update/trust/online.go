package trust

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update/trust/ceremony"
)

// keptSnapshots are the newest snapshots that stay to be fetched: a unit may
// have read the timestamp before.
const keptSnapshots = 3

func meta(version int64, body []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(body)
	return &metadata.MetaFiles{Version: version, Length: int64(len(body)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

// signSnapshot makes a new snapshot and timestamp of the image repository. The
// caller is the one who writes.
func (s *Service) signSnapshot(ctx context.Context, now time.Time) error {
	n := *s.now.Load()
	if n.targets == nil || n.image == nil {
		return nil // nothing is signed yet
	}
	key := n.online[ceremony.OnlineSnapshot]
	if !holds(n.image, metadata.SNAPSHOT, key) {
		return fault.New(fault.Unavailable, "the server's snapshot key is not there: see the log")
	}
	snap := metadata.Snapshot(now.Add(SnapshotLife).UTC().Truncate(time.Second))
	snap.Signed.Version = n.snapN + 1
	snap.Signed.Meta["targets.json"] = meta(n.targets.Signed.Version, n.body)
	if err := ceremony.SignOver(key, snap); err != nil {
		return err
	}
	var err error
	if n.snap, err = snap.ToBytes(false); err != nil {
		return err
	}
	n.snapN, n.snapEnd = snap.Signed.Version, snap.Signed.Expires
	return s.signTimestamp(ctx, now, n)
}

// signTimestamp makes a new timestamp on a state's snapshot, and keeps both.
func (s *Service) signTimestamp(ctx context.Context, now time.Time, n state) error {
	key := n.online[ceremony.OnlineTimestamp]
	if !holds(n.image, metadata.TIMESTAMP, key) {
		return fault.New(fault.Unavailable, "the server's timestamp key is not there: see the log")
	}
	stamp := metadata.Timestamp(now.Add(TimestampLife).UTC().Truncate(time.Second))
	stamp.Signed.Version = n.stampN + 1
	stamp.Signed.Meta["snapshot.json"] = meta(n.snapN, n.snap)
	if err := ceremony.SignOver(key, stamp); err != nil {
		return err
	}
	var err error
	if n.stamp, err = stamp.ToBytes(false); err != nil {
		return err
	}
	n.stampN, n.stampEnd = stamp.Signed.Version, stamp.Signed.Expires
	err = s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		return errors.Join(
			s.cfg.Store.PutMetadata(ctx, ceremony.Image, metadata.SNAPSHOT, n.snapN, n.snap, now),
			s.cfg.Store.TrimMetadata(ctx, ceremony.Image, metadata.SNAPSHOT, n.snapN-keptSnapshots+1),
			s.cfg.Store.PutMetadata(ctx, ceremony.Image, metadata.TIMESTAMP, n.stampN, n.stamp, now),
			s.cfg.Store.TrimMetadata(ctx, ceremony.Image, metadata.TIMESTAMP, n.stampN),
		)
	})
	if err != nil {
		return fmt.Errorf("sign the timestamp: %w", err)
	}
	s.now.Store(&n)
	return nil
}

// Image is a file of the image repository; version 0 is for the timestamp,
// which has none in its name. What is not there is fault.NotFound.
func (s *Service) Image(ctx context.Context, role string, version int64) ([]byte, error) {
	if role != metadata.TIMESTAMP {
		if version < 1 || role == metadata.ROOT && beyond(s.now.Load().image, version) {
			return nil, fault.New(fault.NotFound, "no %s %d", role, version)
		}
		return s.cfg.Store.Metadata(ctx, ceremony.Image, role, version)
	}
	if err := s.renew(ctx, s.cfg.Clock.Now()); err != nil {
		return nil, err
	}
	if stamp := s.now.Load().stamp; stamp != nil {
		return stamp, nil
	}
	return nil, fault.New(fault.NotFound, "nothing is signed yet")
}

// beyond reports whether a root is newer than the newest: units ask for that
// all the time, and it shall cost no read.
func beyond(root *metadata.Metadata[metadata.RootType], version int64) bool {
	return root == nil || version > root.Signed.Version
}

func (n *state) fresh(now time.Time) bool {
	return n.targets == nil || n.stamp != nil && n.stampEnd.Sub(now) > TimestampLife/2 && n.snapEnd.Sub(now) > SnapshotLife/2
}

// renew signs what has lived half its time.
func (s *Service) renew(ctx context.Context, now time.Time) error {
	if s.now.Load().fresh(now) {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	n := s.now.Load()
	switch {
	case n.fresh(now): // somebody was faster
		return nil
	case n.stamp == nil, n.snapEnd.Sub(now) <= SnapshotLife/2:
		return s.signSnapshot(ctx, now)
	}
	return s.signTimestamp(ctx, now, *n)
}
