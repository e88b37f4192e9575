package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const least = `
server: https://fettle.example.com
state: /var/lib/fettle-agent
unit: WC-1
tokenFile: token
`

func TestTheExampleIsRight(t *testing.T) {
	t.Parallel()
	c, err := readConfig("examples/fettle-agent.yaml")
	require.NoError(t, err)
	require.Equal(t, size(8<<20), c.Spool)
	require.Equal(t, duration(20*time.Minute), c.Components["software"].Slots.Timeout)
	require.True(t, c.Restart.Machine)
	require.Len(t, c.parts(), 2)
	require.Equal(t, "/run/fettle-agent/control.sock", c.control())
}

func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                 "server: want https://",
		least + "sever: x":                 "unknown field \"sever\"",
		least + "state: there":             "already defined", // a key twice
		"server: https://x/y":              "server: want https://",
		least + "mqtt: x:1883":             "mqtt: want mqtts://",
		least + "spool: 1KiB":              "spool: want 64KiB or more",
		least + "spool: much":              "want a size as",
		least + "poll: soon":               "want a time as",
		least + "logLevel: loud":           "logLevel: want",
		least + "enroll: {serial: x}":      "want either unit with tokenFile, or enroll",
		least + "telemetry: [{file: /x}]":  "telemetry[0].every: want",
		least + "telemetry: [{every: 1m}]": "telemetry[0]: want command or file",
		least + "components: {a: {version: {factory: \"1\"}}}":                                      "components.a: want one of file, directory and slots",
		least + "components: {a: {file: {path: x}}}":                                                "components.a.file.path: want the absolute path",
		least + "components: {a: {file: {path: /x, mode: rwx}}}":                                    "components.a.file.mode: want file permissions in octal",
		least + "components: {a: {slots: {}}}":                                                      "components.a.slots.installer: want",
		least + "components: {a: {file: {path: /x}, directory: {path: /y}}}":                        "components.a: want one of",
		least + "components: {a: {file: {path: /x}, version: {factory: \"1\"}}}":                    "roots: want image and director",
		least + "restart: {machine: true}":                                                          "restart.command: want",
		least + "inUse: {}":                                                                         "inUse.command: want",
		least + "preconditions: [{name: x}]":                                                        "preconditions[0]: want",
		least + "health: {command: [a], url: http://x}":                                             "health: want command or url, not both",
		"server: https://x\nstate: /y\nunit: a\n":                                                   "tokenFile: want",
		"server: https://x\nstate: /y\nenroll: {claimTokenFile: a}\n":                               "enroll.serial: want",
		least + "components: {a: {file: {path: /x}, version: {factory: \"1\"}}}\nroots: {image: i}": "without a health check",
	} {
		_, err := parseConfig([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
	_, err := parseConfig([]byte(least))
	require.NoError(t, err)
	_, err = readConfig(filepath.Join(t.TempDir(), "none.yaml"))
	require.ErrorContains(t, err, "name one with --config")
}

// What the configuration names is looked at before the agent runs with it.
func TestFilesAreLookedAt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	config := func() (int, string) {
		var out, errs bytes.Buffer
		code := execute(t.Context(), []string{"config", "--config", filepath.Join(dir, "agent.yaml")}, &out, &errs)
		return code, out.String() + errs.String()
	}
	updates := "roots: {image: image.json, director: director.json}\nhealth: {command: [\"true\"]}\ncomponents: {a: {file: {path: /x}, version: {factory: \"1\"}}}\n"
	write("agent.yaml", least+updates)
	write("director.json", "{}")
	code, said := config()
	require.Equal(t, 1, code)
	for _, want := range []string{
		"tokenFile: there is no file " + dir + "/token: write the unit's token there (fettle unit token UNIT)",
		"roots.image: there is no file " + dir + "/image.json: copy image-root.json there, which fettle keys roots wrote",
		"roots.director: " + dir + "/director.json is not a root of trusted keys",
	} {
		require.Contains(t, said, want)
	}
	write("token", "fut_x")
	for _, name := range []string{"image.json", "director.json"} {
		write(name, `{"signed": {"_type": "root"}}`)
	}
	code, said = config()
	require.Zero(t, code, said)
	require.Contains(t, said, "agent.yaml is right")

	// A claim is looked at until the unit is enrolled.
	write("agent.yaml", "server: https://fettle.example.com\nstate: "+dir+"/state\nenroll: {claimTokenFile: claim, serialFile: serial}\n")
	_, said = config()
	require.Contains(t, said, "enroll.claimTokenFile: there is no file "+dir+"/claim: write the claim token there")
	require.Contains(t, said, "enroll.serialFile: there is no file "+dir+"/serial")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "state"), 0o700))
	write("state/identity.json", `{"unit": "u1", "token": "fut_x"}`)
	code, said = config()
	require.Zero(t, code, said)
}

func TestStatusSaysWhatRuns(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	show(&out, status{Unit: "WC-1", Runs: map[string]string{"software": "1.2.0", "meter": "unknown"}})
	require.Contains(t, out.String(), "runs      meter unknown\nruns      software 1.2.0\nupdate ")
}

func TestHelpExplainsEveryCommand(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	require.Zero(t, execute(t.Context(), []string{"--help"}, &out, &errs))
	for _, name := range []string{"run", "status", "start-now", "not-now", "postpone", "check", "config", "--config"} {
		require.Contains(t, out.String(), name)
	}
	require.Equal(t, 1, execute(t.Context(), []string{"postpone", "yesterday", "--config", "examples/fettle-agent.yaml"}, &out, &errs))
	require.Contains(t, errs.String(), "want how long from now")
	errs.Reset()
	name := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(name, []byte(strings.Replace(least, "/var/lib/fettle-agent", t.TempDir(), 1)), 0o600))
	require.Equal(t, 1, execute(t.Context(), []string{"status", "--config", name}, &out, &errs))
	require.Contains(t, errs.String(), "is it running")
}

func FuzzConfig(f *testing.F) {
	raw, err := os.ReadFile("examples/fettle-agent.yaml")
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte(least))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseConfig(b) })
}
