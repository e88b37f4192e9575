package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// config is the agent's file. Every key that is not known is an error.
type config struct {
	Server      string       `yaml:"server"`      // https://host[:port] of the Fettle server
	MQTT        string       `yaml:"mqtt"`        // mqtts://host[:8883] or mqtt://host[:1883]; empty: HTTPS alone
	CA          string       `yaml:"ca"`          // PEM file of the authority that the server's certificate is of; empty: the system's
	Certificate *certificate `yaml:"certificate"` // of the unit, instead of a token
	State       string       `yaml:"state"`       // directory of the agent, on a disk that survives updates
	Control     string       `yaml:"control"`     // socket for fettle-agent status and the like

	Unit      string  `yaml:"unit"`
	TokenFile string  `yaml:"tokenFile"`
	Enroll    *enroll `yaml:"enroll"`

	Product    string               `yaml:"product"`
	Roots      roots                `yaml:"roots"`
	Components map[string]component `yaml:"components"`

	Restart       restart        `yaml:"restart"`
	Health        health         `yaml:"health"`
	InUse         *command       `yaml:"inUse"`
	Preconditions []precondition `yaml:"preconditions"`

	Settings *settingsProgram `yaml:"settings"`

	Telemetry []collector `yaml:"telemetry"`
	Spool     size        `yaml:"spool"`
	Poll      duration    `yaml:"poll"` // longest time between two polls; the server may ask for shorter
	Delta     size        `yaml:"delta"`

	LogFormat string `yaml:"logFormat"` // text or json
	LogLevel  string `yaml:"logLevel"`  // debug, info, warn or error

	dir string // of the file: relative paths start there
}

// enroll is how a unit without a token gets one.
type enroll struct {
	ClaimTokenFile string `yaml:"claimTokenFile"`
	Serial         string `yaml:"serial"`
	SerialFile     string `yaml:"serialFile"`
	Hardware       string `yaml:"hardware"`
}

// certificate is a client certificate with its key, in PEM. The files are read
// at each connection, so that they may be renewed.
type certificate struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// roots are the files that `fettle keys roots` wrote.
type roots struct {
	Image    string `yaml:"image"`
	Director string `yaml:"director"`
}

type component struct {
	Hardware  string     `yaml:"hardware"`
	Version   version    `yaml:"version"`
	File      *filePart  `yaml:"file"`
	Directory *dirPart   `yaml:"directory"`
	Slots     *slotsPart `yaml:"slots"`
}

// version is where the version that runs stands.
type version struct {
	Command []string `yaml:"command"` // its first line of output
	File    string   `yaml:"file"`    // its first line
	Factory string   `yaml:"factory"` // until the first update
}

type filePart struct {
	Path string `yaml:"path"`
	Mode string `yaml:"mode"` // octal, default 0644
}

type dirPart struct {
	Path string `yaml:"path"`
	Max  size   `yaml:"max"`
}

type slotsPart struct {
	Installer []string `yaml:"installer"`
	Timeout   duration `yaml:"timeout"`
}

type restart struct {
	Command []string `yaml:"command"`
	Timeout duration `yaml:"timeout"`
	Machine bool     `yaml:"machine"` // the command restarts the machine
}

type health struct {
	Command  []string `yaml:"command"`
	URL      string   `yaml:"url"`
	Timeout  duration `yaml:"timeout"`
	Attempts int      `yaml:"attempts"`
	Passes   int      `yaml:"passes"`
	Interval duration `yaml:"interval"`
	Deadline duration `yaml:"deadline"`
}

type command struct {
	Command []string `yaml:"command"`
	Timeout duration `yaml:"timeout"`
}

type precondition struct {
	Name    string   `yaml:"name"`
	Command []string `yaml:"command"`
	Timeout duration `yaml:"timeout"`
	Words   string   `yaml:"words"`
}

type collector struct {
	Command []string `yaml:"command"`
	File    string   `yaml:"file"`
	Every   duration `yaml:"every"` // 0 with a command: it goes on printing
	Timeout duration `yaml:"timeout"`
}

// duration is 90s, 5m, 2h.
type duration time.Duration

func (d *duration) UnmarshalYAML(b []byte) error {
	v, err := time.ParseDuration(strings.Trim(strings.TrimSpace(string(b)), `"'`))
	if err != nil || v < 0 {
		return fmt.Errorf("want a time as 30s, 5m or 2h, got %s", b)
	}
	*d = duration(v)
	return nil
}

func (d duration) or(or time.Duration) time.Duration {
	if d == 0 {
		return or
	}
	return time.Duration(d)
}

// size is a number of bytes: 512KiB, 8MiB, 1GiB.
type size int64

func (s *size) UnmarshalYAML(b []byte) error {
	text := strings.Trim(strings.TrimSpace(string(b)), `"'`)
	shift := 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(text, unit); ok {
			text, shift = strings.TrimSpace(rest), 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<50>>shift {
		return fmt.Errorf("want a size as 512KiB, 8MiB or 1GiB, got %s", b)
	}
	*s = size(n << shift)
	return nil
}

func (s size) or(or int64) int64 {
	if s == 0 {
		return or
	}
	return int64(s)
}

// readConfig reads and checks a configuration file.
func readConfig(name string) (*config, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no configuration file %s: name one with --config; docs/agent.md has an example", name)
		}
		return nil, err
	}
	c, err := parseConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if c.dir, err = filepath.Abs(filepath.Dir(name)); err != nil {
		return nil, err
	}
	return c, nil
}

func parseConfig(raw []byte) (*config, error) {
	var c config
	if err := yaml.UnmarshalWithOptions(raw, &c, yaml.Strict()); err != nil {
		return nil, errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	return &c, c.check()
}

// check names every mistake at once, with what is wanted.
func (c *config) check() error {
	var all []error
	wrong := func(key, want string) { all = append(all, fmt.Errorf("%s: %s", key, want)) }
	if u, err := url.Parse(c.Server); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" {
		wrong("server", "want https:// and the server's name, without a path")
	}
	if c.MQTT != "" {
		if _, _, err := mqttAddress(c.MQTT); err != nil {
			wrong("mqtt", err.Error())
		}
	}
	if !filepath.IsAbs(c.State) {
		wrong("state", "want the absolute path of a directory that survives updates, as /var/lib/fettle-agent")
	}
	switch {
	case c.Unit != "" && c.Enroll != nil:
		wrong("unit", "want either unit with tokenFile, or enroll")
	case c.Unit == "" && c.Enroll == nil:
		wrong("unit", "want the unit's id, with tokenFile; or enroll, with a claim token")
	case c.Unit != "" && c.TokenFile == "" && c.Certificate == nil:
		wrong("tokenFile", "want the file with the unit's token; or certificate, with cert and key")
	}
	if k := c.Certificate; k != nil {
		if k.Cert == "" || k.Key == "" {
			wrong("certificate", "want cert and key, the files of a client certificate and its key in PEM")
		}
		if strings.HasPrefix(c.Server, "http:") || strings.HasPrefix(c.MQTT, "mqtt:") {
			wrong("certificate", "want https:// and mqtts://: without TLS there is no client certificate")
		}
	}
	if p := c.Settings; p != nil && len(p.Command) == 0 {
		wrong("settings.command", "want the program that reads and changes settings, as [/usr/lib/fettle/settings]")
	}
	if e := c.Enroll; e != nil {
		if e.ClaimTokenFile == "" {
			wrong("enroll.claimTokenFile", "want the file with the claim token (fettle claim token create PRODUCT)")
		}
		if (e.Serial == "") == (e.SerialFile == "") {
			wrong("enroll.serial", "want serial or serialFile")
		}
	}
	if len(c.Components) > 0 && (c.Roots.Image == "" || c.Roots.Director == "") {
		wrong("roots", "want image and director, the files of trusted keys that the unit is made with (fettle keys roots)")
	}
	for _, name := range sorted(c.Components) {
		c.Components[name].check("components."+name, wrong)
	}
	if len(c.Restart.Command) == 0 && c.Restart.Machine {
		wrong("restart.command", "want the command that restarts the machine")
	}
	if len(c.Health.Command) > 0 && c.Health.URL != "" {
		wrong("health", "want command or url, not both")
	}
	if len(c.Components) > 0 && len(c.Health.Command) == 0 && c.Health.URL == "" {
		wrong("health", "want command or url: without a health check no update can be told from a bad one")
	}
	if c.InUse != nil && len(c.InUse.Command) == 0 {
		wrong("inUse.command", "want a command that ends with 0 while the unit is in use, with 1 while it is not")
	}
	for i, p := range c.Preconditions {
		if len(p.Command) == 0 || p.Name == "" {
			wrong(fmt.Sprintf("preconditions[%d]", i), "want a name, and a command that ends with 0 when it holds")
		}
	}
	for i, t := range c.Telemetry {
		switch {
		case (len(t.Command) == 0) == (t.File == ""):
			wrong(fmt.Sprintf("telemetry[%d]", i), "want command or file")
		case t.File != "" && t.Every == 0:
			wrong(fmt.Sprintf("telemetry[%d].every", i), "want how often the file is read, as 1m")
		}
	}
	if c.Spool != 0 && c.Spool < 64<<10 {
		wrong("spool", "want 64KiB or more")
	}
	if !slices.Contains([]string{"", "text", "json"}, c.LogFormat) {
		wrong("logFormat", "want text or json")
	}
	if !slices.Contains([]string{"", "debug", "info", "warn", "error"}, c.LogLevel) {
		wrong("logLevel", "want debug, info, warn or error")
	}
	return errors.Join(all...)
}

func (c component) check(key string, wrong func(key, want string)) {
	kinds := 0
	if c.File != nil {
		kinds++
		if !filepath.IsAbs(c.File.Path) {
			wrong(key+".file.path", "want the absolute path of the file to be replaced")
		}
		if _, err := c.File.mode(); err != nil {
			wrong(key+".file.mode", err.Error())
		}
	}
	if c.Directory != nil {
		kinds++
		if !filepath.IsAbs(c.Directory.Path) {
			wrong(key+".directory.path", "want the absolute path of the symbolic link")
		}
	}
	if c.Slots != nil {
		kinds++
		if len(c.Slots.Installer) == 0 {
			wrong(key+".slots.installer", "want the installer program, as [/usr/lib/fettle/installer]")
		}
	}
	if kinds != 1 {
		wrong(key, "want one of file, directory and slots: how it is installed")
	}
	if len(c.Version.Command) == 0 && c.Version.File == "" && c.Version.Factory == "" {
		wrong(key+".version", "want command, file or factory: which version runs")
	}
}

func (f *filePart) mode() (fs.FileMode, error) {
	if f.Mode == "" {
		return 0o644, nil
	}
	n, err := strconv.ParseUint(f.Mode, 8, 32)
	if err != nil || n > 0o777 {
		return 0, errors.New(`want file permissions in octal, as "0755"`)
	}
	return fs.FileMode(n), nil
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// mqttAddress tells where to connect, and whether over TLS.
func mqttAddress(s string) (address string, secure bool, err error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Scheme != "mqtt" && u.Scheme != "mqtts" || strings.Trim(u.Path, "/") != "" {
		return "", false, errors.New("want mqtts:// (or, without encryption, mqtt://) and the server's name")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"mqtt": "1883", "mqtts": "8883"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port), u.Scheme == "mqtts", nil
}

// path is a file named in the configuration.
func (c *config) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.dir, name)
}

// tls is what connections to the server trust.
func (c *config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if k := c.Certificate; k != nil {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.path(k.Cert), c.path(k.Key))
			if err != nil {
				return nil, fmt.Errorf("certificate: %w", err)
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	if c.CA == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.path(c.CA))
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	t.RootCAs = x509.NewCertPool()
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca: %s has no certificate in PEM", c.CA)
	}
	return t, nil
}

// secret reads a file with one secret. What it holds is never shown.
func secret(name string) (string, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	s := strings.TrimSpace(string(raw))
	if s == "" || strings.ContainsAny(s, " \t\r\n") {
		return "", fmt.Errorf("%s: want one secret on one line", name)
	}
	return s, nil
}

func (c *config) control() string {
	if c.Control != "" {
		return c.path(c.Control)
	}
	return filepath.Join(c.State, "control.sock")
}
