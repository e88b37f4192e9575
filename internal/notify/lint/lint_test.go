package lint_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/notify/lint"
	"fettle.dev/fettle/internal/notify/template"
)

// Notices in the shape that the Commission's Implementing Regulation (EU)
// 2024/1435 gives them; products and makers are made up.
//

var good = map[string]string{
	"en": `Product safety recall
Nordlys wall charger WC-11
[Picture: https://nordlys.example/recall/wc-11.jpg]
Serial numbers WC-000001 to WC-004999, printed on the label beneath the cover. Sold from May to November 2013 in Norway, Sweden and Germany.
The plug can overheat and cause a fire.
Stop using the charger immediately and unplug it.
You may choose between a free repair at your home, a replacement and a refund.
Call us free of charge on 0800 123 4567 or go to https://nordlys.example/recall
Please share this notice with anyone who may have this charger.`,
	"de": `Produktsicherheitsrückruf
Nordlys Wallbox WC-11
[Bild: https://nordlys.example/recall/wc-11.jpg]
Seriennummern WC-000001 bis WC-004999, auf dem Typenschild unter der Abdeckung. Verkauft von Mai bis November 2013 in Norwegen, Schweden und Deutschland.
Der Stecker kann überhitzen und einen Brand auslösen.
Benutzen Sie die Wallbox ab sofort nicht mehr und ziehen Sie den Stecker.
Sie haben die Wahl zwischen kostenloser Reparatur, Ersatz und Erstattung des Kaufpreises.
Rufen Sie uns kostenlos an: 0800 123 4567, oder https://nordlys.example/rueckruf
Bitte geben Sie diese Information an alle weiter, die diese Wallbox haben könnten.`,
	"fr": `Rappel de produit pour des raisons de sécurité
Borne de recharge Nordlys WC-11
[Photo : https://nordlys.example/recall/wc-11.jpg]
Numéros de série WC-000001 à WC-004999, sur l'étiquette sous le couvercle. Vendue de mai à novembre 2013.
La fiche peut surchauffer et provoquer un incendie.
Cessez immédiatement d'utiliser la borne et débranchez-la.
Vous avez le choix entre une réparation gratuite, un remplacement et un remboursement.
Appel gratuit au 0800 123 456 ou https://nordlys.example/rappel
Merci de transmettre cette information à toute personne susceptible de posséder cette borne.`,
	"es": `Recuperación de un producto por motivos de seguridad
Cargador de pared Nordlys WC-11
[Imagen: https://nordlys.example/recall/wc-11.jpg]
Números de serie WC-000001 a WC-004999, en la etiqueta bajo la tapa. Vendido de mayo a noviembre de 2013.
El enchufe puede sobrecalentarse y provocar un incendio.
Deje de usar el cargador inmediatamente y desenchúfelo.
Puede elegir entre la reparación gratuita, la sustitución y el reembolso.
Llame gratis al 900 123 456 o visite https://nordlys.example/retirada
Comparta esta información con cualquier persona que pueda tener este cargador.`,
	"sv": `Säkerhetsåterkallelse av produkt
Nordlys laddbox WC-11
[Bild: https://nordlys.example/recall/wc-11.jpg]
Serienummer WC-000001 till WC-004999, på etiketten under locket. Såld från maj till november 2013.
Kontakten kan överhettas och orsaka brand.
Sluta genast använda laddboxen och dra ur kontakten.
Du kan välja mellan gratis reparation, byte och pengarna tillbaka.
Ring gratis 020-123 45 67 eller gå till https://nordlys.example/aterkallelse
Sprid gärna den här informationen till andra som kan ha laddboxen.`,
}

func rules(all []lint.Finding) []string {
	var out []string
	for _, f := range all {
		out = append(out, string(f.Rule))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestNoticesThatSayAllHaveNoFinding(t *testing.T) {
	t.Parallel()
	for tag, text := range good {
		require.Empty(t, lint.Text(tag, text), tag)
	}
	require.Empty(t, lint.Text("de-AT", good["de"]))
}

// Each line taken away is missed, in each language.
func TestWhatIsLeftOutIsFound(t *testing.T) {
	t.Parallel()
	wanted := []string{"headline", "", "picture", "identification", "hazard", "action", "remedies", "contact", "share"}
	for tag, text := range good {
		lines := strings.Split(text, "\n")
		require.Len(t, lines, len(wanted), tag)
		for i, rule := range wanted {
			if rule == "" || rule == "hazard" {
				continue // other lines may speak of danger, too
			}
			rest := slices.Concat(lines[:i], lines[i+1:])
			if rule == "picture" || rule == "contact" { // either holds an address that the other is looked for by
				rest = slices.Concat(lines[:i], []string{"x"}, lines[i+1:])
			}
			if rule == "contact" {
				rest[2] = "[picture]"
			}
			got := lint.Text(tag, strings.Join(rest, "\n"))
			require.Contains(t, rules(got), rule, "%s without %q: %v", tag, lines[i], got)
			for _, f := range got {
				require.Contains(t, f.Article, "GPSR art. 36(2)")
				require.NotEmpty(t, f.Say)
			}
		}
	}
}

func TestSoftenersAreFoundWhereTheyStand(t *testing.T) {
	t.Parallel()
	for tag, list := range map[string][]string{
		"en": {"This is a voluntary recall.", "As a precautionary measure, stop.", "At our discretion.", "In rare situations it burns.", "In specific situations the plug gets hot.", "No accidents have been reported.", "There have been no injuries.", "We are not aware of any incidents.", "In very rare cases it may burn.", "Out of an abundance of caution we recall it.", "Voluntarily recalled."},
		"de": {"Dies ist ein freiwilliger Rückruf.", "Vorsorglich rufen wir zurück.", "Als reine Vorsichtsmaßnahme.", "In seltenen Fällen kann es brennen.", "In bestimmten Situationen wird er heiß.", "Unter ungünstigen Umständen.", "Es sind keine Unfälle bekannt.", "Bisher wurden keinerlei Verletzungen gemeldet.", "Nach eigenem Ermessen."},
		"fr": {"Ce rappel volontaire.", "Par mesure de précaution.", "À titre préventif, nous rappelons.", "Dans de rares cas, la fiche chauffe.", "Dans certaines situations.", "Aucun accident n'a été signalé.", "Cas isolés."},
		"es": {"Retirada voluntaria.", "Como medida de precaución.", "De forma preventiva.", "En raras ocasiones se calienta.", "En determinadas circunstancias.", "No se han producido accidentes.", "Ningún accidente conocido.", "En casos excepcionales."}, //nolint:misspell // Spanish
		"sv": {"En frivillig återkallelse.", "Som en försiktighetsåtgärd.", "I förebyggande syfte.", "I sällsynta fall blir den varm.", "I vissa situationer.", "Inga olyckor har rapporterats.", "Ingen har skadats.", "Enstaka fall."},
	} {
		for _, s := range list {
			got := lint.Text(tag, good[tag]+"\n"+s)
			require.Len(t, got, 1, "%s %q: %v", tag, s, got)
			require.Equal(t, lint.RuleSoftener, got[0].Rule)
			require.Equal(t, lint.Error, got[0].Severity, s)
			require.Equal(t, "GPSR art. 36(2)(c)", got[0].Article)
			require.Equal(t, 10, got[0].Line)
			require.NotEmpty(t, got[0].Got)
		}
	}
	two := lint.Text("en", good["en"]+"\nA voluntary recall; no injuries have been reported.")
	require.Len(t, two, 2, "each is told")
}

func TestDeclaredTemplates(t *testing.T) {
	t.Parallel()
	facts := func() *template.Facts {
		return &template.Facts{
			Brand: "Nordlys", Name: "WC-11", Picture: "https://x.example/p.jpg", Identification: "Serial numbers WC-1 to WC-9, on the label", Sold: "In 2013 in Norway",
			Hazard: "The plug can overheat and cause a fire.", Action: "Stop using the charger immediately.", Remedies: []string{"A free repair", "A refund"}, Phone: "0800 123 4567",
		}
	}
	spec := func(kind template.Kind, f *template.Facts, change func(*template.LangTexts)) *template.Spec {
		l := template.LangTexts{Facts: f}
		if change != nil {
			change(&l)
		}
		return &template.Spec{Name: "x", Kind: kind, Texts: map[string]template.LangTexts{"en": l}}
	}
	require.Empty(t, lint.Template(spec(template.Recall, facts(), nil)))
	for field, change := range map[string]func(*template.Facts){
		"headline": func(f *template.Facts) { f.Headline = "Important information about your charger" },
		"name":     func(f *template.Facts) { f.Brand = "" }, "picture": func(f *template.Facts) { f.Picture = "http://x" },
		"identification": func(f *template.Facts) { f.Identification = " " }, "hazard": func(f *template.Facts) { f.Hazard = "" },
		"action": func(f *template.Facts) { f.Action = "Contact us." }, "remedies": func(f *template.Facts) { f.Remedies = []string{"A free repair"} },
		"phone": func(f *template.Facts) { f.Phone = "" },
	} {
		f := facts()
		change(f)
		got := lint.Errors(lint.Template(spec(template.Recall, f, nil)))
		require.Len(t, got, 1, field)
		require.Equal(t, "spec.languages.en.facts."+field, got[0].Path)
		require.Equal(t, got[0].Path, got[0].Field().Path)
	}
	f := facts()
	f.Hazard = "In rare situations the plug can overheat. No accidents have been reported."
	got := lint.Template(spec(template.Recall, f, nil))
	require.Len(t, got, 2)
	require.Equal(t, "spec.languages.en.facts.hazard", got[0].Path)

	// A mail of its own has to hold what was declared.
	got = lint.Template(spec(template.Recall, facts(), func(l *template.LangTexts) {
		l.Mail = &template.Mail{Subject: "Please read", Text: "Dear {{.Name}},\n{{.ProductName}} is recalled.\n{{.Hazard}} {{.Action}}\n"}
	}))
	require.Equal(t, []string{"contact", "headline", "identification", "remedies", "share"}, rules(got))

	// Without facts it is looked at as it is written.
	got = lint.Template(spec(template.Recall, nil, func(l *template.LangTexts) {
		l.Mail = &template.Mail{Subject: "Voluntary service action", Text: "Dear customer,\nwe improve your charger."}
	}))
	require.Equal(t, []string{"action", "contact", "hazard", "headline", "identification", "picture", "remedies", "share", "softener"}, rules(got))
	require.Equal(t, []string{"product"}, rules(lint.Template(spec(template.Recall, nil, func(l *template.LangTexts) { l.SMS = &template.Plain{Text: "Recall."} }))))

	// Any other kind is left alone, unless it speaks of a recall: then it warns.
	mail := func(l *template.LangTexts) {
		l.Mail = &template.Mail{Subject: "News", Text: "A voluntary survey."}
	}
	require.Empty(t, lint.Template(spec(template.Feature, nil, mail)))
	got = lint.Template(spec(template.Feature, nil, func(l *template.LangTexts) {
		l.Mail = &template.Mail{Subject: "Product safety recall", Text: "A voluntary recall."}
	}))
	require.Len(t, got, 1)
	require.Equal(t, lint.Warning, got[0].Severity)
	require.NotEmpty(t, lint.Errors(lint.Template(spec(template.Safety, nil, mail))))

	s := spec(template.Recall, facts(), nil)
	s.Texts["fi"] = template.LangTexts{Facts: facts()}
	got = lint.Template(s)
	require.Equal(t, []string{"language"}, rules(got))
	require.Equal(t, lint.Warning, got[0].Severity, "it does not claim to know what it does not")
}

func TestWhatIsBuiltInPasses(t *testing.T) {
	t.Parallel()
	all, err := template.Builtin()
	require.NoError(t, err)
	for name, s := range all {
		require.Empty(t, lint.Template(s), name)
	}
}

func FuzzText(f *testing.F) {
	for tag, s := range good {
		f.Add(tag, s)
	}
	f.Fuzz(func(t *testing.T, tag, text string) {
		for _, x := range lint.Text(tag, text) {
			require.NotEmpty(t, x.Say)
			require.NotEmpty(t, x.Article)
		}
	})
}
