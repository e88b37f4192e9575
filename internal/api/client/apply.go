package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
)

// Apply uploads the images that Releases name by path and applies documents,
// or says what that would change. Mistakes were found before, in reading; those
// of the documents and the service's refusals are told by their places in the
// files.
func (c *Client) Apply(ctx context.Context, docs []declare.Located, mistakes declare.MistakesError, dryRun bool) (*wire.Applied, error) {
	for i := range docs {
		_, fields := docs[i].Check()
		mistakes = append(mistakes, docs[i].Locate(fields)...)
	}
	if len(mistakes) > 0 {
		return nil, refused(mistakes)
	}
	if err := c.uploadImages(ctx, docs); err != nil {
		return nil, err
	}
	in := wire.Apply{DryRun: dryRun}
	for _, d := range docs {
		in.Documents = append(in.Documents, wire.Document{APIVersion: d.APIVersion, Kind: d.Kind, Metadata: d.Metadata, Spec: wire.Spec(d.Spec)})
	}
	var out wire.Applied
	err := c.Call(ctx, http.MethodPost, "/v1/apply", in, &out)
	if p, ok := errors.AsType[*ProblemError](err); ok && p.Status == http.StatusUnprocessableEntity && len(p.Errors) > 0 {
		return nil, refused(locate(docs, p))
	}
	if err != nil {
		return nil, err
	}
	return &out, nil
}

func refused(m declare.MistakesError) error {
	if len(m) == 1 {
		return fmt.Errorf("nothing was changed, because of a mistake:\n%w", m)
	}
	return fmt.Errorf("nothing was changed, because of %d mistakes:\n%w", len(m), m)
}

// locate finds the places of the service's refusals in the files.
func locate(docs []declare.Located, p *ProblemError) declare.MistakesError {
	var out declare.MistakesError
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

// uploadImages uploads the images that Releases name by path, and puts their
// hashes in the paths' places.
func (c *Client) uploadImages(ctx context.Context, docs []declare.Located) error {
	for i := range docs {
		if docs[i].Kind != declare.Release {
			continue
		}
		var spec map[string]any
		if err := json.Unmarshal(docs[i].Spec, &spec); err != nil {
			return err
		}
		changed, err := c.uploadImage(ctx, &docs[i], spec, "spec.")
		if err != nil {
			return err
		}
		parts, _ := spec["parts"].([]any)
		for j, p := range parts {
			part, _ := p.(map[string]any)
			more, err := c.uploadImage(ctx, &docs[i], part, fmt.Sprintf("spec.parts[%d].", j))
			if err != nil {
				return err
			}
			changed = changed || more
		}
		if !changed {
			continue
		}
		if docs[i].Spec, err = json.Marshal(spec); err != nil {
			return err
		}
	}
	return nil
}

// uploadImage uploads the image that of.artifact names by path; at is where of
// stands in the document.
func (c *Client) uploadImage(ctx context.Context, doc *declare.Located, of map[string]any, at string) (changed bool, err error) {
	path, _ := of["artifact"].(string)
	if path == "" || strings.HasPrefix(path, "sha256:") {
		return false, nil
	}
	sum, err := c.Upload(ctx, beside(doc.File, path))
	if errors.Is(err, fs.ErrNotExist) {
		return false, refused(doc.Locate([]fault.Field{{Path: at + "artifact", Expected: "a file beside this one, or sha256:…", Got: fmt.Sprintf("%q, which does not exist", path)}}))
	}
	if err != nil {
		return false, fmt.Errorf("%s: upload %s: %w", doc.File, path, err)
	}
	of["artifact"] = "sha256:" + sum
	if name, _ := of["filename"].(string); name == "" {
		of["filename"] = filepath.Base(path)
	}
	return true, nil
}

func beside(file, path string) string {
	if filepath.IsAbs(path) || file == "stdin" {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
