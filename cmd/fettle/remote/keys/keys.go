// Package keys holds the commands of the ceremony: what is done on a machine
// without a network with offline keys, and what carries it to the service and
// back.
package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update/trust/ceremony"
)

// Shared is what all commands that talk to a service share.
type Shared struct {
	Client *client.Client
	Print  func(cmd *cobra.Command, v any, table func(w io.Writer)) error
	Row    func(w io.Writer, cells ...any)
	Names  func(kind string) cobra.CompletionFunc // completion
	Now    func() time.Time
}

// Command is fettle keys.
func Command(s Shared) *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Make and use the offline keys that updates are signed with",
		Long: `Units that verify (unitkit, fettle-agent) install only what at least two people
have signed with keys that no server ever holds. These commands lead through it.

On a machine without a network (this program is one file; copy it there):
  fettle keys init DIR           a directory for it, with the guide
  fettle keys generate NAME      a key, encrypted with a passphrase
  fettle keys root create        the first roots of trust, from an export
  fettle keys root rotate        the next ones: people come and go, keys are lost or stolen
  fettle keys sign FILE          shows what is to be signed, and signs it
  fettle keys show FILE          shows what a file holds, and what it lacks
  fettle keys merge FILE...      puts signatures made on several copies together

On the operator's machine, against the service:
  fettle keys status             how things stand, and what to do next
  fettle keys export             writes what the holders of keys need; no secret is in it
  fettle keys import FILE        puts what they signed into force
  fettle keys require PRODUCT    only signed releases of a product are offered
  fettle keys renew-online       new keys of the server, after a theft or now and then
  fettle keys roots DIR          writes the roots that units are made with
  fettle keys forget-unit UNIT   lets a unit that was set up anew report again

docs/keys.md tells the whole ceremony, and what to do when a key is lost or stolen.`,
	}
	root := &cobra.Command{Use: "root", Short: "Make the roots of trust, and change them"}
	root.AddCommand(s.create(), s.rotate())
	cmd.AddCommand(initCmd(), generate(), root, s.sign(), show(), merge(),
		s.status(), s.export(), s.importCmd(), s.require(), s.renew(), s.roots(), s.forget())
	return cmd
}

func next(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.ErrOrStderr(), "Next: "+format+"\n", args...)
}

// writeNew writes a file that must not be there yet, readable to its user alone.
func writeNew(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fault.New(fault.Conflict, "%s is there already: nothing was changed", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// replace writes a file beside and renames it, so that a cut leaves the old one.
func replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".fettle-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func marshal(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, ceremony.LargestBundle+1))
	return b, errors.Join(err, f.Close())
}

func readBundle(path string) (*ceremony.Bundle, error) {
	raw, err := readFile(path)
	if err != nil {
		return nil, err
	}
	b, err := ceremony.ReadBundle(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// readCopies reads copies of one bundle, signed in different places, as one.
func readCopies(paths []string) (*ceremony.Bundle, error) {
	b, err := readBundle(paths[0])
	if err != nil {
		return nil, err
	}
	for _, path := range paths[1:] {
		o, err := readBundle(path)
		if err != nil {
			return nil, err
		}
		if err := b.Merge(o); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return b, nil
}

func readKey(path string) (ceremony.KeyFile, error) {
	raw, err := readFile(path)
	if err != nil {
		return ceremony.KeyFile{}, err
	}
	k, err := ceremony.ReadKey(raw)
	if err != nil {
		return k, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

func readKeys(paths []string) ([]ceremony.KeyFile, error) {
	out := make([]ceremony.KeyFile, len(paths))
	for i, p := range paths {
		var err error
		if out[i], err = readKey(p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// passphrase reads it from a file, or asks for it on the terminal, twice when
// it is new.
func passphrase(cmd *cobra.Command, file, of string, fresh bool) ([]byte, error) {
	if file != "" {
		b, err := os.ReadFile(file)
		return bytes.TrimRight(b, "\r\n"), err
	}
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, fault.New(fault.Invalid, "there is no terminal to ask for the passphrase of %s: give --passphrase-file", of)
	}
	ask := func(what string) ([]byte, error) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s of %s: ", what, of)
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return b, err
	}
	first, err := ask("Passphrase")
	if err != nil || !fresh {
		return first, err
	}
	again, err := ask("The passphrase again,")
	if err == nil && !bytes.Equal(first, again) {
		err = fault.New(fault.Invalid, "the two passphrases differ")
	}
	return first, err
}

func life(flag, text string) (time.Duration, error) {
	d, err := fleet.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fault.New(fault.Invalid, "--%s: expected a time span, as 365d, got %q", flag, text)
	}
	return time.Duration(d), nil
}

// lacking says what signatures a bundle lacks, and what to do.
func lacking(cmd *cobra.Command, path string, b *ceremony.Bundle) error {
	needs, err := b.Needs()
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	missing := false
	for _, n := range needs {
		line := fmt.Sprintf("%s: %d of %d signatures of %s", n.Document, len(n.Signed), n.Threshold, n.By)
		if len(n.Signed) > 0 {
			line += " (" + strings.Join(n.Signed, ", ") + ")"
		}
		if n.Missing() > 0 {
			missing = true
			line += fmt.Sprintf("; %d more of %s", n.Missing(), strings.Join(n.Open, ", "))
		}
		fmt.Fprintln(w, line)
	}
	switch {
	case len(needs) == 0:
		next(cmd, "there is nothing to sign in this file.")
	case missing:
		next(cmd, "hand %s to a holder who has not signed: fettle keys sign %s --key NAME.key", filepath.Base(path), filepath.Base(path))
	default:
		next(cmd, "all signatures are there. Carry %s to the operator's machine: fettle keys import %s", filepath.Base(path), filepath.Base(path))
	}
	return nil
}
