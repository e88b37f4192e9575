package api_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api"
	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet/access"
)

const matrixFile = "testdata/matrix.txt"

// caller is a column of the matrix.
type caller struct {
	name    string
	set     func(*http.Request)
	owner   bool // a credential for /owner/v1
	bounded bool // an operator who sees own alone
}

// route is what the description says of an operation.
type route struct {
	method, path, id string
	body             string // a least body that the description takes
	query            string // the query that it asks for
}

var errUndo = errors.New("undo")

// TestAuthorisation holds the authorisation matrix: each route, asked for by
// everybody, about what is theirs to see (own) and what is not (other), with
// the status of the answer. It is asked of the real handler over a seeded
// world, in a transaction that is then undone, so that what is permitted is
// really done. The answers stand in testdata/matrix.txt, for people to review
// (go test ./internal/api -run Authorisation -update); what must hold whatever
// stands there is checked beside it.
func TestAuthorisation(t *testing.T) {
	t.Parallel()
	w := seedMatrix(t)
	handler := api.New(w.Deps)
	callers := w.callers()
	var out bytes.Buffer
	out.WriteString(matrixHead)
	fmt.Fprintf(&out, "%-6s %-58s %-5s", "", "", "")
	for _, c := range callers {
		fmt.Fprintf(&out, " %-4s", c.name)
	}
	out.WriteString("\n")
	for _, r := range routes(t, handler) {
		for _, side := range []string{"own", "other"} {
			path, about, ok := w.fill(r, side)
			if !ok {
				t.Errorf("%s %s is not in the authorisation matrix: say in internal/api/matrix_world_test.go what stands for the parts of its path", r.method, r.path)
				break
			}
			if !about && side == "other" {
				continue // it names nothing
			}
			name := ""
			if about {
				name = side
			}
			fmt.Fprintf(&out, "%-6s %-58s %-5s", r.method, r.path, name)
			for _, c := range callers {
				if anyone[r.method+" "+r.path] && c.set != nil && c.name != "ada" && c.name != "adm" {
					fmt.Fprintf(&out, " %-4s", "=") // nobody is asked who they are
					continue
				}
				status, answer := w.ask(t, handler, r, path, w.bodyOf(r, side), c)
				fmt.Fprintf(&out, " %-4d", status)
				w.mustHold(t, r, side, about, c, status, answer)
			}
			out.WriteString("\n")
		}
	}
	lines := strings.Split(out.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	if flag.Lookup("update").Value.String() == "true" {
		require.NoError(t, os.WriteFile(matrixFile, []byte(strings.Join(lines, "\n")), 0o644))
	}
	want, err := os.ReadFile(matrixFile)
	require.NoError(t, err)
	a, b := strings.Split(string(want), "\n"), lines
	for _, line := range b {
		if !slices.Contains(a, line) {
			t.Errorf("not in %s:\n%s", matrixFile, line)
		}
	}
	require.Len(t, b, len(a), "%s has lines of routes that are gone: go test ./internal/api -run Authorisation -update, and read the difference", matrixFile)
}

const matrixHead = `# Who may call what: the status of each answer. Written by TestAuthorisation; read each change.
# =: as for nobody, since nobody is asked who they are.
# own: about what the asker sees or owns; other: about another product, region, owner or person. 404: for them it is not there.
# -     nobody is signed in        unit  a unit's token
# app   an app's token of Ada (act)  ada owns the unit "own"; dan drives it; eve owns "other"
# vie age eng rel prv adm: viewer, service agent, engineer, release manager, privacy officer, admin, seeing everything
# the same with p: bounded to one product; with r: bounded to one region
# Other doors, with credentials of their own, tested in their rooms: /rest/v1 (hawkBit's tools: internal/api/hawkbit, TestEveryRouteIsClosed);
# units: MQTT, /fettle/v1, /api/v2/write, /v1/metrics and the like (internal/device/*), /DEFAULT/controller/v1 (ddi), /api/devices (mender), signed addresses (link, tuf).
# tre twr tad thb: API tokens of an admin with scope read, write, admin, hawkbit; tvi: of scope admin, of a viewer
`

// mustHold is what is right whatever the file says.
func (w *matrixWorld) mustHold(t *testing.T, r route, side string, about bool, c caller, status int, answer string) {
	t.Helper()
	owners := strings.HasPrefix(r.path, "/owner/")
	open := anyone[r.method+" "+r.path]
	what := fmt.Sprintf("%s %s (%s) by %s: %d", r.method, r.path, side, c.name, status)
	if status >= 500 && status != http.StatusServiceUnavailable {
		t.Errorf("%s: fails", what)
	}
	in := status < 400
	switch {
	case open:
	case c.set == nil || c.name == "unit":
		if status != http.StatusUnauthorized {
			t.Errorf("%s: want 401", what)
		}
	case owners != c.owner:
		if status != http.StatusUnauthorized {
			t.Errorf("%s: the credential is for the other kind of people", what)
		}
	case about && side == "other" && in && w.strange(r, c):
		t.Errorf("%s: it is not theirs", what)
	}
	if in && w.bound(c) != "" {
		for _, name := range w.hidden(c) {
			if strings.Contains(answer, name) {
				t.Errorf("%s: the answer tells of %s:\n%.300s", what, name, answer)
			}
		}
	}
}

// strange reports whether the other side is none of a caller's, and an answer
// that is not empty would be wrong. Lists may be empty: hidden looks at those.
func (w *matrixWorld) strange(r route, c caller) bool {
	switch {
	case w.shared[r.id] || w.lists[r.id]:
		return false
	case w.bound(c) == "r": // all products are theirs, so far as they are not of units
		return !w.ofProduct[r.id]
	}
	return c.bounded || c.owner && c.name != "eve"
}

// bound is what bounds a caller: p, r, or nothing.
func (w *matrixWorld) bound(c caller) string {
	if !c.bounded {
		return ""
	}
	return c.name[len(c.name)-1:]
}

// hidden is what no answer to a bounded operator may name.
func (w *matrixWorld) hidden(c caller) []string {
	other := w.things["other"]
	names := []string{other["unit"], other["finding"], other["maintenance"], other["email"]}
	if w.bound(c) == "p" {
		names = append(names, other["campaign"], other["cohort"], other["release"], other["detector"], other["backtest"], other["claim"], other["claim token"], other["approval"])
	}
	return names
}

func (w *matrixWorld) ask(t *testing.T, handler http.Handler, r route, path, body string, c caller) (status int, answer string) {
	t.Helper()
	err := w.DB.InTx(t.Context(), func(ctx context.Context) error {
		req := httptest.NewRequestWithContext(ctx, r.method, path, strings.NewReader(body))
		req.RemoteAddr = "192.0.2.1:1234"
		req.Host = strings.TrimPrefix(w.URL, "http://")
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		if strings.HasPrefix(r.path, "/v1/uploads") { // tus asks for them
			req.Header.Set("Tus-Resumable", "1.0.0")
			req.Header.Set("Upload-Length", "10")
			req.Header.Set("Upload-Offset", "0")
		}
		if r.id == "appendUpload" {
			req.Header.Set("Content-Type", "application/offset+octet-stream")
		}
		if c.set != nil {
			c.set(req)
		}
		rec := httptest.NewRecorder()
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("%s %s by %s: %v", r.method, path, c.name, p)
				}
			}()
			handler.ServeHTTP(rec, req)
		}()
		status, answer = rec.Code, rec.Body.String()
		if status >= 500 && status != 503 {
			t.Logf("%s %s by %s: %s", r.method, path, c.name, rec.Body)
		}
		return errUndo
	})
	require.ErrorIs(t, err, errUndo)
	return status, answer
}

// routes reads the service's own description, so that no route is left out.
func routes(t *testing.T, handler http.Handler) []route {
	t.Helper()
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/openapi.yaml", nil))
	var d struct {
		Paths      map[string]map[string]describedOp `yaml:"paths"`
		Components struct {
			Schemas map[string]schema `yaml:"schemas"`
		} `yaml:"components"`
	}
	require.NoError(t, yaml.Unmarshal(rec.Body.Bytes(), &d))
	var out []route
	for path, ops := range d.Paths {
		for method, op := range ops {
			r := route{method: strings.ToUpper(method), path: path, id: op.ID}
			for _, p := range op.Parameters {
				if p.In == "query" && p.Required {
					r.query += "&" + p.Name + "=" + strings.Trim(sample(p.Schema, d.Components.Schemas, 0), `"`)
				}
			}
			for kind, m := range op.RequestBody.Content {
				if strings.HasPrefix(kind, "application/json") {
					r.body = sample(m.Schema, d.Components.Schemas, 0)
				}
			}
			out = append(out, r)
		}
	}
	require.NotEmpty(t, out)
	sort.Slice(out, func(i, j int) bool { return out[i].path+" "+out[i].method < out[j].path+" "+out[j].method })
	return out
}

type describedOp struct {
	ID         string `yaml:"operationId"`
	Parameters []struct {
		Name     string `yaml:"name"`
		In       string `yaml:"in"`
		Required bool   `yaml:"required"`
		Schema   schema `yaml:"schema"`
	} `yaml:"parameters"`
	RequestBody struct {
		Content map[string]struct {
			Schema schema `yaml:"schema"`
		} `yaml:"content"`
	} `yaml:"requestBody"`
}

type schema struct {
	Ref        string            `yaml:"$ref"`
	Type       any               `yaml:"type"`
	Format     string            `yaml:"format"`
	Enum       []any             `yaml:"enum"`
	MinLength  int               `yaml:"minLength"`
	MinItems   int               `yaml:"minItems"`
	Minimum    float64           `yaml:"minimum"`
	Required   []string          `yaml:"required"`
	Properties map[string]schema `yaml:"properties"`
	Items      *schema           `yaml:"items"`
	OneOf      []schema          `yaml:"oneOf"`
}

// sample is a least value of a schema, as JSON.
func sample(s schema, all map[string]schema, depth int) string {
	if s.Ref != "" {
		s = all[s.Ref[strings.LastIndex(s.Ref, "/")+1:]]
	}
	if depth > 8 {
		return "null"
	}
	if len(s.OneOf) > 0 {
		return sample(s.OneOf[0], all, depth+1)
	}
	if len(s.Enum) > 0 {
		return fmt.Sprintf("%q", fmt.Sprint(s.Enum[0]))
	}
	kind := fmt.Sprint(s.Type)
	if list, ok := s.Type.([]any); ok && len(list) > 0 {
		kind = fmt.Sprint(list[0])
	}
	switch kind {
	case "object":
		var parts []string
		for _, name := range s.Required {
			parts = append(parts, fmt.Sprintf("%q: %s", name, sample(s.Properties[name], all, depth+1)))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case "array":
		if s.MinItems > 0 {
			return "[" + sample(*s.Items, all, depth+1) + "]"
		}
		return "[]"
	case "integer", "number":
		return fmt.Sprint(s.Minimum)
	case "boolean":
		return "true"
	case "string":
		switch s.Format {
		case "date-time":
			return `"2026-01-05T00:00:00Z"`
		case "email":
			return `"some@example.org"`
		}
		return fmt.Sprintf("%q", strings.Repeat("x", max(s.MinLength, 1)))
	}
	return "{}"
}

// callers are the columns.
func (w *matrixWorld) callers() []caller {
	out := []caller{
		{name: "-"},
		{name: "unit", set: apitest.Bearer(w.unitToken)},
		{name: "ada", set: w.As(wire.OwnerCookie, w.sessions["ada"]), owner: true},
		{name: "dan", set: w.As(wire.OwnerCookie, w.sessions["dan"]), owner: true},
		{name: "eve", set: w.As(wire.OwnerCookie, w.sessions["eve"]), owner: true},
		{name: "app", set: apitest.Bearer(w.appToken), owner: true},
	}
	short := map[access.Role]string{
		access.Viewer: "vie", access.ServiceAgent: "age", access.Engineer: "eng", access.ReleaseManager: "rel", access.PrivacyOfficer: "prv", access.Admin: "adm",
	}
	for _, bound := range []string{"", "p", "r"} {
		for _, role := range access.Roles {
			if role == access.Admin && bound != "" {
				continue // an admin sees everything
			}
			name := short[role] + bound
			out = append(out, caller{name: name, set: w.As(wire.OperatorCookie, w.sessions[name]), bounded: bound != ""})
		}
	}
	for _, name := range []string{"tre", "twr", "tad", "thb", "tvi"} {
		out = append(out, caller{name: name, set: apitest.Bearer(w.tokens[name])})
	}
	return out
}
