// Package ownerapi describes the owners' part of the API by itself, for makers
// who build it into their own app: as OpenAPI 3.1, and as a page to read.
package ownerapi

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/goccy/go-yaml"
)

const prefix = "/owner/v1/"

const about = "Everything that the owners' portal shows and does, for a maker's own app. An owner makes a token for the app in the portal " +
	"(Account, Apps), for all of their units or some, to read or also to act; it is sent as `Authorization: Bearer feo_…`. " +
	"Operations that name only the owner's session need the owner in a browser. Lists are paged: give `next` as `after`. " +
	"Words come in the language of `Accept-Language` where the maker has words in it. Times are RFC 3339 in UTC. " +
	"Refusals are RFC 9457 problems whose `errors` say where. A unit that is not the owner's is not found."

type object = map[string]any

// parameters that every operation names alike.
var parameters = map[string]string{
	"id":      "What it is about; of a unit, its id as `me` lists it.",
	"unit":    "Only of this unit.",
	"finding": "Id of the finding.",
	"purpose": "Name of the purpose.",
}

// Describe takes the owners' operations out of the description of the whole
// API, with the schemas that they use and no others.
func Describe(api *huma.OpenAPI) (object, error) {
	raw, err := json.Marshal(api)
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	var read object
	if err := json.Unmarshal(raw, &read); err != nil {
		return nil, fmt.Errorf("describe the owners' API: %w", err)
	}
	doc := whole(read).(object)
	paths, kept := doc["paths"].(object), object{}
	for path, item := range paths {
		if strings.HasPrefix(path, prefix) {
			complete(item.(object))
			kept[path] = item
		}
	}
	components, _ := doc["components"].(object)
	all, _ := components["schemas"].(object)
	schemas := object{}
	var follow func(v any)
	follow = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				follow(e)
			}
		case object:
			if ref, _ := v["$ref"].(string); ref != "" {
				name := strings.TrimPrefix(ref, "#/components/schemas/")
				if _, known := schemas[name]; !known {
					schemas[name] = all[name]
					follow(all[name])
				}
			}
			for _, e := range v {
				follow(e)
			}
		}
	}
	follow(kept)
	ways, _ := components["securitySchemes"].(object)
	return object{
		"openapi": "3.1.0",
		"info":    object{"title": "Fettle for owners", "version": "1", "description": about},
		"servers": []any{object{"url": "/", "description": "The service that the portal is on."}},
		"paths":   kept,
		"components": object{
			"schemas":         schemas,
			"securitySchemes": object{"app": ways["app"], "owner": ways["owner"]},
		},
	}, nil
}

// whole makes integers of the numbers that are: JSON knows no other kind, YAML does.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	case object:
		for k := range v {
			v[k] = whole(v[k])
		}
	}
	return v
}

// complete says what an operation leaves to its summary.
func complete(item object) {
	for _, op := range item {
		op, ok := op.(object)
		if !ok {
			continue
		}
		if d, _ := op["description"].(string); d == "" {
			op["description"] = fmt.Sprint(op["summary"]) + "."
		}
		list, _ := op["parameters"].([]any)
		for _, p := range list {
			p, ok := p.(object)
			if !ok || p["description"] != nil {
				continue
			}
			if words, ok := parameters[fmt.Sprint(p["name"])]; ok {
				p["description"] = words
			} else {
				p["description"] = "Name of the " + fmt.Sprint(p["name"]) + "."
			}
		}
	}
}

// YAML is the description as it is served and kept in the repository.
func YAML(api *huma.OpenAPI) ([]byte, error) {
	doc, err := Describe(api)
	if err != nil {
		return nil, err
	}
	return yaml.MarshalWithOptions(doc, yaml.UseLiteralStyleIfMultiline(true), yaml.IndentSequence(true))
}

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

type operation struct {
	Method, Path, Summary, Doc, ID string
	Session                        bool // no app's token opens it
	Parameters                     []parameter
}

type parameter struct{ Name, In, Doc string }

// operations lists what the page shows, by path.
func operations(doc object) (out []operation) {
	paths := doc["paths"].(object)
	for path, item := range paths {
		for method, op := range item.(object) {
			op, ok := op.(object)
			if !ok {
				continue
			}
			o := operation{
				Method: strings.ToUpper(method), Path: path, ID: fmt.Sprint(op["operationId"]),
				Summary: fmt.Sprint(op["summary"]), Doc: fmt.Sprint(op["description"]), Session: true,
			}
			if o.Doc == o.Summary+"." {
				o.Doc = ""
			}
			ways, _ := op["security"].([]any)
			o.Session = len(ways) > 0 && !slices.ContainsFunc(ways, func(w any) bool { return w.(object)["app"] != nil })
			list, _ := op["parameters"].([]any)
			for _, p := range list {
				if p, ok := p.(object); ok {
					o.Parameters = append(o.Parameters, parameter{fmt.Sprint(p["name"]), fmt.Sprint(p["in"]), fmt.Sprint(p["description"])})
				}
			}
			out = append(out, o)
		}
	}
	sort.Slice(out, func(i, k int) bool {
		return out[i].Path+out[i].Method < out[k].Path+out[k].Method
	})
	return out
}

// Register serves the description at /owner/v1/openapi.yaml and openapi.json,
// and the page at /owner/v1/, to anybody: it says nothing of anybody. It is
// made when it is first asked for, after all operations are there.
func Register(mux *http.ServeMux, api huma.API) {
	made := sync.OnceValues(func() (files map[string][]byte, err error) {
		doc, err := Describe(api.OpenAPI())
		if err != nil {
			return nil, err
		}
		files = map[string][]byte{}
		if files["yaml"], err = YAML(api.OpenAPI()); err != nil {
			return nil, err
		}
		if files["json"], err = json.Marshal(doc); err != nil {
			return nil, err
		}
		var b strings.Builder
		err = page.Execute(&b, struct {
			About      string
			Operations []operation
		}{about, operations(doc)})
		files["html"] = []byte(b.String())
		return files, err
	})
	serve := func(pattern, kind, contentType string) {
		mux.HandleFunc("GET "+prefix+pattern, func(w http.ResponseWriter, _ *http.Request) {
			files, err := made()
			if err != nil {
				http.Error(w, "the description could not be made", http.StatusInternalServerError)
				return
			}
			h := w.Header()
			h.Set("Content-Type", contentType)
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Cache-Control", "no-cache")
			h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
			_, _ = w.Write(files[kind])
		})
	}
	serve("openapi.yaml", "yaml", "application/yaml")
	serve("openapi.json", "json", "application/openapi+json")
	serve("{$}", "html", "text/html; charset=utf-8")
}
