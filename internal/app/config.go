// Package app opens the engines once, builds the rooms from them and runs the
// parts of one fettle process.
package app

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"fettle.dev/fettle/internal/app/step"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device/ddi"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/reach"
	"fettle.dev/fettle/internal/send/gateway"
)

// Config is what an operator can set. Each field is a flag of `fettle serve`,
// an environment variable (FETTLE_ and the name in capitals, - as _) and a key
// of the file named by --config; the flag wins over the variable, the variable
// over the file.
type Config struct {
	Role      string `name:"role" default:"all" help:"all; or ingest: units' MQTT and HTTPS doors alone, beside a process of role all with the same records (PostgreSQL) and bus. Several may listen at one address"`
	Data      string `name:"data" default:"data" help:"directory that holds everything: records, stream, history, artifacts"`
	Listen    string `name:"listen" default:"127.0.0.1:8080" help:"address of HTTP: console, portal, API, units' HTTPS and update doors"`
	MQTT      string `name:"mqtt" default:"127.0.0.1:1883" help:"address of plain MQTT; empty: off"`
	MQTTS     string `name:"mqtts" default:"" help:"address of MQTT over TLS, with the certificate files; empty: off"`
	PublicURL string `name:"public-url" default:"" help:"address people and units use, as https://fettle.example.com (default: from listen)"`

	TLSCert        string `name:"tls-cert" default:"" help:"PEM certificate chain for HTTPS and MQTT over TLS; read anew when it changes"`
	TLSKey         string `name:"tls-key" default:"" help:"PEM private key of tls-cert"`
	TrustedProxies string `name:"trusted-proxies" default:"" help:"comma-separated addresses or networks of reverse proxies whose X-Forwarded-* headers are believed"`

	Records   string `name:"records" default:"" help:"records: sqlite:PATH or postgres://… (default: SQLite in the data directory)"`
	Bus       string `name:"bus" default:"" help:"address of a NATS cluster, nats://… (default: in this process)"`
	Artifacts string `name:"artifacts" default:"" help:"artifacts: a directory or s3://BUCKET?… (default: in the data directory)"`

	ArtifactCDN string `name:"artifact-cdn" default:"" help:"address of a cache before this service, as https://cdn.example.com, that units are sent on to for artifacts; it fetches them here at the same path and query; empty: none"`

	UnitRate      float64       `name:"unit-rate" default:"20000" help:"samples a second that are taken of one unit, unless its product says otherwise; a unit beyond is slowed, nothing is lost"`
	StreamAge     time.Duration `name:"stream-age" default:"24h" help:"how long the stream keeps what history and detectors have taken"`
	StreamBytes   size          `name:"stream-bytes" default:"8GiB" help:"largest size of the stream; when it is full, senders wait"`
	DiskQuota     size          `name:"disk-quota" default:"" help:"most that the data directory may hold, as 50GiB; from 4 fifths on a warning is shown, above it units wait; empty: as much as the disk has"`
	DiskMinFree   size          `name:"disk-min-free" default:"64MiB" help:"how much of the disk must stay free; with less, units wait"`
	AuditAge      time.Duration `name:"audit-age" default:"1095d" help:"how long the audit trail is kept"`
	MessageAge    time.Duration `name:"message-age" default:"400d" help:"how long messages are kept after they were sent; those of safety and security five years, the log of webhooks 30 days"`
	BackupLife    time.Duration `name:"backup-life" default:"30d" help:"how long after somebody was erased a backup that holds them can still be opened; then its key is destroyed"`
	MaxEventAge   time.Duration `name:"max-event-age" default:"180d" help:"samples whose own time is further back are refused as invalid; raise it to replay old recordings"`
	HistoryMemory size          `name:"history-memory" default:"1GiB" help:"memory that queries over history may use"`
	DetectorMem   size          `name:"detector-memory" default:"256MiB" help:"what detectors have learned of units, as encoded (half as much again in memory), that stays in memory; of units heard of longest ago it is read back from the records when they are heard of again"`
	HistoryThread int           `name:"history-threads" default:"2" help:"threads of queries over history"`

	SMTP     string `name:"smtp" default:"" help:"mail server, smtp://user:password@host:587 (smtps:// for TLS from the start); without it owners cannot sign in"`
	MailFrom string `name:"mail-from" default:"fettle@localhost" help:"sender of mails, as Fettle <fettle@example.com>"`

	MailReplyTo     string `name:"mail-reply-to" default:"" help:"address that people's answers go to; empty: the sender"`
	MailBounces     string `name:"mail-bounces" default:"" help:"mailbox that mails come back to which cannot be delivered, as bounces@example.com; a message's ticket is added behind a +, and the mailbox hands what it gets to 'fettle message bounce' (docs/operations.md); empty: the sender"`
	MailConnections int    `name:"mail-connections" default:"4" help:"connections to the mail server, each carrying one mail after another"`
	DKIMKey         string `name:"dkim-key" default:"" help:"PEM private key (RSA of 2048 bits or more, or Ed25519) that mails are signed with; empty: they are not, as where the mail server signs"`
	DKIMSelector    string `name:"dkim-selector" default:"fettle" help:"name of the key's DNS record, SELECTOR._domainkey.DOMAIN"`
	DKIMDomain      string `name:"dkim-domain" default:"" help:"domain that mails are signed for; empty: the sender's"`

	OIDC         string `name:"oidc" default:"" help:"YAML file that names OpenID providers that owners and operators may sign in with (docs/owners.md); empty: none"`
	FourEyes     string `name:"four-eyes" default:"" help:"comma-separated products whose campaigns start only when a second operator with the right to approve says yes, or all; empty: none"`
	OwnerOrigins string `name:"owner-origins" default:"" help:"comma-separated origins, as https://app.example.com, whose pages may call the owner API with the token of an app; empty: none"`

	WebhookSecret string `name:"webhook-secret" default:"" help:"key that signs webhooks (HMAC-SHA256 in Fettle-Signature); empty: webhooks are not signed"`

	FeedSecrets  string `name:"feed-secrets" default:"" help:"directory of files, one a secret, that products' feeds of outside context name as {secret:NAME}; empty: there are none"`
	FeedNetworks string `name:"feed-networks" default:"" help:"comma-separated addresses or networks that such feeds may be at beside public addresses, as 10.20.0.0/16; empty: none"`
	TipsPerDay   int64  `name:"tips-per-day" default:"3" help:"most tips that an owner is given in a day, over all their units"`

	OutgoingNetworks string `name:"outgoing-networks" default:"" help:"comma-separated addresses or networks inside that webhooks, gateways and push may call beside public addresses, as 10.20.0.0/16; empty: none (with dev: this machine)"`

	PollInterval      time.Duration `name:"poll-interval" default:"5m" help:"how often update clients are told to poll"`
	PollOffered       time.Duration `name:"poll-interval-offered" default:"30s" help:"the like while an update is offered to the owner, for units that do not hear of the owner's start over MQTT; never longer than poll-interval"`
	PollUnitRate      float64       `name:"poll-unit-rate" default:"1" help:"polls a second of one unit, and 60 at once, before it is asked to wait (429)"`
	PollAddressRate   float64       `name:"poll-address-rate" default:"2000" help:"polls a second from one address, and twice as many at once, before it is asked to wait (429)"`
	PollAddressExempt string        `name:"poll-address-exempt" default:"127.0.0.0/8,::1" help:"comma-separated addresses or networks that poll-address-rate is not for: a proxy that speaks for many"`

	// UnitTrust stands in the file alone, as unit-trust.
	UnitTrust ddi.Trust
	// Gateways stand in the file alone, as gateways (docs/gateways).
	Gateways []gateway.Config

	RAUCKeyring    string `name:"rauc-keyring" default:"" help:"PEM certificates: files named *.raucb are refused unless RAUC finds them signed by one of these (needs RAUC on this machine); empty: they are not looked at"`
	HawkbitAPI     bool   `name:"hawkbit-api" default:"false" help:"serve the part of hawkBit's Management API that tools call, under /rest/v1; its password is an API token of scope hawkbit"`
	HawkbitProduct string `name:"hawkbit-product" default:"bench" help:"product of the bench units that tools make over that API; made if there is none"`
	HawkbitLogin   string `name:"hawkbit-bench-login" default:"" help:"user:password that /rest/v1 takes too, for tools whose credential is written into them; it reaches bench units alone; empty: none"`

	LogLevel  string `name:"log-level" default:"info" help:"debug, info, warn or error"`
	LogFormat string `name:"log-format" default:"" help:"json or text (default: text on a terminal)"`

	Profiles string `name:"profiles" default:"" help:"address that serves this process's Go profiles (/debug/pprof), for whoever looks into its speed; never one that others reach; empty: off"`

	Dev         bool    `name:"dev" default:"false" help:"development: mails are printed when there is no smtp, cookies work over http, the clock may be scaled; never in production"`
	ClockOrigin string  `name:"clock-origin" default:"" help:"with dev: real instant (RFC 3339) at which the clock shows clock-start"`
	ClockStart  string  `name:"clock-start" default:"" help:"with dev: time (RFC 3339) shown at clock-origin"`
	ClockSpeed  float64 `name:"clock-speed" default:"1" help:"with dev: how many times faster than real the clock runs"`
	ClockStep   string  `name:"clock-step" default:"" help:"with dev: file that holds how far the clock is off, as 2h or -30m; read anew when it changes"`
}

// The roles of a process.
const (
	roleAll    = "all"
	roleIngest = "ingest"
)

// Setting describes one field of Config for help texts and flags.
type Setting struct{ Name, Env, Default, Help, Type string }

// Settings lists every field of Config in order.
func Settings() []Setting {
	t := reflect.TypeFor[Config]()
	out := make([]Setting, 0, t.NumField())
	for f := range t.Fields() {
		name := f.Tag.Get("name")
		if name == "" {
			continue
		}
		typ := f.Type.String()
		if typ == "time.Duration" {
			typ = "duration"
		}
		out = append(out, Setting{name, envName(name), f.Tag.Get("default"), f.Tag.Get("help"), typ})
	}
	return out
}

func envName(name string) string {
	return "FETTLE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Load reads the configuration: file ("": none), then environment, then flags
// that were given (by setting name).
func Load(file string, env func(string) (string, bool), flags map[string]string) (Config, error) {
	values := map[string]string{}
	var mistakes []fault.Field
	var c Config
	if file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return Config{}, fault.Wrap(fault.Invalid, "read --config", err)
		}
		var doc map[string]any
		if err := yaml.Unmarshal(raw, &doc); err != nil {
			return Config{}, fault.New(fault.Invalid, "%s: %s", file, yaml.FormatError(err, false, true))
		}
		for k, v := range doc {
			if k != trustKey && k != gatewaysKey {
				values[k] = text(v)
			}
		}
		if err := errors.Join(filePart(raw, trustKey, &c.UnitTrust), filePart(raw, gatewaysKey, &c.Gateways)); err != nil {
			return Config{}, fault.New(fault.Invalid, "%s: %s", file, yaml.FormatError(err, false, true))
		}
	}
	known := map[string]bool{}
	for _, s := range Settings() {
		known[s.Name] = true
		if _, ok := values[s.Name]; !ok {
			values[s.Name] = s.Default
		}
		if v, ok := env(s.Env); ok {
			values[s.Name] = v
		}
		if v, ok := flags[s.Name]; ok {
			values[s.Name] = v
		}
	}
	v := reflect.ValueOf(&c).Elem()
	for f, field := range v.Fields() {
		name := f.Tag.Get("name")
		if name == "" {
			continue
		}
		if err := set(field, values[name]); err != nil {
			mistakes = append(mistakes, fault.Field{Path: name, Expected: err.Error(), Got: strconv.Quote(values[name])})
		}
	}
	for k := range values {
		if !known[k] {
			mistakes = append(mistakes, fault.Field{Path: k, Expected: "a setting that `fettle serve --help` lists"})
		}
	}
	for _, m := range c.check() {
		if !slices.ContainsFunc(mistakes, func(told fault.Field) bool { return told.Path == m.Path }) {
			mistakes = append(mistakes, m)
		}
	}
	return c, fault.Fields("configuration", mistakes)
}

// size is a number of bytes.
type size int64

// parse reads bytes, or a size as 512MiB or 2GiB; nothing is 0.
func (b *size) parse(s string) error {
	digits := strings.TrimRight(s, "KMGTiB")
	shift, ok := map[string]int{"": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if s == "" {
		*b = 0
		return nil
	}
	if err != nil || !ok || n <= 0 || n > math.MaxInt64>>shift {
		return errors.New("a size, as 512MiB or 2GiB")
	}
	*b = size(n << shift)
	return nil
}

// text writes a value of the file as a flag would have it: a key without a
// value is empty, a list is comma-separated.
func text(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case []any:
		parts := make([]string, len(x))
		for i := range x {
			parts[i] = text(x[i])
		}
		return strings.Join(parts, ",")
	default:
		return fmt.Sprint(v)
	}
}

func set(field reflect.Value, s string) error {
	switch p := field.Addr().Interface().(type) {
	case *string:
		*p = s
	case *bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("true or false")
		}
		*p = b
	case *time.Duration:
		d, err := fleet.ParseDuration(s)
		if err != nil || d <= 0 {
			return fmt.Errorf("a duration, as 5m or 90d")
		}
		*p = time.Duration(d)
	case *size:
		return p.parse(s)
	case *int64, *int:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n <= 0 {
			return fmt.Errorf("a whole number above 0")
		}
		field.SetInt(n)
	case *float64:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(f > 0) || f > 1e6 {
			return fmt.Errorf("a number above 0, at most 1000000")
		}
		*p = f
	}
	return nil
}

func (c *Config) check() []fault.Field {
	var m []fault.Field
	add := func(path, expected, got string) { m = append(m, fault.Field{Path: path, Expected: expected, Got: got}) }
	if c.Data == "" {
		add("data", "a directory", "")
	}
	switch {
	case c.Role == roleIngest:
		if !strings.HasPrefix(c.Records, "postgres") {
			add("records", "postgres://…, as the process of role all has", c.Records)
		}
		if c.Bus == "" {
			add("bus", "nats://…, as the process of role all has", "")
		}
	case c.Role != roleAll:
		add("role", "all or ingest", c.Role)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		add("tls-cert", "tls-cert and tls-key together", "one of them")
	}
	if c.MQTTS != "" && c.TLSCert == "" {
		add("mqtts", "tls-cert and tls-key with it", "")
	}
	if !c.Dev && (c.ClockSpeed != 1 || c.ClockOrigin != "" || c.ClockStart != "" || c.ClockStep != "") {
		add("clock-speed", "no scaled clock outside --dev", "")
	}
	if c.PublicURL != "" {
		if u, err := url.Parse(c.PublicURL); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			add("public-url", "an address as https://fettle.example.com", c.PublicURL)
		}
	}
	for _, at := range [][2]string{{"listen", c.Listen}, {"mqtt", c.MQTT}, {"mqtts", c.MQTTS}, {"profiles", c.Profiles}} {
		if _, _, err := net.SplitHostPort(at[1]); err != nil && (at[1] != "" || at[0] == "listen") {
			add(at[0], "an address and a port, as 0.0.0.0:8080", at[1])
		}
	}
	if _, port, _ := net.SplitHostPort(c.Listen); port == "0" && c.PublicURL == "" {
		add("listen", "a port, or public-url with it: links that are mailed and printed name the port", c.Listen)
	}
	if c.ArtifactCDN != "" {
		if u, err := url.Parse(c.ArtifactCDN); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "" {
			add("artifact-cdn", "an address as https://cdn.example.com", c.ArtifactCDN)
		}
	}
	if _, err := reach.Parse(c.TrustedProxies); err != nil {
		add("trusted-proxies", "addresses or networks, as 10.0.0.7,10.1.0.0/16", c.TrustedProxies)
	}
	if _, err := reach.Parse(c.PollAddressExempt); err != nil {
		add("poll-address-exempt", "addresses or networks, as 10.0.0.7,10.1.0.0/16", c.PollAddressExempt)
	}
	c.UnitTrust.Check(func(path, expected, got string) { add(trustKey+"."+path, expected, got) })
	if _, err := c.clock(); err != nil && c.Dev {
		add("clock-origin", "RFC 3339 times in clock-origin and clock-start", err.Error())
	}
	if c.HistoryMemory < 64<<20 {
		add("history-memory", "64MiB or more", "")
	}
	if c.DetectorMem < 1<<20 {
		add("detector-memory", "1MiB or more", "")
	}
	if c.DiskMinFree == 0 {
		add("disk-min-free", "a size, as 64MiB", "")
	}
	if c.StreamBytes < 4<<20 { // of which a half may wait while a commit finds room
		add("stream-bytes", "4MiB or more", "")
	}
	switch c.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		add("log-level", "debug, info, warn or error", c.LogLevel)
	}
	switch c.LogFormat {
	case "", "json", "text":
	default:
		add("log-format", "json or text", c.LogFormat)
	}
	return m
}

// trustKey is where the file says whom units are believed to be vouched for by.
// No flag and no variable does: whoever may change them should not be able to.
const trustKey = "unit-trust"

// gatewaysKey is where the file describes how SMS and calls are sent.
const gatewaysKey = "gateways"

// filePart reads a part of the file into what it says, if it is there; a key that
// is not known is an error.
func filePart(file []byte, key string, into any) error {
	at, err := yaml.PathString("$." + key)
	if err != nil {
		return err
	}
	node, err := at.ReadNode(bytes.NewReader(file))
	if err != nil {
		if yaml.IsNotFoundNodeError(err) {
			return nil
		}
		return err
	}
	return yaml.NodeToValue(node, into, yaml.Strict())
}

func (c *Config) clock() (clock.Clock, error) {
	running, err := c.running()
	if err != nil || c.ClockStep == "" {
		return running, err
	}
	return &step.Clock{Clock: running, File: c.ClockStep}, nil
}

// running is the clock before it is stepped.
func (c *Config) running() (clock.Clock, error) {
	if c.ClockOrigin == "" && c.ClockStart == "" && c.ClockSpeed == 1 {
		return clock.Real{}, nil
	}
	origin, err := time.Parse(time.RFC3339Nano, c.ClockOrigin)
	if err != nil {
		return nil, err
	}
	start, err := time.Parse(time.RFC3339Nano, c.ClockStart)
	if err != nil {
		return nil, err
	}
	return clock.Scaled{Origin: origin, Start: start, Speed: c.ClockSpeed}, nil
}

func (c *Config) path(parts ...string) string {
	return filepath.Join(append([]string{c.Data}, parts...)...)
}

// Scheme and authority that people and units reach us at.
func (c *Config) publicURL() string {
	if c.PublicURL != "" {
		return strings.TrimRight(c.PublicURL, "/")
	}
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return scheme + "://" + c.Listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() { // every address of this machine: one that a browser here can open
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
