// Package receipt writes owners' choices as consent records and receipts after
// ISO/IEC TS 27560:2023, in JSON-LD with terms of the W3C community's Data
// Privacy Vocabulary 2 (https://w3id.org/dpv/guides/consent-27560). A document
// carries its context with it: nothing has to be fetched to read it.
package receipt

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet"
)

// Conforms are the profile's addresses of records and receipts.
const (
	conformsRecord  = "https://w3id.org/dpv/schema/dpv-27560#record"
	conformsReceipt = "https://w3id.org/dpv/schema/dpv-27560#receipt"
	schemaVersion   = "ISO/IEC TS 27560:2023"
)

type object = map[string]any

// context maps the prefixes, and types what is an address or a time.
var context = object{
	"dct":     "http://purl.org/dc/terms/",
	"dpv":     "https://w3id.org/dpv#",
	"eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
	"schema":  "https://schema.org/",
	"skos":    "http://www.w3.org/2004/02/skos/core#",
	"time":    "http://www.w3.org/2006/time#",
	"xsd":     "http://www.w3.org/2001/XMLSchema#",
	"fettle":  "https://fettle.dev/ns#",

	"dct:conformsTo":           object{"@type": "@id"},
	"dct:created":              object{"@type": "xsd:dateTime"},
	"dpv:isIndicatedAtTime":    object{"@type": "xsd:dateTime"},
	"dpv:hasLegalBasis":        object{"@type": "@id"},
	"dpv:hasDataSubject":       object{"@type": "@id"},
	"dpv:hasDataController":    object{"@type": "@id"},
	"dpv:hasPurpose":           object{"@type": "@id"},
	"dpv:hasPersonalData":      object{"@type": "@id"},
	"dpv:hasRecipient":         object{"@type": "@id"},
	"dpv:hasRight":             object{"@type": "@id"},
	"dpv:isIndicatedBy":        object{"@type": "@id"},
	"schema:url":               object{"@type": "@id"},
	"dpv:hasRecordOfActivity":  object{"@type": "@id"},
	"dpv:isExercisedAt":        object{"@type": "@id"},
	"dpv:hasNotice":            object{"@type": "@id"},
	"fettle:retention":         object{"@type": "xsd:duration"},
	"fettle:previousStateTime": object{"@type": "xsd:dateTime"},
}

// Input is what a document is written from.
type Input struct {
	Base    string // the service's address, as owners reach it
	Owner   string // whose choice it is, as the records know them
	Unit    fleet.Unit
	Choice  consent.Choice
	Earlier []consent.Choice // of the same unit and purpose, oldest first, up to and without Choice
	Notice  consent.Notice   // the version that was shown, or the one nearest to it
}

// Receipt is the document of one choice.
func Receipt(in Input) map[string]any {
	return document(in, receipt(in))
}

// All is one document with the receipts of many choices.
func All(base, owner string, all []Input) map[string]any {
	graph := make([]any, 0, len(all))
	for _, in := range all {
		graph = append(graph, receipt(in))
	}
	return object{"@context": context, "@id": base + "/owner/v1/receipts", "@graph": graph}
}

func document(_ Input, node object) map[string]any {
	out := object{"@context": context}
	maps.Copy(out, node)
	return out
}

func receipt(in Input) object {
	c := &in.Choice
	at := in.Base + "/owner/v1/receipts/" + c.ID
	return object{
		"@id":                     at,
		"@type":                   "dpv:ConsentReceipt",
		"dct:identifier":          c.ID,
		"dct:conformsTo":          conformsReceipt,
		"fettle:schemaVersion":    schemaVersion,
		"dct:created":             stamp(c.At),
		"dct:publisher":           in.controller(),
		"dpv:hasRecordOfActivity": record(in, at),
	}
}

func (in *Input) words() *fleet.Product { return &in.Notice.Words }

func (in *Input) language() string {
	return cmp.Or(in.Choice.Language, in.words().Speak(in.Choice.Language))
}

// controller is who answers for the data.
func (in *Input) controller() object {
	n := in.words().Notice
	if n == nil {
		return object{"@id": in.Base + "/#controller", "@type": "dpv:DataController", "schema:name": "The operator of " + in.Base, "schema:url": in.Base}
	}
	out := object{"@id": in.Base + "/#controller", "@type": "dpv:DataController", "schema:name": n.Controller.Name, "schema:contactPoint": object{
		"@type": "schema:ContactPoint", "schema:description": n.Controller.Contact,
	}}
	if n.Controller.Address != "" {
		out["schema:address"] = n.Controller.Address
	}
	return out
}

// record is the consent record: what was agreed to, by whom, and its events.
func record(in Input, at string) object {
	c, p, lang := &in.Choice, in.words(), in.language()
	portal := in.Base + "/my/units/" + in.Unit.ID + "/data"
	notice := object{
		"@id": in.Base + "/notices/" + in.Unit.Product + "/" + in.Notice.Version, "@type": "dpv:ConsentNotice",
		"dct:identifier": in.Notice.Version, "dct:language": lang, "dct:created": stamp(in.Notice.PublishedAt),
		"schema:url": in.Base + "/notices/" + in.Unit.Product + "/" + in.Notice.Version + "?lang=" + lang,
	}
	if p.Notice != nil {
		w := p.Notice.Texts[p.Speak(lang)]
		notice["dct:title"], notice["dct:description"] = text(lang, w.Title), text(lang, w.Text)
	}
	out := object{
		"@id": at + "#record", "@type": "dpv:ConsentRecord",
		"dct:identifier": c.ID, "dct:conformsTo": conformsRecord, "fettle:schemaVersion": schemaVersion,
		"dpv:hasDataSubject":    object{"@id": "urn:fettle:owner:" + in.Owner, "@type": "dpv:Consumer"},
		"dpv:hasDataController": in.controller(),
		"dpv:hasNotice":         notice,
		"dpv:hasProcess":        in.process(lang),
		"dpv:hasConsentStatus":  in.events(),
		"dpv:hasRight": []any{
			right("A7-3", "Right to withdraw consent", portal), right("A15", "Right of access", portal), right("A17", "Right to erasure", portal),
			right("A20", "Right to data portability", portal),
		},
		"dct:subject": object{"@id": "urn:fettle:unit:" + in.Unit.ID, "dct:identifier": in.Unit.ID, "schema:serialNumber": in.Unit.Serial, "schema:model": p.Title},
	}
	if p.Notice != nil && p.Notice.Complaint != "" {
		out["dpv:hasAuthority"] = object{"@type": "dpv:DataProtectionAuthority", "schema:name": p.Notice.Complaint}
	}
	return out
}

func right(article, label, where string) object {
	return object{"@id": "https://w3id.org/dpv/legal/eu/gdpr#" + article, "@type": "dpv:DataSubjectRight", "skos:prefLabel": label, "dpv:isExercisedAt": where}
}

// process is what is done with which data, for the purpose that was chosen about.
func (in *Input) process(lang string) object {
	c, p := &in.Choice, in.words()
	q, known := p.Purpose(c.Purpose)
	if !known {
		q = fleet.Purpose{Name: c.Purpose, Title: c.Purpose, Basis: fleet.BasisConsent}
	}
	w := q.Words(p.Speak(lang))
	var data []any
	add := func(id, title, about, unit string, retention fleet.Duration) {
		d := object{
			"@id": "urn:fettle:product:" + in.Unit.Product + ":" + id, "@type": "dpv:CollectedPersonalData",
			"dct:identifier": id, "skos:prefLabel": title, "fettle:retention": duration(retention),
		}
		if about != "" {
			d["dct:description"] = text(lang, about)
		}
		if unit != "" {
			d["fettle:ucumUnit"] = unit
		}
		data = append(data, d)
	}
	for i := range p.Signals {
		if s := &p.Signals[i]; slices.Contains(s.Purposes, c.Purpose) {
			v := s.Words(p.Speak(lang))
			add(s.Name, v.Title, v.Description, s.Unit, s.Retention)
		}
	}
	for _, f := range p.Features {
		if slices.Contains(f.Purposes, c.Purpose) {
			add("feature:"+f.Name, f.Title, f.Description, "", f.Retention)
		}
	}
	for _, f := range p.Faults {
		if slices.Contains(f.Purposes, c.Purpose) {
			add("fault:"+f.Code, f.Title, f.Description, "", f.Retention)
		}
	}
	if p.Log != nil && slices.Contains(p.Log.Purposes, c.Purpose) {
		add("log", "Log", "", "", p.Log.Retention)
	}
	after := object{"@type": "dpv:StorageDeletion", "dct:description": "Erased when consent is withdrawn."}
	if q.Keeps() {
		after = object{"@type": "dpv:StorageCondition", "dct:description": text(lang, w.KeepReason)}
	}
	out := object{
		"@type": "dpv:Process",
		"dpv:hasPurpose": object{
			"@id": "urn:fettle:product:" + in.Unit.Product + ":purpose:" + q.Name, "@type": "dpv:Purpose", "dct:identifier": q.Name,
			"skos:prefLabel": text(lang, w.Title), "dct:description": text(lang, w.Description),
		},
		"dpv:hasLegalBasis":       "eu-gdpr:A6-1-a",
		"dpv:hasProcessing":       []any{object{"@type": "dpv:Collect"}, object{"@type": "dpv:Store"}, object{"@type": "dpv:Use"}},
		"dpv:hasStorageCondition": after,
		"dpv:hasPersonalData":     data,
	}
	var recipients []any
	if p.Notice != nil {
		for _, r := range p.Notice.Recipients {
			if slices.Contains(r.Purposes, c.Purpose) {
				v := object{"@type": "dpv:ThirdParty", "schema:name": r.Name, "dct:description": r.What}
				if r.Country != "" {
					v["dpv:hasCountry"] = r.Country
				}
				recipients = append(recipients, v)
			}
		}
	}
	if len(recipients) > 0 {
		out["dpv:hasRecipient"] = recipients
	}
	return out
}

// events are the states of the consent, the newest last.
func (in *Input) events() []any {
	var out []any
	given := false
	for _, c := range append(slices.Clone(in.Earlier), in.Choice) {
		state := "dpv:ConsentGiven"
		switch {
		case !c.Given && given:
			state = "dpv:ConsentWithdrawn"
		case !c.Given:
			state = "dpv:ConsentRefused"
		}
		given = c.Given
		by, method := "dpv:DataSubject", "A switch in the owner's portal, beside the notice."
		switch {
		case c.By == consent.ByImport:
			by, method = "dpv:DataController", "Agreed to when the unit was handed over; the controller holds the proof."
		case !strings.HasPrefix(c.By, "owner:"):
			by, method = "dpv:DataController", "By the service: "+c.By+"."
		}
		out = append(out, object{
			"@type": state, "dct:identifier": c.ID, "dpv:isIndicatedAtTime": stamp(c.At), "dpv:isIndicatedBy": object{"@id": in.party(by)},
			"dpv:hasIndicationMethod": method, "fettle:noticeVersion": c.Notice,
		})
	}
	return out
}

func (in *Input) party(kind string) string {
	if kind == "dpv:DataSubject" {
		return "urn:fettle:owner:" + in.Owner
	}
	return in.Base + "/#controller"
}

func text(lang, s string) object { return object{"@value": s, "@language": lang} }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// duration is a length of time as xsd:duration.
func duration(d fleet.Duration) string {
	if days := time.Duration(d) / (24 * time.Hour); days > 0 && time.Duration(d)%(24*time.Hour) == 0 {
		return fmt.Sprintf("P%dD", days)
	}
	return fmt.Sprintf("PT%dS", int64(time.Duration(d)/time.Second))
}

// JSON writes a document, indented as people read it.
func JSON(doc map[string]any) ([]byte, error) {
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return append(b, '\n'), nil
}
