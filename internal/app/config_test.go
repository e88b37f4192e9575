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
	require.ElementsMatch(t, []string{"lisen", "clock-speed", "clock-origin", "stream-age", "tls-cert"}, paths)
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
