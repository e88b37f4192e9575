package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/app/hold"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device/download"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/rauc"
	deltastore "fettle.dev/fettle/internal/sqldb/delta"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/delta"
	"fettle.dev/fettle/internal/update/link"
	"fettle.dev/fettle/internal/update/upload"
	unit "fettle.dev/fettle/unitkit/delta"
)

// linkKey is the file of the key that addresses of artifacts are signed with.
// It stands in no backup: without it they are made anew, and those given before
// end, which a client's next poll puts right.
const linkKey = "link-key"

// signer makes addresses of artifacts with the key in the data directory,
// which is made at the first start.
func (h *house) signer() (*link.Signer, error) {
	key, err := h.config.key(linkKey)
	if err != nil {
		return nil, err
	}
	return link.New(key, h.clock)
}

// images builds what concerns the bytes of releases: their addresses, uploads
// of them in pieces, and what is made of them for units that have older ones.
func (h *house) images() (err error) {
	if h.links, err = h.signer(); err != nil {
		return err
	}
	dir := h.config.path("uploads")
	h.uploads, err = upload.New(upload.Config{Artifacts: h.updates, Clock: h.clock, IDs: h.ids, Log: h.log, Dir: dir, Room: h.disk.Fits})
	h.deltas = delta.NewManager(delta.Config{
		Store: deltastore.New(h.records), Releases: h.records.Update(), Blobs: h.blobs, Clock: h.clock, Wall: clock.Real{}, Log: h.log,
		Dir: dir, Room: h.disk.Fits, Apply: applied,
	})
	return err
}

const keySize = 32

// key reads a key of 32 bytes of the data directory, which is made when it is first asked for.
func (c *Config) key(name string) ([]byte, error) {
	path := c.path(name)
	line, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		key := make([]byte, keySize)
		_, _ = rand.Read(key) // never fails since Go 1.24
		line = []byte(hex.EncodeToString(key))
		err = hold.Secret(path, string(line))
	}
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(line)))
	if err == nil && len(key) != keySize {
		err = fmt.Errorf("%d bytes, not %d", len(key), keySize)
	}
	if err != nil {
		return nil, fmt.Errorf("%s does not hold a key: %w", path, err)
	}
	return key, nil
}

// applied tries a delta as units do.
func applied(patch io.Reader, old []byte, length int64, sha256 string, window int64) error {
	want := unit.Want{Length: length, SHA256: sha256, Window: uint64(window)}
	if old == nil {
		return unit.Expand(io.Discard, patch, nil, want)
	}
	return unit.Apply(io.Discard, patch, old, want)
}

// bundles checks bundles of RAUC as they are uploaded, if there is a keyring.
func (c *Config) bundles() (func(ctx context.Context, filename, path string) error, error) {
	if c.RAUCKeyring == "" {
		return nil, nil // nothing is checked
	}
	return rauc.Check(c.RAUCKeyring)
}

// downloads is the door at which artifacts are fetched.
func (h *house) downloads() http.Handler {
	return download.New(download.Config{
		Updates: h.updates, Blobs: h.blobs, Links: h.links, Deltas: h.deltas, Clock: h.clock, Log: h.log, Metrics: h.metrics,
		CDN: strings.TrimRight(h.config.ArtifactCDN, "/"), Shares: newRates(h.records.Campaign(), h.fleet).shares,
	})
}

// sharesFor is how long a campaign's rates are remembered: so soon a change is
// felt by what is under way.
const sharesFor = 5 * time.Second

// mostOrigins bounds what is remembered of assignments.
const mostOrigins = 20_000

// rates finds what a download shares with others: its campaign's rate, and the
// rate of the campaign's units at one site.
type rates struct {
	campaigns campaign.Store
	fleet     fleet.Store
	wall      clock.Clock

	mu      sync.Mutex
	origins map[int64]origin // by assignment; they do not change
	runs    map[string]run
}

type origin struct {
	campaign string // id; "": of none
	site     string // "": none was named
}

type run struct {
	name      string
	all, site int64
	read      time.Time
}

func newRates(c campaign.Store, f fleet.Store) *rates {
	return &rates{campaigns: c, fleet: f, wall: clock.Real{}, origins: map[int64]origin{}, runs: map[string]run{}}
}

func (s *rates) shares(ctx context.Context, a update.Assignment, address string) ([]download.Share, error) {
	o, err := s.origin(ctx, a)
	if err != nil || o.campaign == "" {
		return nil, err
	}
	r, err := s.run(ctx, o.campaign)
	if err != nil {
		return nil, err
	}
	var out []download.Share
	if r.all > 0 {
		out = append(out, download.Share{Name: "campaign " + r.name, Rate: float64(r.all)})
	}
	if r.site > 0 {
		site := "address " + address
		if o.site != "" {
			site = "site " + o.site
		}
		out = append(out, download.Share{Name: "campaign " + r.name + ", " + site, Rate: float64(r.site)})
	}
	return out, nil
}

// origin is the campaign and the site of an assignment, whose ref is its task's
// id and from the second attempt on its number.
func (s *rates) origin(ctx context.Context, a update.Assignment) (origin, error) {
	s.mu.Lock()
	o, ok := s.origins[a.ID]
	s.mu.Unlock()
	if ok {
		return o, nil
	}
	task, _, _ := strings.Cut(a.Ref, "/")
	t, err := s.campaigns.Task(ctx, task)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return o, err
	}
	o.campaign = t.CampaignID
	if u, err := s.fleet.Unit(ctx, a.UnitID); err == nil {
		o.site = u.Attributes[campaign.SiteAttribute]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.origins) >= mostOrigins {
		clear(s.origins)
	}
	s.origins[a.ID] = o
	return o, nil
}

func (s *rates) run(ctx context.Context, id string) (run, error) {
	now := s.wall.Now()
	s.mu.Lock()
	r, ok := s.runs[id]
	s.mu.Unlock()
	if ok && now.Sub(r.read) < sharesFor {
		return r, nil
	}
	c, err := s.campaigns.CampaignByID(ctx, id)
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			err = nil
		}
		return run{}, err
	}
	r = run{c.Campaign.Name, c.Campaign.DownloadRate, c.Campaign.SiteDownloadRate, now}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[id] = r
	return r, nil
}
