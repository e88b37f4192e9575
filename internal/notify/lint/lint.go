// Package lint looks at safety notices for what Regulation (EU) 2023/988 (GPSR)
// art. 36(2) wants to stand in them, and for words that play a danger down. It
// reads words, it does not understand them, and it is no legal advice: a notice
// without a finding may still be wrong.
package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify/template"
)

// Disclaimer stands with every answer.
const Disclaimer = "This looks for words and for what is left out. It is not legal advice: a notice without a finding may still not meet the law."

// Severity of a finding.
type Severity string

// An error keeps a recall or safety template from being applied.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Rule names what was looked for.
type Rule string

// The rules.
const (
	RuleHeadline Rule = "headline"
	RuleProduct  Rule = "product"
	RulePicture  Rule = "picture"
	RuleIdentify Rule = "identification"
	RuleSold     Rule = "sold"
	RuleHazard   Rule = "hazard"
	RuleSoftener Rule = "softener"
	RuleAction   Rule = "action"
	RuleRemedies Rule = "remedies"
	RuleContact  Rule = "contact"
	RuleShare    Rule = "share"
	RuleLanguage Rule = "language"
)

// Finding is a mistake in a notice.
type Finding struct {
	Severity Severity `json:"severity" enum:"error,warning"`
	Rule     Rule     `json:"rule"`
	Article  string   `json:"article" doc:"Of Regulation (EU) 2023/988, where it stands."`
	Path     string   `json:"path" doc:"Where in the specification, as spec.languages.en.mail.text."`
	Line     int      `json:"line,omitempty" doc:"Line of that text, from 1."`
	Language string   `json:"language"`
	Got      string   `json:"got,omitempty" doc:"What stands there."`
	Say      string   `json:"say" doc:"What is wrong, and what to write."`
}

// String tells a finding in a line.
func (f Finding) String() string {
	at := f.Path
	if f.Line > 0 {
		at += fmt.Sprintf(", line %d", f.Line)
	}
	return fmt.Sprintf("%s: %s (%s)", at, f.Say, f.Article)
}

// Field is a finding as a mistake of a declared document.
func (f Finding) Field() fault.Field {
	say := f.Say
	if f.Line > 0 {
		say += fmt.Sprintf(" (line %d of the text)", f.Line)
	}
	got := ""
	if f.Got != "" {
		got = fmt.Sprintf("%q", f.Got)
	}
	return fault.Field{Path: f.Path, Expected: "what " + f.Article + " wants: " + say, Got: got}
}

const regulation = "GPSR art. "

// Template looks at a declared template. What is of kind recall is looked at
// in full; of kind safety for softeners and for what to do; of any other kind
// for softeners where it speaks of a recall.
func Template(s *template.Spec) []Finding {
	kind := s.About()
	var out []Finding
	for _, tag := range s.Languages() {
		l := s.Texts[tag]
		t, known := tongueOf(tag)
		n := &notice{tongue: t, tag: tag, kind: kind, path: "spec.languages." + tag, facts: l.Facts, severity: Warning}
		if kind.Protects() {
			n.severity = Error
		}
		if !known {
			if kind.Protects() {
				n.add(RuleLanguage, "36(1)", n.path, 0, "", fmt.Sprintf("words in %s are looked at for the structure alone: the linter knows the words of en, de, fr, es and sv; have somebody read them who knows the language and art. 36(2)", tag), Warning)
			}
			n.tongue = nil
		}
		n.template(&l)
		out = append(out, n.out...)
	}
	return out
}

// Text looks at a notice that is plain text, as of a press release or a letter;
// its first line is the headline.
func Text(tag, text string) []Finding {
	t, known := tongueOf(tag)
	n := &notice{tongue: t, tag: tag, kind: template.Recall, path: "text", severity: Error}
	if !known {
		n.add(RuleLanguage, "36(1)", n.path, 0, "", "the linter knows the words of en, de, fr, es and sv alone", Warning)
		return n.out
	}
	first := ""
	for line := range strings.Lines(text) {
		if first = strings.TrimSpace(line); first != "" {
			break
		}
	}
	n.whole("text", "text", first, text)
	n.softeners("text", text)
	return n.out
}

func tongueOf(tag string) (*tongue, bool) {
	base, _ := language.Make(tag).Base()
	t, ok := tongues[base.String()]
	return t, ok
}

type notice struct {
	tongue   *tongue
	tag      string
	kind     template.Kind
	path     string
	facts    *template.Facts
	severity Severity
	out      []Finding
}

func (n *notice) add(rule Rule, article, path string, line int, got, say string, s ...Severity) {
	severity := n.severity
	if len(s) > 0 {
		severity = s[0]
	}
	n.out = append(n.out, Finding{Severity: severity, Rule: rule, Article: regulation + article, Path: path, Line: line, Language: n.tag, Got: got, Say: say})
}

// channel is one channel's own words.
type channel struct {
	name, subjectPath, path string
	subject, text           string
	written                 bool // must hold the whole notice
}

func channels(l *template.LangTexts) []channel {
	var out []channel
	if m := l.Mail; m != nil {
		out = append(out, channel{"mail", "mail.subject", "mail.text", m.Subject, m.Text, true})
		if m.HTML != "" {
			out = append(out, channel{"mail", "mail.subject", "mail.html", m.Subject, m.HTML, true})
		}
	}
	if x := l.Letter; x != nil {
		out = append(out, channel{"letter", "letter.subject", "letter.text", x.Subject, x.Text, true})
	}
	if x := l.SMS; x != nil {
		out = append(out, channel{"sms", "", "sms.text", "", x.Text, false})
	}
	if x := l.Push; x != nil {
		out = append(out, channel{"push", "push.title", "push.text", x.Title, x.Text, false})
	}
	if x := l.Voice; x != nil {
		out = append(out, channel{"voice", "", "voice.text", "", x.Text, false})
	}
	if x := l.Call; x != nil {
		out = append(out, channel{"call", "", "call.script", "", x.Script, false})
	}
	return out
}

func (n *notice) template(l *template.LangTexts) {
	if n.kind == template.Recall && n.facts != nil {
		n.declared(n.facts)
	}
	written := false
	for _, c := range channels(l) {
		if n.tongue != nil && n.judged(c) {
			n.softeners(n.path+"."+c.path, c.text)
			if c.subject != "" {
				n.softeners(n.path+"."+c.subjectPath, c.subject)
			}
		}
		if n.kind != template.Recall || !c.written {
			continue
		}
		written = true
		subject := n.path + "." + c.subjectPath
		if n.facts != nil {
			n.says(c, subject)
		} else if n.tongue != nil {
			n.whole(n.path+"."+c.path, subject, c.subject, c.subject+"\n"+c.text)
		}
	}
	if n.kind == template.Recall && !written && n.facts == nil {
		n.add(RuleProduct, "36(2)", n.path, 0, "", "a recall needs a written notice: give facts, or the words of a mail or a letter that hold all that art. 36(2) asks for")
	}
	if n.kind == template.Safety && n.tongue != nil {
		for _, c := range channels(l) {
			if c.written && !any1(n.tongue.danger, c.text) && !strings.Contains(c.text, "{{.Reason}}") && !strings.Contains(c.text, "{{.Hazard}}") {
				n.add(RuleHazard, "36(2)(c)", n.path+"."+c.path, 0, "", "say what can happen, or let {{.Reason}} say it; as: "+n.tongue.write.danger, Warning)
			}
		}
	}
}

// judged reports whether softeners are looked for: in what protects, and in
// what speaks of a recall whatever it is called.
func (n *notice) judged(c channel) bool {
	return n.kind.Protects() || any1(n.tongue.heads, c.subject+"\n"+c.text)
}

// declared looks at the facts of a recall notice.
func (n *notice) declared(f *template.Facts) {
	at := n.path + ".facts."
	write := examples{}
	if n.tongue != nil {
		write = n.tongue.write
	}
	as := func(s string) string {
		if s == "" {
			return ""
		}
		return ", as: " + s
	}
	if f.Headline != "" && n.tongue != nil && !any1(n.tongue.heads, f.Headline) {
		n.add(RuleHeadline, "36(2)(a)", at+"headline", 0, f.Headline, fmt.Sprintf("the headline consists of the words %q; leave the field out and it does", n.tongue.headline))
	}
	if strings.TrimSpace(f.Brand) == "" || strings.TrimSpace(f.Name) == "" {
		n.add(RuleProduct, "36(2)(b)(i)", at+"name", 0, "", "name the product and its brand as they stand on it")
	}
	switch {
	case f.Picture == "":
		n.add(RulePicture, "36(2)(b)(i)", at+"picture", 0, "", "give the https address of a picture of the product")
	case !strings.HasPrefix(f.Picture, "https://"):
		n.add(RulePicture, "36(2)(b)(i)", at+"picture", 0, f.Picture, "give the https address of a picture of the product")
	}
	if strings.TrimSpace(f.Identification) == "" {
		n.add(RuleIdentify, "36(2)(b)(ii)", at+"identification", 0, "", "give batch or serial numbers, and say where they stand on the product"+as(write.identify))
	}
	if strings.TrimSpace(f.Sold) == "" {
		n.add(RuleSold, "36(2)(b)(iii)", at+"sold", 0, "", "say when, where and by whom the product was sold, if that is known", Warning)
	}
	if strings.TrimSpace(f.Hazard) == "" {
		n.add(RuleHazard, "36(2)(c)", at+"hazard", 0, "", "say clearly what can happen"+as(write.danger))
	}
	switch {
	case strings.TrimSpace(f.Action) == "":
		n.add(RuleAction, "36(2)(d)", at+"action", 0, "", "say what to do, and to stop using the product at once"+as(write.stop))
	case n.tongue != nil && !any1(n.tongue.stop, f.Action):
		n.add(RuleAction, "36(2)(d)", at+"action", 0, f.Action, "say to stop using the product at once"+as(write.stop))
	}
	n.choice(at+"remedies", f.Remedies, write)
	if f.Phone == "" && !strings.HasPrefix(f.Online, "https://") {
		n.add(RuleContact, "36(2)(f)", at+"phone", 0, f.Online, "give a phone number that is free of charge, or an interactive service online (https)"+as(write.contact))
	}
	if n.tongue != nil {
		for _, p := range []struct{ path, text string }{
			{"headline", f.Headline}, {"hazard", f.Hazard}, {"action", f.Action}, {"sold", f.Sold}, {"share", f.Share}, {"identification", f.Identification}, {"remedies", strings.Join(f.Remedies, "\n")},
		} {
			n.softeners(at+p.path, p.text)
		}
		if f.Share != "" && !any1(n.tongue.share, f.Share) {
			n.add(RuleShare, "36(2)(g)", at+"share", 0, f.Share, "encourage readers to share the notice"+as(write.share), Warning)
		}
	}
}

func (n *notice) choice(path string, remedies []string, write examples) {
	kinds := map[string]bool{}
	if n.tongue != nil {
		for _, r := range remedies {
			for k, words := range n.tongue.remedies {
				if any1(words, r) {
					kinds[k] = true
				}
			}
		}
	}
	say := "offer a choice of at least two of repair, replacement and refund (one alone only where the others are impossible or out of proportion, art. 37(2))"
	if write.remedies != "" {
		say += ", as: " + write.remedies
	}
	switch {
	case len(remedies) < 2 && len(kinds) < 2:
		n.add(RuleRemedies, "36(2)(e), 37(1)", path, 0, strings.Join(remedies, ", "), say)
	case n.tongue != nil && len(kinds) < 2:
		n.add(RuleRemedies, "36(2)(e), 37(1)", path, 0, strings.Join(remedies, ", "), say, Warning)
	}
}

// said are the placeholders that a written notice with facts must hold.
var said = []struct {
	rule    Rule
	article string
	any     []string
	what    string
}{
	{RuleProduct, "36(2)(b)(i)", []string{"ProductName", "Product"}, "the product"},
	{RuleIdentify, "36(2)(b)(ii)", []string{"Identification"}, "how the product is identified"},
	{RuleHazard, "36(2)(c)", []string{"Hazard"}, "the hazard"},
	{RuleAction, "36(2)(d)", []string{"Action"}, "what to do"},
	{RuleRemedies, "36(2)(e)", []string{"Remedies"}, "the remedies"},
	{RuleContact, "36(2)(f)", []string{"Phone", "Online"}, "whom to ask, free of charge"},
	{RuleShare, "36(2)(g)", []string{"Share"}, "the encouragement to share it"},
}

// says looks whether a channel's own words use the facts that are declared.
func (n *notice) says(c channel, subject string) {
	if c.subject != "" && !holds(c.subject, "Headline") && (n.tongue == nil || !any1(n.tongue.heads, c.subject)) {
		n.add(RuleHeadline, "36(2)(a)", subject, 0, c.subject, "begin with {{.Headline}}")
	}
	for _, s := range said {
		if slices.ContainsFunc(s.any, func(p string) bool { return holds(c.text, p) }) {
			continue
		}
		if n.tongue != nil && n.written(s.rule, c.text) {
			continue // said in words rather than by a placeholder
		}
		n.add(s.rule, s.article, n.path+"."+c.path, 0, "", "say "+s.what+": {{."+s.any[0]+"}}")
	}
}

// holds reports whether a text uses a placeholder.
func holds(text, name string) bool {
	return regexp.MustCompile(`\{\{[^}]*\.` + name + `\b[^}]*\}\}`).MatchString(text)
}

func (n *notice) written(rule Rule, text string) bool {
	t := n.tongue
	switch rule {
	case RuleIdentify:
		return any1(t.identify, text)
	case RuleHazard:
		return any1(t.danger, text)
	case RuleAction:
		return any1(t.stop, text)
	case RuleRemedies:
		return len(t.offered(text)) >= 2
	case RuleContact:
		return phone.MatchString(text) || online.MatchString(text)
	case RuleShare:
		return any1(t.share, text)
	default:
		return false
	}
}

var (
	phone  = regexp.MustCompile(`(?:\+|\b0|\b1[- (])[0-9][0-9 ()/.-]{5,}[0-9]`)
	online = regexp.MustCompile(`https://\S+|\bwww\.\S+`)
	image  = regexp.MustCompile(`(?i)<img\b|https://\S+\.(?:jpe?g|png|webp|gif|svg)|\b(?:picture|photo|image|figure|bild|abbildung|foto|imagen|illustration)\b`)
)

func (t *tongue) offered(text string) []string {
	var out []string
	for _, k := range []string{"repair", "replacement", "refund"} {
		if any1(t.remedies[k], text) {
			out = append(out, k)
		}
	}
	return out
}

// whole looks at a notice that is written out, without declared facts.
func (n *notice) whole(path, subjectPath, subject, text string) {
	t := n.tongue
	if !any1(t.heads, subject) && !holds(subject, "Headline") {
		n.add(RuleHeadline, "36(2)(a)", subjectPath, 0, clip(subject), fmt.Sprintf("begin with the headline %q", t.headline))
	}
	if !image.MatchString(text) && !holds(text, "Picture") {
		n.add(RulePicture, "36(2)(b)(i)", path, 0, "", "show a picture of the product, or give its https address")
	}
	if !any1(t.identify, text) && !holds(text, "Identification") {
		n.add(RuleIdentify, "36(2)(b)(ii)", path, 0, "", "give batch or serial numbers, and say where they stand on the product, as: "+t.write.identify)
	}
	if !any1(t.danger, text) && !holds(text, "Hazard") {
		n.add(RuleHazard, "36(2)(c)", path, 0, "", "say clearly what can happen, as: "+t.write.danger)
	}
	if !any1(t.stop, text) && !holds(text, "Action") {
		n.add(RuleAction, "36(2)(d)", path, 0, "", "say what to do, and to stop using the product at once, as: "+t.write.stop)
	}
	if got := t.offered(text); len(got) < 2 && !holds(text, "Remedies") {
		n.add(RuleRemedies, "36(2)(e), 37(1)", path, 0, strings.Join(got, ", "), "offer a choice of at least two of repair, replacement and refund, as: "+t.write.remedies)
	}
	switch {
	case online.MatchString(text), holds(text, "Phone"), holds(text, "Online"):
	case !phone.MatchString(text):
		n.add(RuleContact, "36(2)(f)", path, 0, "", "give a phone number that is free of charge, or an interactive service online, as: "+t.write.contact)
	case !any1(t.free, text) && !freeNumber.MatchString(text):
		n.add(RuleContact, "36(2)(f)", path, 0, phone.FindString(text), "say that the phone number is free of charge, as: "+t.write.contact)
	}
	if !any1(t.share, text) && !holds(text, "Share") {
		n.add(RuleShare, "36(2)(g)", path, 0, "", "encourage readers to share the notice, as: "+t.write.share)
	}
}

// freeNumber is a number that costs nothing by its prefix: 0800 and 00800 in
// most of Europe, 900 in Spain, 020 in Sweden, 1-800 in North America.
var freeNumber = regexp.MustCompile(`\b0{1,2}8\d{2}[ /-]|\b0800|\b900[ ]?\d{3}|\b020[- ]|\b1[- (]*8(?:00|33|44|55|66|77|88)\b`)

// softeners finds words that play the danger down.
func (n *notice) softeners(path, text string) {
	line, many := 0, strings.Contains(strings.TrimSpace(text), "\n")
	for l := range strings.Lines(text) {
		line++
		at := 0
		if many {
			at = line
		}
		var found []string
		for _, s := range n.tongue.soft {
			for _, m := range s.match.FindAllString(l, -1) {
				m = strings.TrimSpace(strings.TrimLeftFunc(m, func(r rune) bool { return !isWord(r) }))
				if slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, m) || strings.Contains(m, f) }) {
					continue
				}
				found = append(found, m)
				severity := n.severity
				if s.group == "minimising" { // the regulation's list is open; these are ours
					severity = Warning
				}
				n.add(RuleSoftener, "36(2)(c)", path, at, m, fmt.Sprintf("leave out %q: words as %s make readers think the danger less than it is; say what can happen, and no more", m, groupWords(s.group)), severity)
			}
		}
	}
}

func groupWords(g string) string {
	if g == "minimising" {
		return "these"
	}
	if g == "no reported accidents" {
		return "those saying that no accidents were reported"
	}
	return "\"" + g + "\""
}

func isWord(r rune) bool {
	return r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 0x7f && r != 0xab && r != 0x201e && r != 0x201c
}

func any1(list []*regexp.Regexp, text string) bool {
	return slices.ContainsFunc(list, func(r *regexp.Regexp) bool { return r.MatchString(text) })
}

func clip(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}

// Errors are the findings that keep a template from being applied.
func Errors(all []Finding) []Finding {
	var out []Finding
	for _, f := range all {
		if f.Severity == Error {
			out = append(out, f)
		}
	}
	return out
}

// Refuse refuses a template of kind recall or safety that has errors.
func Refuse(s *template.Spec) error {
	var fields []fault.Field
	for _, f := range Errors(Template(s)) {
		fields = append(fields, f.Field())
	}
	return fault.Fields("template "+s.Name, fields)
}
