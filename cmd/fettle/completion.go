package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func newCompletionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that completes commands, kinds and names",
		Long: `Print a script that completes commands, kinds and names, those of the service
too, once "fettle login" has kept its address. For every new shell, put the line
into its start-up file (~/.bashrc, ~/.zshrc after compinit). In bash, file names
are offered by their endings where the package bash-completion is installed.`,
		Example: `  source <(fettle completion bash)
  source <(fettle completion zsh)
  fettle completion fish > ~/.config/fish/completions/fettle.fish`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root, w := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return completeBash(root, w)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(w)
			default:
				return fmt.Errorf("no completion for %s", args[0])
			}
		},
	}
}

// bareBash stands in for what cobra's script calls of the package
// bash-completion, in shells that have not loaded it.
const bareBash = `
__fettle_init_completion()
{
    local line=${COMP_LINE:0:COMP_POINT}
    COMPREPLY=()
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cword=$((${#words[@]} - 1)) cur=${words[${#words[@]} - 1]}
}

__fettle_filedir()
{
    if declare -F _filedir >/dev/null; then _filedir "$@"; fi
}
`

func completeBash(root *cobra.Command, w io.Writer) error {
	var script bytes.Buffer
	if err := root.GenBashCompletionV2(&script, true); err != nil {
		return err
	}
	_, err := io.WriteString(w, strings.ReplaceAll(script.String(), "_filedir", "__fettle_filedir")+bareBash)
	return err
}
