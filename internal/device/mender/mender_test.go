package mender_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/device/mender"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

const (
	authPath = "v1/authentication/auth_requests"
	nextPath = "v2/deployments/device/deployments/next"
	provides = `{"device_provides":{"artifact_name":"factory-1","device_type":"demo-device"},"update_control_map":true}`
)

func (w *world) do(method, path, token, body string, header ...string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+mender.Prefix+path, strings.NewReader(body))
	require.NoError(w.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, got := devicetest.Answer(w.t, req)
	return resp.StatusCode, got
}

// authBody is an authentication request of a serial, signed by a key.
func authBody(t *testing.T, serial, tenant string, key crypto.Signer) (body, signature string) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	identity, err := json.Marshal(map[string]string{"serial": serial})
	require.NoError(t, err)
	raw, err := json.Marshal(map[string]string{
		"id_data": string(identity), "tenant_token": tenant, "pubkey": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	})
	require.NoError(t, err)
	var sig []byte
	if _, ok := key.(ed25519.PrivateKey); ok {
		sig, err = key.Sign(rand.Reader, raw, crypto.Hash(0))
	} else {
		sum := sha256.Sum256(raw)
		sig, err = key.Sign(rand.Reader, sum[:], crypto.SHA256)
	}
	require.NoError(t, err)
	return string(raw), base64.StdEncoding.EncodeToString(sig)
}

// unit enrols a unit with a key and gives its id, a token and what it authenticated with.
func (w *world) unit(serial string, key crypto.Signer) (id, token, body, signature string) {
	w.t.Helper()
	body, signature = authBody(w.t, serial, w.tenant, key)
	status, said := w.do("POST", authPath, "", body, "X-MEN-Signature", signature)
	require.Equal(w.t, 401, status, said)
	require.Contains(w.t, said, "waits for an operator")
	id = w.accepted(serial)
	status, token = w.do("POST", authPath, "", body, "X-MEN-Signature", signature)
	require.Equal(w.t, 200, status, token)
	return id, token, body, signature
}

func ec(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return k
}

func TestKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for i, k := range []crypto.Signer{ec(t), ed, long} {
		_, token, _, _ := w.unit(fmt.Sprintf("K-%d", i), k)
		status, said := w.do("POST", nextPath, token, provides)
		require.Equal(t, 204, status, said)
	}
}

// Whatever is not proved is refused with 401, and counted.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, other := ec(t), ec(t)
	id, token, body, signature := w.unit("A-1", key)
	refused := func(what string, status int, said string) {
		t.Helper()
		require.Equal(t, 401, status, "%s: %s", what, said)
	}
	// Requests to be let in.
	status, said := w.do("POST", authPath, "", body)
	refused("no signature", status, said)
	_, foreign := authBody(t, "A-1", w.tenant, other)
	status, said = w.do("POST", authPath, "", body, "X-MEN-Signature", foreign)
	refused("another key's signature", status, said)
	status, said = w.do("POST", authPath, "", strings.Replace(body, "A-1", "A-2", 1), "X-MEN-Signature", signature)
	refused("another body's signature", status, said)
	b2, s2 := authBody(t, "A-1", w.tenant, other)
	status, said = w.do("POST", authPath, "", b2, "X-MEN-Signature", s2)
	refused("another key for a unit that has one", status, said)
	require.Contains(t, said, "enrolled already")
	b3, s3 := authBody(t, "A-3", "fct_unknown", other)
	status, said = w.do("POST", authPath, "", b3, "X-MEN-Signature", s3)
	refused("an unknown claim token", status, said)
	b4, s4 := authBody(t, "A-3", "", other)
	status, said = w.do("POST", authPath, "", b4, "X-MEN-Signature", s4)
	refused("no claim token", status, said)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	b5, s5 := authBody(t, "A-4", w.tenant, weak)
	status, said = w.do("POST", authPath, "", b5, "X-MEN-Signature", s5)
	refused("a short key", status, said)
	for _, bad := range []string{"", "{}", `{"id_data":"x"}`, `[]`} {
		status, said = w.do("POST", authPath, "", bad, "X-MEN-Signature", signature)
		require.Equal(t, 400, status, "%s: %s", bad, said)
	}
	status, said = w.do("POST", authPath, "", strings.Repeat(" ", 1<<17), "X-MEN-Signature", signature)
	require.Equal(t, 413, status, said)

	// Tokens.
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	forged := base64.RawURLEncoding.EncodeToString(bytes.Replace(payload, []byte(id), []byte(id+"x"), 1))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	for what, bad := range map[string]string{
		"none": "", "not a token": "x", "another unit's name": parts[0] + "." + forged + "." + parts[2],
		"no algorithm": none + "." + parts[1] + ".", "algorithm changed": none + "." + parts[1] + "." + parts[2],
		"cut short": token[:len(token)-4], "a unit's other token": "fut_abc",
	} {
		status, said = w.do("POST", nextPath, bad, provides)
		refused(what, status, said)
	}
	status, said = w.do("POST", nextPath, token, provides)
	require.Equal(t, 204, status, said)
	w.wall.Advance(time.Hour)
	status, said = w.do("POST", nextPath, token, provides)
	refused("an expired token", status, said)
	_, token = w.do("POST", authPath, "", body, "X-MEN-Signature", signature)
	require.NoError(t, w.Provide.RevokeUnit(t.Context(), id))
	status, said = w.do("POST", nextPath, token, provides)
	refused("a revoked unit's token", status, said)
	status, said = w.do("POST", authPath, "", body, "X-MEN-Signature", signature)
	refused("a revoked unit", status, said)
	require.NoError(t, w.Provide.RestoreUnit(t.Context(), id))
	status, said = w.do("POST", nextPath, token, provides)
	require.Equal(t, 204, status, said)
	creds, err := w.Provide.Credentials(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, w.Provide.UnbindCertificate(t.Context(), id, creds.Fingerprints[0]))
	status, said = w.do("POST", nextPath, token, provides)
	refused("a key that was unbound", status, said)
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Equal(t, slices.Repeat([]string{"credential"}, 19), w.refused, "each is counted")
	require.Contains(t, w.log.String(), "reason=credential", "and written down")
}

// A unit whose only token is its Mender client's is told with it what its owner
// permits it to send, and hears of a change at its next asking.
func TestWhatItsOwnerPermitsIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	unit, token, _, _ := w.unit("1", key)
	status, _ := w.do(http.MethodGet, "v1/fettle/desired", "", "")
	require.Equal(t, 401, status)
	for _, permits := range []bool{true, false} {
		w.Consent(unit, permits)
		status, told := w.do(http.MethodGet, "v1/fettle/desired", token, "")
		require.Equal(t, 200, status, told)
		require.Equal(t, permits, strings.Contains(told, `"current"`), told)
	}
}

func TestRejectedClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body, signature := authBody(t, "R-1", w.tenant, ec(t))
	_, _ = w.do("POST", authPath, "", body, "X-MEN-Signature", signature)
	claims, err := w.Provide.Claims(t.Context(), fleet.ClaimFilter{Serial: "R-1"})
	require.NoError(t, err)
	_, err = w.Provide.RejectClaim(t.Context(), claims[0].ID, "test", "not ours")
	require.NoError(t, err)
	status, said := w.do("POST", authPath, "", body, "X-MEN-Signature", signature)
	require.Equal(t, 401, status)
	require.Contains(t, said, "not ours")
}

// deployment is what a client reads of the answer to next.
type deployment struct {
	ID       string
	Artifact struct {
		Name    string   `json:"artifact_name"`
		Devices []string `json:"device_types_compatible"`
		Source  struct {
			URI    string
			Expire time.Time
		}
	}
	Control *struct {
		ID       string
		Priority int
		States   map[string]map[string]string
	} `json:"update_control_map"`
}

// Another unit's deployment, one that is not offered, and one that is over.
func TestDeploymentsAreTheUnitsOwn(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	one, token, _, _ := w.unit("D-1", ec(t))
	_, others, _, _ := w.unit("D-2", ec(t))
	release := w.release("demo-2", random(5000))
	id := w.offered(one, release)
	status, said := w.do("POST", nextPath, token, provides)
	require.Equal(t, 200, status, said)
	var d deployment
	require.NoError(t, json.Unmarshal([]byte(said), &d))
	require.Equal(t, "demo-2", d.Artifact.Name)
	require.Equal(t, []string{"demo-device"}, d.Artifact.Devices)
	require.Contains(t, d.Artifact.Source.URI, "/artifacts/")
	require.True(t, d.Artifact.Source.Expire.After(w.Clock.Now()))
	require.Equal(t, d.ID, d.Control.ID)
	require.Equal(t, "continue", d.Control.States["ArtifactInstall_Enter"]["action"])
	status, said = w.do("GET", "v1/deployments/device/deployments/next?artifact_name=factory-1&device_type=demo-device", token, "")
	require.Equal(t, 200, status, said)
	require.NotContains(t, said, "update_control_map", "a client that does not ask for one gets none")

	put := func(token, what, body string) int {
		t.Helper()
		status, _ := w.do("PUT", "v1/deployments/device/deployments/"+d.ID+what, token, body)
		return status
	}
	const log = `{"messages":[{"timestamp":"2014-06-01T12:00:00Z","level":"error","message":"no space"}]}`
	require.Equal(t, 404, put(others, "/status", `{"status":"success"}`))
	require.Equal(t, 404, put(others, "/log", log))
	status, _ = w.do("GET", "v2/deployments/device/deployments/"+d.ID+"/update_control_map", others, "")
	require.Equal(t, 404, status)
	require.Equal(t, update.Offered, w.assignment(id).State)
	w.mu.Lock()
	require.Equal(t, []string{"action", "action", "action"}, w.refused[len(w.refused)-3:], "each is counted")
	require.Contains(t, w.log.String(), "reason=action path="+mender.Prefix+"v1/deployments/device/deployments/"+d.ID+"/status", "and written down")
	w.mu.Unlock()
	require.Equal(t, 401, put("", "/status", `{"status":"success"}`))
	for _, bad := range []string{"1", "fe771e00-0000-8000-8000-00000000000z", "fe771e00-0000-8000-8000-000000000000", "00000000-0000-8000-8000-000000000001"} {
		status, _ = w.do("PUT", "v1/deployments/device/deployments/"+bad+"/status", token, `{"status":"success"}`)
		require.Equal(t, 404, status, bad)
	}
	require.Equal(t, 400, put(token, "/status", `{"status":"installed"}`), "installed is not the client's to say")

	// Taken back before it was begun: the client gives it up.
	_, err := w.updates.Withhold(ctx, id)
	require.NoError(t, err)
	require.Equal(t, 409, put(token, "/status", `{"status":"downloading"}`))
	status, _ = w.do("POST", nextPath, token, provides)
	require.Equal(t, 204, status)
	_, err = w.updates.Offer(ctx, id, w.Clock.Now())
	require.NoError(t, err)

	require.Equal(t, 204, put(token, "/status", `{"status":"installing","substate":"ArtifactInstall_Enter_00"}`))
	a := w.assignment(id)
	require.Equal(t, update.Running, a.State)
	require.Equal(t, []string{"installing: ArtifactInstall_Enter_00"}, a.Details)
	require.Equal(t, 204, put(token, "/status", `{"status":"success"}`))
	require.Equal(t, update.Claimed, w.assignment(id).State, "a success is a claim")
	require.Equal(t, 204, put(token, "/status", `{"status":"success"}`), "said again, because the answer was lost")
	require.Equal(t, 409, put(token, "/status", `{"status":"failure"}`), "what was claimed is not replayed into something else")
	status, said = w.do("POST", nextPath, token, strings.Replace(provides, "factory-1", "demo-2", 1))
	require.Equal(t, 204, status, said)
	require.Equal(t, update.Installed, w.assignment(id).State, "the version report makes it installed")
	require.Equal(t, 409, put(token, "/status", `{"status":"downloading"}`))
	status, _ = w.do("GET", "v2/deployments/device/deployments/"+d.ID+"/update_control_map", token, "")
	require.Equal(t, 404, status)
}

func TestCancelOnTheWire(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	unit, token, _, _ := w.unit("C-1", ec(t))
	for i, ends := range []struct {
		say   string
		state update.AssignmentState
	}{{"failure", update.Canceled}, {"success", update.Claimed}, {"", update.Canceled}} {
		id := w.offered(unit, w.release(fmt.Sprintf("demo-%d", i), random(5000+i)))
		_, said := w.do("POST", nextPath, token, provides)
		var d deployment
		require.NoError(t, json.Unmarshal([]byte(said), &d), said)
		put := func(status string) int {
			n, _ := w.do("PUT", "v1/deployments/device/deployments/"+d.ID+"/status", token, `{"status":"`+status+`"}`)
			return n
		}
		require.Equal(t, 204, put("downloading"))
		_, err := w.updates.Cancel(ctx, id)
		require.NoError(t, err)
		require.Equal(t, 409, put("installing"), "this is what stops it")
		require.Equal(t, update.Canceling, w.assignment(id).State)
		if ends.say != "" {
			require.Equal(t, 204, put(ends.say))
		} else {
			n, _ := w.do("POST", nextPath, token, provides) // it lost its power, and forgot
			require.Equal(t, 204, n)
		}
		require.Equal(t, ends.state, w.assignment(id).State)
	}
}

// Clients that ask too much of one address are told to come later.
func TestFloodOfUnknownKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	limited := false
	for i := range 60 {
		body, signature := authBody(t, fmt.Sprintf("F-%d", i), w.tenant, ec(t))
		status, _ := w.do("POST", authPath, "", body, "X-MEN-Signature", signature)
		limited = limited || status == http.StatusTooManyRequests
	}
	require.True(t, limited)
}
