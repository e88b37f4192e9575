package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// PUBACKs and PUBRECs are lost on the wire; two libraries send again what they
// were not told of, over both protocols and at both services. History has each
// sample once, and counts the others as duplicates.
func TestLostAcknowledgements(t *testing.T) {
	t.Parallel()
	tool(t, "node")
	s := serve(t)
	ids := []string{"WC-000001", "WC-000002", "WC-000003", "WC-000004"}
	tokens := s.units(ids)
	libraries := [][]string{{"/usr/bin/python3", "testdata/mqtt/publish.py"}, {"node", "testdata/mqtt/publish.cjs"}}
	const messages, each = 20, 2
	for i, id := range ids {
		t.Run(fmt.Sprint(libraries[i/2][0], " ", 4+i%2), func(t *testing.T) {
			host, port, err := net.SplitHostPort(lossy(t, s.mqtt, 2))
			require.NoError(t, err)
			n, err := strconv.Atoi(port)
			require.NoError(t, err)
			var all []map[string]any
			first := time.Now().Add(-time.Hour).UnixMilli()
			for k := range messages {
				all = append(all, map[string]any{"topic": "fettle/v1/telemetry", "qos": 1 + k%2, "payload": fmt.Sprintf(`{"ts":%d,"values":{"current":%d,"plug_temperature":30}}`, first+int64(k), k)})
			}
			raw, err := json.Marshal(map[string]any{
				"host": host, "port": n, "version": 4 + i%2, "client": "c", "user": id, "password": tokens[id], "will": "gone", "keep": true, "messages": all,
			})
			require.NoError(t, err)
			cmd := exec.CommandContext(t.Context(), libraries[i/2][0], libraries[i/2][1], string(raw))
			cmd.Env = append(os.Environ(), "NODE_PATH=../web/node_modules")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			require.Contains(t, string(out), "true", string(out))
			a := s.accounting(id)
			require.Equal(t, int64(messages*each), a.Stored, "%+v", a)
			require.Positive(t, a.Duplicate, "%+v", a)
		})
	}
}

// lossy is a wire to a server that is cut where the first PUBACK or PUBREC
// would come back, the first times connections long.
func lossy(t *testing.T, to string, times int) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for n := 0; ; n++ {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(far, near)
				_ = far.Close()
			}()
			go func() {
				defer near.Close()
				back := bufio.NewReader(far)
				for {
					head, err := back.Peek(2) // what is lost or small has one byte of length
					if err != nil || n < times && (head[0]>>4 == 4 || head[0]>>4 == 5) {
						return
					}
					if _, err := io.CopyN(near, back, int64(2+head[1])); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// The documented mappings are applied as they stand, and a mistake in one is
// told by file, line and field. A network server, which is a unit with a token
// of its own, then sends for a probe.
func TestDocumentedMappings(t *testing.T) {
	t.Parallel()
	pub := tool(t, "mosquitto_pub")
	s := serve(t, "--max-event-age", "10000d")
	s.fettle("apply", "-f", "docs/mappings")
	dir := t.TempDir()
	text, err := os.ReadFile("../docs/mappings/aws.yaml")
	require.NoError(t, err)
	wrong := filepath.Join(dir, "wrong.yaml")
	require.NoError(t, os.WriteFile(wrong, bytes.Replace(text, []byte("signal: power, path: /state/reported/watts"), []byte("signal: power, path: state.reported.watts"), 1), 0o600))
	_, stderr, err := s.try("apply", "-f", wrong)
	require.Error(t, err)
	require.Regexp(t, `wrong\.yaml:\d+:\d+: spec\.mappings\[1\]\.signals\[0\]\.path: expected a JSON Pointer`, stderr)

	const probe = "24e124785d291835"
	units := filepath.Join(dir, "units.yaml")
	require.NoError(t, os.WriteFile(units, []byte("apiVersion: fettle.dev/v1\nkind: Unit\nmetadata:\n  name: "+probe+"\nspec:\n  product: soil-probe\n  serial: P-1\n"), 0o600))
	s.fettle("apply", "-f", units)
	token := strings.TrimSpace(s.fettle("unit", "token", "chirpstack-1"))
	host, port, err := net.SplitHostPort(s.mqtt)
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), pub, "-h", host, "-p", port, "-u", "chirpstack-1", "-P", token, "-q", "1",
		"-t", "application/17c82e96-be03-4f38-aef3-f83d48582d97/device/"+probe+"/event/up", "-f", "../docs/payloads/chirpstack.json").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, int64(3), s.accounting(probe).Stored)
	require.Contains(t, s.fettle("describe", "unit", probe), "1.8")
}
