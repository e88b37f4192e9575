package declare

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"fettle.dev/fettle/internal/fleet"
)

// Schema is the JSON Schema (2020-12) of a kind's documents, for editors; "" is
// that of any kind.
func Schema(kind Kind) ([]byte, error) {
	if kind == "" {
		var all []*jsonschema.Schema
		defs := jsonschema.Definitions{}
		for _, k := range Kinds {
			s := schemaOf(k)
			maps.Copy(defs, s.Definitions)
			s.Definitions, s.Version, s.ID = nil, "", ""
			all = append(all, s)
		}
		return encode(&jsonschema.Schema{
			Version: jsonschema.Version, ID: "https://fettle.dev/schema/fettle.json", Title: "A declared document of Fettle", OneOf: all, Definitions: defs,
		})
	}
	if kind.New() == nil {
		_, err := ParseKind(string(kind))
		return nil, err
	}
	return encode(schemaOf(kind))
}

func encode(s *jsonschema.Schema) ([]byte, error) {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return append(b, '\n'), nil
}

func schemaOf(kind Kind) *jsonschema.Schema {
	r := &jsonschema.Reflector{
		Anonymous: true, ExpandedStruct: true,
		Namer: func(t reflect.Type) string {
			if p := t.PkgPath(); strings.HasSuffix(p, "/notify/template") {
				return "Template" + t.Name()
			} else if strings.HasSuffix(p, "/notify/ladder") {
				return "Ladder" + t.Name()
			} else if strings.HasSuffix(p, "internal/tip") && t.Name() != "Tip" {
				return "Tip" + t.Name()
			} else if strings.HasSuffix(p, "/campaign") || t.Name() == "Band" {
				return t.Name() + "Spec"
			}
			return t.Name()
		},
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if t == reflect.TypeFor[fleet.Duration]() {
				return &jsonschema.Schema{
					Type: "string", Description: "A length of time, as 90d, 36h, 10m or 1d12h; a day is 24 hours.",
					Pattern: `^[0-9]+(\.[0-9]+)?(w|d|h|m|s|ms)([0-9]+(\.[0-9]+)?(d|h|m|s|ms))*$`,
				}
			}
			return nil
		},
	}
	spec := r.ReflectFromType(reflect.TypeOf(kind.New()).Elem())
	defs := spec.Definitions
	spec.Definitions, spec.Version, spec.ID = nil, "", ""
	describe(reflect.TypeOf(kind.New()).Elem(), spec, defs, map[reflect.Type]bool{}, r.Namer)
	p := jsonschema.NewProperties()
	p.Set("apiVersion", &jsonschema.Schema{Const: APIVersion})
	p.Set("kind", &jsonschema.Schema{Const: string(kind)})
	names := jsonschema.NewProperties()
	names.Set("name", &jsonschema.Schema{Type: "string", Description: "Unique among its kind; a unit's id."})
	p.Set("metadata", &jsonschema.Schema{Type: "object", Properties: names, Required: []string{"name"}, AdditionalProperties: jsonschema.FalseSchema})
	p.Set("spec", spec)
	return &jsonschema.Schema{
		Version: jsonschema.Version, ID: jsonschema.ID("https://fettle.dev/schema/" + strings.ToLower(string(kind)) + ".json"),
		Title: "A declared " + string(kind) + " of Fettle", Type: "object", Properties: p,
		Required: []string{"apiVersion", "kind", "metadata", "spec"}, AdditionalProperties: jsonschema.FalseSchema, Definitions: defs,
	}
}

// describe takes descriptions and allowed values from the doc and enum tags
// that the operations' description is made from, too.
func describe(t reflect.Type, s *jsonschema.Schema, defs jsonschema.Definitions, done map[reflect.Type]bool, namer func(reflect.Type) string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || s == nil || s.Properties == nil || done[t] {
		return
	}
	done[t] = true
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		p, ok := s.Properties.Get(name)
		if !ok {
			continue
		}
		if d := f.Tag.Get("doc"); d != "" {
			p.Description = d
		}
		if e := f.Tag.Get("enum"); e != "" {
			for v := range strings.SplitSeq(e, ",") {
				p.Enum = append(p.Enum, v)
			}
		}
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice || inner.Kind() == reflect.Map {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			describe(inner, defs[namer(inner)], defs, done, namer)
		}
	}
}
