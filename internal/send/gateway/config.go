// Package gateway sends texts and calls by any provider's HTTP API, as the
// configuration describes it: what to ask, how success looks, where the
// provider's id of the message stands, and how it reports delivery.
package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
)

// Config describes one provider. Strings of Request are Go templates over
// Values; ${env:NAME} and ${file:PATH} in them are secrets, read when the
// process starts and never logged.
type Config struct {
	Name     string         `yaml:"name"`
	Channel  notify.Channel `yaml:"channel"`  // sms or voice
	Segments int            `yaml:"segments"` // of an SMS at most: 4
	Request  Request        `yaml:"request"`
	Success  Success        `yaml:"success"`
	Receipt  Receipt        `yaml:"receipt"`
}

// Request is what the provider is asked. One of JSON, Form and Query holds the
// message.
type Request struct {
	Method  string            `yaml:"method"` // POST
	URL     string            `yaml:"url"`
	User    string            `yaml:"user"`     // of Basic authentication
	Secret  string            `yaml:"password"` // of Basic authentication
	Headers map[string]string `yaml:"headers"`
	JSON    any               `yaml:"json"` // its strings are templates
	Form    map[string]string `yaml:"form"`
	Query   map[string]string `yaml:"query"`
}

// Success says how a taken message looks, beside a status of 2xx: a field of
// the JSON answer (RFC 6901) with one of some values. ID is where the
// provider's id of the message stands.
type Success struct {
	Field string   `yaml:"field"`
	Is    []string `yaml:"is"`
	ID    string   `yaml:"id"`
}

// Receipt says how the provider's report of delivery looks, which it sends to
// Values.Callback: the field that says what happened, and which words mean that
// it was delivered or will not be. Fields that begin with / are JSON pointers,
// others parameters of a form or a query.
type Receipt struct {
	State     string   `yaml:"state"`
	Detail    string   `yaml:"detail"` // "": none
	Delivered []string `yaml:"delivered"`
	Failed    []string `yaml:"failed"`
	NoSuch    []string `yaml:"nosuch"` // words of Detail (or State) that mean that the number does not exist
}

// Values is what templates are filled with.
type Values struct {
	To       string // E.164, as +4915112345678
	Digits   string // the same without +
	Text     string // plain
	SSML     string // of voice
	Language string // BCP 47, as de-DE
	ID       string // the message's: the same at each attempt
	Callback string // where reports of delivery go
	Segments int
}

var secretRef = regexp.MustCompile(`\$\{(env|file):([^}]+)\}`)

// compiled is a provider whose templates are parsed and whose secrets are read.
type compiled struct {
	Config
	url, user, password *template.Template
	headers             map[string]*template.Template
	form, query         map[string]*template.Template
	json                any
	secrets             []string // not to be shown
}

func compile(c Config, env func(string) (string, bool)) (*compiled, error) {
	out := &compiled{Config: c, headers: map[string]*template.Template{}, form: map[string]*template.Template{}, query: map[string]*template.Template{}}
	var mistakes []fault.Field
	add := func(path, expected, got string) {
		mistakes = append(mistakes, fault.Field{Path: path, Expected: expected, Got: got})
	}
	text := func(path, s string) *template.Template {
		t, err := out.template(s, env)
		if err != nil {
			add(path, err.Error(), "")
			return nil
		}
		if err := t.Execute(&bytes.Buffer{}, Values{}); err != nil {
			add(path, err.Error(), "")
		}
		return t
	}
	if c.Name == "" || strings.ContainsAny(c.Name, "/ ?#") {
		add("name", "a name without blanks and /", c.Name)
	}
	if c.Channel != notify.SMS && c.Channel != notify.Voice {
		add("channel", "sms or voice", string(c.Channel))
	}
	if out.Segments == 0 {
		out.Segments = 4
	}
	if out.Request.Method == "" {
		out.Request.Method = "POST"
	}
	if !slices.Contains([]string{"GET", "POST", "PUT"}, out.Request.Method) {
		add("request.method", "GET, POST or PUT", out.Request.Method)
	}
	if u, err := url.Parse(secretRef.ReplaceAllString(c.Request.URL, "x")); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Contains(u.Host, "{") {
		add("request.url", "an https URL whose host is no template", "")
	}
	out.url, out.user, out.password = text("request.url", c.Request.URL), text("request.user", c.Request.User), text("request.password", c.Request.Secret)
	for k, v := range c.Request.Headers {
		out.headers[k] = text("request.headers."+k, v)
	}
	for k, v := range c.Request.Form {
		out.form[k] = text("request.form."+k, v)
	}
	for k, v := range c.Request.Query {
		out.query[k] = text("request.query."+k, v)
	}
	out.json = walk(c.Request.JSON, "request.json", func(path, s string) any { return text(path, s) })
	if c.Request.JSON != nil && len(c.Request.Form) > 0 {
		add("request", "json or form, not both", "")
	}
	for path, p := range map[string]string{"success.field": c.Success.Field, "success.id": c.Success.ID} {
		if p != "" && !strings.HasPrefix(p, "/") {
			add(path, "a JSON pointer, as /messages/0/status", p)
		}
	}
	return out, fault.Fields("gateway "+c.Name, mistakes)
}

// template parses a text after its secrets were put in as constants, so that
// nothing in a secret is taken for a template.
func (c *compiled) template(s string, env func(string) (string, bool)) (*template.Template, error) {
	var failed error
	var values []string
	s = secretRef.ReplaceAllStringFunc(s, func(ref string) string {
		part := secretRef.FindStringSubmatch(ref)
		value, ok := "", false
		if part[1] == "env" {
			value, ok = env(part[2])
		} else if raw, err := os.ReadFile(part[2]); err == nil {
			value, ok = strings.TrimRight(string(raw), "\r\n"), true
		}
		if !ok || value == "" {
			failed = fmt.Errorf("a value in %s", ref[2:len(ref)-1])
		}
		values = append(values, value)
		return fmt.Sprintf("{{secret %d}}", len(values)-1)
	})
	if failed != nil {
		return nil, failed
	}
	for _, v := range values {
		if len(v) >= 4 {
			c.secrets = append(c.secrets, v, url.QueryEscape(v))
		}
	}
	return template.New("").Option("missingkey=error").Funcs(template.FuncMap{
		"secret": func(i int) string { return values[i] },
		"path":   url.PathEscape,
	}).Parse(s)
}

// walk copies a JSON structure with its strings changed.
func walk(v any, path string, fn func(path, s string) any) any {
	switch x := v.(type) {
	case string:
		return fn(path, x)
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = walk(x[i], fmt.Sprintf("%s[%d]", path, i), fn)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(x))
		for k := range x {
			out[k] = walk(x[k], path+"."+k, fn)
		}
		return out
	default:
		return v
	}
}

func fill(t *template.Template, v Values) (string, error) {
	var b strings.Builder
	err := t.Execute(&b, v)
	return b.String(), err
}

// body is a JSON structure with its templates filled.
func (c *compiled) body(v Values) ([]byte, error) {
	var failed error
	var fillAll func(any) any
	fillAll = func(x any) any {
		switch x := x.(type) {
		case *template.Template:
			s, err := fill(x, v)
			if err != nil {
				failed = err
			}
			return s
		case []any:
			out := make([]any, len(x))
			for i := range x {
				out[i] = fillAll(x[i])
			}
			return out
		case map[string]any:
			out := make(map[string]any, len(x))
			for k := range x {
				out[k] = fillAll(x[k])
			}
			return out
		default:
			return x
		}
	}
	filled := fillAll(c.json)
	if failed != nil {
		return nil, failed
	}
	return json.Marshal(filled)
}
