// Package rauc asks RAUC whether a bundle is signed by somebody in a keyring,
// before it is kept. Units check it again: their keyring is what protects them.
package rauc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// Suffix ends the names of bundles; other files are not looked at.
const Suffix = ".raucb"

// patience is how long RAUC may take: it reads the signature, not the content.
const patience = time.Minute

// Check gives a check of uploads against a keyring (PEM). It fails at once
// where RAUC or the keyring is not there.
func Check(keyring string) (func(ctx context.Context, filename, path string) error, error) {
	program, err := exec.LookPath("rauc")
	if err != nil {
		return nil, fmt.Errorf("rauc-keyring is set, and RAUC is not installed (apt-get install rauc): %w", err)
	}
	if _, err := os.Stat(keyring); err != nil {
		return nil, fmt.Errorf("rauc-keyring: %w", err)
	}
	return func(ctx context.Context, filename, path string) error {
		if !strings.HasSuffix(filename, Suffix) {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, "info", "--keyring="+keyring, "--output-format=json", path) //nolint:gosec // a file of our own naming
		var said bytes.Buffer
		cmd.Stderr = &said
		err := cmd.Run()
		_, refused := errors.AsType[*exec.ExitError](err)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil || !refused:
			return fault.Wrap(fault.Unavailable, "check bundle "+filename, err)
		}
		return fault.Fields("artifact", []fault.Field{{
			Path: "body", Expected: "a RAUC bundle signed by somebody in the keyring", Got: last(said.String()),
		}})
	}, nil
}

// last is RAUC's last line, which says why.
func last(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	why := strings.ToValidUTF8(lines[len(lines)-1], "?")
	return why[:min(len(why), 200)]
}
