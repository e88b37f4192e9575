package remote

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
)

func newBacktestCmd(c *cli) *cobra.Command {
	var file, from, to string
	var limit int
	cmd := &cobra.Command{
		Use:   "backtest -f detector.yaml [--from TIME] [--to TIME]",
		Short: "Run a detector over history",
		Long: `Run a detector over history still held and permitted, by the code that runs live:
it gives the very findings that live gave, or would have given. Units whose
owners do not permit the detector's purpose are withheld, and counted.`,
		Example: "  fettle backtest -f plug-overheat.yaml --from 2014-03-01 --to 2014-04-01",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in := wire.BacktestRequest{Limit: limit}
			var err error
			if from != "" {
				if in.From, err = parseTime(from); err != nil {
					return err
				}
			}
			if to != "" {
				if in.To, err = parseTime(to); err != nil {
					return err
				}
			}
			doc, err := oneDetector(cmd.InOrStdin(), file)
			if err != nil {
				return err
			}
			out, err := c.Backtest(cmd.Context(), doc, in)
			if err != nil {
				return err
			}
			return c.print(cmd, out, func(w io.Writer) {
				findingRows(w, out.Findings)
				findings := fmt.Sprintf("%d findings", out.Total)
				if out.Total == 1 {
					findings = "1 finding"
				}
				fmt.Fprintf(w, "\n%s by %s@%d; %d units judged, %d withheld (their owners do not permit it), %d without data\n",
					findings, out.Detector.Name, out.Detector.Version, out.Judged, out.Withheld, out.NoData)
			})
		},
	}
	cmd.Flags().StringVarP(&file, "filename", "f", "", "file of one Detector; - reads standard input")
	cmd.Flags().StringVar(&from, "from", "", "event time, included (default: the beginning)")
	cmd.Flags().StringVar(&to, "to", "", "event time, not included (default: the end)")
	cmd.Flags().IntVar(&limit, "limit", 10_000, "most findings to print")
	_ = cmd.MarkFlagRequired("filename")
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml", "json")
	return cmd
}

func oneDetector(stdin io.Reader, file string) (*declare.Located, error) {
	docs, mistakes, err := declare.ReadFiles(stdin, []string{file})
	if err != nil {
		return nil, err
	}
	if len(mistakes) == 0 && (len(docs) != 1 || docs[0].Kind != declare.Detector) {
		return nil, fmt.Errorf("%s: expected one document of kind Detector", file)
	}
	if len(mistakes) == 0 {
		_, fields := docs[0].Check()
		mistakes = docs[0].Locate(fields)
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return &docs[0], nil
}
