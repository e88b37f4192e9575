package fettle_test

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/go/packages"
)

const module = "fettle.dev/fettle/"

// domain is the house law: data flows down this list, imports point up it.
var domain = []string{
	"internal/fault", "internal/clock",
	"internal/fleet", "internal/audit", "internal/consent", "internal/privacy", "internal/telemetry", "internal/detect", "internal/condition",
	"internal/usage", "internal/cohort", "internal/update", "internal/notify", "internal/tip", "internal/casework",
	"internal/campaign", "internal/outcome",
}

// public is what runs on units, too: it imports nothing of ours, so every room may import it.
const public = "unitkit"

// adapters may import domain rooms and the port they implement, never each other.
var adapters = []string{
	"internal/device/mqtt", "internal/device/rest", "internal/device/senml", "internal/device/influx", "internal/device/otlp",
	"internal/device/ddi", "internal/device/mender", "internal/device/tuf", "internal/device/download", "internal/device", // device/door, what HTTP doors share, is of the port
	"internal/bus", "internal/sqldb", "internal/duckdb", "internal/clickhouse", "internal/blob", "internal/rauc", "internal/feed", "internal/send", "internal/oidc", "internal/api",
}

// stores, buses and protocols that no domain room may know.
var outside = []string{
	"database/sql", "net/http", "github.com/duckdb", "github.com/mattn/go-sqlite3", "github.com/jackc",
	"github.com/nats-io", "github.com/eclipse", "gocloud.dev", "github.com/danielgtaylor/huma",
}

// domainMay lists what is a domain room's own trade although it stands in outside.
var domainMay = map[string]string{
	"internal/notify": "net/http", // webhooks are a channel of this room
}

func room(path string, rooms []string) string {
	for _, r := range rooms {
		if path == r || strings.HasPrefix(path, r+"/") {
			return r
		}
	}
	return ""
}

func TestLawOfImports(t *testing.T) {
	t.Parallel()
	pkgs, err := packages.Load(&packages.Config{Mode: packages.NeedName | packages.NeedImports}, "./...")
	require.NoError(t, err)
	require.NotEmpty(t, pkgs)
	rank := map[string]int{}
	for i, r := range domain {
		rank[r] = i + 1
	}
	for _, p := range pkgs {
		me := strings.TrimPrefix(p.PkgPath, module)
		if strings.Contains(me, "/peer/") || strings.HasSuffix(me, "test") { // test-only packages
			continue
		}
		for imp := range p.Imports {
			to := strings.TrimPrefix(imp, module)
			ours := to != imp
			from := room(me, domain)
			switch {
			case from != "" && ours:
				target := room(to, domain)
				if room(to, []string{public}) != "" {
					continue
				}
				if target == "" || (target != from && rank[target] > rank[from]) {
					t.Errorf("domain room %s imports %s, which is not above it in the list", me, to)
				}
			case from != "":
				for _, o := range outside {
					if strings.HasPrefix(imp, o) && domainMay[from] != imp {
						t.Errorf("domain room %s imports %s: no domain room knows a store, a bus, a protocol or HTTP", me, imp)
					}
				}
			case room(me, adapters) != "" && ours:
				from, target := room(me, adapters), room(to, adapters)
				port := target == "internal/device" && strings.HasPrefix(from, "internal/device")
				if target != "" && target != from && !port {
					t.Errorf("adapter %s imports adapter %s", me, to)
				}
				if room(to, []string{"internal/app", "cmd"}) != "" {
					t.Errorf("adapter %s imports %s", me, to)
				}
			case room(me, []string{"sim", "unitkit", "cmd/fettle-agent"}) != "" && ours && strings.HasPrefix(to, "internal/"):
				t.Errorf("%s imports %s: it may know the public protocols only", me, to)
			}
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	packageLines := map[string]int{}
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case "node_modules", "dist", ".git", ".tools", "bin", "data":
				return filepath.SkipDir
			}
			require.NotContains(t, []string{"util", "utils", "common", "helpers", "models"}, d.Name(), path)
			return nil
		}
		switch filepath.Ext(path) {
		case ".go", ".ts", ".tsx", ".css":
		default:
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(raw[:min(len(raw), 200)], []byte("generated")) {
			return nil
		}
		lines, code := 0, 0
		for s := bufio.NewScanner(bytes.NewReader(raw)); s.Scan(); {
			lines++
			if line := strings.TrimSpace(s.Text()); line != "" && !strings.HasPrefix(line, "//") {
				code++
			}
		}
		if lines > 800 {
			t.Errorf("%s has %d lines; 800 is the stop", path, lines)
		}
		if filepath.Ext(path) == ".go" && !strings.HasSuffix(path, "_test.go") {
			packageLines[filepath.Dir(path)] += code
		}
		return nil
	})
	require.NoError(t, err)
	for dir, n := range packageLines {
		if n > 2500 {
			t.Errorf("package %s has %d lines of code; 2500 is the stop", dir, n)
		}
	}
}
