package template

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template/parse"

	"golang.org/x/net/html"
	"golang.org/x/text/language"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// maxText bounds one text.
const maxText = 64 << 10

var valueName = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,62}$`)

// Validate finds every mistake in a template, each with its path below spec.
func (s *Spec) Validate() []fault.Field {
	var out []fault.Field
	add := func(path, expected, got string) {
		if got != "" {
			got = fmt.Sprintf("%q", clip(got))
		}
		out = append(out, fault.Field{Path: "spec." + path, Expected: expected, Got: got})
	}
	if len(s.Texts) == 0 {
		add("languages", "words in at least one language", "")
	}
	if s.Fallback != "" && len(s.Texts) > 0 && !slices.Contains(s.Languages(), s.Fallback) {
		add("fallback", "one of the template's languages, "+strings.Join(s.Languages(), ", "), s.Fallback)
	}
	s.checkValues(add)
	names := make([]string, 0, 32)
	for _, v := range s.placeholders() {
		names = append(names, v.Name)
	}
	for _, tag := range s.Languages() {
		l, at := s.Texts[tag], "languages."+tag
		if t, err := language.Parse(tag); err != nil || t.String() != tag {
			want := "a language tag (BCP 47), as en or de-AT"
			if err == nil {
				want = t.String()
			}
			add(at, want, tag)
		}
		parts := l.parts()
		if len(parts) == 0 && l.Facts == nil {
			add(at, "words of at least one channel (mail, sms, voice, push, letter, call), or facts of a recall notice", "")
		}
		if l.Facts != nil && s.Replaces() != RecallNotice && len(parts) == 0 && !s.About().Protects() {
			add(at+".facts", "words of a channel: facts alone make a recall notice, and this template is of kind "+string(s.About()), "")
		}
		for _, p := range parts {
			path := at + "." + p.path
			switch {
			case strings.TrimSpace(p.text) == "" && !p.optional:
				add(path, "words", "")
				continue
			case len(p.text) > maxText:
				add(path, "at most 64 KiB", "")
				continue
			}
			for _, f := range check(p.text, names) {
				add(path, f.Expected, f.Got)
			}
			if p.html {
				checkHTML(p.text, func(expected, got string) { add(path, expected, got) })
			}
		}
	}
	return out
}

func (s *Spec) checkValues(add func(path, expected, got string)) {
	taken := map[string]bool{}
	for _, v := range everywhere {
		taken[v.Name] = true
	}
	for _, v := range texts[s.Replaces()].Values {
		taken[v.Name] = true
	}
	for i, v := range s.Values {
		at := fmt.Sprintf("values[%d]", i)
		if !valueName.MatchString(v.Name) {
			add(at+".name", "a name of letters and digits that begins with a capital, as PeakTemperature", v.Name)
		}
		if taken[v.Name] {
			add(at+".name", "a name that is not taken yet", v.Name)
		}
		taken[v.Name] = true
		switch {
		case v.Type == Measure:
			if err := fleet.CheckUnit(v.Unit); err != nil {
				add(at+".unit", "a UCUM unit: "+err.Error(), v.Unit)
			}
		case v.Unit != "":
			add(at+".unit", "nothing: only a quantity has a unit", v.Unit)
		}
		if _, err := v.parse(); err != nil {
			add(at+".sample", err.Error(), v.Sample)
		}
	}
}

// part is one text of a language.
type part struct {
	path     string
	text     string
	html     bool
	optional bool
}

func (l *LangTexts) parts() []part {
	var out []part
	if m := l.Mail; m != nil {
		out = append(out, part{path: "mail.subject", text: m.Subject}, part{path: "mail.text", text: m.Text}, part{path: "mail.html", text: m.HTML, html: true, optional: true})
	}
	if p := l.SMS; p != nil {
		out = append(out, part{path: "sms.text", text: p.Text})
	}
	if p := l.Voice; p != nil {
		out = append(out, part{path: "voice.text", text: p.Text})
	}
	if p := l.Push; p != nil {
		out = append(out, part{path: "push.title", text: p.Title}, part{path: "push.text", text: p.Text})
	}
	if p := l.Letter; p != nil {
		out = append(out, part{path: "letter.subject", text: p.Subject}, part{path: "letter.text", text: p.Text})
	}
	if p := l.Call; p != nil {
		out = append(out, part{path: "call.script", text: p.Script})
	}
	return out
}

// functions are what texts may call.
var functions = []string{"plural", "join", "list"}

// check parses a text and finds what it may not hold: placeholders that are not
// known, and anything but if, with, range and the functions. Where in the text
// a mistake stands is said by line.
func check(text string, names []string) []fault.Field {
	tree := parse.New("")
	tree.Mode = parse.SkipFuncCheck
	set := map[string]*parse.Tree{}
	if _, err := tree.Parse(text, "{{", "}}", set, nil); err != nil {
		return []fault.Field{{Expected: "a text whose {{ and }} are right: " + trimError(err.Error())}}
	}
	c := &checker{text: text, names: names}
	if len(set) > 1 {
		c.bad(0, "no {{define}} or {{block}}", "")
	}
	if tree.Root != nil {
		c.list(tree.Root, false)
	}
	return c.out
}

func trimError(s string) string {
	s = strings.TrimPrefix(s, "template: ")
	if i := strings.Index(s, ":"); i >= 0 {
		return "line " + strings.TrimPrefix(s[i+1:], " ")
	}
	return s
}

type checker struct {
	text  string
	names []string
	out   []fault.Field
}

func (c *checker) bad(pos parse.Pos, expected, got string) {
	line := 1 + strings.Count(c.text[:min(int(pos), len(c.text))], "\n")
	if line > 1 || strings.Contains(c.text, "\n") {
		expected += fmt.Sprintf(" (line %d of the text)", line)
	}
	c.out = append(c.out, fault.Field{Expected: expected, Got: got})
}

func (c *checker) list(l *parse.ListNode, dot bool) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.TextNode, *parse.CommentNode:
		case *parse.ActionNode:
			c.pipe(n.Pipe, dot)
		case *parse.IfNode:
			c.branch(&n.BranchNode, dot, dot)
		case *parse.WithNode:
			c.branch(&n.BranchNode, dot, true)
		case *parse.RangeNode:
			c.branch(&n.BranchNode, dot, true)
		default:
			c.bad(n.Position(), "placeholders, if, with and range alone", clip(n.String()))
		}
	}
}

func (c *checker) branch(n *parse.BranchNode, dot, inside bool) {
	if len(n.Pipe.Decl) > 0 {
		c.bad(n.Position(), "no variables", clip(n.Pipe.String()))
	}
	if n.NodeType == parse.NodeRange && !onlyField(n.Pipe) {
		c.bad(n.Position(), "range over a placeholder, as {{range .Remedies}}", clip(n.Pipe.String()))
	}
	c.pipe(n.Pipe, dot)
	c.list(n.List, inside)
	c.list(n.ElseList, dot)
}

func onlyField(p *parse.PipeNode) bool {
	if len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 {
		return false
	}
	_, ok := p.Cmds[0].Args[0].(*parse.FieldNode)
	return ok
}

func (c *checker) pipe(p *parse.PipeNode, dot bool) {
	if p == nil {
		return
	}
	if len(p.Decl) > 0 {
		c.bad(p.Position(), "no variables", clip(p.String()))
	}
	for _, cmd := range p.Cmds {
		for i, arg := range cmd.Args {
			switch a := arg.(type) {
			case *parse.FieldNode:
				c.field(a)
			case *parse.DotNode:
				if !dot {
					c.bad(a.Position(), "a placeholder, as {{.Product}}", "{{.}}")
				}
			case *parse.StringNode:
			case *parse.IdentifierNode:
				if i > 0 || !slices.Contains(functions, a.Ident) {
					c.bad(a.Position(), "a placeholder, as {{.Product}}, or one of the functions "+strings.Join(functions, ", "), clip(a.Ident))
				}
			default:
				c.bad(arg.Position(), "a placeholder, as {{.Product}}, or a text in quotes", clip(arg.String()))
			}
		}
	}
}

func (c *checker) field(f *parse.FieldNode) {
	name := strings.Join(f.Ident, ".")
	if len(f.Ident) == 1 && slices.Contains(c.names, name) {
		return
	}
	known := slices.Sorted(slices.Values(c.names))
	c.bad(f.Position(), "one of the placeholders "+strings.Join(known, ", "), "{{."+clip(name)+"}}"+near(name, known))
}

// near suggests the known name that a mistyped one was probably meant to be.
func near(got string, known []string) string {
	for _, k := range known {
		if strings.EqualFold(k, got) || len(got) > 3 && (strings.HasPrefix(strings.ToLower(k), strings.ToLower(got)) || strings.HasPrefix(strings.ToLower(got), strings.ToLower(k)) && len(k) > 3) {
			return " (did you mean {{." + k + "}}?)"
		}
	}
	if best := fault.Nearest(got, known); best != "" {
		return " (did you mean {{." + best + "}}?)"
	}
	return ""
}

func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

// allowed are the elements and attributes of a mail's HTML part. What runs,
// loads or frames something else is not among them.
var allowed = map[string][]string{
	"p": {}, "br": {}, "hr": {}, "h1": {}, "h2": {}, "h3": {}, "ul": {}, "ol": {}, "li": {}, "a": {"href"}, "strong": {}, "b": {}, "em": {}, "i": {}, "u": {}, "small": {},
	"blockquote": {}, "div": {}, "span": {}, "bdi": {}, "table": {}, "thead": {}, "tbody": {}, "tr": {}, "th": {"scope", "colspan", "rowspan"}, "td": {"colspan", "rowspan"}, "img": {"src", "alt", "width", "height"},
}

func checkHTML(text string, add func(expected, got string)) {
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			attributes, ok := allowed[t.Data]
			if !ok {
				add("elements of a mail: p, br, h1 to h3, ul, ol, li, a, strong, em, table and img", "<"+t.Data+">")
				continue
			}
			for _, a := range t.Attr {
				switch {
				case !slices.Contains(attributes, a.Key) && a.Key != "dir" && a.Key != "lang":
					add("no attribute "+a.Key+" of <"+t.Data+">", a.Key)
				case (a.Key == "href" || a.Key == "src") && !strings.HasPrefix(a.Val, "https://") && !strings.HasPrefix(a.Val, "{{") && !strings.HasPrefix(a.Val, "mailto:") && !strings.HasPrefix(a.Val, "tel:"):
					add("an https address, or a placeholder", a.Val)
				}
			}
		case html.TextToken, html.EndTagToken:
		case html.CommentToken, html.DoctypeToken:
			add("no comments or document types", clip(string(z.Raw())))
		}
	}
}
