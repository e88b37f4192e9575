package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/update/trust/ceremony"
)

// demoKeys is the ceremony of fettle keys in one go, for a service that lives
// as long as the demonstration: three holders, any two suffice. Nobody does so
// with software that matters: here one machine has all the keys.
func demoKeys(ctx context.Context, server, token, product string) (image, director []byte, err error) {
	c := &client.Client{Agent: "fettle demo"}
	c.Server, c.Token = server, token
	files := make([]ceremony.KeyFile, 0, 3)
	signers := make([]ceremony.Signer, 0, 3)
	for _, name := range []string{"alice", "bob", "carol"} {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		s, err := ceremony.NewSigner(private)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, ceremony.KeyFile{Format: ceremony.KeyFormat, Name: name, Roles: ceremony.OfflineRoles, Public: s.Public})
		signers = append(signers, s)
	}
	bring := func(prepare func(b *ceremony.Bundle) error) error {
		var raw json.RawMessage
		if err := c.Call(ctx, http.MethodPost, "/v1/trust/export", nil, &raw); err != nil {
			return err
		}
		b, err := ceremony.ReadBundle(raw)
		if err != nil {
			return err
		}
		if err := prepare(b); err != nil {
			return err
		}
		for _, s := range signers[:ceremony.LeastThreshold] {
			if _, err := b.Sign(s); err != nil {
				return err
			}
		}
		return c.Call(ctx, http.MethodPost, "/v1/trust/import", b, nil)
	}
	err = bring(func(b *ceremony.Bundle) error {
		return b.Create(files, ceremony.LeastThreshold, b.Made.Add(3*365*24*time.Hour))
	})
	if err != nil {
		return nil, nil, err
	}
	if err := c.Call(ctx, http.MethodPut, "/v1/trust/products/"+url.PathEscape(product), nil, nil); err != nil {
		return nil, nil, err
	}
	if err := bring(func(*ceremony.Bundle) error { return nil }); err != nil {
		return nil, nil, err
	}
	for repository, root := range map[string]*[]byte{ceremony.Image: &image, ceremony.Director: &director} {
		if err := c.Call(ctx, http.MethodGet, "/v1/trust/roots/"+repository, nil, (*json.RawMessage)(root)); err != nil {
			return nil, nil, err
		}
	}
	return image, director, nil
}
