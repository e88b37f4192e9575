package story

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"fettle.dev/fettle/sim/charger"
	"fettle.dev/fettle/sim/client"
)

type document struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Spec       any            `json:"spec"`
}

// documents reads the declared documents of a YAML file, with {{NAME}}
// replaced.
func documents(files fs.FS, name string, replace ...string) ([]document, error) {
	raw, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, fmt.Errorf("declared file: %w", err)
	}
	d := yaml.NewDecoder(strings.NewReader(strings.NewReplacer(replace...).Replace(string(raw))))
	var out []document
	for {
		var doc document
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("declared file %s: %w", name, err)
		}
		out = append(out, doc)
	}
}

func apply(ctx context.Context, c *client.Caller, docs []document) error {
	_, err := c.Do(ctx, http.MethodPost, "/v1/apply", map[string]any{"documents": docs}, nil)
	return err
}

var linkToken = regexp.MustCompile(`#([A-Za-z0-9._~%+/=-]+)`)

// signIn turns the first operator's one-time link into an API token.
func signIn(ctx context.Context, c *client.Caller, data string) (email string, err error) {
	raw, err := os.ReadFile(filepath.Join(data, "first-operator-link"))
	if err != nil {
		return "", fmt.Errorf("the first operator's link: %w", err)
	}
	m := linkToken.FindSubmatch(raw)
	if m == nil {
		return "", errors.New("the first operator's link holds no token")
	}
	cookie, err := c.Do(ctx, http.MethodPost, "/v1/sign-in", map[string]string{"token": string(m[1])}, nil)
	if err != nil {
		return "", fmt.Errorf("sign in: %w", err)
	}
	session := &client.Caller{HTTP: c.HTTP, Base: c.Base, Cookie: cookie}
	var who struct {
		Email string `json:"email"`
	}
	if _, err := session.Do(ctx, http.MethodGet, "/v1/session", nil, &who); err != nil {
		return "", fmt.Errorf("session: %w", err)
	}
	var token struct {
		Token string `json:"token"`
	}
	in := map[string]any{"name": "fettle demo", "scope": "admin", "expires": "30d"}
	if _, err := session.Do(ctx, http.MethodPost, "/v1/tokens", in, &token); err != nil {
		return "", fmt.Errorf("API token: %w", err)
	}
	c.Bearer = token.Token
	return who.Email, nil
}

// image makes the bytes of the update: random, for the simulated units look at
// nothing but their hash.
func image(seed uint64) (b []byte, sum string) {
	b = make([]byte, 300<<10)
	var s [32]byte
	copy(s[:], fmt.Sprintf("fettle demo %d", seed))
	_, _ = rand.NewChaCha8(s).Read(b)
	h := sha256.Sum256(b)
	return b, hex.EncodeToString(h[:])
}

// declareFleet declares units and owners batch by batch, and gives the units' tokens.
func declareFleet(ctx context.Context, c *client.Caller, units []*charger.Unit, step func(n int)) (map[string]string, error) {
	tokens := make(map[string]string, len(units))
	const atOnce = 1000
	for from := 0; from < len(units); from += atOnce {
		part := units[from:min(from+atOnce, len(units))]
		docs := make([]document, 0, len(part))
		ids := make([]string, 0, len(part))
		for _, u := range part {
			spec := map[string]any{
				"product": product, "serial": u.Serial, "hardware": u.Hardware, "batch": u.Batch, "region": u.Region,
				"owner": map[string]any{"email": u.Email, "name": u.Name, "locale": u.Locale, "timeZone": u.Place},
			}
			if u.Consents {
				spec["consents"] = []string{"care"}
			}
			docs = append(docs, document{APIVersion: "fettle.dev/v1", Kind: "Unit", Metadata: map[string]any{"name": u.ID}, Spec: spec})
			ids = append(ids, u.ID)
		}
		if err := apply(ctx, c, docs); err != nil {
			return nil, fmt.Errorf("declare units: %w", err)
		}
		var out struct {
			Items []struct{ UnitID, Token string }
		}
		if _, err := c.Do(ctx, http.MethodPost, "/v1/unit-tokens", map[string]any{"units": ids}, &out); err != nil {
			return nil, fmt.Errorf("issue tokens: %w", err)
		}
		for _, t := range out.Items {
			tokens[t.UnitID] = t.Token
		}
		step(len(part))
	}
	return tokens, nil
}

// until repeats look, at a short real interval, until it says that it has seen
// what it waits for.
func until(ctx context.Context, every time.Duration, look func() (bool, error)) error {
	for {
		var done bool
		err := client.Patiently(ctx, func() (err error) {
			done, err = look()
			return err
		})
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(every):
		}
	}
}
