// Package codes holds the commands about the codes that owners claim units by.
package codes

import (
	"encoding/csv"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"rsc.io/qr"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/owners"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/people"
)

// Shared is what all commands that talk to a service share.
type Shared struct {
	Client *client.Client
	Print  func(cmd *cobra.Command, v any, table func(w io.Writer)) error
	Row    func(w io.Writer, cells ...any)
	Names  func(kind string) cobra.CompletionFunc // completion
}

// Command is unit code.
func Command(s Shared) *cobra.Command {
	cmd := &cobra.Command{
		Use: "code", Short: "Codes that owners claim units by: print, list, take back",
		Long: `Codes that owners claim units by. A code is printed on its unit, or on a leaf
beside it, as text and as a QR code. Whoever types or scans it becomes the
unit's owner; where it has one already, that owner is asked. The service keeps a
hash of it alone: a code is shown when it is made, and never again.`,
	}
	cmd.AddCommand(create(s), list(s), &cobra.Command{
		Use: "revoke UNIT", Short: "Take back a unit's codes", Example: "  fettle unit code revoke WC-000123",
		Args: cobra.ExactArgs(1), ValidArgsFunction: s.Names("unit"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.Client.Call(cmd.Context(), http.MethodDelete, "/v1/units/"+url.PathEscape(args[0])+"/codes", nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "codes of unit %s taken back\n", args[0])
			return nil
		},
	})
	return cmd
}

func create(s Shared) *cobra.Command {
	var product, expires, format, out string
	cmd := &cobra.Command{
		Use:   "create [UNIT...]",
		Short: "Make new codes of units and print them, once",
		Long: `Make new codes of units and print them, once; those that the units had before
work no more. Formats:
  csv    unit, product, serial, code, address, expires (UTC, empty: never)
  sheet  a page of labels with QR codes, to be printed from a browser (HTML)
  svg    a QR code for each unit as DIR/UNIT.svg
  png    the same as DIR/UNIT.png
A QR code says the address in the last column of csv but one.`,
		Example: `  fettle unit code create WC-000123
  fettle unit code create --product wall-charger --format csv > codes.csv
  fettle unit code create --product wall-charger --format sheet > labels.html
  fettle unit code create --product wall-charger --format png --out labels/`,
		ValidArgsFunction: s.Names("unit"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := s.units(cmd, product, args)
			if err != nil {
				return err
			}
			in := owners.NewCodes{}
			if expires != "" {
				if in.Expires, err = fleet.ParseDuration(expires); err != nil || in.Expires <= 0 {
					return fault.New(fault.Invalid, "--expires: expected a duration above 0, as 365d")
				}
			}
			files := format == "svg" || format == "png"
			if files != (out != "") {
				return fault.New(fault.Invalid, "--out names the directory for --format svg and png, and nothing else")
			}
			if files { // before codes are made that could not be kept
				if err := os.MkdirAll(out, 0o700); err != nil {
					return err
				}
			}
			var all []people.IssuedCode
			for len(ids) > 0 {
				part := ids[:min(len(ids), people.MostCodes)]
				ids = ids[len(part):]
				in.Units = part
				var page wire.List[people.IssuedCode]
				if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/unit-codes", in, &page); err != nil {
					return err
				}
				all = append(all, page.Items...)
			}
			switch format {
			case "":
				return s.Print(cmd, all, func(w io.Writer) {
					s.Row(w, "UNIT", "SERIAL", "CODE", "ADDRESS")
					for _, c := range all {
						s.Row(w, c.UnitID, c.Serial, c.Code, c.URL)
					}
				})
			case "csv":
				return writeCSV(cmd.OutOrStdout(), all)
			case "sheet":
				return Sheet(cmd.OutOrStdout(), all)
			default:
				return writeFiles(cmd.ErrOrStderr(), out, format, all)
			}
		},
	}
	cmd.Flags().StringVar(&product, "product", "", "for all units of a product, instead of those named")
	cmd.Flags().StringVar(&expires, "expires", "", "how long the codes work, as 365d (default: for ever)")
	cmd.Flags().StringVar(&format, "format", "", "csv, sheet, svg or png (default: a table)")
	cmd.Flags().StringVar(&out, "out", "", "directory that --format svg and png write to; made if there is none")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		switch format {
		case "", "csv", "sheet", "svg", "png":
			return nil
		}
		return fault.New(fault.Invalid, "--format: expected csv, sheet, svg or png, got %q", format)
	}
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"csv", "sheet", "svg", "png"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("product", s.Names("product"))
	return cmd
}

func (s *Shared) units(cmd *cobra.Command, product string, args []string) ([]string, error) {
	if (product == "") == (len(args) == 0) {
		return nil, fault.New(fault.Invalid, "name units, or a product by --product")
	}
	if product == "" {
		return args, nil
	}
	list, err := client.All[wire.Unit](cmd.Context(), s.Client, "/v1/units", url.Values{"product": {product}, "state": {string(fleet.UnitActive)}})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "product %s has no active units", product)
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	return ids, nil
}

func list(s Shared) *cobra.Command {
	return &cobra.Command{
		Use: "list UNIT", Short: "List a unit's codes: when they were made, used, taken back", Args: cobra.ExactArgs(1), ValidArgsFunction: s.Names("unit"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var page wire.List[people.Code]
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/units/"+url.PathEscape(args[0])+"/codes", nil, &page); err != nil {
				return err
			}
			return s.Print(cmd, page.Items, func(w io.Writer) {
				s.Row(w, "ID", "KIND", "CREATED", "BY", "EXPIRES", "USED", "TAKEN BACK")
				for _, c := range page.Items {
					by, _, _ := strings.Cut(c.MadeBy, ":") // an owner's id says nothing here
					s.Row(w, c.ID, c.Kind, c.CreatedAt, by, c.ExpiresAt, c.UsedAt, c.RevokedAt)
				}
			})
		},
	}
}

func writeCSV(w io.Writer, all []people.IssuedCode) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"unit", "product", "serial", "code", "address", "expires"})
	for _, c := range all {
		expires := ""
		if !c.ExpiresAt.IsZero() {
			expires = c.ExpiresAt.UTC().Format("2006-01-02T15:04:05Z")
		}
		_ = out.Write([]string{c.UnitID, c.Product, c.Serial, c.Code, c.URL, expires})
	}
	out.Flush()
	return out.Error()
}

// quiet is the margin that ISO/IEC 18004 asks for, in modules.
const quiet = 4

// SVG draws a QR code with its margin, a module a unit.
func SVG(text string) (string, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	size := code.Size + 2*quiet
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h%dv%dH0z"/><path d="`, size, size, size, size)
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			run := 0
			for x+run < code.Size && code.Black(x+run, y) {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x+quiet, y+quiet, run, run)
				x += run
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return b.String(), nil
}

func writeFiles(told io.Writer, dir, format string, all []people.IssuedCode) error {
	for _, c := range all {
		var raw []byte
		if format == "svg" {
			text, err := SVG(c.URL)
			if err != nil {
				return err
			}
			raw = []byte(text)
		} else {
			code, err := qr.Encode(c.URL, qr.M)
			if err != nil {
				return err
			}
			raw = code.PNG()
		}
		name := strings.NewReplacer("/", "_", `\`, "_", ":", "_").Replace(c.UnitID) + "." + format
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			return err
		}
	}
	fmt.Fprintf(told, "%d codes written to %s\n", len(all), dir)
	return nil
}

var sheet = template.Must(template.New("sheet").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Claim codes</title>
<style>
@page { size: A4; margin: 10mm }
body { margin: 0; font: 9pt/1.3 sans-serif; color: #000; background: #fff }
main { display: grid; grid-template-columns: repeat(auto-fill, 60mm); gap: 4mm }
article { display: grid; grid-template-columns: 24mm 1fr; gap: 3mm; align-items: center; padding: 2mm; border: 0.2mm dashed #999; break-inside: avoid }
svg { display: block; width: 24mm; height: 24mm }
b { display: block; font: 9.5pt/1.35 monospace; overflow-wrap: anywhere }
</style>
<main>
{{range .}}<article>{{.QR}}<div>{{.Serial}}<b>{{.First}}</b><b>{{.Second}}</b></div></article>
{{end}}</main>
</html>
`))

// Sheet writes a page of labels, to be printed from a browser.
func Sheet(w io.Writer, all []people.IssuedCode) error {
	type label struct {
		QR                    template.HTML
		Serial, First, Second string
	}
	labels := make([]label, len(all))
	for i, c := range all {
		svg, err := SVG(c.URL)
		if err != nil {
			return err
		}
		half := len(c.Code) / 2                                                         // between the second group and the third
		labels[i] = label{template.HTML(svg), c.Serial, c.Code[:half], c.Code[half+1:]} //nolint:gosec // drawn above, of numbers
	}
	return sheet.Execute(w, labels)
}
