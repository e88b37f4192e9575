package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/trust/ceremony"
)

// remembered is how many units' metadata are kept at once, at most twice that:
// a unit fetches its three files within a second.
const remembered = 1024

// ahead is by how much the ceiling of versions is raised at once. After a start
// versions are ahead of the clock by at most that, and tags seem as much younger
// than they are: it must be far below half of DirectorLife.
const ahead = time.Hour

// units numbers and remembers what was made for single units.
type units struct {
	store Store

	mu       sync.Mutex
	loaded   bool
	last     int64 // version given last: milliseconds since 1970, or one above the one before
	ceiling  int64 // kept in the records: no version given is above it
	new, old map[string]*unit
}

func (u *units) init(store Store) {
	u.store, u.new, u.old = store, map[string]*unit{}, map[string]*unit{}
}

// unit is one unit's director metadata.
type unit struct {
	version                      int64
	mark                         string // of what it says
	timestamp, snapshot, targets []byte
}

// number gives the next version. It never gives one twice or a lower one, also
// when the process starts anew or the clock was set back.
func (u *units) number(ctx context.Context, now time.Time) (int64, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.loaded {
		c, err := u.store.Ceiling(ctx)
		if err != nil {
			return 0, err
		}
		u.last, u.ceiling, u.loaded = c, c, true
	}
	n := max(now.UnixMilli(), u.last+1)
	if n >= u.ceiling {
		c := n + ahead.Milliseconds()
		if err := u.store.PutCeiling(ctx, c); err != nil {
			return 0, err
		}
		u.ceiling = c
	}
	u.last = n
	return n, nil
}

func (u *units) get(id string) *unit {
	u.mu.Lock()
	defer u.mu.Unlock()
	if m, ok := u.new[id]; ok {
		return m
	}
	return u.old[id]
}

func (u *units) put(id string, m *unit) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.new) >= remembered {
		u.old, u.new = u.new, map[string]*unit{}
	}
	u.new[id] = m
}

func (u *units) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.new, u.old = map[string]*unit{}, map[string]*unit{}
}

// Timestamp is a unit's newest director timestamp. With the tag that came with
// the one it has, and nothing new to say, it is nil and the same tag: that
// costs no signature and, of a unit without work, no read.
func (s *Service) Timestamp(ctx context.Context, unitID, tag string) ([]byte, string, error) {
	now := s.cfg.Clock.Now()
	a, r, err := s.assignments.Directed(ctx, unitID)
	if err != nil {
		return nil, "", err
	}
	n := s.now.Load()
	if n.director == nil {
		return nil, "", fault.New(fault.NotFound, "there is no root of trust yet: fettle keys root create")
	}
	mark := n.mark(&a)
	if made, said, ok := strings.Cut(tag, "-"); ok && said == mark {
		if at, err := strconv.ParseInt(made, 10, 64); err == nil && now.UnixMilli()-at < DirectorLife.Milliseconds()/2 {
			return nil, tag, nil
		}
	}
	m := s.units.get(unitID)
	if m == nil || m.mark != mark || now.UnixMilli()-m.version >= DirectorLife.Milliseconds()/2 {
		if m, err = s.make(ctx, n, unitID, mark, now, &a, &r); err != nil {
			return nil, "", fmt.Errorf("director metadata of %s: %w", unitID, err)
		}
		s.units.put(unitID, m)
	}
	return m.timestamp, strconv.FormatInt(m.version, 10) + "-" + mark, nil
}

// mark stands for all that a unit's metadata says, save when it was made.
func (n *state) mark(a *update.Assignment) string {
	signed := int64(0)
	if n.targets != nil {
		signed = n.targets.Signed.Version
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %d %d %d", a.ID, a.Release, a.NotBefore.UnixMilli(), signed, n.director.Signed.Version))
	return hex.EncodeToString(sum[:8])
}

// make signs a unit's metadata: what its assignment says, as the image
// repository has it. What is not signed there is not named here.
func (s *Service) make(ctx context.Context, st *state, unitID, mark string, now time.Time, a *update.Assignment, r *update.Release) (*unit, error) {
	key := st.online[ceremony.OnlineDirector]
	if !holds(st.director, metadata.TARGETS, key) {
		return nil, fault.New(fault.Unavailable, "the server's director key is not there: see the log")
	}
	n, err := s.units.number(ctx, now)
	if err != nil {
		return nil, err
	}
	expires := now.Add(DirectorLife).UTC().Truncate(time.Second)
	targets := metadata.Targets(expires)
	c := DirectorCustom{Unit: unitID, Made: now.UTC().Truncate(time.Second)}
	if a.ID != 0 && st.targets != nil && len(st.signed[r.Name]) > 0 {
		c.Action, c.Release, c.Kind, c.Counter = a.ID, r.Name, string(r.Kind), uint64(max(r.Counter, 0))
		from := now
		if !a.NotBefore.IsZero() {
			at := a.NotBefore.UTC()
			c.NotBefore = &at
			if at.After(from) {
				from = at
			}
		}
		until := from.Add(InstallWithin).UTC().Truncate(time.Second)
		c.NotAfter = &until
		for _, p := range r.Images() {
			name, f := st.signedPart(r.Name, p.Component)
			if f == nil {
				return nil, fault.New(fault.Internal, "release %s has a component %s that is not signed", r.Name, p.Component)
			}
			targets.Signed.Targets[name] = f
			c.Order = append(c.Order, name)
		}
	}
	targets.Signed.UnrecognizedFields = map[string]any{"custom": c}
	snapshot, timestamp := metadata.Snapshot(expires), metadata.Timestamp(expires)
	targets.Signed.Version, snapshot.Signed.Version, timestamp.Signed.Version = n, n, n
	m := &unit{version: n, mark: mark}
	if err := ceremony.SignOver(key, targets); err != nil {
		return nil, err
	}
	if m.targets, err = targets.ToBytes(false); err != nil {
		return nil, err
	}
	snapshot.Signed.Meta["targets.json"] = meta(n, m.targets)
	if err := ceremony.SignOver(key, snapshot); err != nil {
		return nil, err
	}
	if m.snapshot, err = snapshot.ToBytes(false); err != nil {
		return nil, err
	}
	timestamp.Signed.Meta["snapshot.json"] = meta(n, m.snapshot)
	if err := ceremony.SignOver(key, timestamp); err != nil {
		return nil, err
	}
	m.timestamp, err = timestamp.ToBytes(false)
	return m, err
}

// signedPart is the signed target of a component of a release.
func (n *state) signedPart(release, component string) (string, *metadata.TargetFiles) {
	for _, name := range n.signed[release] {
		f := n.targets.Signed.Targets[name]
		if c, err := custom(f); err == nil && c.Component == component {
			return name, f
		}
	}
	return "", nil
}

// Director is a file of a unit's director repository, besides the timestamp.
func (s *Service) Director(ctx context.Context, unitID, role string, version int64) ([]byte, error) {
	if role == metadata.ROOT && !beyond(s.now.Load().director, version) {
		return s.cfg.Store.Metadata(ctx, ceremony.Director, metadata.ROOT, version)
	}
	if m := s.units.get(unitID); m != nil && m.version == version {
		switch role {
		case metadata.SNAPSHOT:
			return m.snapshot, nil
		case metadata.TARGETS:
			return m.targets, nil
		}
	}
	return nil, fault.New(fault.NotFound, "no %s %d of this unit: ask for the timestamp again", role, version)
}
