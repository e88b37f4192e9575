package remote

import (
	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/fault"
)

func newSchemaCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [KIND]",
		Short: "Print the JSON Schema of declared files",
		Long: `Print the JSON Schema (2020-12) of declared files, for editors to complete and
check them: of one kind, or of any. With the YAML language server, a first line
"# yaml-language-server: $schema=fettle.json" in a file is enough.`,
		Example: `  fettle schema > fettle.json
  fettle schema detector`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeDeclared,
		RunE: func(cmd *cobra.Command, args []string) error {
			var kind declare.Kind
			if len(args) == 1 {
				var err error
				if kind, err = declare.ParseKind(args[0]); err != nil {
					return fault.Wrap(fault.Invalid, "", err)
				}
			}
			raw, err := declare.Schema(kind)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(raw)
			return err
		},
	}
}
