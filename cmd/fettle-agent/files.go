package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// files looks at what the configuration names, as the agent will when it
// starts, and says at once all that is not there, or not what it must be.
func (c *config) files() error {
	var all []error
	wrong := func(key, name, do string, err error) {
		switch {
		case err == nil:
			return
		case errors.Is(err, fs.ErrNotExist):
			err = fmt.Errorf("there is no file %s: %s", name, do)
		case errors.Is(err, fs.ErrPermission):
			err = fmt.Errorf("%s may not be read by this user: run this as the agent's user, or change the file's owner", name)
		}
		all = append(all, fmt.Errorf("%s: %w", key, err))
	}
	one := func(key, name, do string) {
		name = c.path(name)
		_, err := secret(name)
		wrong(key, name, do, err)
	}
	if c.TokenFile != "" {
		one("tokenFile", c.TokenFile, "write the unit's token there (fettle unit token UNIT)")
	}
	if e := c.Enroll; e != nil && !c.enrolled() {
		one("enroll.claimTokenFile", e.ClaimTokenFile, "write the claim token there (fettle claim token create PRODUCT)")
		if e.SerialFile != "" {
			one("enroll.serialFile", e.SerialFile, "name the file that the serial number stands in, or give serial")
		}
	}
	for _, r := range []struct{ key, name string }{{"image", c.Roots.Image}, {"director", c.Roots.Director}} {
		if len(c.Components) > 0 {
			wrong("roots."+r.key, c.path(r.name), "copy "+r.key+"-root.json there, which fettle keys roots wrote", isRoot(c.path(r.name)))
		}
	}
	if _, err := c.tls(); err != nil {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// enrolled reports whether the claim is behind the unit: what it took to file
// it may be gone.
func (c *config) enrolled() bool {
	name := filepath.Join(c.State, identityFile)
	if _, err := os.Stat(name); err != nil {
		return false
	}
	id, err := loadIdentity(name, c.Certificate != nil)
	return err == nil && id.Unit != ""
}

// isRoot refuses what is not trust metadata of the root role. Whether its
// signatures are right is seen when the agent starts.
func isRoot(name string) error {
	raw, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var root struct {
		Signed struct {
			Type string `json:"_type"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(raw, &root); err != nil || root.Signed.Type != "root" {
		return fmt.Errorf("%s is not a root of trusted keys: copy the file that fettle keys roots wrote", name)
	}
	return nil
}
