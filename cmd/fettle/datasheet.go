package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/consent/datasheet"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// newDatasheetCmd writes what a buyer is told of a product's data, from the
// file that declares it: no service is needed.
func newDatasheetCmd() *cobra.Command {
	var files []string
	var product, lang, format string
	cmd := &cobra.Command{
		Use: "datasheet -f FILE", Short: "Write a product's data sheet (Data Act, article 3) from its declaration",
		Long: "Writes what a buyer is told before the contract: which data the product generates, its type, format, volume and frequency, how long it is kept,\n" +
			"for what and for whom, and how its owner gets at it, shares it and has it erased. A service serves the same at /datasheets/PRODUCT.",
		Example: "  fettle datasheet -f product.yaml --lang de\n  fettle datasheet -f product.yaml --format html > datasheet.html",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			docs, mistakes, err := declare.ReadFiles(cmd.InOrStdin(), files)
			if err != nil {
				return err
			}
			if len(mistakes) > 0 {
				return mistakes
			}
			var names []string
			var found *fleet.Product
			for i := range docs {
				if docs[i].Kind != declare.Product || product != "" && docs[i].Metadata.Name != product {
					continue
				}
				spec, wrong := docs[i].Check()
				if len(wrong) > 0 {
					return docs[i].Locate(wrong)
				}
				p, _ := spec.(*fleet.Product)
				p.Name = docs[i].Metadata.Name
				if wrong := fleet.ValidateProduct(*p); len(wrong) > 0 {
					return docs[i].Locate(wrong)
				}
				found, names = p, append(names, p.Name)
			}
			switch {
			case found == nil:
				return fault.New(fault.NotFound, "no product %sis declared in %s", strings.TrimLeft(product+" ", " "), strings.Join(files, ", "))
			case len(names) > 1:
				return fault.New(fault.Invalid, "several products are declared (%s): name one with --product", strings.Join(names, ", "))
			}
			if lang == "" {
				lang = found.Tongue()
			}
			sheet := datasheet.Of(found, lang)
			out := []byte(datasheet.Text(&sheet))
			switch format {
			case "text":
			case "html":
				out, err = datasheet.HTML(&sheet, nil)
			case "json":
				out, err = json.MarshalIndent(sheet, "", "  ")
				out = append(out, '\n')
			default:
				err = errors.New("--format: expected text, html or json")
			}
			if err != nil {
				return fmt.Errorf("data sheet: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(out)
			return err
		},
	}
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "file or directory that declares the product; - is standard input")
	cmd.Flags().StringVar(&product, "product", "", "its name, where several are declared")
	cmd.Flags().StringVar(&lang, "lang", "", "language, as de (default: the declaration's own)")
	cmd.Flags().StringVar(&format, "format", "text", "text, html (prints on paper) or json")
	_ = cmd.MarkFlagRequired("filename")
	return cmd
}
