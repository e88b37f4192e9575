package keys

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update/trust/ceremony"
)

const guide = `Keys of Fettle updates
======================
This directory belongs on a machine without a network, or on sticks in a safe.
NAME.key is a private key, encrypted with its holder's passphrase: whoever has
the file and the passphrase can sign as NAME. NAME.pub is public.

First time
 1. Everybody who shall hold a key, at least three:  fettle keys generate NAME
 2. From the operator's machine bring export.json:    fettle keys export -f export.json
 3. fettle keys root create export.json --key A.pub --key B.pub --key C.pub -f root.json
 4. Two of you:  fettle keys sign root.json --key NAME.key
 5. Bring root.json to the operator's machine:        fettle keys import root.json

Each release
 6. From the operator's machine: fettle keys export -f targets.json
 7. Two of you:  fettle keys sign targets.json --key NAME.key --root root.json --images DIR
    It shows what is new. --images compares with the files that you built yourselves.
 8. On the operator's machine: fettle keys import targets.json

Keep two copies of this directory in two places. Losing one key is no harm
while two others are there; see docs/keys.md for what to do then.
`

func initCmd() *cobra.Command {
	return &cobra.Command{
		Use: "init DIR", Short: "Make a directory for keys, with the guide", Args: cobra.ExactArgs(1),
		Long: `Make a directory that only you can read (mode 0700) for keys and for what is to
be signed, with a README that tells every step. Do it on a machine without a
network.`,
		Example: "  fettle keys init /media/stick/fettle-keys",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o700); err != nil {
				return err
			}
			if err := os.Chmod(args[0], 0o700); err != nil { //nolint:gosec // a directory
				return err
			}
			if err := writeNew(filepath.Join(args[0], "README"), []byte(guide)); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is ready; README there tells every step\n", args[0])
			next(cmd, "cd %s, and everybody who shall hold a key: fettle keys generate NAME", args[0])
			return nil
		},
	}
}

func generate() *cobra.Command {
	var file string
	roles := ceremony.OfflineRoles
	cmd := &cobra.Command{
		Use: "generate NAME", Short: "Make a key for a holder", Args: cobra.ExactArgs(1),
		Long: `Make an Ed25519 key in NAME.key, encrypted with a passphrase (scrypt N=2^17,
NaCl secretbox; mode 0600), and its public part in NAME.pub. The passphrase is
asked for twice; nobody can recover it.

A key is made for roles: root says who may sign what, targets signs software.
Large makers keep them apart (--role root for keys in a safe that are used once
a year, --role targets for those of each release); without --role it is for both.`,
		Example: "  fettle keys generate alice\n  fettle keys generate safe-1 --role root",
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			for _, path := range []string{name + ".key", name + ".pub"} {
				if _, err := os.Lstat(path); err == nil {
					return fault.New(fault.Conflict, "%s is there already: nothing was changed. A key that is lost or stolen gets a new name", path)
				}
			}
			pass, err := passphrase(cmd, file, name+".key", true)
			if err != nil {
				return err
			}
			k, err := ceremony.Generate(name, roles, pass)
			if err != nil {
				return err
			}
			for path, key := range map[string]ceremony.KeyFile{name + ".key": k, name + ".pub": k.PublicPart()} {
				b, err := marshal(key)
				if err != nil {
					return err
				}
				if err := writeNew(path, b); err != nil {
					return err
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s.key made for %s, key id %s\n", name, strings.Join(roles, " and "), k.ID())
			next(cmd, "keep %s.key where only its holder can reach it, and a copy elsewhere; %s.pub goes to whoever makes the root.", name, name)
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&roles, "role", roles, "what the key is for: root, targets, or both")
	cmd.Flags().StringVar(&file, "passphrase-file", "", "file that holds the passphrase, in place of asking")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(ceremony.OfflineRoles, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (s Shared) create() *cobra.Command {
	var keys []string
	threshold, expires, out := ceremony.LeastThreshold, "1095d", ""
	cmd := &cobra.Command{
		Use: "create EXPORT.json", Short: "Make the first roots of trust", Args: cobra.ExactArgs(1),
		Long: `Make the first roots (image and director) from what fettle keys export wrote,
naming the holders' keys and the server's own. They are not signed yet: at least
--threshold of the holders sign them next. Name more keys than the threshold, so
that losing one is no disaster.`,
		Example: "  fettle keys root create export.json --key alice.pub --key bob.pub --key carol.pub -f root.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readBundle(args[0])
			if err != nil {
				return err
			}
			holders, err := readKeys(keys)
			if err != nil {
				return err
			}
			d, err := life("expires", expires)
			if err != nil {
				return err
			}
			if err := b.Create(holders, threshold, s.from(b).Add(d)); err != nil {
				return err
			}
			return s.proposed(cmd, b, out)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&keys, "key", nil, "a holder's NAME.pub; once for each")
	f.IntVar(&threshold, "threshold", threshold, "how many holders must sign, at least 2")
	f.StringVar(&expires, "expires", expires, "units refuse the root after that, unless a newer one came")
	f.StringVarP(&out, "file", "f", "root.json", "where to write what is to be signed")
	_ = cmd.MarkFlagRequired("key")
	return cmd
}

// from is the time that lives are counted from: the clock of a machine without a
// network may be long behind that of the service.
func (s Shared) from(b *ceremony.Bundle) time.Time {
	if now := s.Now(); now.After(b.Made) {
		return now
	}
	return b.Made
}

func (s Shared) proposed(cmd *cobra.Command, b *ceremony.Bundle, out string) error {
	raw, err := marshal(b)
	if err != nil {
		return err
	}
	if err := writeNew(out, raw); err != nil {
		return err
	}
	lines, err := b.Describe(nil)
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), strings.Join(lines, "\n"))
	return lacking(cmd, out, b)
}

func (s Shared) rotate() *cobra.Command {
	var add, remove []string
	threshold, expires, targets, out := 0, "1095d", "365d", ""
	cmd := &cobra.Command{
		Use: "rotate EXPORT.json", Short: "Make the next roots: keys come, go, are lost or stolen", Args: cobra.ExactArgs(1),
		Long: `Make the next roots from what fettle keys export wrote. Without flags they only
live longer, and name the server's newest keys (after fettle keys renew-online).

The new roots need the signatures of enough holders of the old roots, so that
units follow them, and of enough of the new. Where the holders who sign software
change, the list of signed software is in the same file and is signed anew.

A key was stolen, or may have been:
  holder's   --remove NAME, and --add the new key under another name. Its
             signatures count for nothing as soon as units see the new root.
  server's   fettle keys renew-online first, then export and rotate.
A key was lost: the same, without haste.
More keys are lost than the threshold allows: no new root can be made that units
follow. They must be given new roots by hand. Therefore: one key more than needed.`,
		Example: "  fettle keys root rotate export.json --remove carol --add dave.pub -f root2.json\n  fettle keys root rotate export.json -f root3.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readBundle(args[0])
			if err != nil {
				return err
			}
			r := ceremony.Rotation{Remove: remove, Threshold: threshold}
			if r.Add, err = readKeys(add); err != nil {
				return err
			}
			d, err := life("expires", expires)
			if err != nil {
				return err
			}
			t, err := life("targets-expire", targets)
			if err != nil {
				return err
			}
			r.Expires, r.TargetsExpire = s.from(b).Add(d), s.from(b).Add(t)
			if err := b.Rotate(r); err != nil {
				return err
			}
			return s.proposed(cmd, b, out)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&add, "add", nil, "NAME.pub of a new holder")
	f.StringArrayVar(&remove, "remove", nil, "name, or beginning of the key id, of a holder whose key shall count no more")
	f.IntVar(&threshold, "threshold", 0, "how many holders must sign from now on (default: as before)")
	f.StringVar(&expires, "expires", expires, "units refuse the root after that, unless a newer one came")
	f.StringVar(&targets, "targets-expire", targets, "the same of the list of software, if it is to be signed anew")
	f.StringVarP(&out, "file", "f", "root.json", "where to write what is to be signed")
	return cmd
}

func (s Shared) sign() *cobra.Command {
	var key, file, root, images string
	yes := false
	cmd := &cobra.Command{
		Use: "sign FILE.json", Short: "Show what a file wants signed, and sign it", Args: cobra.ExactArgs(1),
		Long: `Show what is to be signed and, once you have said yes, sign it in place with your
key. The file goes on to the next holder, on a stick or by mail: it is no secret.

You sign what you see. With --root (the last root.json that you signed, kept on
this machine) only what differs from what you signed before is listed, and keys
that come or go are marked; without, all of it. With --images each image listed
is compared with the file of that name that you built yourself, so that nobody
can have you sign something else. A name beside a key is only what whoever made
the file calls it: compare new key ids with their holders.`,
		Example: "  fettle keys sign root.json --key alice.key\n  fettle keys sign targets.json --key bob.key --root root.json --images ./dist",
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readBundle(args[0])
			if err != nil {
				return err
			}
			if len(b.Documents) == 0 {
				return fault.New(fault.Conflict, "there is nothing to sign in %s", args[0])
			}
			k, err := readKey(key)
			if err != nil {
				return err
			}
			trusted, err := trustedRoot(root)
			if err != nil {
				return err
			}
			lines, err := b.Describe(trusted)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "This is to be signed (from %s, %s):\n%s\n", ceremony.Printable(b.Server), b.Made.UTC().Format("2006-01-02 15:04"), strings.Join(lines, "\n"))
			if images != "" {
				if err := compare(w, b, trusted, images); err != nil {
					return err
				}
			}
			if !yes {
				fmt.Fprintf(cmd.ErrOrStderr(), "Sign this as %s? Type yes: ", k.Name)
				answer, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
				if strings.TrimSpace(answer) != "yes" {
					return fault.New(fault.Conflict, "nothing was signed")
				}
			}
			pass, err := passphrase(cmd, file, key, false)
			if err != nil {
				return err
			}
			signer, err := k.Signer(pass)
			if err != nil {
				return err
			}
			signed, err := b.Sign(signer)
			if err != nil {
				return err
			}
			raw, err := marshal(b)
			if err != nil {
				return err
			}
			if err := replace(args[0], raw); err != nil {
				return err
			}
			fmt.Fprintf(w, "signed by %s: %s\n", k.Name, strings.Join(signed, ", "))
			return lacking(cmd, args[0], b)
		},
	}
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "your NAME.key")
	f.StringVar(&file, "passphrase-file", "", "file that holds the passphrase, in place of asking")
	f.StringVar(&root, "root", "", "the last root.json you signed: only what is new since is listed")
	f.StringVar(&images, "images", "", "directory of the images that you built yourself, to compare with")
	f.BoolVar(&yes, "yes", false, "sign without asking")
	_ = cmd.MarkFlagRequired("key")
	return cmd
}

// trustedRoot is the image root of a bundle that the signer kept.
func trustedRoot(path string) (*metadata.Metadata[metadata.RootType], error) {
	if path == "" {
		return nil, nil
	}
	b, err := readBundle(path)
	if err != nil {
		return nil, err
	}
	for _, d := range b.Documents {
		if d.Repository == ceremony.Image && d.Role == metadata.ROOT {
			return ceremony.Root(d.Metadata)
		}
	}
	return nil, fault.New(fault.Invalid, "%s holds no root: give the file of fettle keys root create or rotate", path)
}

// compare finds each image among the signer's own files, by its name, save those
// that he has signed before: of those he may have built another since.
func compare(w io.Writer, b *ceremony.Bundle, trusted *metadata.Metadata[metadata.RootType], dir string) error {
	m, err := b.NewTargets()
	if err != nil || m == nil {
		return err
	}
	all, err := ceremony.TargetsOf(&m.Signed)
	if err != nil {
		return err
	}
	before := map[string]bool{}
	if old := b.TrustedTargets(trusted); old != nil {
		signed, err := ceremony.TargetsOf(&old.Signed)
		if err != nil {
			return err
		}
		for _, t := range signed {
			before[t.String()] = true
		}
	}
	all = slices.DeleteFunc(all, func(t ceremony.Target) bool { return before[t.String()] })
	mine := map[string][]string{} // hashes by file name
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		within, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := os.OpenInRoot(dir, within)
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		mine[d.Name()] = append(mine[d.Name()], hex.EncodeToString(h.Sum(nil)))
		return errors.Join(err, f.Close())
	})
	if err != nil {
		return err
	}
	for _, t := range all {
		name := filepath.Base(t.Path)
		switch sums, ok := mine[name]; {
		case !ok:
			fmt.Fprintf(w, "  ? %s is not in %s: not compared\n", ceremony.Printable(name), dir)
		case !slices.Contains(sums, t.SHA256):
			return fault.New(fault.Denied, "%s is not the file that you built: to be signed is sha256 %s, %s has %s. Nothing was signed. (With --root images that you signed before are not compared again)", ceremony.Printable(t.Path), t.SHA256, dir, strings.Join(sums, ", "))
		default:
			fmt.Fprintf(w, "  = %s is the file that you built\n", ceremony.Printable(t.Path))
		}
	}
	return nil
}

func show() *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use: "show FILE.json", Short: "Show what a file holds, and which signatures it lacks", Args: cobra.ExactArgs(1),
		Example: "  fettle keys show root.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readBundle(args[0])
			if err != nil {
				return err
			}
			trusted, err := trustedRoot(root)
			if err != nil {
				return err
			}
			lines, err := b.Describe(trusted)
			if err != nil {
				return err
			}
			if len(lines) > 0 {
				fmt.Fprintln(cmd.OutOrStdout(), strings.Join(lines, "\n"))
			}
			if len(lines) == 0 && b.Trusted.ImageRoot == nil {
				next(cmd, "make the first roots of it: fettle keys root create %s --key NAME.pub ...", filepath.Base(args[0]))
				return nil
			}
			return lacking(cmd, args[0], b)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "the last root.json you signed: only what is new since is listed")
	return cmd
}

func merge() *cobra.Command {
	return &cobra.Command{
		Use: "merge FILE.json COPY.json...", Short: "Put signatures made on several copies together", Args: cobra.MinimumNArgs(2),
		Long:    "Put the signatures of copies of one file, signed by holders in different places, into the first.",
		Example: "  fettle keys merge targets.json from-alice.json from-bob.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readCopies(args)
			if err != nil {
				return err
			}
			raw, err := marshal(b)
			if err != nil {
				return err
			}
			if err := replace(args[0], raw); err != nil {
				return err
			}
			return lacking(cmd, args[0], b)
		},
	}
}
