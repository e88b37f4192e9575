package bench

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// seal encrypts a secret that tools may read again, for its name alone
// (AES-256-GCM, NIST SP 800-38D).
func (s *Service) seal(name, secret string) ([]byte, error) {
	aead, err := s.aead()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails since Go 1.24
	return aead.Seal(nonce, nonce, []byte(secret), []byte(name)), nil
}

func (s *Service) open(name string, sealed []byte) (string, error) {
	aead, err := s.aead()
	if err != nil {
		return "", err
	}
	if len(sealed) < aead.NonceSize() {
		return "", fault.New(fault.Internal, "the secret of %s in the records is cut short", name)
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(name))
	if err != nil {
		return "", fmt.Errorf("the secret of %s was sealed with another key: set it anew: %w", name, err)
	}
	return string(plain), nil
}

func (s *Service) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(s.cfg.Key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// AddTarget makes a unit on a bench: active at once, without an owner, with the
// token given or one of its own.
func (s *Service) AddTarget(ctx context.Context, id, name, token string) (fleet.Unit, error) {
	spec := fleet.UnitSpec{Product: s.cfg.Product, Serial: id, Bench: true}
	if err := fault.Fields("target", fleet.ValidateUnit(id, spec)); err != nil {
		return fleet.Unit{}, err
	}
	if token == "" {
		token = fleet.NewSecret(fleet.UnitTokenPrefix)
	}
	if len(token) < 8 || len(token) > 200 {
		return fleet.Unit{}, fault.Fields("target", []fault.Field{{Path: "securityToken", Expected: "8 to 200 characters"}})
	}
	u := fleet.Unit{
		ID: id, Key: s.cfg.IDs.Key(), Product: s.cfg.Product, Serial: id, Attributes: spec.Declared(),
		State: fleet.UnitActive, CreatedAt: s.cfg.Clock.Now(),
	}
	if name != "" && name != id && len(name) <= longest {
		u.Attributes["name"] = name
	}
	made := false
	err := s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		_, err := s.cfg.Fleet.Unit(ctx, id)
		switch {
		case err == nil:
			return fault.New(fault.Conflict, "there is a unit %s already", id)
		case fault.KindOf(err) != fault.NotFound:
			return err
		}
		if _, err := s.cfg.Fleet.Product(ctx, s.cfg.Product); fault.KindOf(err) == fault.NotFound {
			made = true
			if err := s.cfg.Fleet.PutProduct(ctx, fleet.Product{Name: s.cfg.Product, Title: "Bench"}); err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		if err := s.cfg.Fleet.PutUnits(ctx, []fleet.Unit{u}); err != nil {
			return err
		}
		return s.keepToken(ctx, id, token)
	})
	if err != nil {
		return u, err
	}
	var products []string
	if made {
		products = []string{s.cfg.Product}
	}
	return u, s.cfg.Changed(ctx, products, []string{id})
}

func (s *Service) keepToken(ctx context.Context, id, token string) error {
	sealed, err := s.seal(id, token)
	if err != nil {
		return err
	}
	if err := s.cfg.Store.Put(ctx, KindToken, id, sealed); err != nil {
		return err
	}
	return s.cfg.Tokens.KnownToken(ctx, id, token)
}

// SetToken replaces a bench unit's token.
func (s *Service) SetToken(ctx context.Context, id, token string) error {
	if _, err := s.bench(ctx, id); err != nil {
		return err
	}
	if len(token) < 8 || len(token) > 200 {
		return fault.Fields("target", []fault.Field{{Path: "securityToken", Expected: "8 to 200 characters"}})
	}
	if err := s.cfg.Tx.InTx(ctx, func(ctx context.Context) error { return s.keepToken(ctx, id, token) }); err != nil {
		return err
	}
	return s.cfg.Changed(ctx, nil, []string{id})
}

// Token is the token of a bench unit that a tool made; "" of any other unit:
// of theirs only a hash is kept.
func (s *Service) Token(ctx context.Context, u *fleet.Unit) (string, error) {
	if !u.OnBench() {
		return "", nil
	}
	sealed, err := s.cfg.Store.Get(ctx, KindToken, u.ID)
	if fault.KindOf(err) == fault.NotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return s.open(u.ID, sealed)
}

// bench is a unit that tools may do with as they like.
func (s *Service) bench(ctx context.Context, id string) (fleet.Unit, error) {
	u, err := s.cfg.Fleet.Unit(ctx, id)
	if err == nil && !u.OnBench() {
		err = fault.New(fault.Denied, "unit %s is not on a bench: it is declared, owned and deleted elsewhere", id)
	}
	return u, err
}

// On reports whether a unit is on a bench and of the tools' product.
func (s *Service) On(ctx context.Context, id string) bool {
	u, err := s.bench(ctx, id)
	return err == nil && u.Product == s.cfg.Product
}

// DropTarget forgets a bench unit and ends what it was to install.
func (s *Service) DropTarget(ctx context.Context, id string) error {
	if _, err := s.bench(ctx, id); err != nil {
		return err
	}
	err := s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		open, err := s.cfg.Updates.OfUnit(ctx, id, 50)
		if err != nil {
			return err
		}
		for i := range open {
			if _, err := s.cfg.Updates.Abandon(ctx, open[i].ID); err != nil {
				return err
			}
		}
		if err := gone(s.cfg.Store.Drop(ctx, KindToken, id)); err != nil {
			return err
		}
		if err := s.cfg.Updates.Forget(ctx, id); err != nil {
			return err
		}
		return s.cfg.Fleet.DeleteUnit(ctx, id)
	})
	if err != nil {
		return err
	}
	return s.cfg.Changed(ctx, nil, []string{id})
}

// Target is a unit.
func (s *Service) Target(ctx context.Context, id string) (fleet.Unit, error) {
	return s.cfg.Fleet.Unit(ctx, id)
}

// Targets are units by id.
func (s *Service) Targets(ctx context.Context) ([]fleet.Unit, error) {
	return s.cfg.Fleet.Units(ctx, fleet.Filter{})
}

// Attributes are what a unit's client says of itself.
func (s *Service) Attributes(ctx context.Context, id string) (map[string]string, error) {
	if _, err := s.cfg.Fleet.Unit(ctx, id); err != nil {
		return nil, err
	}
	return s.cfg.Updates.Attributes(ctx, id)
}
