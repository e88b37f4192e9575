package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/swupdate"
	"fettle.dev/fettle/sim/client"
)

// TestWithdrawnWhileTheUnitIsOffline withdraws releases from units that cannot
// be reached (docs/updates.md says what is to come of it): at the next contact
// what was not begun is forgotten or stopped, and what was installed meanwhile
// is told, and counts.
func TestWithdrawnWhileTheUnitIsOffline(t *testing.T) {
	t.Parallel()
	t.Run("fettle-agent", func(t *testing.T) {
		t.Parallel()
		withdrawnFromTheAgent(t)
	})
	t.Run("SWUpdate", func(t *testing.T) {
		t.Parallel()
		withdrawnFromSWUpdate(t)
	})
}

// simple is a release of one file.
func simple(version, artifact string) string {
	return fmt.Sprintf("  product: wall-charger\n  version: %s\n  kind: fix\n  minutes: 5\n  notes: {en: Better.}\n  artifact: %s\n", version, artifact)
}

// assignment is the state of the hot unit's assignment of a release.
func (s *server) assignment(release string) string {
	s.t.Helper()
	var page struct {
		Items []struct{ UnitID, State string }
	}
	s.get("/v1/releases/"+release+"/units", &page)
	for _, h := range page.Items {
		if h.UnitID == hot {
			return h.State
		}
	}
	return ""
}

func withdrawnFromTheAgent(t *testing.T) {
	mails := openPostOffice(t)
	s := serve(t, "--smtp", mails.address, "--mail-from", "fettle@example.org")
	token := s.units([]string{hot})[hot]
	holders := s.trusted()
	u := newAgentUnit(t, s)
	u.id = hot
	u.write("token", token)
	u.write("agent.yaml", strings.Replace(u.file("agent.yaml"), "enroll: {claimTokenFile: claim, serial: "+agentSerial+"}", "unit: "+hot+"\ntokenFile: token", 1))
	u.start()
	until(t, 30*time.Second, "the version", func() bool { return s.version(hot) == "1.0.0" })
	to := strings.ToLower(hot) + "@example.com"
	withdraw := func(name string) { s.post("/v1/releases/"+name+"/withdraw", map[string]any{"why": "it burns"}, nil) }

	// Fetched ahead of its owner's time, and gone at the next contact.
	s.serviceRun("ahead", simple("2.0.0", "a.bin"), map[string][]byte{"a.bin": []byte("version 2.0.0\nwell\n")}, func() { holders.sign(s) })
	s.chooseAs(mails, to, client.At, time.Now().Add(time.Hour))
	u.until("fetched ahead", func(now agentNow) bool { return strings.HasPrefix(now.Update.Waiting, "the owner's time is ") })
	u.kill()
	withdraw("ahead")
	u.start()
	u.until("forgotten", func(now agentNow) bool { return now.Update.State == "idle" })
	require.Equal(t, "canceled", s.assignment("ahead"))

	// Its time has come, and it waits: asked to stop, it stops.
	u.write("in-use", "")
	s.serviceRun("due", simple("2.1.0", "b.bin"), map[string][]byte{"b.bin": []byte("version 2.1.0\nwell\n")}, func() { holders.sign(s) })
	s.acceptAs(mails, to)
	u.until("in use", func(now agentNow) bool { return now.Update.Waiting == "the unit is in use" })
	u.kill()
	withdraw("due")
	require.Equal(t, "canceling", s.assignment("due"), "the unit may have begun")
	u.start()
	until(t, 30*time.Second, "stopped", func() bool { return s.assignment("due") == "canceled" })
	u.remove("in-use")
	require.Contains(t, u.file("app"), "version 1.0.0")

	// Installed while the server could not be reached: told, and it counts.
	s.serviceRun("late", simple("2.2.0", "c.bin"), map[string][]byte{"c.bin": []byte("version 2.2.0\nwell\n")}, func() { holders.sign(s) })
	s.chooseAs(mails, to, client.At, time.Now().Add(time.Hour))
	u.until("fetched ahead", func(now agentNow) bool { return strings.HasPrefix(now.Update.Waiting, "the owner's time is ") })
	s.kill()
	u.command("start-now")
	u.until("installed", func(now agentNow) bool {
		return now.Update.Last != nil && now.Update.Last.Release == "late" && now.Update.State == "idle"
	})
	u.kill()
	s.start()
	withdraw("late")
	u.start()
	until(t, 30*time.Second, "its version", func() bool { return s.version(hot) == "2.2.0" })
	require.Contains(t, s.fettle("release", "units", "late"), "has it", "whom to bring back")
}

func withdrawnFromSWUpdate(t *testing.T) {
	swupdate.Require(t)
	mails := openPostOffice(t)
	s := serve(t, "--smtp", mails.address, "--mail-from", "fettle@example.org", "--poll-interval-offered", "1s")
	token := s.units([]string{hot})[hot]
	s.publish(hot, token, "fettle/v1/attributes", map[string]any{"versions": map[string]string{"software": "1.0.0"}})
	key, installed := swupdate.NewKey(t), filepath.Join(swupdate.Dir(t), "installed")
	s.serviceRun("bad", simple("2.0.0", "bad.swu"), map[string][]byte{"bad.swu": swupdate.Build(t, key, "2.0.0", installed, []byte("2.0.0"))}, func() {})
	s.acceptAs(mails, strings.ToLower(hot)+"@example.com")
	until(t, 30*time.Second, "it is due", func() bool { return s.assignment("bad") == "offered" })
	s.post("/v1/releases/bad/withdraw", map[string]any{"why": "it burns"}, nil)
	require.Equal(t, "canceling", s.assignment("bad"), "it may have been seen")
	unit := swupdate.Start(t, swupdate.Options{URL: s.url(""), UnitID: hot, Token: token, Key: key, Poll: time.Second})
	until(t, 30*time.Second, "SWUpdate agrees", func() bool { return s.assignment("bad") == "canceled" })
	before := strings.Count(unit.Log(), noAction)
	until(t, 30*time.Second, "it asks once more", func() bool { return strings.Count(unit.Log(), noAction) > before })
	_, err := os.Stat(installed)
	require.ErrorIs(t, err, os.ErrNotExist)
}
