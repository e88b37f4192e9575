package app

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
)

func none(string) (string, bool) { return "", false }

func TestLoadPrecedence(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "fettle.yaml")
	require.NoError(t, os.WriteFile(file, []byte("listen: 0.0.0.0:1\nmqtt: 0.0.0.0:2\nstream-age: 2h\n"), 0o600))
	env := func(k string) (string, bool) { return "0.0.0.0:3", k == "FETTLE_MQTT" || k == "FETTLE_LISTEN" }

	c, err := Load(file, env, map[string]string{"listen": "0.0.0.0:4"})
	require.NoError(t, err)
	require.Equal(t, "0.0.0.0:4", c.Listen, "the flag wins")
	require.Equal(t, "0.0.0.0:3", c.MQTT, "the environment wins over the file")
	require.Equal(t, "2h0m0s", c.StreamAge.String(), "the file wins over the default")
}

func TestLoadNamesEveryMistake(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "fettle.yaml")
	require.NoError(t, os.WriteFile(file, []byte("lisen: x\nclock-speed: 60\nstream-age: soon\ntls-cert: a.pem\n"), 0o600))
	_, err := Load(file, none, nil)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	var paths []string
	for _, f := range fault.FieldsOf(err) {
		paths = append(paths, f.Path)
	}
	require.ElementsMatch(t, []string{"lisen", "clock-speed", "stream-age", "tls-cert"}, paths)
}

func TestScaledClockNeedsDev(t *testing.T) {
	t.Parallel()
	flags := map[string]string{"clock-speed": "60", "clock-origin": "2026-01-01T00:00:00Z", "clock-start": "2014-01-06T00:00:00Z"}
	_, err := Load("", none, flags)
	require.ErrorContains(t, err, "outside --dev")
	flags["dev"] = "true"
	_, err = Load("", none, flags)
	require.NoError(t, err)
}

func TestTheFileMayHoldListsAndNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "fettle.yaml")
	require.NoError(t, os.WriteFile(file, []byte("mqtt:\nsmtp: ~\ntrusted-proxies: [10.0.0.7, 10.1.0.0/16]\nstream-bytes: 1000000000000\n"), 0o600))
	c, err := Load(file, none, nil)
	require.NoError(t, err)
	require.Empty(t, c.MQTT, "a key without a value is empty, and empty is off")
	require.Empty(t, c.SMTP)
	require.Equal(t, "10.0.0.7,10.1.0.0/16", c.TrustedProxies)
	require.Equal(t, size(1_000_000_000_000), c.StreamBytes)
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]size{"8GiB": 8 << 30, "512MiB": 512 << 20, "8388608": 8 << 20, "1TiB": 1 << 40} {
		c, err := Load("", none, map[string]string{"stream-bytes": text})
		require.NoError(t, err, text)
		require.Equal(t, want, c.StreamBytes)
	}
	for _, text := range []string{"lots", "8GB", "8 GiB", "-1", "0", "1.5GiB", "MiB", "9999999999GiB"} {
		_, err := Load("", none, map[string]string{"stream-bytes": text})
		require.EqualError(t, err, `configuration: stream-bytes: expected a size, as 512MiB or 2GiB, got "`+text+`"`)
	}
	_, err := Load("", none, map[string]string{"stream-bytes": "1MiB", "history-memory": "", "detector-memory": "1KiB", "disk-quota": "", "disk-min-free": ""})
	require.ErrorContains(t, err, "stream-bytes: expected 4MiB or more")
	require.ErrorContains(t, err, "history-memory: expected 64MiB or more")
	require.ErrorContains(t, err, "detector-memory: expected 1MiB or more")
	require.ErrorContains(t, err, "disk-min-free: expected a size")
	require.NotContains(t, err.Error(), "disk-quota")
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	_, err := Load("", none, map[string]string{"listen": "8080", "mqtt": "localhost", "mqtts": ""})
	require.ErrorContains(t, err, "listen: expected an address and a port, as 0.0.0.0:8080, got 8080")
	require.ErrorContains(t, err, "mqtt: expected an address and a port")
	require.NotContains(t, err.Error(), "mqtts")
}

func TestLinksBeginWithAnAddressThatCanBeOpened(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		"127.0.0.1:8080": "http://127.0.0.1:8080", ":8080": "http://localhost:8080", "0.0.0.0:8080": "http://localhost:8080",
		"[::]:8080": "http://localhost:8080", "[::1]:8080": "http://[::1]:8080", "fettle.example:80": "http://fettle.example:80",
	} {
		c := Config{Listen: listen}
		require.Equal(t, want, c.publicURL(), listen)
	}
}

func TestTrustComesFromTheFileAlone(t *testing.T) {
	t.Parallel()
	load := func(text string) (Config, error) {
		file := filepath.Join(t.TempDir(), "fettle.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return Load(file, none, nil)
	}
	c, err := load(`listen: 127.0.0.1:1
unit-trust:
  gateways:
    - name: site-7
      tokenSHA256: ` + strings.Repeat("ab", 32) + `
      networks: [10.7.0.0/16, 2001:db8::/32]
      products: [wall-charger]
  proxies:
    - {name: mtls, networks: [10.0.0.7/32], products: [wall-charger], authorityHeader: X-Ssl-Issuer-Hash, authority: "ab:cd"}
`)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:1", c.Listen)
	require.Equal(t, netip.MustParsePrefix("2001:db8::/32"), c.UnitTrust.Gateways[0].Networks[1])
	require.Equal(t, "ab:cd", c.UnitTrust.Proxies[0].Authority)

	_, err = load("unit-trust:\n  gateways:\n    - {name: site-7, tokenSHA256: s3cret, networks: [], products: [x]}\n")
	require.ErrorContains(t, err, "unit-trust.gateways[0].tokenSHA256")
	require.ErrorContains(t, err, "unit-trust.gateways[0].networks")
	require.NotContains(t, err.Error(), "s3cret")
	_, err = load("unit-trust:\n  gatewais: []\n")
	require.ErrorContains(t, err, "gatewais")
	_, err = load("unit-trust:\n  proxies:\n    - {name: x, networks: [10.0.0.300/8]}\n")
	require.Error(t, err)
	c, err = load("listen: 127.0.0.1:1\n")
	require.NoError(t, err)
	require.Empty(t, c.UnitTrust)

	for _, s := range Settings() {
		require.NotContains(t, s.Name, "trust-", "no flag and no variable")
		require.NotEmpty(t, s.Name)
	}
	_, err = Load("", none, map[string]string{"unit-trust": "x"})
	require.NoError(t, err, "not a flag: cmd refuses it before")
}
