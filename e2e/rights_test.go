package e2e

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/consent/share"
	"fettle.dev/fettle/internal/consent/takeout"
	"fettle.dev/fettle/sim/client"
)

const rightsFile = `apiVersion: fettle.dev/v1
kind: Product
metadata: {name: kettle}
spec:
  title: Kettle
  purposes:
    - {name: care, title: Care, description: To warn you., basis: consent, texts: {de: {title: Fürsorge, description: Um Sie zu warnen.}}}
    - {name: proof, title: Proof, description: To prove its safety., basis: consent, onWithdrawal: keep, keepReason: The type approval asks for a year., texts: {de: {title: Nachweis, description: Um die Sicherheit nachzuweisen., keepReason: Die Typzulassung verlangt ein Jahr.}}}
  notice:
    version: "1"
    controller: {name: Kettles AB, contact: privacy@kettles.example}
    texts:
      en: {title: Your kettle's data, text: We ask first.}
      de: {title: Daten Ihres Kochers, text: Wir fragen zuerst.}
  signals:
    - {name: heat, title: Heat, type: number, unit: Cel, purposes: [care], retention: 90d, description: Of the water., every: 10s, texts: {de: {title: Hitze, description: Des Wassers.}}}
    - {name: note, title: Note, type: text, purposes: [care], retention: 90d, description: A word.}
    - {name: fuse, title: Fuse, type: boolean, purposes: [proof], retention: 400d, description: Whether the fuse holds.}
---
apiVersion: fettle.dev/v1
kind: Unit
metadata: {name: K-1}
spec: {product: kettle, serial: K1, owner: {email: ada@example.com, name: Ada, locale: de}}
---
apiVersion: fettle.dev/v1
kind: Detector
metadata: {name: too-hot}
spec: {product: kettle, type: tolerance, severity: major, purpose: care, tolerance: heat}
`

const rightsTolerance = "  tolerances:\n    - {name: heat, signal: heat, bands: [{max: 90}]}\n"

// signedIn is the owner, in the portal.
func (s *server) signedIn(mails *postOffice, email string) *client.Owner {
	s.t.Helper()
	o := &client.Owner{Caller: client.Caller{HTTP: client.HTTP(4), Base: s.url("")}}
	before := mails.link(email)
	require.NoError(s.t, o.AskLink(s.t.Context(), email))
	until(s.t, 20*time.Second, "the link by mail", func() bool { l := mails.link(email); return l != "" && l != before })
	require.NoError(s.t, o.Click(s.t.Context(), mails.link(email)))
	return o
}

// kettle is a service with Ada's kettle, its token, and what Ada asks in the portal.
func kettle(t *testing.T) (s *server, token string, ada *client.Owner, call func(method, path string, in, out any)) {
	t.Helper()
	mails := openPostOffice(t)
	s = serve(t, "--smtp", mails.address)
	file := filepath.Join(t.TempDir(), "kettle.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(rightsFile, "---\n", rightsTolerance+"---\n", 1)), 0o600))
	s.fettle("apply", "-f", file)
	token = strings.TrimSpace(s.fettle("unit", "token", "K-1"))
	ada = s.signedIn(mails, "ada@example.com")
	call = func(method, path string, in, out any) {
		t.Helper()
		_, err := ada.Do(t.Context(), method, path, in, out)
		require.NoError(t, err, path)
	}
	return s, token, ada, call
}

// An owner gives and withdraws consent, and it acts at once (the log says how
// soon): on the unit, which is told over MQTT by a client that knows nothing of
// us, on what is taken, on what is shown, on a third party's open stream, and on
// what was collected, which goes. What a law requires stays, for the owner
// alone. Then everything is exported, across a kill.
func TestOwnersRights(t *testing.T) {
	t.Parallel()
	s, token, ada, call := kettle(t)

	// The unit listens, as any MQTT client does.
	host, port, _ := strings.Cut(s.mqtt, ":")
	listening := exec.CommandContext(t.Context(), tool(t, "mosquitto_sub"), "-h", host, "-p", port, "-V", "5", "-u", "K-1", "-P", token, "-q", "1", "-t", "fettle/v1/desired")
	listening.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	pipe, err := listening.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, listening.Start())
	t.Cleanup(func() { _ = listening.Process.Kill(); _ = listening.Wait() })
	policies := make(chan string, 100)
	go func() {
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			policies <- lines.Text()
		}
	}()
	policy := func(want ...string) {
		t.Helper()
		began := time.Now()
		end := time.After(patience)
		for {
			select {
			case p := <-policies:
				var d struct {
					Collect []string `json:"collect"`
				}
				require.NoError(t, json.Unmarshal([]byte(p), &d))
				if slices.Equal(append([]string{}, want...), d.Collect) {
					t.Logf("the unit knows after %s that it collects %v", time.Since(began).Round(time.Millisecond), want)
					return
				}
			case <-end:
				t.Fatalf("the unit was not told to collect %v", want)
			}
		}
	}
	policy()

	// Nothing is permitted at first; the notice is in the owner's language.
	var data wire.MyData
	call("GET", "/owner/v1/units/K-1/data", nil, &data)
	require.Equal(t, "de", data.Notice.Language)
	require.Equal(t, "Fürsorge", data.Purposes[0].Title)
	require.False(t, data.Purposes[0].Given || data.Purposes[1].Given, "nothing is ticked before")
	_, _ = s.post1("K-1", token, `{"values":{"heat":20,"note":"refused words","fuse":true}}`)
	choose := func(purpose string, given bool) {
		t.Helper()
		call("PUT", "/owner/v1/units/K-1/consents/"+purpose, map[string]any{"given": given, "notice": "1"}, nil)
	}
	choose("care", true)
	policy("heat", "note")
	choose("proof", true)
	policy("heat", "note", "fuse")

	// A third party reads history and listens; a gatekeeper may not.
	spec := map[string]any{"recipient": "Google Ireland Ltd", "contact": "https://cloud.google.com", "signals": []string{"heat"}, "until": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
	_, err = ada.Do(t.Context(), "POST", "/owner/v1/units/K-1/shares", spec, nil)
	require.ErrorContains(t, err, "Digital Markets Act")
	spec["recipient"], spec["contact"], spec["signals"] = "Garage Lind", "garage@lind.example", []string{"heat", "note"}
	var shared struct {
		share.Share
		Token string `json:"token"`
	}
	call("POST", "/owner/v1/units/K-1/shares", spec, &shared)
	s.post1("K-1", token, `{"values":{"heat":95.25,"note":"zanzibar","fuse":true}}`)
	until(t, 30*time.Second, "the third party has it", func() bool {
		r := s.request("GET", "/share/v1/samples", shared.Token, nil)
		defer r.Body.Close()
		var page wire.Page[wire.SharedSample]
		require.NoError(t, json.NewDecoder(r.Body).Decode(&page))
		return len(page.Items) == 1 && page.Items[0].Values["heat"] == 95.25 && page.Items[0].Values["fuse"] == nil
	})
	stream := s.request("GET", "/share/v1/live", shared.Token, nil)
	defer stream.Body.Close()
	require.Equal(t, 200, stream.StatusCode)
	told := make(chan string, 100)
	go func() {
		defer close(told)
		for lines := bufio.NewScanner(stream.Body); lines.Scan(); {
			if line, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				told <- line
			}
		}
	}()
	hears := func(text string) {
		t.Helper()
		end := time.After(patience)
		for {
			select {
			case line := <-told:
				if strings.Contains(line, text) {
					return
				}
			case <-end:
				t.Fatalf("the stream did not tell %q", text)
			}
		}
	}
	hears("until")
	s.post1("K-1", token, `{"values":{"heat":96.5,"fuse":false}}`)
	hears("96.5")
	until(t, 30*time.Second, "a finding", func() bool {
		var page wire.Page[wire.Finding]
		s.get("/v1/findings?unit=K-1", &page)
		return len(page.Items) == 1
	})
	require.NotEmpty(t, filesWith(t, s.dir, [][]byte{[]byte("zanzibar")}), "the search finds what is there")

	// Withdrawn: the unit is told, nothing more is taken, and
	// nothing is shown to anybody.
	choose("care", false)
	policy("fuse")
	status, text := s.post1("K-1", token, `{"values":{"heat":97.75,"fuse":true}}`)
	require.Equal(t, 200, status)
	require.Contains(t, text, `"notConsented":1`)
	hidden := func() bool {
		var series wire.Series
		s.get("/v1/units/K-1/series?signal=heat&from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z", &series)
		r := s.request("GET", "/share/v1/samples", shared.Token, nil)
		defer r.Body.Close()
		var page wire.Page[wire.SharedSample]
		_ = json.NewDecoder(r.Body).Decode(&page)
		return series.Withheld && len(series.Points) == 0 && len(page.Items) == 0
	}
	require.True(t, hidden(), "at once")
	until(t, 30*time.Second, "what was collected goes", func() bool {
		call("GET", "/owner/v1/units/K-1/data", nil, &data)
		return len(data.Withdrawals) == 1 && !data.Withdrawals[0].EndedAt.IsZero()
	})
	require.Equal(t, []string{"Hitze", "Note"}, data.Withdrawals[0].Erased)
	var findings wire.Page[wire.Finding]
	s.get("/v1/findings?unit=K-1", &findings)
	require.Empty(t, findings.Items, "what was concluded goes, too")
	choose("proof", false)
	until(t, 30*time.Second, "the second withdrawal", func() bool {
		call("GET", "/owner/v1/units/K-1/data", nil, &data)
		return len(data.Withdrawals) == 2 && !data.Withdrawals[0].EndedAt.IsZero()
	})
	require.Equal(t, []string{"Fuse"}, data.Withdrawals[0].Kept)

	// The share ends, and its stream with it.
	call("DELETE", "/owner/v1/shares/"+shared.ID, nil, nil)
	hears("ended by the owner")
	r := s.request("GET", "/share/v1", shared.Token, nil)
	require.Equal(t, 401, r.StatusCode)
	_ = r.Body.Close()
	until(t, 5*time.Second, "the owner sees what was fetched", func() bool {
		var uses wire.List[share.Use]
		call("GET", "/owner/v1/shares/"+shared.ID+"/uses", nil, &uses)
		return slices.ContainsFunc(uses.Items, func(u share.Use) bool { return u.What == "live" && u.Samples >= 1 && !u.EndedAt.IsZero() })
	})

	// Everything, across a kill.
	var e takeout.Export
	call("POST", "/owner/v1/exports", map[string]any{}, &e)
	s.kill()
	require.Empty(t, filesWith(t, s.dir, [][]byte{[]byte("zanzibar")}), "what is erased is on no disk")
	s.start()
	until(t, 30*time.Second, "the export", func() bool {
		call("GET", "/owner/v1/exports/"+e.ID, nil, &e)
		return e.State == takeout.Ready
	})
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.url("/owner/v1/exports/"+e.ID+"/archive"), nil)
	require.NoError(t, err)
	req.Header.Set("Cookie", ada.Cookie)
	res, err := s.do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, 200, res.StatusCode, string(raw[:min(len(raw), 300)]))
	archive, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, f := range archive.File {
		in, err := f.Open()
		require.NoError(t, err)
		files[f.Name], err = io.ReadAll(in)
		require.NoError(t, err)
	}
	table, err := csv.NewReader(bytes.NewReader(files["units/K-1/samples.csv"])).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"event_time", "receive_time", "sequence", "heat", "note", "fuse"}, table[0])
	require.Len(t, table, 4, "what is kept by law is the owner's own: three messages with the fuse")
	for _, row := range table[1:] {
		require.Empty(t, row[3])
		require.Contains(t, []string{"true", "false"}, row[5])
	}
	var list []struct {
		Values map[string]any `json:"values"`
	}
	require.NoError(t, json.Unmarshal(files["units/K-1/samples.json"], &list))
	require.Len(t, list, 3)
	type fuse struct {
		Fuse *bool `parquet:"fuse,optional"`
	}
	rows, err := parquet.Read[fuse](bytes.NewReader(files["units/K-1/samples.parquet"]), int64(len(files["units/K-1/samples.parquet"])))
	require.NoError(t, err)
	require.Len(t, rows, 3)
	var described struct {
		Tables []struct {
			URL    string `json:"url"`
			Schema struct {
				Columns []map[string]any `json:"columns"`
			} `json:"tableSchema"`
		} `json:"tables"`
	}
	require.NoError(t, json.Unmarshal(files["columns.json"], &described))
	columns := described.Tables[0].Schema.Columns
	require.Equal(t, "Cel", columns[3]["fettle:ucumUnit"])
	require.Equal(t, map[string]any{"en": "event time"}, columns[0]["titles"], "asked for in German, but told in English")
	require.Equal(t, map[string]any{"de": "Hitze"}, columns[3]["titles"])
	require.Equal(t, map[string]any{"en": "Note"}, columns[4]["titles"])
	for _, name := range []string{"you.json", "looks.json", "messages.json", "sessions.json", "people.json", "requests.json", "updates.json", "shares.json", "notices-shown.json", "units/K-1/receipts.jsonld", "units/K-1/findings.json"} {
		require.True(t, json.Valid(files[name]), name)
	}
	require.NotContains(t, fmt.Sprintf("%s", files), "zanzibar", "erased")

	// What a buyer reads, without an account.
	for _, lang := range []string{"en", "de"} {
		r := s.request("GET", "/datasheets/kettle?lang="+lang, "", nil)
		page, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		require.Equal(t, 200, r.StatusCode)
		require.Contains(t, string(page), map[string]string{"en": "every 10 seconds", "de": "Fürsorge"}[lang])
	}
}
