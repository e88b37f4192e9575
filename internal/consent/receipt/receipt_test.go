package receipt_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/piprate/json-gold/ld"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/consent/receipt"
	"fettle.dev/fettle/internal/fleet"
)

// offline loads nothing: a receipt carries its context.
type offline struct{}

func (offline) LoadDocument(u string) (*ld.RemoteDocument, error) {
	return nil, errors.New("a receipt is read without fetching " + u)
}

func input(given bool) receipt.Input {
	at := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	p := fleet.Product{
		Title: "Wall charger",
		Purposes: []fleet.Purpose{{
			Name: "care", Title: "Care", Description: "To warn you.", Basis: fleet.BasisConsent, OnWithdrawal: fleet.OnWithdrawalKeep, KeepReason: "The type approval asks for a year.",
			Texts: map[string]fleet.PurposeWords{"de": {Title: "Fürsorge", Description: "Um Sie zu warnen.", KeepReason: "Die Typzulassung verlangt ein Jahr."}},
		}},
		Signals: []fleet.Signal{
			{Name: "heat", Title: "Plug temperature", Type: fleet.Number, Unit: "Cel", Purposes: []string{"care"}, Retention: fleet.Duration(90 * 24 * time.Hour), Description: "Of the plug."},
			{Name: "mood", Type: fleet.Text, Purposes: []string{"study"}},
		},
		Notice: &fleet.Notice{
			Version: "2026-11", Controller: fleet.Controller{Name: "Chargers AB", Contact: "privacy@chargers.example"}, Complaint: "IMY",
			Texts:      map[string]fleet.NoticeWords{"en": {Title: "Your charger's data", Text: "Why we ask."}, "de": {Title: "Daten Ihres Ladegeräts", Text: "Warum wir fragen."}},
			Recipients: []fleet.Recipient{{Name: "Lab GmbH", Purposes: []string{"care"}, What: "Looks at plugs.", Country: "DE"}},
		},
	}
	choice := consent.Choice{ID: "c2", UnitID: "WC-1", Purpose: "care", Given: given, At: at.Add(time.Hour), Notice: "2026-11", Language: "de", By: "owner:o1"}
	return receipt.Input{
		Base: "https://my.example", Owner: "o1", Unit: fleet.Unit{ID: "WC-1", Product: "wall-charger", Serial: "77"}, Choice: choice,
		Earlier: []consent.Choice{{ID: "c1", UnitID: "WC-1", Purpose: "care", Given: true, At: at, By: consent.ByImport}},
		Notice:  consent.Notice{Product: "wall-charger", Version: "2026-11", Words: p, PublishedAt: at.Add(-time.Hour)},
	}
}

const dpv = "https://w3id.org/dpv#"

// expanded is a document as another implementation of JSON-LD 1.1 reads it.
func expanded(t *testing.T, doc map[string]any) []any {
	t.Helper()
	raw, err := receipt.JSON(doc)
	require.NoError(t, err)
	var plain any
	require.NoError(t, json.Unmarshal(raw, &plain))
	options := ld.NewJsonLdOptions("")
	options.DocumentLoader = offline{}
	out, err := ld.NewJsonLdProcessor().Expand(plain, options)
	require.NoError(t, err)
	for _, key := range keys(out) { // an unmapped key would have been dropped; a relative one is a mistake
		require.True(t, strings.HasPrefix(key, "@") || strings.HasPrefix(key, "http"), key)
	}
	return out
}

func keys(v any) (out []string) {
	switch x := v.(type) {
	case []any:
		for _, e := range x {
			out = append(out, keys(e)...)
		}
	case map[string]any:
		for k, e := range x {
			out = append(append(out, k), keys(e)...)
		}
	}
	return out
}

// at walks expanded JSON-LD: each step is the first value of a property.
func at(t *testing.T, v any, path ...string) any {
	t.Helper()
	for _, p := range path {
		if list, ok := v.([]any); ok {
			require.NotEmpty(t, list, p)
			v = list[0]
		}
		m, ok := v.(map[string]any)
		require.True(t, ok, p)
		require.Contains(t, m, p)
		v = m[p]
	}
	return v
}

func TestReceipt(t *testing.T) {
	t.Parallel()
	doc := expanded(t, receipt.Receipt(input(false)))
	require.Len(t, doc, 1)
	require.Equal(t, "https://my.example/owner/v1/receipts/c2", at(t, doc, "@id"))
	require.Equal(t, []any{dpv + "ConsentReceipt"}, at(t, doc, "@type"))
	require.Equal(t, "https://w3id.org/dpv/schema/dpv-27560#receipt", at(t, doc, "http://purl.org/dc/terms/conformsTo", "@id"))
	record := at(t, doc, dpv+"hasRecordOfActivity")
	require.Equal(t, []any{dpv + "ConsentRecord"}, at(t, record, "@type"))
	require.Equal(t, "urn:fettle:owner:o1", at(t, record, dpv+"hasDataSubject", "@id"))
	require.Equal(t, "Chargers AB", at(t, record, dpv+"hasDataController", "https://schema.org/name", "@value"))
	require.Equal(t, "2026-11", at(t, record, dpv+"hasNotice", "http://purl.org/dc/terms/identifier", "@value"))
	require.Equal(t, "de", at(t, record, dpv+"hasNotice", "http://purl.org/dc/terms/language", "@value"))
	require.Equal(t, map[string]any{"@value": "Warum wir fragen.", "@language": "de"}, at(t, record, dpv+"hasNotice", "http://purl.org/dc/terms/description").([]any)[0])
	process := at(t, record, dpv+"hasProcess")
	require.Equal(t, "Fürsorge", at(t, process, dpv+"hasPurpose", "http://www.w3.org/2004/02/skos/core#prefLabel", "@value"))
	require.Equal(t, "https://w3id.org/dpv/legal/eu/gdpr#A6-1-a", at(t, process, dpv+"hasLegalBasis", "@id"))
	require.Len(t, at(t, process, dpv+"hasPersonalData"), 1, "only what the purpose is for")
	require.Equal(t, map[string]any{"@value": "P90D", "@type": "http://www.w3.org/2001/XMLSchema#duration"}, at(t, process, dpv+"hasPersonalData", "https://fettle.dev/ns#retention").([]any)[0])
	require.Equal(t, "Lab GmbH", at(t, process, dpv+"hasRecipient", "https://schema.org/name", "@value"))
	require.Equal(t, "Die Typzulassung verlangt ein Jahr.", at(t, process, dpv+"hasStorageCondition", "http://purl.org/dc/terms/description", "@value"))
	events := at(t, record, dpv+"hasConsentStatus").([]any)
	require.Len(t, events, 2)
	require.Equal(t, []any{dpv + "ConsentGiven"}, at(t, events[0], "@type"))
	require.Equal(t, []any{dpv + "ConsentWithdrawn"}, at(t, events[1], "@type"))
	require.Equal(t, map[string]any{"@value": "2026-11-02T09:00:00Z", "@type": "http://www.w3.org/2001/XMLSchema#dateTime"}, at(t, events[1], dpv+"isIndicatedAtTime").([]any)[0])

	never := input(false)
	never.Earlier = nil
	require.Equal(t, []any{dpv + "ConsentRefused"}, at(t, expanded(t, receipt.Receipt(never)), dpv+"hasRecordOfActivity", dpv+"hasConsentStatus", "@type"))
}

func TestAll(t *testing.T) {
	t.Parallel()
	bare := input(true) // declared without a notice
	bare.Notice.Words.Notice, bare.Choice.Language = nil, ""
	doc := receipt.All("https://my.example", "o1", []receipt.Input{input(true), bare})
	options := ld.NewJsonLdOptions("")
	options.DocumentLoader = offline{}
	raw, err := receipt.JSON(doc)
	require.NoError(t, err)
	var plain any
	require.NoError(t, json.Unmarshal(raw, &plain))
	set, err := ld.NewJsonLdProcessor().ToRDF(plain, options)
	require.NoError(t, err)
	given := 0
	for _, graph := range set.(*ld.RDFDataset).Graphs {
		for _, q := range graph {
			if q.Object.GetValue() == dpv+"ConsentGiven" {
				given++
			}
		}
	}
	require.Equal(t, 4, given, "as triples, too: two events of each")
}
