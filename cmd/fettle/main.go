// Command fettle is the whole service and its command line.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// version is set at build time.
var version = "dev"

func main() {
	root := &cobra.Command{Use: "fettle", Short: "Put connected products right before their owners notice", Version: version, SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(newServeCmd(), newDemoCmd(), newReplayCmd(), newRestoreCmd(), newAdminCmd())
	if err := root.ExecuteContext(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "fettle: "+err.Error())
		os.Exit(1)
	}
}
