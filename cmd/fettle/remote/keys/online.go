package keys

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update/trust"
	"fettle.dev/fettle/internal/update/trust/ceremony"
)

func (s Shared) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "How signing stands, and what to do next", Args: cobra.NoArgs,
		Example: "  fettle keys status\n  fettle keys status -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var st trust.Status
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/trust", nil, &st); err != nil {
				return err
			}
			err := s.Print(cmd, st, func(w io.Writer) {
				s.Row(w, "WHAT", "VERSION", "EXPIRES", "SIGNED BY")
				for _, r := range st.Roots {
					names := make([]string, len(r.Holders))
					for i, h := range r.Holders {
						names[i] = h.Name
					}
					s.Row(w, r.Repository+" root", r.Version, r.Expires, fmt.Sprintf("any %d of %s", r.Threshold, strings.Join(names, ", ")))
				}
				if t := st.Targets; t != nil {
					s.Row(w, fmt.Sprintf("targets: %d", t.Count), t.Version, t.Expires, "")
				}
				for _, k := range st.Online {
					s.Row(w, "server's "+k.Name+" key", fmt.Sprintf("%.12s", k.KeyID), "", k.State)
				}
				for _, r := range st.Required {
					s.Row(w, "required for "+r.Product, "", "", "since "+r.At.UTC().Format("2006-01-02")+" by "+r.By)
				}
				for _, c := range st.Pending {
					s.Row(w, "pending: "+c.What, "", "", c.Target)
				}
			})
			for _, warning := range st.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "Warning: "+warning)
			}
			next(cmd, "%s", st.Next)
			return err
		},
	}
}

func (s Shared) export() *cobra.Command {
	out, expires := "export.json", "365d"
	cmd := &cobra.Command{
		Use: "export", Short: "Write what the holders of offline keys need", Args: cobra.NoArgs,
		Long: `Write a file with the server's public keys, what is in force, and the list of
software to be signed: the images of all releases that are not withdrawn, of
products for which signatures are required. No secret is in it. Nothing changes
by it; the first time, the server makes its own keys.`,
		Example: "  fettle keys export -f targets.json\n  fettle keys export --expires 180d",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := life("expires", expires); err != nil {
				return err
			}
			var b map[string]any
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/trust/export?expires="+url.QueryEscape(expires), nil, &b); err != nil {
				return err
			}
			raw, err := marshal(b)
			if err != nil {
				return err
			}
			if err := writeNew(out, raw); err != nil {
				return err
			}
			x, err := ceremony.ReadBundle(raw)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s written\n", out)
			switch {
			case x.Trusted.ImageRoot == nil:
				next(cmd, "carry %s to the machine with the keys: fettle keys root create %s --key NAME.pub ...", out, filepath.Base(out))
			case len(x.Documents) == 0:
				next(cmd, "all releases are signed. The file serves to rotate the roots: fettle keys root rotate %s", filepath.Base(out))
			default:
				return lacking(cmd, out, x)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&out, "file", "f", out, "where to write it")
	cmd.Flags().StringVar(&expires, "expires", expires, "units refuse the list after that, unless a newer one came")
	return cmd
}

func (s Shared) importCmd() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE.json...", Short: "Put what was signed into force", Args: cobra.MinimumNArgs(1),
		Long: `Put roots and lists of software that were signed offline into force, all of it or
nothing. Each must follow what is in force by one version and carry enough
signatures. Several files are copies of one, signed in different places.`,
		Example: "  fettle keys import targets.json\n  fettle keys import from-alice.json from-bob.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readCopies(args)
			if err != nil {
				return err
			}
			if err := b.Check(); err != nil { // the server checks by itself; here the words are nearer
				return err
			}
			var out trust.Imported
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/trust/import", b, &out); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "in force: %s\n", strings.Join(out.Documents, ", "))
			var st trust.Status
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/trust", nil, &st); err != nil {
				return err
			}
			next(cmd, "%s", st.Next)
			return nil
		},
	}
}

func (s Shared) require() *cobra.Command {
	off := false
	cmd := &cobra.Command{
		Use: "require PRODUCT", Short: "Offer only signed releases of a product", Args: cobra.ExactArgs(1),
		Long: `From now on releases of the product are offered to units only once their images
are signed offline. Those that are not wait, with the refusal "unsigned", which
shows in the console, the portal and the API.`,
		Example: "  fettle keys require wall-charger\n  fettle keys require wall-charger --off",
		RunE: func(cmd *cobra.Command, args []string) error {
			method, words := http.MethodPut, "only signed releases of %s are offered\n"
			if off {
				method, words = http.MethodDelete, "unsigned releases of %s are offered, too\n"
			}
			if err := s.Client.Call(cmd.Context(), method, "/v1/trust/products/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), words, args[0])
			var st trust.Status
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/trust", nil, &st); err != nil {
				return err
			}
			next(cmd, "%s", st.Next)
			return nil
		},
	}
	cmd.Flags().BoolVar(&off, "off", false, "require no signatures any more")
	cmd.ValidArgsFunction = s.Names("product")
	return cmd
}

func (s Shared) renew() *cobra.Command {
	return &cobra.Command{
		Use: "renew-online", Short: "Make new keys of the server", Args: cobra.NoArgs,
		Long: `Make new keys of the server's own (snapshot, timestamp, director). They are used
once a root names them: export, rotate the roots, sign, import. Do it at once
when the server may have been broken into, and now and then besides. Units that
see the new root forget how far a thief may have pushed version numbers.`,
		Example: "  fettle keys renew-online",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/trust/renew-online", nil, nil); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "new server keys are made, and wait for a root that names them")
			next(cmd, "fettle keys export, carry it to the machine with the keys: fettle keys root rotate, sign; then fettle keys import")
			return nil
		},
	}
}

func (s Shared) roots() *cobra.Command {
	return &cobra.Command{
		Use: "roots DIR", Short: "Write the roots that units are made with", Args: cobra.ExactArgs(1),
		Long: `Write image-root.json and director-root.json as they are in force: they belong
into every unit that is made (unitkit, fettle-agent). Units made before follow
to the newest by themselves.`,
		Example: "  fettle keys roots ./factory",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, repository := range []string{ceremony.Image, ceremony.Director} {
				var raw json.RawMessage
				if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/trust/roots/"+repository, nil, &raw); err != nil {
					return err
				}
				root, err := ceremony.Root(raw)
				if err != nil {
					return err
				}
				if err := root.VerifyDelegate("root", root); err != nil {
					return fault.New(fault.Invalid, "the server's %s root is not signed by its own keys", repository)
				}
				if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // public
					return err
				}
				path := filepath.Join(args[0], repository+"-root.json")
				if err := replace(path, raw); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: version %d, fingerprint %s\n", path, root.Signed.Version, ceremony.Fingerprint(root))
			}
			next(cmd, "compare the fingerprints with what the holders see (fettle keys show root.json), and put the files into units.")
			return nil
		},
	}
}

func (s Shared) forget() *cobra.Command {
	return &cobra.Command{
		Use: "forget-unit UNIT", Short: "Let a unit that was set up anew report its versions", Args: cobra.ExactArgs(1),
		Long: `A unit signs its version reports with a key that it makes itself; the first is
remembered, and no other is taken. A unit whose storage was replaced has a new
one: this forgets the old. Do it only when you know that it was replaced.`,
		Example: "  fettle keys forget-unit WC-000017",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.Client.Call(cmd.Context(), http.MethodDelete, "/v1/trust/units/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the next key that %s reports with is its own\n", args[0])
			return nil
		},
	}
}
