package words_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/api/words"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/calls"
	"fettle.dev/fettle/internal/notify/preference"
)

const product = `apiVersion: fettle.dev/v1
kind: Product
metadata: {name: wall-charger}
spec:
  title: Wall charger
  purposes: [{name: care, title: Care, description: To see failures coming., basis: consent}]
  signals: [{name: heat, type: number, unit: Cel, purposes: [care], retention: 90d, description: Heat.}]
---
apiVersion: fettle.dev/v1
kind: Unit
metadata: {name: WC-1}
spec: {product: wall-charger, serial: "1", owner: {email: kim@example.org, name: Kim, locale: de-AT, timeZone: Europe/Vienna}}
`

const recall = `apiVersion: fettle.dev/v1
kind: Template
metadata: {name: plug-recall}
spec:
  for: recallNotice
  kind: recall
  product: wall-charger
  languages:
    en:
      facts:
        brand: Nordlys
        name: WC-11
        picture: https://x.example/p.jpg
        identification: Serial numbers WC-1 to WC-9
        sold: In 2013
        hazard: The plug can overheat and cause a fire.
        action: Stop using it immediately.
        remedies: [Repair, Refund]
        phone: 0800 123 4567
`

func TestTemplatesAreDeclaredSeenAndLinted(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	e.Apply(product)
	e.Apply(recall)
	doc := apitest.Call[wire.Document](e, 200, "GET", "/v1/declared/template/plug-recall", nil)
	require.Contains(t, string(doc.Spec), "overheat")
	list := apitest.Call[wire.List[words.Text]](e, 200, "GET", "/v1/templates", nil).Items
	require.Equal(t, "plug-recall", list[0].Name)
	require.Zero(t, list[0].Errors)
	p := apitest.Call[words.Preview](e, 200, "POST", "/v1/templates/preview", words.PreviewOf{Name: "plug-recall", UnitID: "WC-1"})
	require.Equal(t, []string{"de-AT", "de", "en"}, p.Tried)
	require.Contains(t, p.Mail.Text, "Hello Kim,")
	require.Contains(t, p.HTML, "<li>Refund</li>")
	status, pdf, header := e.Do("POST", "/v1/templates/letter", words.PreviewOf{Name: "plug-recall"}, apitest.Bearer(e.Admin))
	require.Equal(t, 200, status)
	require.Equal(t, "application/pdf", header.Get("Content-Type"))
	require.True(t, strings.HasPrefix(string(pdf), "%PDF-"))

	found := apitest.Call[words.Linted](e, 200, "POST", "/v1/templates/lint", words.LintOf{Language: "en", Text: "A voluntary service action\nPlease come by."})
	require.NotEmpty(t, found.Findings)
	require.NotEmpty(t, found.Disclaimer)

	// What softens the danger is refused when it is applied.
	bad := strings.Replace(recall, "The plug can", "In rare situations the plug can", 1)
	out := strings.Join(e.Refused(bad), "\n")
	require.Contains(t, out, "spec.languages.en.facts.hazard")
	require.Contains(t, out, "36(2)(c)")
	out = strings.Join(e.Refused("apiVersion: fettle.dev/v1\nkind: Template\nmetadata: {name: x}\nspec: {for: updateOffer, languages: {en: {sms: {text: \"{{.Prodct}}\"}}}}\n"), "\n")
	require.Contains(t, out, "did you mean {{.Product}}")
	tested := apitest.Call[words.Tested](e, 200, "POST", "/v1/templates/test", words.PreviewOf{Name: "plug-recall"})
	require.Equal(t, "[Test] Product safety recall: Nordlys WC-11", tested.Subject)
}

func TestCallsAndNoticesOverTheAPI(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	e.Apply(product)
	o, err := e.Deps.Fleet.OwnerByEmail(t.Context(), "kim@example.org")
	require.NoError(t, err)
	c := preference.Contact{Phone: "+4366012345678", SafetyOnly: []string{preference.OfPhone}}
	apitest.Call[preference.Contact](e, 200, "PUT", "/v1/owners/"+o.ID+"/contact", c)
	require.Equal(t, c, apitest.Call[preference.Contact](e, 200, "GET", "/v1/owners/"+o.ID+"/contact", nil))
	tell := func(key string, kind notify.Kind) notify.Decision {
		d, err := e.Deps.Words.People.ToOwner(t.Context(), notify.Telling{
			Key: key, OwnerID: o.ID, Kind: kind, Template: "updateReminder", Product: "wall-charger", UnitID: "WC-1", Channels: []notify.Channel{notify.Call}, Acknowledge: true,
		})
		require.NoError(t, err)
		return d
	}
	require.Equal(t, notify.SafetyOnly, tell("a", notify.Service).Reason)
	require.Equal(t, notify.Told, tell("b", notify.Safety).Verdict)
	got := apitest.Call[calls.Call](e, 200, "POST", "/v1/calls/next", nil)
	require.Equal(t, "Kim", got.Name)
	got = apitest.Call[calls.Call](e, 200, "POST", "/v1/calls/"+got.ID+"/outcome", map[string]any{"outcome": "reached", "note": "will unplug it"})
	require.Equal(t, calls.Done, got.State)
	require.Equal(t, "will unplug it", got.Notes[0].Text)
	list := apitest.Call[wire.Page[preference.Notice]](e, 200, "GET", "/v1/notices?owner="+o.ID, nil).Items
	require.Len(t, list, 2)
	require.Equal(t, notify.ViaPerson, list[0].AckedVia)
	require.Equal(t, notify.SafetyOnly, list[1].Reason)
}
