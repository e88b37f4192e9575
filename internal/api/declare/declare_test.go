package declare

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	santhosh "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

var rewrite = flag.Bool("update", false, "rewrite api/schema")

const schemas = "../../../api/schema"

const product = `# a comment
apiVersion: fettle.dev/v1
kind: Product
metadata:
  name: wall-charger
spec:
  title: Wall charger
  purposes:
    - {name: care, title: Care, description: To find faults., basis: consent}
  signals:
    - name: current
      type: number
      unit: A
      purposes: [care]
      retention: 90d
      description: Charging current.
    - name: plug_temperature
      type: number
      unit: Cel
      purposes: [care]
      retention: 90d
      description: Temperature of the plug.
`

func TestDocumentsDecode(t *testing.T) {
	t.Parallel()
	docs, wrong := ParseFile("p.yaml", []byte(product+"---\n# nothing\n---\n"+strings.Replace(product, "wall-charger", "other", 1)))
	require.Empty(t, wrong)
	require.Len(t, docs, 2)
	spec, fields := docs[0].Check()
	require.Empty(t, fields)
	p := spec.(*fleet.Product)
	require.Equal(t, "Wall charger", p.Title)
	require.Equal(t, "Cel", p.Signals[1].Unit)
	require.Equal(t, "other", docs[1].Metadata.Name)
	line, column := docs[1].Position("spec.signals[1].unit")
	require.Equal(t, []int{24 + 3 + 17, 13}, []int{line, column})
}

func TestWhatLacksIsNamed(t *testing.T) {
	t.Parallel()
	d := Document{APIVersion: "fettle.dev/v1", Kind: Campaign, Metadata: Metadata{Name: "fix"}, Spec: []byte(`{"kind": "service", "waves": ["first"]}`)}
	_, fields := d.Check()
	said := map[string]string{}
	for _, f := range fields {
		said[f.Path] = f.Expected
	}
	require.Equal(t, "a text for each key, as {en: …}", said["spec.title"])
	require.Contains(t, said["spec.waves[0]"], "fields, of name, ")
	require.Contains(t, said["spec.gate"], "fields, of ")
}

func TestEveryMistakeIsPlaced(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown field":    {"      unit: Cel\n", "      unti: Cel\n", `p.yaml:19:7: spec.signals[1].unti: expected one of the fields name, title, type, unit, purposes, retention, description, sources, every, texts, got "unti" (did you mean unit?)`},
		"wrong type":       {"  title: Wall charger", "  title: 7", `p.yaml:7:10: spec.title: expected a text, got 7: put it in quotes`},
		"not among values": {"basis: consent", "basis: consnet", `p.yaml:9:70: spec.purposes[0].basis: expected consent or necessary, got "consnet" (did you mean consent?)`},
		"missing":          {"  title: Wall charger\n", "", `p.yaml:6:1: spec.title: expected a text, got nothing`},
		"duration":         {"retention: 90d\n      description: Temp", "retention: ninety\n      description: Temp", `p.yaml:21:18: spec.signals[1].retention: expected a duration, as 90d, 36h or 10m, got "ninety"`},
		"kind":             {"kind: Product", "kind: Prodct", `p.yaml:3:7: kind: expected Product, Unit, Detector, Release, Campaign, Template, Ladder or Tip, got "Prodct" (did you mean Product?)`},
		"version":          {"fettle.dev/v1", "fettle.dev/v9", `p.yaml:2:13: apiVersion: expected fettle.dev/v1, got "fettle.dev/v9"`},
		"envelope":         {"metadata:\n", "metadata:\n  lable: x\n", `p.yaml:5:3: metadata.lable: expected one of the fields name, got "lable"`},
		"not finite":       {"unit: Cel", "unit: .nan", `p.yaml:19:13: spec.signals[1].unit: expected a finite number, got NaN`},
		"syntax":           {"  title: Wall charger", "  title: [Wall charger", `p.yaml:`},
		"twice":            {"  title: Wall charger\n", "  title: Wall charger\n  title: again\n", `p.yaml:8:3: expected YAML: mapping key "title" already defined at [7:3]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(product, c.from, c.to, 1)
			require.NotEqual(t, product, text)
			docs, wrong := ParseFile("p.yaml", []byte(text))
			if len(wrong) == 0 {
				_, fields := docs[0].Check()
				wrong = docs[0].Locate(fields)
			}
			require.Len(t, wrong, 1, "%v", wrong)
			require.Contains(t, wrong.Error(), c.want)
		})
	}
}

// What cannot be read as a document says so once, wherever it comes from.
func TestFilesThatAreNoDocuments(t *testing.T) {
	t.Parallel()
	laughs := "l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 9; i++ {
		laughs += fmt.Sprintf("l%d: &l%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d, ", i-1), 10), ", "))
	}
	for name, c := range map[string]struct{ text, want string }{
		"another encoding":   {"\xff\xfeh\x00i\x00", "f.yaml:1:1: expected YAML or JSON as text in UTF-8"},
		"a text":             {"hello", "f.yaml:1:1: expected a document with apiVersion, kind, metadata and spec"},
		"not finite":         {strings.Replace(product, "unit: Cel", "unit: .inf", 1), "f.yaml:19:13: spec.signals[1].unit: expected a finite number, got +Inf"},
		"aliases of aliases": {laughs, "f.yaml:1:1: expected at most 1000000 values in a document"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			docs, wrong := ParseFile("f.yaml", []byte(c.text))
			require.Empty(t, docs)
			require.Len(t, wrong, 1)
			require.Contains(t, wrong.Error(), c.want)
		})
	}
	docs, wrong := ParseFile("f.yaml", []byte("\ufeff"+product))
	require.Empty(t, wrong, "a byte order mark is none of the text")
	_, fields := docs[0].Check()
	require.Empty(t, fields)
}

// A mapping's mistakes are placed like all others, those that the room finds too.
func TestAMappingsMistakesArePlaced(t *testing.T) {
	t.Parallel()
	text := product + `  mappings:
    - name: shadow
      topic: $aws/things/{unit}/shadow/update
      time: {path: state/at, form: s}
      signals:
        - {signal: current, path: /state/reported/a, words: {LOW: low}}
        - {signal: currant, path: "{thing}"}
`
	docs, wrong := ParseFile("p.yaml", []byte(text))
	require.Empty(t, wrong)
	spec, fields := docs[0].Check()
	require.Empty(t, fields)
	p := spec.(*fleet.Product)
	p.Name = docs[0].Metadata.Name
	located := docs[0].Locate(fleet.ValidateProduct(*p))
	require.Len(t, located, 4, "%v", located)
	for i, want := range []string{
		"p.yaml:26:20: spec.mappings[0].time.path: expected a JSON Pointer",
		`p.yaml:28:67: spec.mappings[0].signals[0].words.LOW: expected a value of type number, got "low"`,
		`p.yaml:29:20: spec.mappings[0].signals[1].signal: expected one of the product's signals (current, plug_temperature), got "currant"`,
		`p.yaml:29:35: spec.mappings[0].signals[1].path: expected a level of the topic $aws/things/{unit}/shadow/update, got "{thing}"`,
	} {
		require.Contains(t, located[i:i+1].Error(), want)
	}
	_, fields = func() (any, []fault.Field) {
		docs, _ := ParseFile("p.yaml", []byte(strings.Replace(text, "form: s", "form: seconds", 1)))
		return docs[0].Check()
	}()
	require.Len(t, fields, 1)
	require.Contains(t, fields[0].String(), `spec.mappings[0].time.form: expected ms, s, us, ns or rfc3339, got "seconds"`)
}

func TestKindsByAnyWord(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"Detector", "detector", "detectors", "d", "D"} {
		k, err := ParseKind(word)
		require.NoError(t, err)
		require.Equal(t, Detector, k)
	}
	_, err := ParseKind("widget")
	require.ErrorContains(t, err, "expected product, unit, detector, release, campaign")
}

// The schemas in the repository are what the types say. Run with -update after a change.
func TestSchemasAreUpToDate(t *testing.T) {
	t.Parallel()
	for _, kind := range append([]Kind{""}, Kinds...) {
		name := "fettle"
		if kind != "" {
			name = strings.ToLower(string(kind))
		}
		got, err := Schema(kind)
		require.NoError(t, err)
		path := filepath.Join(schemas, name+".json")
		if *rewrite {
			require.NoError(t, os.MkdirAll(schemas, 0o755))
			require.NoError(t, os.WriteFile(path, got, 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "%s is out of date: go test ./internal/api/declare -update", path)
	}
}

func compiled(t *testing.T) *santhosh.Schema {
	t.Helper()
	raw, err := Schema("")
	require.NoError(t, err)
	doc, err := santhosh.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	c := santhosh.NewCompiler()
	require.NoError(t, c.AddResource("fettle.json", doc))
	s, err := c.Compile("fettle.json")
	require.NoError(t, err)
	return s
}

func validate(t *testing.T, s *santhosh.Schema, l *Located) error {
	t.Helper()
	raw, err := json.Marshal(l.Document)
	require.NoError(t, err)
	v, err := santhosh.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	return s.Validate(v)
}

func TestSchemaTellsRightFromWrong(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	docs, wrong := ParseFile("p.yaml", []byte(product))
	require.Empty(t, wrong)
	require.NoError(t, validate(t, s, &docs[0]))
	for _, bad := range []string{
		strings.Replace(product, "basis: consent", "basis: maybe", 1),
		strings.Replace(product, "title: Wall charger", "titel: Wall charger", 1),
		strings.Replace(product, "retention: 90d", "retention: long", 1),
	} {
		docs, wrong := ParseFile("p.yaml", []byte(bad))
		require.Empty(t, wrong)
		require.Error(t, validate(t, s, &docs[0]))
	}
}

// Every declared file that the repository shows people is right by schema and
// by decoder.
func TestExamplesInTheRepository(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	for _, root := range []string{"../../../docs", "../../../examples", "../../../e2e"} {
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".yaml") {
				return nil //nolint:nilerr // a folder that is not there has no examples
			}
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			if !bytes.Contains(data, []byte(APIVersion)) {
				return nil
			}
			docs, wrong := ParseFile(path, data)
			require.Empty(t, wrong)
			for i := range docs {
				_, fields := docs[i].Check()
				require.Empty(t, docs[i].Locate(fields))
				require.NoError(t, validate(t, s, &docs[i]), path)
			}
			return nil
		})
		if !os.IsNotExist(err) {
			require.NoError(t, err)
		}
	}
}

// Whatever a file holds, it is read or refused with a place, never a crash;
// what is read decodes the same from JSON.
func FuzzParseFile(f *testing.F) {
	f.Add([]byte(product))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("- 1\n- {a: b}\n---\n~"))
	f.Add([]byte(`{"apiVersion":"fettle.dev/v1","kind":"Unit","metadata":{"name":"u"},"spec":{"product":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, wrong := ParseFile("f.yaml", data)
		for _, m := range wrong {
			require.Positive(t, m.Line)
			require.NotEmpty(t, m.Expected)
		}
		for i := range docs {
			_, fields := docs[i].Check()
			for _, m := range docs[i].Locate(fields) {
				require.Positive(t, m.Line)
			}
		}
	})
}

// The decoder goes on after mistakes and always ends, and agrees with YAML.
func FuzzDecode(f *testing.F) {
	var v any
	require.NoError(f, yaml.Unmarshal([]byte(product), &v))
	raw, err := json.Marshal(v)
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte(`{"signals":[{"name":null}],"purposes":{},"sampleGap":"1d12h"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, k := range Kinds {
			spec := k.New()
			fields := Decode(data, "spec", spec)
			require.LessOrEqual(t, len(fields), maxMistakes)
			if len(fields) > 0 {
				continue
			}
			again, err := json.Marshal(spec)
			require.NoError(t, err)
			require.Empty(t, Decode(again, "spec", k.New()))
		}
	})
}
