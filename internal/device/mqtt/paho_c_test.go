package mqtt

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Eclipse Paho for C, as devices link it: each quality of service over both
// versions of the protocol, plain.
func TestPahoForC(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "publish")
	out, err := exec.CommandContext(t.Context(), "gcc", "-o", program, "../../../e2e/testdata/mqtt/publish.c", "-lpaho-mqtt3c").CombinedOutput()
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("libpaho-mqtt-dev is not installed: make deps")
	}
	require.NoError(t, err, string(out))
	for name, version := range map[string]string{"3.1.1": "4", "5": "5"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{}, nil)
			unit := r.Units(1)[0]
			out, err := exec.CommandContext(t.Context(), program, "tcp://"+r.addr, unit, r.Token(unit), TopicTelemetry, version).CombinedOutput()
			require.NoError(t, err, string(out))
			require.Eventually(t, func() bool { return len(r.Stream.Rows()) == 3 }, time.Minute, 10*time.Millisecond)
			for i, row := range r.Stream.Rows() {
				require.InDelta(t, 10+i, row.Values[0].Number, 0)
			}
		})
	}
}
