package mqtt

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// mosquitto runs a client of the mosquitto package, which knows nothing of us.
func mosquitto(t *testing.T, wait time.Duration, program string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", program)
		}
		t.Skipf("%s is not installed", program)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if ctx.Err() != nil {
		return string(out), errors.Join(err, ctx.Err())
	}
	return string(out), err
}

// flags are those that connect as a unit.
func (r *rig) flags(version, unit string, more ...string) []string {
	host, port, _ := net.SplitHostPort(r.addr)
	return append([]string{"-h", host, "-p", port, "-V", version, "-u", unit, "-P", r.Token(unit)}, more...)
}

func TestMosquittoPublishes(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{}, nil)
			ids := r.Units(2)
			for qos := range 2 {
				out, err := mosquitto(t, 10*time.Second, "mosquitto_pub",
					r.flags(version, ids[0], "-q", fmt.Sprint(qos), "-t", TopicTelemetry, "-m", `{"ts":1401624000123,"seq":7,"values":{"current":16.5,"charging":true,"label":"x"}}`)...)
				require.NoError(t, err, out)
			}
			require.Eventually(t, func() bool { return len(r.Stream.Rows()) == 2 }, time.Minute, time.Millisecond)
			row := r.Stream.Rows()[1]
			require.Equal(t, int64(1), row.Unit)
			require.Equal(t, int64(1401624000123), row.Event)
			require.Equal(t, int64(7), row.Sequence)
			require.Equal(t, []telemetry.Value{{Signal: "current", Number: 16.5}, {Signal: "charging", Number: 1}, {Signal: "label", Text: "x", IsText: true}}, row.Values)

			out, err := mosquitto(t, 10*time.Second, "mosquitto_pub", r.flags(version, ids[0], "-q", "1", "-t", TopicAttributes, "-m", `{"versions":{"software":"2.0.0"}}`)...)
			require.NoError(t, err, out)
			u, err := r.DB.Fleet().Unit(t.Context(), ids[0])
			require.NoError(t, err)
			require.Equal(t, map[string]string{"software": "2.0.0"}, u.Versions)
			require.Len(t, r.Stream.Marks(telemetry.MarkVersion), 1)

			// Many lines over one connection, none lost, all in order.
			file := filepath.Join(t.TempDir(), "lines")
			var lines strings.Builder
			for i := range 500 {
				fmt.Fprintf(&lines, "{\"ts\":%d,\"seq\":%d,\"values\":{\"current\":1}}\n", devicetest.Start.UnixMilli()+int64(i), i+1)
			}
			require.NoError(t, os.WriteFile(file, []byte(lines.String()), 0o600))
			in, err := os.Open(file)
			require.NoError(t, err)
			defer func() { _ = in.Close() }()
			cmd := exec.CommandContext(t.Context(), "mosquitto_pub", r.flags(version, ids[1], "-q", "1", "-t", TopicTelemetry, "-l")...)
			cmd.Stdin = in
			b, err := cmd.CombinedOutput()
			require.NoError(t, err, string(b))
			n := int64(0)
			for _, row := range r.Stream.Rows() {
				if row.Unit == 2 {
					n++
					require.Equal(t, n, row.Sequence)
				}
			}
			require.Equal(t, int64(500), n)
		})
	}
}

func TestMosquittoIsRefused(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{}, nil)
			ids := r.Units(2)
			host, port, _ := net.SplitHostPort(r.addr)
			for _, cred := range [][]string{{"-u", ids[0], "-P", r.Token(ids[1])}, {"-u", ids[0], "-P", "fut_x"}, {"-u", "nobody", "-P", r.Token(ids[0])}, {}} {
				out, err := mosquitto(t, 10*time.Second, "mosquitto_pub", append(cred, "-h", host, "-p", port, "-V", version, "-q", "1", "-t", TopicTelemetry, "-m", sample)...)
				require.Error(t, err, out)
			}
			require.NoError(t, r.Provide.RevokeUnit(t.Context(), ids[0]))
			out, err := mosquitto(t, 10*time.Second, "mosquitto_pub", r.flags(version, ids[0], "-q", "1", "-t", TopicTelemetry, "-m", sample)...)
			require.Error(t, err, out)
			require.Empty(t, r.Stream.Rows())
			// Subscriptions to what is others' are refused.
			for _, topic := range []string{"#", "fettle/v1/telemetry", "$SYS/#"} {
				out, _ := mosquitto(t, 3*time.Second, "mosquitto_sub", r.flags(version, ids[1], "-t", topic, "-C", "1")...)
				require.Contains(t, out, "denied", topic)
			}
		})
	}
}

// A payload of 1 MiB is refused before it is read, and closes the connection.
func TestMosquittoSendsAMebibyte(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{}, nil)
			unit := r.Units(1)[0]
			file := filepath.Join(t.TempDir(), "large")
			require.NoError(t, os.WriteFile(file, []byte(`{"values":{"label":"`+strings.Repeat("x", 1<<20)+`"}}`), 0o600))
			_, err := mosquitto(t, 4*time.Second, "mosquitto_pub", r.flags(version, unit, "-q", "1", "-t", TopicTelemetry, "-f", file)...)
			if version != "mqttv5" { // that one knows the limit from CONNACK, says nothing and sends nothing
				require.Error(t, err)
			}
			require.Empty(t, r.Stream.Rows())
			// What fits is taken.
			body := `[` + strings.Repeat(sample+",", 5000) + sample + `]`
			require.Less(t, len(body), 256<<10)
			require.NoError(t, os.WriteFile(file, []byte(body), 0o600))
			out, err := mosquitto(t, 10*time.Second, "mosquitto_pub", r.flags(version, unit, "-q", "1", "-t", TopicTelemetry, "-f", file)...)
			require.NoError(t, err, out)
			require.Len(t, r.Stream.Rows(), 5001)
		})
	}
}

// lines collects what a subscriber prints.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestMosquittoListens(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{}, func(c *device.Config) {
				c.Waiting = func(_ context.Context, unit string) bool { return unit == "WC-000001" }
			})
			ids := r.Units(2)
			listen := func(unit string) *lines {
				path, err := exec.LookPath("mosquitto_sub")
				if err != nil && os.Getenv("CI") == "" {
					t.Skip("mosquitto_sub is not installed")
				}
				require.NoError(t, err)
				out := &lines{}
				cmd := exec.CommandContext(t.Context(), path, r.flags(version, unit, "-v", "-q", "1", "-t", TopicDesired, "-t", TopicNotice)...)
				cmd.Stdout = out
				require.NoError(t, cmd.Start())
				t.Cleanup(func() {
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				})
				return out
			}
			prints := func(l *lines, want string) {
				t.Helper()
				require.Eventually(t, func() bool { return l.all() == want }, time.Minute, 10*time.Millisecond, "printed %q", l)
			}
			const all = TopicDesired + ` {"collect":["current","plug_temperature","charging","label","error"]}` + "\n"
			const some = TopicDesired + ` {"collect":["error"]}` + "\n"
			const notice = TopicNotice + ` {"poll":true}` + "\n"
			a, b := listen(ids[0]), listen(ids[1])
			prints(a, all)
			prints(b, all+notice)
			r.Consent(ids[0], false)
			prints(a, all+some)
			r.Gateway.Notify(ids[0])
			prints(a, all+some+notice)
			p := devicetest.Charger()
			p.Signals = append(p.Signals, fleet.Signal{Name: "uptime", Type: fleet.Number, Purposes: []string{"operation"}})
			require.NoError(t, r.DB.Fleet().PutProduct(t.Context(), p))
			r.Gateway.InvalidateProduct(t.Context(), devicetest.Product)
			prints(a, all+some+notice+TopicDesired+` {"collect":["error","uptime"]}`+"\n")
			prints(b, all+notice+TopicDesired+` {"collect":["current","plug_temperature","charging","label","error","uptime"]}`+"\n")
		})
	}
}

func TestMosquittoOverTLS(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	dir := t.TempDir()
	server := makeCertificate(t, dir, "server", devicetest.Start)
	keyPair, err := tls.LoadX509KeyPair(server+".crt", server+".key")
	require.NoError(t, err)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{keyPair}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	r := newRigOn(t, h, Config{}, ln)
	ids := r.Units(3)
	host, port, _ := net.SplitHostPort(r.addr)
	bind := func(name, unit string, from time.Time) string {
		path := makeCertificate(t, dir, name, from)
		raw, err := os.ReadFile(path + ".crt")
		require.NoError(t, err)
		block, _ := pem.Decode(raw)
		require.NoError(t, r.Provide.BindCertificate(t.Context(), unit, fleet.CertificateFingerprint(block.Bytes)))
		return path
	}
	mine := bind("mine", ids[0], devicetest.Start)
	expired := bind("expired", ids[1], devicetest.Start.AddDate(-3, 0, 0))
	stranger := makeCertificate(t, dir, "stranger", devicetest.Start)
	pub := func(more ...string) error {
		args := append([]string{"-h", host, "-p", port, "--cafile", server + ".crt", "-q", "1", "-t", TopicTelemetry, "-m", sample}, more...)
		_, err := mosquitto(t, 10*time.Second, "mosquitto_pub", args...)
		return err
	}
	certs := func(path string) []string { return []string{"--cert", path + ".crt", "--key", path + ".key"} }
	require.NoError(t, pub("-u", ids[2], "-P", r.Token(ids[2])), "a token over TLS")
	require.NoError(t, pub(certs(mine)...), "a certificate alone")
	require.NoError(t, pub(append(certs(mine), "-u", ids[0])...), "with the unit's own name")
	require.NoError(t, pub(append(certs(mine), "-u", "?SDK=Python&Version=1.4.9")...), "as AWS IoT's clients name themselves")
	require.NoError(t, pub(append(certs(mine), "-u", "hub.azure-devices.net/"+ids[0]+"/?api-version=2021-04-12")...), "as Azure IoT Hub's do")
	require.Error(t, pub(append(certs(mine), "-u", ids[1])...), "with another's name")
	require.Error(t, pub(append(certs(mine), "-u", "hub.azure-devices.net/"+ids[1]+"/?api-version=2021-04-12")...), "with another's name for Azure")
	require.Error(t, pub(append(certs(mine), "-u", ids[1], "-P", r.Token(ids[1]))...), "with another's name and token")
	require.Error(t, pub(certs(stranger)...), "a certificate that nobody bound")
	require.Error(t, pub(certs(expired)...), "a certificate that has expired")
	require.NoError(t, pub(append(certs(stranger), "-u", ids[2], "-P", r.Token(ids[2]))...), "a token beside a certificate that nobody bound")
	var units []int64
	for _, row := range r.Stream.Rows() {
		units = append(units, row.Unit)
	}
	require.Equal(t, []int64{3, 1, 1, 1, 1, 3}, units)
}

// makeCertificate writes a self-signed certificate that is valid for a year
// on the machine's clock and on the house's.
func makeCertificate(tb testing.TB, dir, name string, from time.Time) string {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from.AddDate(-1, 0, 0), NotAfter: from.AddDate(1, 0, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	if name == "server" {
		template.NotAfter = time.Now().AddDate(1, 0, 0)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(tb, err)
	raw, err := x509.MarshalECPrivateKey(key)
	require.NoError(tb, err)
	path := filepath.Join(dir, name)
	require.NoError(tb, os.WriteFile(path+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(tb, os.WriteFile(path+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}), 0o600))
	return path
}
