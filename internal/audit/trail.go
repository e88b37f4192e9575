package audit

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/audit/chain"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Window is how long a look at the same person's same data by the same actor,
// or a refusal of the same thing to the same actor, counts as one: the next
// entry says how many there were more.
const Window = 5 * time.Minute

// mostAbout bounds the people that one entry names; a look at more makes more.
const mostAbout = 200

// Config is what a trail works with.
type Config struct {
	Store Store
	Tx    fleet.Transactor
	Clock clock.Clock // the machine's: what people do has real times
	Log   *slog.Logger
	// Keeper keeps the trail's head outside of its store; nil: nobody.
	Keeper Keeper
}

// Keeper keeps the head of a trail where whoever can write to its store cannot.
type Keeper interface {
	// Keep is told of an entry that is durable, and of the hash that it names as the one before.
	Keep(h Head, previous string)
	// Heads are those that must be in the trail.
	Heads() ([]Head, error)
}

// Trail writes entries.
type Trail struct {
	cfg Config

	mu     sync.Mutex
	recent map[string]*seen
	swept  time.Time
}

// seen is something that was entered and is not entered again for a while.
type seen struct {
	until time.Time
	more  int
}

// New makes a trail.
func New(cfg Config) *Trail { return &Trail{cfg: cfg, recent: map[string]*seen{}} }

// Store is what keeps the trail.
func (t *Trail) Store() Store { return t.cfg.Store }

// Append enters e, in the transaction of ctx if there is one: then as its last
// act before it is committed, so that others wait for the chain's end only as
// long as a commit takes. e.Actor.ID of an owner and e.About are ids; the trail
// makes aliases of them.
func (t *Trail) Append(ctx context.Context, e Entry) error {
	write := func(ctx context.Context) (func(), error) { return t.write(ctx, e) }
	if fleet.BeforeCommit(ctx, write) {
		return nil
	}
	durable := func() {}
	err := t.cfg.Tx.InTx(ctx, func(ctx context.Context) (err error) {
		durable, err = t.write(ctx, e)
		return err
	})
	if err == nil {
		durable()
	}
	return err
}

// write enters e; durable is to be called once it is.
func (t *Trail) write(ctx context.Context, e Entry) (durable func(), err error) {
	var head Head
	previous := ""
	e, err = t.named(ctx, e)
	if err == nil {
		err = t.cfg.Store.Append(ctx, func(h Head) (Entry, Record, error) {
			e.Seq, e.Previous, e.At = h.Seq+1, h.Hash, t.cfg.Clock.Now().UTC().Truncate(time.Millisecond)
			r, err := chain.Seal(e)
			head, previous = Head{e.Seq, r.Hash}, e.Previous
			return e, r, err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("audit trail: %w", err)
	}
	return func() {
		if t.cfg.Keeper != nil {
			t.cfg.Keeper.Keep(head, previous)
		}
	}, nil
}

// named puts aliases in the place of owners' ids, and seals what is personal.
func (t *Trail) named(ctx context.Context, e Entry) (Entry, error) {
	if e.Actor.Party == Owner && e.Actor.ID != "" {
		who, err := t.Person(ctx, e.Actor.ID)
		if err != nil {
			return e, err
		}
		e.Actor.ID = who.Alias
		if e.From != "" {
			if e.Sealed, err = who.Seal(e.From); err != nil {
				return e, err
			}
			e.From = ""
		}
	}
	about := make([]string, 0, len(e.About))
	for _, id := range e.About {
		if strings.HasPrefix(id, Everyone) {
			about = append(about, id)
			continue
		}
		who, err := t.Person(ctx, id)
		if err != nil {
			return e, err
		}
		about = append(about, who.Alias)
	}
	e.About = about
	return e, nil
}

// Person is how the trail names an owner.
func (t *Trail) Person(ctx context.Context, ownerID string) (Person, error) {
	return t.cfg.Store.Person(ctx, ownerID, func() Person { return NewPerson(ownerID) })
}

// NewPerson makes a random alias and key.
func NewPerson(ownerID string) Person {
	alias, key := make([]byte, 12), make([]byte, 32)
	_, _ = rand.Read(alias) // never fails (crypto/rand)
	_, _ = rand.Read(key)
	return Person{OwnerID: ownerID, Alias: "p-" + hex.EncodeToString(alias), Key: key}
}

func (p Person) gcm() (cipher.AEAD, error) {
	block, err := aes.NewCipher(p.Key)
	if err != nil {
		return nil, fmt.Errorf("a person's key: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Seal encrypts text about the person.
func (p Person) Seal(text string) (*Box, error) {
	g, err := p.gcm()
	if err != nil {
		return nil, err
	}
	return &Box{About: p.Alias, Text: g.Seal(nil, nil, []byte(text), []byte(p.Alias))}, nil //nolint:gosec // the nonce is random: cipher.NewGCMWithRandomNonce
}

// Open reads what Seal made.
func (p Person) Open(b *Box) (string, error) {
	g, err := p.gcm()
	if err != nil {
		return "", err
	}
	text, err := g.Open(nil, nil, b.Text, []byte(p.Alias))
	if err != nil {
		return "", fault.Wrap(fault.Invalid, "sealed text of the trail", err)
	}
	return string(text), nil
}

// once reports whether what key names is to be entered now, and how often it
// happened since it was entered last.
func (t *Trail) once(key string) (enter bool, more int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.cfg.Clock.Now()
	if now.Sub(t.swept) > Window || len(t.recent) > 200_000 {
		for k, s := range t.recent {
			if s.more == 0 && !now.Before(s.until) || now.Sub(s.until) > 24*time.Hour {
				delete(t.recent, k)
			}
		}
		if len(t.recent) > 200_000 { // rather too many entries than too much memory
			clear(t.recent)
		}
		t.swept = now
	}
	s := t.recent[key]
	if s != nil && now.Before(s.until) {
		s.more++
		return false, 0
	}
	if s != nil {
		more = s.more
	}
	t.recent[key] = &seen{until: now.Add(Window)}
	return true, more
}

// unsaid takes back that something was entered.
func (t *Trail) unsaid(keys ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range keys {
		delete(t.recent, k)
	}
}

// Looked enters a look at the data of owners before it is shown to the actor of
// e; whoever was entered within Window is counted alone. "" is nobody.
func (t *Trail) Looked(ctx context.Context, e Entry, ownerIDs ...string) error {
	e.Kind, e.Outcome = Look, Done
	base := e.Actor.Party + "\x00" + e.Actor.ID + "\x00" + e.Actor.Of + "\x00" + e.Data + "\x00" + e.Operation + "\x00"
	var fresh, keys []string
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ownerIDs))) {
		if id == "" || (e.Actor.Party == Owner && e.Actor.ID == id) { // one's own
			continue
		}
		if enter, more := t.once(base + id); enter {
			fresh, keys = append(fresh, id), append(keys, base+id)
			e.Count = max(e.Count, more)
		}
	}
	for part := range slices.Chunk(fresh, mostAbout) {
		one := e
		one.About = part
		if err := t.Append(ctx, one); err != nil {
			t.unsaid(keys...)
			return err
		}
	}
	return nil
}

// Refused enters that somebody asked for what they may not. It never fails the
// request, which is refused anyway.
func (t *Trail) Refused(ctx context.Context, e Entry) {
	if t == nil {
		return
	}
	e.Kind, e.Outcome = Denied, Refused
	enter, more := t.once("denied\x00" + e.Actor.Party + e.Actor.ID + "\x00" + e.From + "\x00" + e.Operation)
	if !enter {
		return
	}
	e.Count = more
	if err := t.Append(ctx, e); err != nil {
		t.cfg.Log.WarnContext(ctx, "a refusal is not in the audit trail", "operation", e.Operation, "error", err)
	}
}

// asked enters what somebody did who has not signed in: once in Window for
// each operation, object, outcome and network address.
func (t *Trail) asked(ctx context.Context, e Entry) error {
	key := "asked\x00" + e.From + "\x00" + e.Operation + "\x00" + e.Object + "\x00" + e.Outcome
	enter, more := t.once(key)
	if !enter {
		return nil
	}
	e.Count = more
	if err := t.Append(ctx, e); err != nil {
		t.unsaid(key)
		return err
	}
	return nil
}

// Expire removes entries from before a time, and enters that it did: the hash
// of the last one that went stands in the entry, so that the chain can still be
// verified from there.
func (t *Trail) Expire(ctx context.Context, before time.Time) error {
	for {
		var gone Head
		err := t.cfg.Tx.InTx(ctx, func(ctx context.Context) (err error) {
			if gone, err = t.cfg.Store.Drop(ctx, before, 10_000); err != nil || gone.Seq == 0 {
				return err
			}
			return t.Append(ctx, Entry{
				Kind: Change, Actor: Actor{Party: Server, ID: "retention"}, Operation: "expireTrail", Object: "audit", Outcome: Done,
				Changed: []string{"entries from before " + before.UTC().Format(time.DateOnly)}, Until: gone.Seq, UntilHash: gone.Hash,
			})
		})
		if err != nil || gone.Seq == 0 {
			return err
		}
	}
}
