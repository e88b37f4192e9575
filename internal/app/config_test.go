package app

import (
	"os"
	"path/filepath"
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
	require.Equal(t, int64(1_000_000_000_000), c.StreamBytes)
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
