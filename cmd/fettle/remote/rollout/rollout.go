// Package rollout writes what a campaign would do, or did, unit by unit, as
// the service streams it.
package rollout

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/fault"
)

// Units is where a command writes every unit to.
type Units struct {
	file, format string
}

// Flags adds its flags to a command.
func (u *Units) Flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&u.file, "units", "", "write every unit, a line each, to a new file (-: to standard output)")
	f.StringVar(&u.format, "format", "", "of --units: jsonl or csv (default: csv for a file named *.csv, else jsonl)")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"jsonl", "csv"}, cobra.ShellCompDirectiveNoFileComp))
}

// Asked reports whether every unit is to be written; a form without it is a mistake.
func (u *Units) Asked() (bool, error) {
	if u.file == "" && u.format != "" {
		return false, fault.New(fault.Invalid, "--format is of --units: name a file there, or -")
	}
	return u.file != "", nil
}

// Write writes what the service streams at path. Nothing of a stream that was
// cut stays behind in a file.
func (u *Units) Write(cmd *cobra.Command, c *client.Client, path string) (err error) {
	format := u.format
	switch {
	case format == "" && filepath.Ext(u.file) == ".csv":
		format = "csv"
	case format == "":
		format = "jsonl"
	case format != "jsonl" && format != "csv":
		return fault.New(fault.Invalid, "--format %q: jsonl or csv", format)
	}
	out := cmd.OutOrStdout()
	if u.file != "-" {
		f, err := os.OpenFile(u.file, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			return fault.New(fault.Conflict, "%s is there already: name another file, or remove it", u.file)
		}
		if err != nil {
			return err
		}
		defer func() {
			if err = errors.Join(err, f.Close()); err != nil {
				err = errors.Join(err, os.Remove(u.file))
			}
		}()
		out = f
	}
	res, err := c.Send(cmd.Context(), http.MethodGet, path+"?"+url.Values{"format": {format}}.Encode(), "", nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	w := bufio.NewWriterSize(out, 1<<16)
	_, err = io.Copy(w, res.Body)
	return errors.Join(err, w.Flush())
}
