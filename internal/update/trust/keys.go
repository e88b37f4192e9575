package trust

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update/trust/ceremony"
)

// SealSize is how many random bytes the key in the data directory has.
const SealSize = 32

func (s *Service) sealer() (cipher.AEAD, error) {
	block, err := aes.NewCipher(s.cfg.Seal)
	if err != nil {
		return nil, fmt.Errorf("key of the online keys: %w", err)
	}
	return cipher.NewGCM(block)
}

func (s *Service) seal(name string, seed []byte) ([]byte, error) {
	a, err := s.sealer()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, a.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return a.Seal(nonce, nonce, seed, []byte(name)), nil
}

func (s *Service) unseal(k SealedKey) (ceremony.Signer, error) {
	a, err := s.sealer()
	if err != nil {
		return ceremony.Signer{}, err
	}
	lost := fault.New(fault.Invalid, "the server's %s key cannot be opened: trust-key in the data directory is not the one it was sealed with. put that file back, or make new keys by fettle keys renew-online and a rotation of the roots", k.Name)
	if len(k.Sealed) < a.NonceSize() {
		return ceremony.Signer{}, lost
	}
	seed, err := a.Open(nil, k.Sealed[:a.NonceSize()], k.Sealed[a.NonceSize():], []byte(k.Name))
	if err != nil || len(seed) != ed25519.SeedSize {
		return ceremony.Signer{}, lost
	}
	signer, err := ceremony.NewSigner(ed25519.NewKeyFromSeed(seed))
	signer.Name = k.Name
	return signer, err
}

// openKeys opens what the records hold. A key that cannot be opened is left
// out and said in the log: what it would have signed is refused then, the rest
// goes on.
func (s *Service) openKeys(ctx context.Context) (online, next map[string]ceremony.Signer, err error) {
	list, err := s.cfg.Store.Keys(ctx)
	if err != nil {
		return nil, nil, err
	}
	online, next = map[string]ceremony.Signer{}, map[string]ceremony.Signer{}
	for _, k := range list {
		signer, err := s.unseal(k)
		switch {
		case err != nil:
			s.cfg.Log.ErrorContext(ctx, "a key of the update metadata cannot be opened", "key", k.Name, "next", k.Next, "error", err)
		case k.Next:
			next[k.Name] = signer
		default:
			online[k.Name] = signer
		}
	}
	return online, next, nil
}

// makeKeys makes the online keys that are not there. The first go into use at
// once; later ones only once a root names them.
func (s *Service) makeKeys(ctx context.Context, next bool) error {
	have := s.now.Load().online
	if next {
		have = s.now.Load().next
	}
	made := false
	for _, name := range ceremony.OnlineKeys {
		if _, ok := have[name]; ok {
			continue
		}
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		sealed, err := s.seal(name, private.Seed())
		if err != nil {
			return err
		}
		if err := s.cfg.Store.PutKey(ctx, SealedKey{Name: name, Next: next, Sealed: sealed, At: s.cfg.Clock.Now()}); err != nil {
			return err
		}
		made = true
	}
	if !made {
		return nil
	}
	return s.load(ctx)
}

// RenewOnline makes new online keys, to be used once a root names them: export,
// rotate the roots, sign, import. Called again before that it changes nothing.
func (s *Service) RenewOnline(ctx context.Context) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.now.Load().image == nil {
		return fault.New(fault.Conflict, "there is no root yet: the first keys are made by fettle keys export")
	}
	return s.makeKeys(ctx, true)
}

// proposed are the public keys that new roots shall name.
func (n *state) proposed() map[string]*metadata.Key {
	out := map[string]*metadata.Key{}
	for name, k := range n.online {
		out[name] = k.Public
	}
	for name, k := range n.next {
		out[name] = k.Public
	}
	return out
}

// onlineRoles are the roles that each online key signs.
var onlineRoles = []struct{ repository, role, key string }{
	{ceremony.Image, metadata.SNAPSHOT, ceremony.OnlineSnapshot},
	{ceremony.Image, metadata.TIMESTAMP, ceremony.OnlineTimestamp},
	{ceremony.Director, metadata.TARGETS, ceremony.OnlineDirector},
	{ceremony.Director, metadata.SNAPSHOT, ceremony.OnlineDirector},
	{ceremony.Director, metadata.TIMESTAMP, ceremony.OnlineDirector},
}

// promoted says which online keys a new root takes into use, and refuses one
// that names keys this server does not hold: it could sign nothing for it.
func (n *state) promoted(repository string, root *metadata.Metadata[metadata.RootType]) ([]string, error) {
	var out []string
	for _, r := range onlineRoles {
		if r.repository != repository {
			continue
		}
		ids := root.Signed.Roles[r.role].KeyIDs
		switch {
		case len(ids) != 1 || root.Signed.Roles[r.role].Threshold != 1:
			return nil, fault.New(fault.Invalid, "the %s root must name one key for %s, this server's", repository, r.role)
		case n.next[r.key].ID == ids[0]:
			if !slices.Contains(out, r.key) {
				out = append(out, r.key)
			}
		case n.online[r.key].ID != ids[0]:
			return nil, fault.New(fault.Invalid, "the %s root names a %s key (%.12s) that this server does not hold: export again, and rotate from that", repository, r.role, ids[0])
		}
	}
	return out, nil
}

// holds reports whether the key that a root names for a role is in use here.
func holds(root *metadata.Metadata[metadata.RootType], role string, k ceremony.Signer) bool {
	return k.ID != "" && slices.Equal(root.Signed.Roles[role].KeyIDs, []string{k.ID})
}
