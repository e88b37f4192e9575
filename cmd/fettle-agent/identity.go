package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// identity is who the unit is to the server. The token is a secret.
type identity struct {
	Unit  string `json:"unit"` // empty until the claim is approved
	Token string `json:"token"`
}

const identityFile = "identity.json"

// identify tells who the unit is: as configured, or as it was enrolled. A unit
// that is not yet enrolled asks until somebody has decided.
func identify(ctx context.Context, c *config, client *http.Client, log *slog.Logger) (identity, error) {
	if c.Enroll == nil && c.TokenFile == "" { // a client certificate
		return identity{Unit: c.Unit}, nil
	}
	if c.Enroll == nil {
		token, err := secret(c.path(c.TokenFile))
		return identity{c.Unit, token}, err
	}
	name := filepath.Join(c.State, identityFile)
	id, err := loadIdentity(name, c.Certificate != nil)
	if err != nil {
		return identity{}, err
	}
	if id.Unit != "" {
		return id, nil
	}
	claim, err := secret(c.path(c.Enroll.ClaimTokenFile))
	if err != nil {
		return identity{}, err
	}
	serial := c.Enroll.Serial
	if serial == "" {
		if serial, err = secret(c.path(c.Enroll.SerialFile)); err != nil {
			return identity{}, err
		}
	}
	mine := map[string]string{"claimToken": claim, "serial": serial, "hardware": c.Enroll.Hardware}
	if k := c.Certificate; k != nil {
		pem, err := os.ReadFile(c.path(k.Cert))
		if err != nil {
			return identity{}, fmt.Errorf("certificate: %w", err)
		}
		mine["certificate"] = string(pem)
	} else {
		mine["token"] = id.Token
	}
	body, err := json.Marshal(mine)
	if err != nil {
		return identity{}, err
	}
	for wait := 2 * time.Second; ; wait = min(2*wait, 5*time.Minute) {
		unit, why, err := askToEnroll(ctx, client, strings.TrimRight(c.Server, "/")+"/fettle/v1/enroll", body)
		switch {
		case err != nil:
			log.Warn("the unit could not be enrolled yet", "serial", serial, "err", err)
		case unit != "":
			id.Unit = unit
			log.Info("the unit is enrolled", "unit", unit, "serial", serial)
			return id, saveIdentity(name, id)
		default:
			log.Info("the unit waits to be enrolled: an operator must approve its claim (fettle claim list)", "serial", serial, "why", why)
		}
		if !pause(ctx, wait) {
			return identity{}, ctx.Err()
		}
	}
}

// pause waits, and reports whether it was to the end.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// askToEnroll files the claim, or asks where it stands. The same request is
// the same claim.
func askToEnroll(ctx context.Context, client *http.Client, url string, body []byte) (unit, why string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil {
		return "", "", err
	}
	var out struct {
		UnitID string `json:"unitId"`
		State  string `json:"state"`
		Why    string `json:"why"`
	}
	switch res.StatusCode {
	case http.StatusOK, http.StatusAccepted:
	default:
		return "", "", fmt.Errorf("the server says %s: %s", res.Status, bytes.TrimSpace(raw))
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return "", "", fmt.Errorf("the server's answer: %w", err)
	}
	if res.StatusCode == http.StatusAccepted {
		return "", out.Why, nil
	}
	if out.UnitID == "" {
		return "", "", errors.New("the server's answer has no unit")
	}
	return out.UnitID, "", nil
}

// loadIdentity reads the identity, or makes one whose token nobody has seen.
// It is on the disk before the server hears of it, so that the claim is the
// same after a power cut.
func loadIdentity(name string, certified bool) (identity, error) {
	raw, err := os.ReadFile(name)
	if err == nil {
		var id identity
		if err := json.Unmarshal(raw, &id); err != nil || id.Token == "" && !certified {
			return identity{}, fmt.Errorf("%s is damaged: remove it, and the unit enrols anew", name)
		}
		return id, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return identity{}, err
	}
	if certified {
		return identity{}, nil // the certificate is what it has
	}
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return identity{}, err
	}
	id := identity{Token: "fut_" + base64.RawURLEncoding.EncodeToString(b)}
	return id, saveIdentity(name, id)
}

func saveIdentity(name string, id identity) error {
	raw, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return saveFile(name, raw)
}

// saveFile replaces a file for this user alone, at once or not at all.
func saveFile(name string, raw []byte) error {
	f, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
