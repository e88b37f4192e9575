package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
)

func newApplyCmd(c *cli) *cobra.Command {
	var files []string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Make the service as the files say",
		Long: `Make the service as declared files say: kinds Product, Unit, Detector, Release
and Campaign, in YAML or JSON, several documents in a file where --- parts them.
A directory is read with all below it.

All or nothing: one mistake, told as file:line:column: field, and nothing has
changed. A Release's image, a path beside its file, is uploaded first unless the
service has it. "fettle schema" gives editors the files' JSON Schema.`,
		Example: `  fettle apply -f fleet/
  fettle apply -f detector.yaml --dry-run
  generate-units | fettle apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := c.apply(cmd, files, dryRun)
			if err != nil {
				return err
			}
			return c.print(cmd, out, func(w io.Writer) { printChanges(w, out, dryRun) })
		},
	}
	addFiles(cmd, &files)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check, and show what would change, but change nothing")
	return cmd
}

func addFiles(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVarP(files, "filename", "f", nil, "file or directory; - reads standard input; may be repeated")
	_ = cmd.MarkFlagRequired("filename")
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml", "json")
}

func newDiffCmd(c *cli) *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "diff -f FILE|DIR|-",
		Short: "Show what apply would change",
		Long: `Show, field by field, what "fettle apply" would change, and change nothing.

Exit status: 0 nothing would change, 1 something would, 2 there are mistakes.`,
		Example: "  fettle diff -f fleet/",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := c.apply(cmd, files, true)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			changed := false
			for _, ch := range out.Changes {
				changed = changed || ch.Action != "unchanged"
			}
			err = c.print(cmd, out, func(w io.Writer) {
				for _, ch := range out.Changes {
					if ch.Action == "unchanged" {
						continue
					}
					fmt.Fprintf(w, "%s %s (%s)\n%s", strings.ToLower(string(ch.Kind)), ch.Name, ch.Action, indent(ch.Diff))
				}
			})
			if err == nil && changed {
				err = &exitError{exitFailed, errQuiet}
			}
			return err
		},
	}
	addFiles(cmd, &files)
	return cmd
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("  " + line)
	}
	return b.String()
}

// manyUnits is the number from which units are told as a number.
const manyUnits = 20

func printChanges(w io.Writer, out *wire.Applied, dryRun bool) {
	would := ""
	if dryRun {
		would = " (dry run)"
	}
	units := map[string]int{}
	n := 0
	for _, ch := range out.Changes {
		if ch.Kind == declare.Unit {
			units[ch.Action]++
			n++
		}
	}
	for _, ch := range out.Changes {
		if ch.Kind != declare.Unit || n < manyUnits {
			row(w, strings.ToLower(string(ch.Kind))+" "+ch.Name, ch.Action+would)
		}
	}
	if n < manyUnits {
		return
	}
	for _, action := range []string{"created", "changed", "unchanged"} {
		if units[action] > 0 {
			row(w, fmt.Sprintf("%d units", units[action]), action+would)
		}
	}
}

// apply reads files, uploads images and applies the documents.
func (c *cli) apply(cmd *cobra.Command, files []string, dryRun bool) (*wire.Applied, error) {
	docs, mistakes, err := readDocuments(cmd.InOrStdin(), files)
	if err != nil {
		return nil, err
	}
	for i := range docs {
		_, fields := docs[i].Check()
		mistakes = append(mistakes, docs[i].Locate(fields)...)
	}
	if len(mistakes) > 0 {
		return nil, refused(mistakes)
	}
	if len(docs) == 0 {
		return nil, fmt.Errorf("%s: no documents", strings.Join(files, ", "))
	}
	if err := c.uploadImages(cmd.Context(), docs); err != nil {
		return nil, err
	}
	in := wire.Apply{DryRun: dryRun}
	for _, d := range docs {
		in.Documents = append(in.Documents, wire.Document{APIVersion: d.APIVersion, Kind: d.Kind, Metadata: d.Metadata, Spec: wire.Spec(d.Spec)})
	}
	var out wire.Applied
	err = c.call(cmd.Context(), http.MethodPost, "/v1/apply", in, &out)
	if p, ok := errors.AsType[*problem](err); ok && p.Status == http.StatusUnprocessableEntity && len(p.Errors) > 0 {
		return nil, refused(locate(docs, p))
	}
	if err != nil {
		return nil, err
	}
	return &out, nil
}

func refused(m declare.Mistakes) error {
	return fmt.Errorf("nothing was changed, because of %d mistakes:\n%w", len(m), m)
}

// locate finds the places of the service's refusals in the files.
func locate(docs []declare.Located, p *problem) declare.Mistakes {
	var out declare.Mistakes
	for _, e := range p.Errors {
		f := fault.Field{Path: e.Location, Expected: strings.TrimPrefix(e.Message, "expected ")}
		var i int
		if n, err := fmt.Sscanf(e.Location, "body.documents[%d]", &i); n == 1 && err == nil && i >= 0 && i < len(docs) {
			_, f.Path, _ = strings.Cut(e.Location, "].")
			out = append(out, docs[i].Locate([]fault.Field{f})...)
			continue
		}
		out = append(out, declare.Mistake{File: "request", Line: 1, Column: 1, Field: f})
	}
	return out
}

// readDocuments reads files, and directories with all below them, in order of name.
func readDocuments(stdin io.Reader, files []string) (docs []declare.Located, mistakes declare.Mistakes, err error) {
	read := func(name string, data []byte) {
		d, wrong := declare.ParseFile(name, data)
		docs, mistakes = append(docs, d...), append(mistakes, wrong...)
	}
	for _, name := range files {
		if name == "-" {
			data, err := io.ReadAll(stdin)
			if err != nil {
				return nil, nil, err
			}
			read("stdin", data)
			continue
		}
		paths, err := declaredFiles(name)
		if err != nil {
			return nil, nil, err
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, nil, err
			}
			read(path, data)
		}
	}
	return docs, mistakes, nil
}

func declaredFiles(name string) ([]string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var out []string
	err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != name && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(path))) {
			out = append(out, path)
		}
		return nil
	})
	return out, err
}

// uploadImages uploads the images that Releases name by path, and puts their
// hash in the path's place.
func (c *cli) uploadImages(ctx context.Context, docs []declare.Located) error {
	for i := range docs {
		if docs[i].Kind != declare.Release {
			continue
		}
		var spec map[string]json.RawMessage
		var path string
		if err := json.Unmarshal(docs[i].Spec, &spec); err != nil {
			return err
		}
		if err := json.Unmarshal(spec["artifact"], &path); err != nil || strings.HasPrefix(path, "sha256:") {
			continue
		}
		sum, err := c.uploadImage(ctx, beside(docs[i].File, path))
		if errors.Is(err, fs.ErrNotExist) {
			return refused(docs[i].Locate([]fault.Field{{Path: "spec.artifact", Expected: "a file beside this one, or sha256:…", Got: fmt.Sprintf("%q, which does not exist", path)}}))
		}
		if err != nil {
			return fmt.Errorf("%s: upload %s: %w", docs[i].File, path, err)
		}
		spec["artifact"], _ = json.Marshal("sha256:" + sum) // a text always encodes
		if docs[i].Spec, err = json.Marshal(spec); err != nil {
			return err
		}
	}
	return nil
}

func beside(file, path string) string {
	if filepath.IsAbs(path) || file == "stdin" {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}

func (c *cli) uploadImage(ctx context.Context, path string) (sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return "", err
	}
	sum = hex.EncodeToString(h.Sum(nil))
	var known wire.Artifact
	err = c.call(ctx, http.MethodGet, "/v1/artifacts/"+sum, nil, &known)
	if p, ok := errors.AsType[*problem](err); err == nil || !ok || p.Status != http.StatusNotFound {
		return sum, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	body := io.NopCloser(io.LimitReader(f, size)) // the client would close the file
	res, err := c.send(ctx, http.MethodPost, "/v1/artifacts?filename="+url.QueryEscape(filepath.Base(path)), "application/octet-stream", body)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var a wire.Artifact
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		return "", err
	}
	if a.SHA256 != sum {
		return "", fmt.Errorf("the service received other bytes than were sent (%s, not %s)", a.SHA256, sum)
	}
	return sum, nil
}
