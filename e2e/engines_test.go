package e2e

import (
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
		bucket := s3.Start(t).Bucket(t, "artifacts")
		s := &server{
			t: t, dir: t.TempDir(), http: freeAddress(t), mqtt: freeAddress(t),
			args:      []string{"--smtp", mails.address, "--records", postgres.Start(t).Database(t, ""), "--bus", natsd.Start(t).URL, "--artifacts", bucket},
			serverEnv: []string{"AWS_ACCESS_KEY_ID=" + s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3.SecretKey},
		}
		s.start()
		s.signIn()
		loop(t, s, mails)
	})
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
	until(t, 20*time.Second, "verified", func() bool { return s.task() == "verified" })
}
