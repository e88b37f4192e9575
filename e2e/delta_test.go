package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A release is declared, and the delta from the version that units have is made
// by itself.
func TestADeltaIsMadeByItself(t *testing.T) {
	t.Parallel()
	s := serve(t)
	tokens := s.units([]string{"WC-1", "WC-2"})
	for _, id := range []string{"WC-1", "WC-2"} {
		s.publish(id, tokens[id], "fettle/v1/attributes", map[string]any{"versions": map[string]string{"software": "1.0.0"}})
	}
	until(t, 30*time.Second, "the units' versions", func() bool { return s.version("WC-1") == "1.0.0" && s.version("WC-2") == "1.0.0" })
	image := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(image)
	dir := t.TempDir()
	for i := range 2 {
		image = append(image, "a little more"...)
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("v%d.swu", i+1)), image, 0o600))
		declareRelease(t, dir, i+1)
	}
	s.fettle("apply", "-f", dir)
	var sizes struct {
		Items []struct {
			Version, Coding, State string
			Units                  int
			Full, Size             int64
		}
	}
	until(t, 30*time.Second, "the delta", func() bool {
		s.get("/v1/releases/charger-2/sizes", &sizes)
		return len(sizes.Items) == 2 && sizes.Items[0].State == "ready"
	})
	row := sizes.Items[0]
	require.Equal(t, "1.0.0", row.Version)
	require.Equal(t, 2, row.Units)
	require.Equal(t, "dcz", row.Coding)
	require.EqualValues(t, len(image), row.Full)
	require.Less(t, row.Size, int64(1000))
	require.Contains(t, s.fettle("artifact", "sizes", "charger-2"), "dcz")
	s.stop()
}

// declareRelease writes the file of a release of dir/v<n>.swu.
func declareRelease(t *testing.T, dir string, n int) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("v%d.yaml", n)), fmt.Appendf(nil, `apiVersion: fettle.dev/v1
kind: Release
metadata: {name: charger-%[1]d}
spec: {product: wall-charger, version: %[1]d.0.0, counter: %[1]d, kind: fix, minutes: 5, notes: {en: Better.}, artifact: v%[1]d.swu}
`, n), 0o600))
}
