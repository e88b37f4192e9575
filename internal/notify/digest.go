package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
)

var severities = []condition.Severity{condition.Warning, condition.Minor, condition.Major, condition.Critical}

func rank(severity string) int { return slices.Index(severities, condition.Severity(severity)) }

func validHook(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && len(address) < 2000
}

// matches reports whether a route is to be told of a finding.
func (r Route) matches(f condition.Finding) bool {
	return (r.Product == "" || r.Product == f.Product) && (r.Severity == "" || rank(string(f.Severity)) >= rank(r.Severity))
}

// Digest tells engineers of new findings by the routes they made: findings of
// one product and detector that open within a few seconds are one message, and
// a route is told of a finding once.
type Digest struct {
	store  Store
	tx     fleet.Transactor
	words  *Words
	shown  clock.Clock // times people read
	real   clock.Clock // waiting
	ids    clock.IDs
	url    string
	gather time.Duration
}

// NewDigest makes a digest that gathers findings for as long as gather. shown
// is the clock of the domain, machine the machine's own.
func NewDigest(store Store, tx fleet.Transactor, words *Words, shown, machine clock.Clock, ids clock.IDs, publicURL string, gather time.Duration) *Digest {
	return &Digest{store, tx, words, shown, machine, ids, strings.TrimSuffix(publicURL, "/"), gather}
}

// Findings keeps newly opened findings to be told. It may be told of the same
// finding again, as after a restart.
func (d *Digest) Findings(ctx context.Context, opened []condition.Finding) error {
	if len(opened) == 0 {
		return nil
	}
	routes, err := d.store.Routes(ctx)
	if err != nil {
		return fmt.Errorf("news of findings: %w", err)
	}
	var news []News
	now := d.real.Now()
	for _, r := range routes {
		for _, f := range opened {
			if r.matches(f) {
				news = append(news, News{
					Route: r.Name, FindingID: f.ID, Product: f.Product, Detector: f.Detector.Name, Severity: string(f.Severity),
					UnitID: f.Of(), Why: f.Why, OpenedAt: f.OpenedAt, AddedAt: now,
				})
			}
		}
	}
	if err := d.store.AddNews(ctx, news); err != nil {
		return fmt.Errorf("news of findings: %w", err)
	}
	return nil
}

// Flush makes messages of what was gathered long enough. It returns how many.
func (d *Digest) Flush(ctx context.Context) (messages int, err error) {
	const most = 20_000
	err = d.tx.InTx(ctx, func(ctx context.Context) error {
		news, err := d.store.UntoldNews(ctx, d.real.Now().Add(-d.gather), most)
		if err != nil || len(news) == 0 {
			return err
		}
		all, err := d.store.Routes(ctx)
		if err != nil {
			return err
		}
		routes := map[string]Route{}
		for _, r := range all {
			routes[r.Name] = r
		}
		for _, group := range grouped(news) {
			key := digestKey(group)
			if r, ok := routes[group[0].Route]; ok { // else the route was deleted: nobody to tell
				m, err := d.compose(r, key, group)
				if err != nil {
					return err
				}
				if _, err := d.store.Enqueue(ctx, m); err != nil {
					return err
				}
				messages++
			}
			for i := range group {
				group[i].MessageKey = key
			}
			if err := d.store.MarkNews(ctx, group); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("digest of findings: %w", err)
	}
	return messages, nil
}

// Run flushes until ctx ends.
func (d *Digest) Run(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(max(d.gather/4, 50*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := d.Flush(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "digest of findings waits", "error", err)
		}
	}
}

// grouped parts news by route, product and detector, worst and oldest first.
func grouped(news []News) [][]News {
	slices.SortStableFunc(news, func(a, b News) int {
		for _, c := range []int{
			strings.Compare(a.Route, b.Route), strings.Compare(a.Product, b.Product), strings.Compare(a.Detector, b.Detector),
			rank(b.Severity) - rank(a.Severity), a.OpenedAt.Compare(b.OpenedAt), strings.Compare(a.FindingID, b.FindingID),
		} {
			if c != 0 {
				return c
			}
		}
		return 0
	})
	var out [][]News
	for i, n := range news {
		if i == 0 || n.Route != news[i-1].Route || n.Product != news[i-1].Product || n.Detector != news[i-1].Detector {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], n)
	}
	return out
}

func digestKey(group []News) string {
	h := sha256.New()
	for _, n := range group {
		h.Write([]byte(n.FindingID + "\n"))
	}
	return "digest:" + group[0].Route + ":" + hex.EncodeToString(h.Sum(nil)[:16])
}

// told is one finding in a digest.
type told struct {
	ID       string `json:"id"`
	UnitID   string `json:"unitId"`
	Severity string `json:"severity"`
	OpenedAt string `json:"openedAt"`
	Why      string `json:"why"`
	Link     string `json:"link"`
}

func (d *Digest) compose(r Route, key string, group []News) (m Message, err error) {
	most := 20 // a mail is read, a webhook is counted
	if r.Channel == Webhook {
		most = 500
	}
	first := group[0]
	list := make([]told, 0, min(len(group), most))
	for _, n := range group[:min(len(group), most)] {
		list = append(list, told{n.FindingID, n.UnitID, n.Severity, n.OpenedAt.UTC().Format(time.RFC3339), n.Why, d.url + "/console/findings/" + url.PathEscape(n.FindingID)})
	}
	q := url.Values{"product": {first.Product}, "detector": {first.Detector}}
	link := d.url + "/console/findings?" + q.Encode()
	more := len(group) - len(list)
	m = Message{ID: d.ids.ID(), Key: key, Channel: r.Channel, To: r.To, Kind: Operations, CreatedAt: d.shown.Now()}
	m.Subject, m.Body, err = d.words.Compose("en", FindingsDigest, len(group), map[string]any{
		"Count": len(group), "Product": first.Product, "Detector": first.Detector, "Severity": first.Severity,
		"Findings": list, "More": more, "Link": link,
	})
	if err != nil || r.Channel != Webhook {
		return m, err
	}
	body, err := json.Marshal(map[string]any{
		"event": "findings", "key": key, "route": r.Name, "subject": m.Subject, "product": first.Product, "detector": first.Detector,
		"severity": first.Severity, "count": len(group), "findings": list, "more": more, "link": link,
	})
	m.Body = string(body)
	return m, err
}
