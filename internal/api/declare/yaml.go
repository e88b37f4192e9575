package declare

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"fettle.dev/fettle/internal/fault"
)

// Located is a document and the place where it stands.
type Located struct {
	Document
	File  string
	root  ast.Node
	above int // lines of the file above the document's part

	readable bool // the envelope at least; what is not says nothing more about itself
}

// Mistake is what is wrong at a place of a file.
type Mistake struct {
	File         string
	Line, Column int
	fault.Field
}

func (m Mistake) String() string {
	where := fmt.Sprintf("%s:%d:%d: ", m.File, m.Line, m.Column)
	if m.Path == "" {
		return where + "expected " + m.Expected
	}
	return where + m.Field.String()
}

// MistakesError is all that is wrong with files.
type MistakesError []Mistake

func (m MistakesError) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].String()
	}
	return strings.Join(lines, "\n")
}

// ParseFile reads the documents of a YAML or JSON file, several where they are
// parted by ---. Empty documents are left out.
func ParseFile(name string, data []byte) (docs []Located, mistakes MistakesError) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // a byte order mark, as some editors write it
	if !utf8.Valid(data) {
		return nil, MistakesError{{File: name, Line: 1, Column: 1, Field: fault.Field{Expected: "YAML or JSON as text in UTF-8"}}}
	}
	for _, p := range parts(string(data)) {
		d, wrong := parsePart(name, p)
		for i := range wrong {
			wrong[i].Line += p.above
		}
		docs, mistakes = append(docs, d...), append(mistakes, wrong...)
	}
	return docs, mistakes
}

type part struct {
	text  string
	above int
}

// parts splits a file at its document markers, which YAML allows nowhere else
// at the beginning of a line. The parser would do it, too, but it stops at the
// first document that is empty.
func parts(text string) []part {
	var out []part
	var b strings.Builder
	above := 0
	for n, line := range strings.SplitAfter(text, "\n") {
		bare := strings.TrimRight(line, " \t\r\n")
		marker := bare == "---" || strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "---\t")
		if !marker && bare != "..." {
			b.WriteString(line)
			continue
		}
		out = append(out, part{b.String(), above})
		b.Reset()
		above = n
		b.WriteString("   " + line[3:])
	}
	return append(out, part{b.String(), above})
}

func parsePart(name string, p part) (docs []Located, mistakes MistakesError) {
	if strings.TrimSpace(p.text) == "" {
		return nil, nil
	}
	defer func() {
		// The parser is not ours: whatever it stumbles over is a mistake in the
		// file, never a crash.
		if r := recover(); r != nil {
			docs, mistakes = nil, MistakesError{{File: name, Line: 1, Column: 1, Field: fault.Field{Expected: fmt.Sprintf("YAML that can be read (%v)", r)}}}
		}
	}()
	file, err := parser.ParseBytes([]byte(p.text), 0)
	if err != nil {
		return nil, MistakesError{syntax(name, err)}
	}
	for _, d := range file.Docs {
		if d.Body == nil || d.Body.Type() == ast.NullType || d.Body.Type() == ast.CommentType {
			continue
		}
		doc, wrong := located(name, d.Body)
		doc.above = p.above
		if mistakes = append(mistakes, wrong...); doc.readable {
			docs = append(docs, doc)
		}
	}
	return docs, mistakes
}

func syntax(name string, err error) Mistake {
	m := Mistake{File: name, Line: 1, Column: 1, Field: fault.Field{Expected: "YAML: " + firstLine(err.Error())}}
	if e, ok := errors.AsType[yaml.Error](err); ok {
		m.Expected = "YAML: " + e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			m.Line, m.Column = t.Position.Line, t.Position.Column
		}
	}
	return m
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

func located(name string, body ast.Node) (Located, MistakesError) {
	l := Located{File: name, root: body}
	var v any
	if err := yaml.NodeToValue(body, &v); err != nil {
		return l, MistakesError{syntax(name, err)}
	}
	left := maxValues
	v, wrong := plain("", v, &left)
	if left < 0 {
		return l, l.Locate([]fault.Field{{Expected: fmt.Sprintf("at most %d values in a document, those that aliases stand for among them", maxValues)}})
	}
	if len(wrong) > 0 {
		return l, l.Locate(wrong)
	}
	top, ok := v.(map[string]any)
	if !ok {
		return l, l.Locate([]fault.Field{{Path: "", Expected: "a document with apiVersion, kind, metadata and spec", Got: show(v)}})
	}
	l.readable = true
	if spec, there := top["spec"]; there {
		l.Spec, _ = json.Marshal(spec) // plain values always encode
	}
	delete(top, "spec")
	raw, _ := json.Marshal(top) // as above
	var envelope struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Metadata   Metadata `json:"metadata"`
		Spec       any      `json:"spec,omitempty"` // taken out above; named as what may stand there
	}
	fields := Decode(raw, "", &envelope)
	for i := range fields {
		fields[i].Path = strings.TrimPrefix(fields[i].Path, ".")
	}
	l.APIVersion, l.Kind, l.Metadata = envelope.APIVersion, Kind(envelope.Kind), envelope.Metadata
	if len(fields) > 0 {
		return l, l.Locate(fields)
	}
	return l, nil
}

// maxValues bounds a document: aliases of aliases grow beyond any memory.
const maxValues = 1_000_000

// plain turns what YAML gives into what JSON can say. It stops when left, the
// number of values it may still look at, is below 0.
func plain(path string, v any, left *int) (any, []fault.Field) {
	if *left--; *left < 0 {
		return nil, nil
	}
	var wrong []fault.Field
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			p, w := plain(join(path, k), e, left)
			x[k], wrong = p, append(wrong, w...)
		}
		return x, wrong
	case map[any]any:
		out := make(map[string]any, len(x))
		for k, e := range x {
			key := fmt.Sprint(k)
			p, w := plain(join(path, key), e, left)
			out[key], wrong = p, append(wrong, w...)
		}
		return out, wrong
	case []any:
		for i, e := range x {
			p, w := plain(path+"["+strconv.Itoa(i)+"]", e, left)
			x[i], wrong = p, append(wrong, w...)
		}
		return x, wrong
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, []fault.Field{{Path: path, Expected: "a finite number", Got: fmt.Sprint(x)}}
		}
		return x, nil
	case nil, string, bool, int, int64, uint64:
		return x, nil
	default:
		return fmt.Sprint(x), nil
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Locate says where mistakes of the document stand in its file. A field that
// is missing is placed where its object begins.
func (l *Located) Locate(fields []fault.Field) MistakesError {
	out := make(MistakesError, 0, len(fields))
	for _, f := range fields {
		line, column := l.position(f.Path, strings.HasPrefix(f.Expected, unknownField))
		out = append(out, Mistake{File: l.File, Line: line, Column: column, Field: f})
	}
	slices.SortStableFunc(out, func(a, b Mistake) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	return out
}

// Position is the line and column of a path as "spec.signals[2].unit".
func (l *Located) Position(path string) (line, column int) { return l.position(path, false) }

func (l *Located) position(path string, name bool) (line, column int) {
	node := l.root
	line, column = start(node)
	for path != "" {
		child, key, rest := step(node, path)
		if child == nil {
			break
		}
		node, path = child, rest
		switch {
		case name && path == "", node.Type() == ast.MappingType || node.Type() == ast.SequenceType:
			line, column = start(key)
		default:
			line, column = start(node)
		}
	}
	return line + l.above, column
}

// step goes one key or index down. Keys may hold dots: the longest that fits is taken.
func step(node ast.Node, path string) (child, key ast.Node, rest string) {
	switch n := unwrap(node).(type) {
	case *ast.MappingNode:
		return stepMapping(n.Values, path)
	case *ast.MappingValueNode:
		return stepMapping([]*ast.MappingValueNode{n}, path)
	case *ast.SequenceNode:
		index, after, ok := strings.Cut(strings.TrimPrefix(path, "["), "]")
		i, err := strconv.Atoi(index)
		if !ok || !strings.HasPrefix(path, "[") || err != nil || i < 0 || i >= len(n.Values) {
			return nil, nil, ""
		}
		return unwrap(n.Values[i]), n.Values[i], strings.TrimPrefix(after, ".")
	default:
		return nil, nil, ""
	}
}

func stepMapping(values []*ast.MappingValueNode, path string) (child, key ast.Node, rest string) {
	best := -1
	for _, v := range values {
		name := keyText(v.Key)
		after, ok := strings.CutPrefix(path, name)
		if !ok || len(name) <= best || after != "" && after[0] != '.' && after[0] != '[' {
			continue
		}
		best = len(name)
		child, key, rest = unwrap(v.Value), v.Key, strings.TrimPrefix(after, ".")
	}
	return child, key, rest
}

func keyText(k ast.MapKeyNode) string {
	if t := k.GetToken(); t != nil {
		return t.Value
	}
	return k.String()
}

func unwrap(n ast.Node) ast.Node {
	for range maxDepth {
		switch x := n.(type) {
		case *ast.AnchorNode:
			n = x.Value
		case *ast.TagNode:
			n = x.Value
		default:
			return n
		}
	}
	return n
}

func start(n ast.Node) (line, column int) {
	switch x := unwrap(n).(type) {
	case nil:
		return 1, 1
	case *ast.MappingNode:
		if len(x.Values) > 0 {
			return start(x.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return start(x.Key)
	default:
		if t := x.GetToken(); t != nil && t.Position != nil {
			return t.Position.Line, t.Position.Column
		}
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line, t.Position.Column
	}
	return 1, 1
}
