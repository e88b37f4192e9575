package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/natsd"
	"fettle.dev/fettle/internal/peer/postgres"
	"fettle.dev/fettle/internal/peer/s3"
)

// TestLoopOnEngines runs one scenario, from telemetry to an installed remedy,
// on the embedded engines and on those that outgrow one machine.
func TestLoopOnEngines(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		mails := openPostOffice(t)
		loop(t, serve(t, "--smtp", mails.address), mails)
	})
	t.Run("distributed", func(t *testing.T) {
		t.Parallel()
		mails := openPostOffice(t)
		s := &server{t: t, dir: t.TempDir(), http: freeAddress(t), mqtt: freeAddress(t)}
		stream := s.distributed(mails)
		s.start()
		s.signIn()
		loop(t, s, mails)

		// The stream goes and comes; the service stays.
		stream.Kill()
		until(t, 30*time.Second, "readyz names the stream", func() bool {
			code, ready := s.ready()
			return code == 503 && ready.Engines["stream"] != "ok" && ready.Engines["records"] == "ok"
		})
		stream.Restart(t)
		until(t, 30*time.Second, "the stream is back", func() bool { code, _ := s.ready(); return code == 200 })
		stored := s.accounting(hot).Stored

		// A backup of these engines makes others of their kind.
		file := filepath.Join(t.TempDir(), "fettle.backup")
		s.fettle("backup", "--file", file)
		s.kill()
		s.dir = t.TempDir()
		s.distributed(mails)
		restore := exec.CommandContext(t.Context(), binary, append([]string{"restore", "--data", s.dir, file}, s.args...)...)
		restore.Env = append(os.Environ(), s.serverEnv...)
		text, err := restore.CombinedOutput()
		require.NoError(t, err, string(text))
		s.start()
		require.Equal(t, "verified", s.task())
		require.Equal(t, stored, s.accounting(hot).Stored)
		raw, err := os.ReadFile(filepath.Join(root(), "e2e/testdata/charger/charger-2.0.0.swu"))
		require.NoError(t, err)
		require.Equal(t, 200, s.status("GET", fmt.Sprintf("/v1/artifacts/%x", sha256.Sum256(raw)), s.token, nil))
		s.stop()
	})
}

// distributed names fresh engines of their own for a server.
func (s *server) distributed(mails *postOffice) (stream *natsd.Server) {
	s.t.Helper()
	stream = natsd.Start(s.t)
	s.args = []string{
		"--smtp", mails.address, "--records", postgres.Start(s.t).Database(s.t, ""), "--bus", stream.URL,
		"--artifacts", s3.Start(s.t).Bucket(s.t, "artifacts"),
	}
	s.serverEnv = []string{"AWS_ACCESS_KEY_ID=" + s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3.SecretKey}
	return stream
}

func loop(t *testing.T, s *server, mails *postOffice) {
	tokens, finding := s.watched()
	s.remedied(finding)
	s.notOffered(tokens[hot])
	s.accept(mails)
	s.install(tokens[hot])

	// All of it is there after a restart.
	s.stop()
	s.start()
	require.Equal(t, "verifying", s.task())
	var f findings
	s.get("/v1/findings?product=wall-charger", &f)
	require.Len(t, f.Items, 1)
	require.EqualValues(t, 900, s.accounting(hot).Stored)

	// Quiet charging with the new software is what verifies it. (The unit's
	// clock runs ahead, as far as it is believed.)
	s.publish(hot, tokens[hot], "fettle/v1/telemetry", charge(time.Now().Add(time.Minute), 60))
	until(t, 30*time.Second, "verified", func() bool { return s.task() == "verified" })
}
