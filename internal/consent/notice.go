package consent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Notice is one version of what owners of a product read (ISO/IEC 29184): the
// part of the declaration that it consists of, in every language, as it was
// published. Once shown it is never changed.
type Notice struct {
	Product     string
	Version     string
	Place       int // 1 is the product's first
	Words       fleet.Product
	PublishedAt time.Time
	ShownAt     time.Time // zero: nobody saw it yet
}

// Shown is which version an owner first saw when, in which language.
type Shown struct {
	OwnerID  string    `json:"-"`
	Product  string    `json:"product"`
	Version  string    `json:"version"`
	Language string    `json:"language"`
	At       time.Time `json:"at"`
}

// NoticeStore keeps notices and who saw them.
type NoticeStore interface {
	// Notices are all versions of a product, the oldest first.
	Notices(ctx context.Context, product string) ([]Notice, error)
	// Notice is one version; fault.NotFound.
	Notice(ctx context.Context, product, version string) (Notice, error)
	// PutNotice adds a version, or replaces one that nobody saw yet.
	PutNotice(ctx context.Context, n Notice) error
	// Show notes that an owner saw a version; the first time counts.
	Show(ctx context.Context, s Shown) error
	// ShownTo is what an owner saw, the oldest first.
	ShownTo(ctx context.Context, ownerID string) ([]Shown, error)
	// Saw counts the owners who saw each version of a product.
	Saw(ctx context.Context, product string) (map[string]int, error)
}

// Wording is the part of a product's declaration that owners read.
func Wording(p *fleet.Product) fleet.Product {
	w := fleet.Product{
		Title: p.Title, Description: p.Description, Purposes: p.Purposes, Notice: p.Notice, Log: p.Log, Faults: slices.Clone(p.Faults),
	}
	for _, s := range p.Signals {
		s.Sources = nil
		w.Signals = append(w.Signals, s)
	}
	for _, f := range p.Features {
		if len(f.Purposes) > 0 {
			w.Features = append(w.Features, f)
		}
	}
	return w
}

// VersionOf is the version of a product's notice: as it declares it, or the
// fingerprint of the words.
func VersionOf(p *fleet.Product) string {
	if p.Notice != nil {
		return p.Notice.Version
	}
	sum := sha256.Sum256(encoded(p))
	return hex.EncodeToString(sum[:8])
}

func encoded(p *fleet.Product) []byte {
	raw, _ := json.Marshal(Wording(p)) // plain data always encodes
	return raw
}

// Notices publishes notices and tells what they widen.
type Notices struct {
	store   NoticeStore
	choices Store
	tx      fleet.Transactor
	clock   clock.Clock
}

// NewNotices makes the service.
func NewNotices(store NoticeStore, choices Store, tx fleet.Transactor, c clock.Clock) *Notices {
	return &Notices{store, choices, tx, c}
}

// Publish takes up a product's words. Where they widen a purpose, what is new
// is collected of those units only whose owners choose again. Words under a
// version that owners saw are refused when they differ, as a field mistake.
// It takes part in the caller's transaction.
func (n *Notices) Publish(ctx context.Context, p *fleet.Product) error {
	return n.tx.InTx(ctx, func(ctx context.Context) error {
		all, err := n.store.Notices(ctx, p.Name)
		if err != nil {
			return err
		}
		now := Notice{Product: p.Name, Version: VersionOf(p), Place: 1, Words: Wording(p), PublishedAt: n.clock.Now()}
		if len(all) > 0 {
			last := all[len(all)-1]
			now.Place = last.Place + 1
			i := slices.IndexFunc(all, func(o Notice) bool { return o.Version == now.Version })
			same := i >= 0 && string(encoded(&all[i].Words)) == string(encoded(p))
			switch {
			case same && i == len(all)-1:
				return nil
			case i >= 0 && p.Notice != nil && (!all[i].ShownAt.IsZero() || i < len(all)-1):
				return fault.Fields("notice", []fault.Field{{
					Path: "spec.notice.version", Got: now.Version,
					Expected: "a new version, because owners read the words, purposes and signals of this one as they were: " + difference(&all[i].Words, &now.Words),
				}})
			case i >= 0 && p.Notice != nil: // nobody saw it: it is replaced, and compared with the one before
				now.Place = last.Place
				all = all[:i]
			case i >= 0: // undeclared words as they were before: they stand again
				now.ShownAt = all[i].ShownAt
			}
		}
		if err := n.store.PutNotice(ctx, now); err != nil {
			return err
		}
		if len(all) == 0 {
			return nil
		}
		for purpose, items := range Widened(&all[len(all)-1].Words, &now.Words) {
			if err := n.choices.Uncover(ctx, p.Name, purpose, items); err != nil {
				return err
			}
		}
		return nil
	})
}

// difference names the first part of the words that differs.
func difference(before, now *fleet.Product) string {
	for _, part := range []struct {
		name string
		a, b any
	}{
		{"spec.title", before.Title, now.Title},
		{"spec.description", before.Description, now.Description},
		{"spec.purposes", before.Purposes, now.Purposes},
		{"spec.signals", before.Signals, now.Signals},
		{"spec.features", before.Features, now.Features},
		{"spec.faults", before.Faults, now.Faults},
		{"spec.log", before.Log, now.Log},
	} {
		a, _ := json.Marshal(part.a)
		b, _ := json.Marshal(part.b)
		if string(a) != string(b) {
			return part.name + " differs"
		}
	}
	return "spec.notice differs"
}

// Anew is the item of a purpose that is widened as a whole: its owners are
// asked again, and until then what they agreed to goes on.
const Anew = "*"

// Widened are the purposes that data is used for in more ways than before, each
// with what its consent does not cover: items that are new to it or kept for
// longer, and Anew where it gets recipients, is kept on withdrawal, or is said
// to be widened.
func Widened(before, now *fleet.Product) map[string][]string {
	out := map[string][]string{}
	type kept struct {
		purposes  []string
		retention fleet.Duration
	}
	items := func(p *fleet.Product) map[string]kept {
		all := map[string]kept{}
		for _, s := range p.Signals {
			all[s.Name] = kept{s.Purposes, s.Retention}
		}
		for _, f := range p.Features {
			all[featureItem(f.Name)] = kept{f.Purposes, f.Retention}
		}
		for _, f := range p.Faults {
			all[faultItem(f.Code)] = kept{f.Purposes, f.Retention}
		}
		if p.Log != nil {
			all[logItem] = kept{p.Log.Purposes, p.Log.Retention}
		}
		return all
	}
	old, fresh := items(before), items(now)
	recipients := func(p *fleet.Product, purpose string) (names []string) {
		if p.Notice != nil {
			for _, r := range p.Notice.Recipients {
				if slices.Contains(r.Purposes, purpose) {
					names = append(names, r.Name)
				}
			}
		}
		return names
	}
	for i := range now.Purposes {
		q := &now.Purposes[i]
		was, known := before.Purpose(q.Name)
		if !known || q.Basis != fleet.BasisConsent || was.Basis != fleet.BasisConsent {
			continue
		}
		for _, item := range slices.Sorted(maps.Keys(fresh)) {
			f, o := fresh[item], old[item]
			if slices.Contains(f.purposes, q.Name) && (!slices.Contains(o.purposes, q.Name) || f.retention > o.retention) {
				out[q.Name] = append(out[q.Name], item)
			}
		}
		given := recipients(before, q.Name)
		newcomer := slices.ContainsFunc(recipients(now, q.Name), func(r string) bool { return !slices.Contains(given, r) })
		said := now.Notice != nil && slices.Contains(now.Notice.Widens, q.Name) && (before.Notice == nil || before.Notice.Version != now.Notice.Version)
		if newcomer || said || q.Keeps() && !was.Keeps() {
			out[q.Name] = append(out[q.Name], Anew)
		}
	}
	return out
}

// Current is what owners of a product read now.
func (n *Notices) Current(ctx context.Context, p *fleet.Product) (Notice, error) {
	version := VersionOf(p)
	v, err := n.store.Notice(ctx, p.Name, version)
	if fault.KindOf(err) == fault.NotFound { // declared before there were notices
		if err := n.Publish(ctx, p); err != nil {
			return Notice{}, fmt.Errorf("notice of %s: %w", p.Name, err)
		}
		v, err = n.store.Notice(ctx, p.Name, version)
	}
	return v, err
}

// Version is one version of what owners of a product read; "" is the one now.
func (n *Notices) Version(ctx context.Context, p *fleet.Product, version string) (Notice, error) {
	if version == "" || version == VersionOf(p) {
		return n.Current(ctx, p)
	}
	return n.store.Notice(ctx, p.Name, version)
}

// All are all versions of a product, the oldest first.
func (n *Notices) All(ctx context.Context, product string) ([]Notice, error) {
	return n.store.Notices(ctx, product)
}

// Saw counts the owners who saw each version of a product.
func (n *Notices) Saw(ctx context.Context, product string) (map[string]int, error) {
	return n.store.Saw(ctx, product)
}

// Show notes that an owner saw a version in a language.
func (n *Notices) Show(ctx context.Context, ownerID, product, version, language string) error {
	return n.store.Show(ctx, Shown{OwnerID: ownerID, Product: product, Version: version, Language: language, At: n.clock.Now()})
}

// ShownTo is what an owner saw, the oldest first.
func (n *Notices) ShownTo(ctx context.Context, ownerID string) ([]Shown, error) {
	return n.store.ShownTo(ctx, ownerID)
}
