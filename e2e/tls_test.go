package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// certify writes a self-signed certificate and its key, each in one step.
func certify(t *testing.T, dir, name string, serial int64) (cert *x509.Certificate, certPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, body := range map[string][]byte{
		name + ".crt": certPEM,
		name + ".key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}),
	} {
		path := filepath.Join(dir, file)
		require.NoError(t, os.WriteFile(path+".new", body, 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert, certPEM
}

func TestTLSByCertificateFiles(t *testing.T) {
	t.Parallel()
	tool(t, "mosquitto_pub")
	dir := t.TempDir()
	first, _ := certify(t, dir, "server", 1)
	pool := x509.NewCertPool()
	pool.AddCert(first)
	mqtts := freeAddress(t)
	crt, key := filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	s := &server{
		t: t, dir: t.TempDir(), http: freeAddress(t), mqtt: freeAddress(t), scheme: "https",
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}},
		args:   []string{"--tls-cert", crt, "--tls-key", key, "--mqtts", mqtts},
	}
	s.start()
	s.env = []string{"SSL_CERT_FILE=" + crt}
	s.signIn()
	s.units([]string{"WC-000001"})

	// A unit enrols with a certificate of its own, and speaks MQTT with it.
	_, unitPEM := certify(t, dir, "unit", 7)
	claimToken := strings.TrimSpace(s.fettle("claim", "token", "create", "wall-charger"))
	raw, err := json.Marshal(map[string]string{"claimToken": claimToken, "serial": "TLS-1", "certificate": string(unitPEM)})
	require.NoError(t, err)
	r, err := s.client.Post(s.url("/fettle/v1/enroll"), "application/json", strings.NewReader(string(raw)))
	require.NoError(t, err)
	body, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	require.Equal(t, 202, r.StatusCode, string(body))
	var claim struct{ ClaimID, UnitID string }
	require.NoError(t, json.Unmarshal(body, &claim))
	publish := func() ([]byte, error) {
		host, port, _ := strings.Cut(mqtts, ":")
		return exec.CommandContext(t.Context(), "mosquitto_pub", "-h", host, "-p", port, "-V", "5", "--cafile", crt,
			"--cert", filepath.Join(dir, "unit.crt"), "--key", filepath.Join(dir, "unit.key"),
			"-i", "tls-1", "-t", "fettle/v1/telemetry", "-q", "1", "-m", fmt.Sprintf(`{"ts":%d,"values":{"charging":true}}`, time.Now().UnixMilli())).CombinedOutput()
	}
	out, err := publish()
	require.Error(t, err, "a claim is not a credential yet: %s", out)
	s.fettle("claim", "approve", claim.ClaimID)
	out, err = publish()
	require.NoError(t, err, string(out))
	require.EqualValues(t, 1, s.accounting(claim.UnitID).Stored)
	_, err = exec.CommandContext(t.Context(), "mosquitto_pub", "-h", "127.0.0.1", "-p", strings.Split(mqtts, ":")[1], "--cafile", crt,
		"-i", "x", "-t", "fettle/v1/telemetry", "-q", "1", "-m", "{}").CombinedOutput()
	require.Error(t, err, "nobody without a credential")

	// Renewed files are used without a restart, at both doors.
	certify(t, dir, "server", 2)
	for _, address := range []string{s.http, mqtts} {
		until(t, 30*time.Second, "the renewed certificate at "+address, func() bool {
			c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) // the serial is looked at
			if err != nil {
				return false
			}
			defer c.Close()
			return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64() == 2
		})
	}
}
