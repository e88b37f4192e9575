package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/exim"
	"fettle.dev/fettle/internal/peer/swupdate"
	"fettle.dev/fettle/sim/mailbox"
)

// What the tutorial's files name.
const (
	cooler     = "RC-000001"
	healthy    = "RC-000002"
	unconsent  = "RC-000003"
	adasMail   = "ada@example.org"
	coolerRule = "room-too-warm"
	coolCohort = "warm-rooms"
	coolRun    = "keep-it-cool"
)

// TestARealUpdate is docs/tutorials/update: a unit that is a real SWUpdate gets
// its update after its owner's click in real Chromium, reports its version by
// mosquitto_pub from the file that the update wrote, and is judged on replayed
// data.
func TestARealUpdate(t *testing.T) {
	t.Run("verified", func(t *testing.T) {
		t.Parallel()
		r := newUpdateRun(t)
		r.woken = true
		r.untilInstalled("verified")
		r.verified()
	})
	t.Run("relapsed", func(t *testing.T) {
		t.Parallel()
		r := newUpdateRun(t)
		r.untilInstalled("relapsed")
		r.relapsed()
	})
}

// updateRun is one run of the tutorial.
type updateRun struct {
	*server
	mail      *exim.Server
	seen      map[string]bool // mails read, by their Message-ID: they may overtake one another
	unit      *swupdate.Client
	woken     bool // the unit hears of its owner's start over MQTT; else it polls more often while an update is offered
	key       swupdate.Key
	token     string // the unit's
	installed string // the file that says what software the unit has
	ada       *person
	engineer  *person // in the run that is verified
	files     string  // the tutorial's
}

func newUpdateRun(t *testing.T) *updateRun {
	t.Helper()
	swupdate.Require(t)
	tool(t, "mosquitto_pub")
	r := &updateRun{mail: exim.Start(t), seen: map[string]bool{}, files: filepath.Join(root(), "docs", "tutorials", "update")}
	r.ada = browse(t, phone)
	r.server = serve(t, "--smtp", "smtp://"+r.mail.Address, "--mail-from", "fettle@example.org", "--poll-interval-offered", "1s")
	r.key, r.installed = swupdate.NewKey(t), filepath.Join(swupdate.Dir(t), "attributes.json")
	return r
}

// untilInstalled goes from nothing to an update that is installed and reported.
func (r *updateRun) untilInstalled(run string) {
	t := r.t
	r.declare()
	client := swupdate.Options{URL: "http://" + r.http, UnitID: cooler, Token: r.token, Key: r.key}
	if r.woken {
		client.Poll = 10 * time.Minute // it would come too late by itself
	}
	r.unit = swupdate.Start(t, client)
	if r.woken {
		tool(t, "mosquitto_sub")
		host, port, _ := strings.Cut(r.mqtt, ":")
		r.unit.Wake(t, host, port, cooler, r.token)
	}

	// The unit says what software it has, and sends what it measured: a
	// recording of a room that becomes too warm.
	r.report("1.0.0")
	r.replay(cooler, r.token, "before.csv", "--shift")
	r.replay(healthy, strings.TrimSpace(r.fettle("unit", "token", healthy)), "quiet.csv", "--shift")

	finding := r.finding()
	if run == "verified" {
		r.engineer = browse(t, desk)
		r.engineer.do("cookie", "name", r.session.Name, "value", r.session.Value, "url", "http://"+r.http)
		r.engineerSeesTheFinding()
	}
	r.whoElse(finding)
	r.startCampaign()

	offer := r.nextMail(adasMail)
	require.Equal(t, "An update that keeps your room cool: an update for your Room cooler", offer.subject)
	require.Contains(t, offer.body, "You decide when it is installed.")
	require.Contains(t, offer.body, "Installing takes about 5 minutes")

	// Nothing is offered to the unit before its owner has chosen.
	r.polledAndOfferedNothing()
	r.adaSignsIn(offer)
	r.adaLooks(run)
	require.Equal(t, "offered", r.task().State)
	r.polledAndOfferedNothing()
	require.FileExists(t, r.installed)
	require.JSONEq(t, `{"versions":{"software":"1.0.0"}}`, r.read(r.installed))

	r.ada.click("Start now")
	r.eventually("SWUpdate installs what was offered after the click", func() bool {
		return strings.Contains(r.read(r.installed), "2.0.0")
	})
	r.eventually("its words reach the task", func() bool {
		return strings.Contains(strings.Join(r.task().Details, "\n"), "All Chunks Installed")
	})
	// A device confirms after its reboot; the client alone does not say it (no bootloader).
	r.unit.Confirm(t, r.task().AssignmentID)
	r.eventually("the claim counts as a claim only", func() bool { return r.task().State == "claimed" })
	r.ada.see("Nearly done")

	r.publish()
	r.eventually("the version report makes it installed", func() bool { return r.task().State == "verifying" })
	r.ada.see("Installed, and safe to use")
	var unit struct{ Versions map[string]string }
	r.get("/v1/units/"+cooler, &unit)
	require.Equal(t, "2.0.0", unit.Versions["software"])
	require.Equal(t, "cleared", r.findings()[0].State, "the new software is watched anew")
}

// verified: a quiet recording goes on.
func (r *updateRun) verified() {
	t := r.t
	r.replay(cooler, r.token, "quiet.csv", "--start-at", time.Now().UTC().Add(time.Second).Format(time.RFC3339))
	r.eventually("the task is verified", func() bool { return r.task().State == "verified" })
	require.Contains(t, r.task().Why, "quiet over ")
	r.ada.open("http://" + r.http + "/my/") // she looks again later
	r.ada.see("Done, and safe to use")
	r.ada.shot("3-portal-verified", "")

	done := r.nextMail(adasMail)
	require.Equal(t, "Your Room cooler is up to date, and it works", done.subject)

	var c struct {
		State string
		Waves []struct{ Gate, GateWhy string }
	}
	r.eventually("the campaign is done", func() bool {
		r.get("/v1/campaigns/"+coolRun, &c)
		return c.State == "finished"
	})
	require.Equal(t, "passed", c.Waves[0].Gate)
	rep := r.outcome()
	require.Equal(t, completion{Involved: 1, Offered: 1, Started: 1, Claimed: 1, Installed: 1, Verified: 1}, rep.completion)
	require.Equal(t, "no comparison", rep.Effect.Verdict, "one wave leaves nobody to compare with")
	require.Len(t, r.findings(), 1, "nothing was found after the update")
	require.Contains(t, r.fettle("campaign", "report", coolRun), "Verified:")
	r.engineerSeesTheEnd()
}

// relapsed: the recording of the fault goes on.
func (r *updateRun) relapsed() {
	t := r.t
	r.replay(cooler, r.token, "still-faulty.csv", "--start-at", time.Now().UTC().Add(time.Second).Format(time.RFC3339))
	r.eventually("the task has relapsed", func() bool { return r.task().State == "relapsed" })
	require.Contains(t, r.task().Why, "the fault came back at ")
	r.ada.open("http://" + r.http + "/my/")
	r.ada.see("Installed, but the problem came back")
	var c struct {
		State, Why string
		Waves      []struct{ Gate string }
	}
	r.eventually("the campaign pauses by itself", func() bool {
		r.get("/v1/campaigns/"+coolRun, &c)
		return c.State == "paused"
	})
	require.Contains(t, c.Why, "the fault came back in 1 of 1 judged")
	require.Equal(t, "failed", c.Waves[0].Gate)
	require.Equal(t, completion{Involved: 1, Offered: 1, Started: 1, Claimed: 1, Installed: 1, Relapsed: 1}, r.outcome().completion)
	found := r.findings()
	require.Len(t, found, 2)
	require.Equal(t, "open", found[0].State)
	// Nobody is told that it works.
	for _, m := range r.mail.Mails(t) {
		require.NotContains(t, m.Header.Get("Subject"), "it works")
	}
}

// declare applies the product, its units and what watches them.
func (r *updateRun) declare() {
	units, err := os.ReadFile(filepath.Join(r.files, "units.yaml"))
	require.NoError(r.t, err)
	awake := filepath.Join(r.t.TempDir(), "units.yaml") // nobody is told of an update at night
	require.NoError(r.t, os.WriteFile(awake, bytes.ReplaceAll(units, []byte("Europe/Oslo"), []byte(awakeZone())), 0o600))
	r.fettle("apply", "-f", filepath.Join(r.files, "product.yaml"), "-f", awake, "-f", filepath.Join(r.files, "detector.yaml"))
	r.token = strings.TrimSpace(r.fettle("unit", "token", cooler))
}

// report writes what software the unit has and publishes it.
func (r *updateRun) report(version string) {
	require.NoError(r.t, os.WriteFile(r.installed, attributesOf(version), 0o666))
	require.NoError(r.t, os.Chmod(r.installed, 0o666))
	r.publish()
}

func attributesOf(version string) []byte {
	return fmt.Appendf(nil, `{"versions":{"software":%q}}`, version)
}

// publish sends the file of the unit's software as it stands on the unit.
func (r *updateRun) publish() {
	r.t.Helper()
	host, port, _ := strings.Cut(r.mqtt, ":")
	out, err := exec.CommandContext(r.t.Context(), "mosquitto_pub", "-h", host, "-p", port, "-i", cooler, "-u", cooler, "-P", r.token,
		"-q", "1", "-t", "fettle/v1/attributes", "-f", r.installed).CombinedOutput()
	require.NoError(r.t, err, string(out))
}

func (r *updateRun) replay(unit, token, file string, when ...string) {
	r.t.Helper()
	out := r.fettle(append([]string{
		"replay", "--product", "room-cooler", "--unit", unit, "--file", filepath.Join(r.files, file),
		"--map", "value=air_temperature", "--mqtt", "mqtt://" + r.mqtt, "--unit-token", token,
	}, when...)...)
	require.Contains(r.t, out, "rows acknowledged")
}

type foundOne struct{ ID, UnitID, State, Why string }

func (r *updateRun) findings() []foundOne {
	var page struct{ Items []foundOne }
	r.get("/v1/findings?product=room-cooler&detector="+coolerRule, &page)
	return page.Items
}

func (r *updateRun) finding() string {
	r.eventually("a finding opens", func() bool { return len(r.findings()) > 0 })
	f := r.findings()
	require.Len(r.t, f, 1)
	require.Equal(r.t, cooler, f[0].UnitID)
	require.Equal(r.t, "open", f[0].State)
	require.Contains(r.t, f[0].Why, "air_temperature")
	return f[0].ID
}

// whoElse freezes a cohort from a finding.
func (r *updateRun) whoElse(finding string) {
	var snap struct {
		ID                    string
		In, Out, NotJudgeable int
	}
	raw := r.fettle("cohort", "create", "--finding", finding, "--name", coolCohort, "-o", "json")
	require.NoError(r.t, json.Unmarshal([]byte(raw), &snap))
	require.Equal(r.t, []int{1, 1, 1}, []int{snap.In, snap.Out, snap.NotJudgeable}, raw)
	members := r.fettle("cohort", "members", snap.ID)
	require.Regexp(r.t, cooler+` +in `, members)
	require.Regexp(r.t, healthy+` +out `, members)
	require.Regexp(r.t, unconsent+` +not judgeable +no consent`, members)
}

// startCampaign uploads the signed image, declares release and campaign, looks
// who would get it, and starts.
func (r *updateRun) startCampaign() {
	t := r.t
	dir := t.TempDir()
	for _, name := range []string{"release.yaml", "campaign.yaml"} {
		raw, err := os.ReadFile(filepath.Join(r.files, "remedy", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), raw, 0o600))
	}
	software := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(software) // never fails
	image := swupdate.Build(t, r.key, "2.0.0", r.installed, attributesOf("2.0.0"),
		swupdate.File{Path: filepath.Join(filepath.Dir(r.installed), "software.bin"), Data: software})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cooler-2.0.0.swu"), image, 0o600))
	r.fettle("apply", "-f", dir)
	var dry struct {
		OfferedCount, NotCount int
		Offered                []struct{ UnitID string }
		Not                    []struct{ UnitID, Code, Why string }
	}
	require.NoError(t, json.Unmarshal([]byte(r.fettle("campaign", "dry-run", coolRun, "-o", "json")), &dry))
	require.Equal(t, []int{1, 2}, []int{dry.OfferedCount, dry.NotCount})
	require.Equal(t, cooler, dry.Offered[0].UnitID)
	for _, n := range dry.Not {
		require.NotEmpty(t, n.Why, n.UnitID)
	}
	require.Empty(t, r.mail.Mails(t), "a dry run tells nobody")
	r.fettle("campaign", "start", coolRun, "--yes")
}

// polledAndOfferedNothing waits until SWUpdate has asked, twice from now, and
// looks at what the server answers to it. The update is being offered to the
// owner: the unit is to poll more often, unless it hears of the start at once.
func (r *updateRun) polledAndOfferedNothing() {
	r.t.Helper()
	for range 2 {
		before := strings.Count(r.unit.Log(), noAction)
		if r.woken {
			r.unit.Poll(r.t)
		}
		r.eventually("SWUpdate polls", func() bool { return strings.Count(r.unit.Log(), noAction) > before })
	}
	require.NotContains(r.t, r.unit.Log(), "deploymentBase")
	sleep := "00:00:01"
	if r.woken {
		sleep = "00:00:02"
	}
	r.eventually("it is to poll each "+sleep, func() bool {
		req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.http+"/DEFAULT/controller/v1/"+cooler, nil)
		require.NoError(r.t, err)
		req.Header.Set("Authorization", "TargetToken "+r.token)
		res, err := http.DefaultClient.Do(req)
		require.NoError(r.t, err)
		defer res.Body.Close()
		raw, _ := io.ReadAll(res.Body)
		require.Equal(r.t, http.StatusOK, res.StatusCode)
		require.NotContains(r.t, string(raw), "deploymentBase")
		return strings.Contains(string(raw), `"sleep":"`+sleep+`"`)
	})
}

// noAction is what SWUpdate writes at each poll that offers nothing.
const noAction = "No pending action"

// adaSignsIn goes from the mail to the portal: links are asked for by mail,
// ask for a click, and work once.
func (r *updateRun) adaSignsIn(offer letter) {
	t, ada := r.t, r.ada
	ada.open(offer.link)
	ada.enter("E-mail address", adasMail)
	ada.click("Send me a link")
	ada.see("Look into your mail")
	link := r.nextMail(adasMail).link
	page, secret, ok := strings.Cut(link, "#")
	require.True(t, ok, link)

	// Mail scanners open links, with or without a browser: that uses nothing up.
	for range 2 {
		res, err := http.Get(link)
		require.NoError(t, err)
		_ = res.Body.Close()
		require.Equal(t, http.StatusOK, res.StatusCode, page)
	}
	ada.do("leave")
	ada.open(link)
	ada.see("One click and you are signed in on this device.")
	ada.do("leave")

	ada.open(link)
	ada.click("Sign in")
	ada.see("Service update") // her one product, without a list before it
	// It works once.
	res := r.request(http.MethodPost, "/owner/v1/sign-in", "", map[string]string{"token": secret})
	_ = res.Body.Close()
	require.GreaterOrEqual(t, res.StatusCode, 400)
	require.Less(t, res.StatusCode, 500)
	require.Empty(t, res.Cookies())
}

// adaLooks reads what the portal says before she chooses.
func (r *updateRun) adaLooks(run string) {
	t, ada := r.t, r.ada
	ada.see("Room cooler")
	ada.see("An update that keeps your room cool")
	text := ada.do("text")
	for _, said := range []string{
		"about 5 minutes", "3.1 MB", // how long, how large
		"The cooler no longer loses its setting", "Cooling pauses for about five minutes", // what changes, what won't work
		"After a short power cut your cooler may forget its setting", // why
		"Start now", "Tonight", "Set a time", "Not now",
	} {
		require.Contains(t, text, said)
	}
	if run == "verified" {
		ada.shot("2-portal-offer", ".update")
	}
}

type completion struct {
	Involved, Offered, Started, Claimed, Installed, Verified, Relapsed, NotJudgeable, Declined, Failed, Unreachable int
}

type report struct {
	completion
	Effect struct{ Verdict, Why string }
}

func (r *updateRun) outcome() (out report) {
	r.t.Helper()
	r.get("/v1/campaigns/"+coolRun+"/report", &out)
	return out
}

type taskNow struct {
	State, Why   string
	AssignmentID int64
	Details      []string
}

func (r *updateRun) task() taskNow {
	r.t.Helper()
	var page struct{ Items []taskNow }
	r.get("/v1/campaigns/"+coolRun+"/tasks?unit="+cooler, &page)
	require.Len(r.t, page.Items, 1)
	return page.Items[0]
}

// engineerSeesTheFinding looks at the unit in the console.
func (r *updateRun) engineerSeesTheFinding() {
	at := r.engineer
	at.open("http://" + r.http + "/console/units/" + cooler)
	at.see("Air temperature")
	at.see("finding open")
	at.see("degraded")
	at.shot("1-console-unit", "")
}

// engineerSeesTheEnd looks at the campaign in the console.
func (r *updateRun) engineerSeesTheEnd() {
	at := r.engineer
	at.open("http://" + r.http + "/console/campaigns/" + coolRun)
	at.see("An update that keeps your room cool")
	at.see("1 verified of 1 judged")
	at.shot("4-console-campaign", "")
}

// letter is a mail as a person reads it.
type letter struct{ subject, body, link string }

var linkIn = regexp.MustCompile(`http://\S+`)

// nextMail waits for the next mail, which must be for an address.
func (r *updateRun) nextMail(to string) letter {
	r.t.Helper()
	var m exim.Mail
	r.eventually("a mail arrives", func() bool {
		all := r.mail.Mails(r.t)
		at := slices.IndexFunc(all, func(m exim.Mail) bool { return !r.seen[m.Header.Get("Message-Id")] })
		if at >= 0 {
			m = all[at]
		}
		return at >= 0
	})
	r.seen[m.Header.Get("Message-Id")] = true
	require.Contains(r.t, m.Header.Get("To"), to)
	var raw strings.Builder
	for _, name := range []string{"Content-Type", "Content-Transfer-Encoding"} {
		fmt.Fprintf(&raw, "%s: %s\r\n", name, m.Header.Get(name))
	}
	read, err := mailbox.Read(strings.NewReader(raw.String() + "\r\n" + m.Body))
	require.NoError(r.t, err)
	body := strings.ReplaceAll(read.Text, "\r\n", "\n")
	return letter{m.Header.Get("Subject"), body, linkIn.FindString(body)}
}

func (r *updateRun) read(file string) string {
	r.t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		return "" // SWUpdate is replacing it
	}
	return string(raw)
}

func (r *updateRun) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			unit, _, _ := r.try("describe", "unit", cooler)
			tasks, _, _ := r.try("campaign", "tasks", coolRun)
			messages, _, _ := r.try("message", "list")
			require.FailNow(r.t, "not in time: "+what, "%s\n%s\n%s", unit, tasks, messages)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
